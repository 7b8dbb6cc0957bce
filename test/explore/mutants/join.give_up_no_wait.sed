# A joiner that gives up does not wait until the end is through with its wait.
/^static bool unregister/,/^}/ s/until_ended(thread);/;/
