# push without the lock
/^uint32_t thrum__queue_push/,/^}/ s/thrum__\(un\)*lock(.*);/;/
