/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CLAIM_H
#define THRUM_CLAIM_H

#include "base/base.h"
#include "sched/fence.h"

/*
 * Who may touch a processor: the machine that runs it, or the monitor that takes it away.
 *
 * A machine is in one of two states. In RUNTIME it uses its processor's queues, timers and
 * caches; in USER it runs a green thread's own code and leaves them alone. The monitor may take
 * the processor of a machine in USER, without its knowing: it finds out when it next enters.
 *
 *   machine, enter                         monitor
 *   E1 state = RUNTIME                     T1 word = ASKED
 *   E2 (compiler barrier)                  T2 membarrier: a full fence on every thread
 *   E3 word == 0? go on                    T3 state == USER?  word = TAKEN: it is ours
 *   E4 else wait while ASKED;                 else            word = 0
 *      TAKEN: the processor is gone
 *
 *   machine, leave
 *   L1 state = USER (release)
 *
 * An asymmetric Dekker handshake: E1 and E3 are a store and a load of different words, which the
 * machine itself may reorder. T2 is the fence it does not pay for. Either its E1 lies before the
 * barrier, and T3 sees RUNTIME, or its E3 lies behind it, and sees ASKED.
 *
 * [I1] Never do both sides use the processor: TAKEN is stored only after T3 read USER.
 * [I2] What the machine did to the processor happens before what its next owner does: L1's
 *      release is read by T3's acquire, and the monitor hands on under a lock.
 * [I3] TAKEN stays until the machine is given a processor again, so all its entries until then
 *      know that it has none.
 *
 * Where membarrier is missing (before Linux 4.14, or refused), the word carries FENCED for ever: then
 * E3 always finds something, and E4 begins with a full fence of its own; T2 is an ordinary one.
 *
 * Model: test/explore, which finds the violation when T2 or FENCED's fence is taken out.
 */

enum { THRUM__USER = 0, THRUM__RUNTIME = 1 };

enum { THRUM__CLAIM_ASKED = 1, THRUM__CLAIM_TAKEN = 2, THRUM__CLAIM_FENCED = 4 };

struct thrum__claim {
	uint32_t state; /* atomic; the machine's */
	uint32_t word;  /* atomic; the monitor's */
};

/* A full fence on every thread of the process. False: to be had only by THRUM__CLAIM_FENCED. */
bool thrum__membarrier(void);

/* Registers the process for membarrier. False: there is none. */
bool thrum__membarrier_init(void);

/* E4. True: the processor is still ours. */
bool thrum__claim_enter_slow(struct thrum__claim *claim);

/* E1..E4, from USER. False: it has been taken. */
static inline bool thrum__claim_enter(struct thrum__claim *claim)
{
	__atomic_store_n(&claim->state, THRUM__RUNTIME, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (thrum__likely(__atomic_load_n(&claim->word, __ATOMIC_ACQUIRE) == 0))
		return true;
	return thrum__claim_enter_slow(claim);
}

/* L1 */
static inline void thrum__claim_leave(struct thrum__claim *claim)
{
	__atomic_store_n(&claim->state, THRUM__USER, __ATOMIC_RELEASE);
}

/* T1..T3. True: the processor of this machine is the caller's. One caller at a time. */
bool thrum__claim_take(struct thrum__claim *claim);

#endif
