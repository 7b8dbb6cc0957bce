# T2 without membarrier: the monitor looks at the state before its question can be seen.
/^bool thrum__claim_take/,/^}/ s/thrum__full_fence();/;/
