# The word does not stay TAKEN.
s/taken ? THRUM__CLAIM_TAKEN : 0/0/
