# S2 is left out.
/^struct thrum__idler \*thrum__idlers_call/,/^}/ s/thrum__full_fence();/;/
