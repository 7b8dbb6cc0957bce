# The new array comes without the old one's items.
/^static bool grow/,/^}/ s/slot_set(array, i, slot_get(old, i));/;/
