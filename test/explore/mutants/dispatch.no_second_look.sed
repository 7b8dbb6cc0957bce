# M4 of idle.c is left out.
/^static void idle(/,/^}/ s/!work_visible(processor)/true/
