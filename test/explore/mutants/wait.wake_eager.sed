# Whoever finds PARKED makes it runnable, also the second one.
s/if (before != THRUM__PARKED)/if (!(before \& THRUM__PARKED))/
