# The spare does not see what it was given.
/^static void hand/,/^}/ s/GIVEN, __ATOMIC_RELEASE/GIVEN, __ATOMIC_RELAXED/
