# E4 without membarrier: the machine reads the word before its state can be seen.
/^bool thrum__claim_enter_slow/,/^}/ s/thrum__full_fence();/;/
