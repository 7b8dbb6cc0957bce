# The idle processor that a thread comes back to is not woken.
/^static bool rejoin_at/,/^}/ s/thrum__driver_wake(.*/;/
