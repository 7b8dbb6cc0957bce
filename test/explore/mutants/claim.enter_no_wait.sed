# E4 goes on while the monitor has not made up its mind.
/^bool thrum__claim_enter_slow/,/^}/ s/& THRUM__CLAIM_ASKED;/\& 0;/
