# A machine looks whether the monitor sleeps before that one can see that it is not idle.
/^static void idle(/,/^}/ s/thrum__full_fence();/;/
