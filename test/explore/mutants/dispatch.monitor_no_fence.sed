# The monitor looks whether all are idle before they can see that it sleeps.
/^static bool sleep_idle/,/^}/ s/thrum__full_fence();/;/
