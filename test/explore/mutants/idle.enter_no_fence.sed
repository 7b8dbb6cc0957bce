# M3 is left out.
/^void thrum__idler_enter/,/^}/ s/thrum__full_fence();/;/
