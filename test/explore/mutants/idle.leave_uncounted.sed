# Who was called forgets that it is counted in searching.
/^bool thrum__idler_leave/,/^}/ s/return searching;/return saw_work;/
