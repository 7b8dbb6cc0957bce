# A carried joiner takes the end for its own, though a deadline may have claimed its wait.
/^int thrum__wait_carried/,/^}/ s/if (returned && when == THRUM_FOREVER)/if (returned)/
