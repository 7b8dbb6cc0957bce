# The clock looks at a deadline after its waiter has been let go.
/^void thrum__timers_fire/,/^}/ {
	/fired = fired->next;/d
	s/thrum__wait_wake(wait);/thrum__wait_wake(wait); fired = fired->next;/
}
