# Mail: it is looked without the lock whether the machine is on the list.
/^bool thrum__idler_call/,/^}/ s/thrum__\(un\)*lock(.*);/;/
