# Who sleeps marks the lock as held, but not as waited for.
/^void thrum__lock_slow/,/^}/ {
	s/__atomic_exchange_n(&lock->word, 2,/__atomic_exchange_n(\&lock->word, 1,/
	s/thrum__futex_wait(&lock->word, 2,/thrum__futex_wait(\&lock->word, 1,/
}
