# take without the lock
/^struct thrum_thread .thrum__queue_take/,/^}/ s/thrum__\(un\)*lock(.*);/;/
