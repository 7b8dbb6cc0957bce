# The processor is taken whatever the claim says.
/^bool thrum__handoff/,/^}/ s/thrum__claim_take(&from->claim);/(thrum__claim_take(\&from->claim), true);/
