# T2 is left out: the machine's E1 may still be on its way.
s/barred = thrum__membarrier();/;/
