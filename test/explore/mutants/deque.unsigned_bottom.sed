# Erratum: bottom - 1 of an empty deque underflows, and a comparison takes it for a large number.
/^void \*thrum__deque_take/,/^}/ s/int64_t bottom = /size_t bottom = /
