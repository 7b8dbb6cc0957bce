# Erratum: push goes on with the array that it saw before it grew.
/^bool thrum__deque_push/,/^}/ {
	/int64_t bottom = /s/$/ struct thrum__deque_array *array = deque->array;/
	s/slot_set(deque->array,/slot_set(array,/
}
