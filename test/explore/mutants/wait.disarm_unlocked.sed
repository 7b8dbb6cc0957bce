# Who disarms does not wait for a clock that has taken the timer out but not yet claimed the wait.
/^static void deadline_disarm/,/^}/ s/thrum__\(un\)*lock(.*);/;/
