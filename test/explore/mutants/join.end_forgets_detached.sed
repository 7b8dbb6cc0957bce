# A detached thread ends, and nobody frees it.
/^static void settle/,/^}/ s/thrum__thread_unref(thread);/;/
