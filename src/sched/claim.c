/* SPDX-License-Identifier: MIT */
#include "sched/claim.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The handshake is described in claim.h. */

enum { SPINS = 100 };

bool thrum__membarrier_init(void)
{
	const char *refused = secure_getenv("THRUM_NO_MEMBARRIER");
	if (refused != NULL && refused[0] == '1')
		return false;
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool thrum__membarrier(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool thrum__claim_enter_slow(struct thrum__claim *claim)
{
	uint32_t word = __atomic_load_n(&claim->word, __ATOMIC_RELAXED);
	if (word & THRUM__CLAIM_FENCED)
		thrum__full_fence();
	for (int i = 0; (word = __atomic_load_n(&claim->word, __ATOMIC_ACQUIRE)) & THRUM__CLAIM_ASKED;
		i++) {
		thrum__cpu_relax();
		if (i >= SPINS) /* the monitor was preempted half-way */
			sched_yield();
	}
	return !(word & THRUM__CLAIM_TAKEN);
}

bool thrum__claim_take(struct thrum__claim *claim)
{
	uint32_t fenced = __atomic_load_n(&claim->word, __ATOMIC_RELAXED) & THRUM__CLAIM_FENCED;
	bool barred = true;
	__atomic_store_n(&claim->word, THRUM__CLAIM_ASKED | fenced, __ATOMIC_RELAXED);
	if (fenced)
		thrum__full_fence();
	else
		barred = thrum__membarrier();
	bool taken = barred && __atomic_load_n(&claim->state, __ATOMIC_ACQUIRE) == THRUM__USER;
	__atomic_store_n(
		&claim->word, fenced | (taken ? THRUM__CLAIM_TAKEN : 0), __ATOMIC_RELEASE);
	return taken;
}
