# A mail is sent without a call.
/^void thrum__mail/,/^}/ s/if (thrum__idler_call/if (0 \&\& thrum__idler_call/
