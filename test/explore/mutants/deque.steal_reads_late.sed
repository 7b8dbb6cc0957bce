# A thief reads the slot when it has won it: by then the owner may use it for another item.
/^void \*thrum__deque_steal/,/^}/ {
	s/void \*item = slot_get(array, top);/int64_t won = top;/
	s/return item;/return slot_get(array, won);/
}
