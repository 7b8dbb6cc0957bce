# The spare that is given the processor is not woken.
/^bool thrum__handoff/,/^}/ s/thrum__futex_wake(.*/;/
