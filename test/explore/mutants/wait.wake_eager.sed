# Whoever finds PARKED makes it runnable, also the second one.
s/return before == THRUM__PARKED;/return before \& THRUM__PARKED;/
