/* SPDX-License-Identifier: MIT */
#include "ctx/sanitizer.h"

#if defined(THRUM__ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

void thrum__fiber_create(struct thrum__fiber *fiber, void *bottom, size_t size)
{
	*fiber = (struct thrum__fiber){.bottom = bottom, .size = size};
}

void thrum__fiber_adopt(struct thrum__fiber *fiber)
{
	*fiber = (struct thrum__fiber){0};
}

void thrum__fiber_destroy(struct thrum__fiber *fiber)
{
	(void)fiber;
}

void thrum__fiber_unpoison(void *bottom, size_t size)
{
	__asan_unpoison_memory_region(bottom, size);
}

void thrum__fiber_leave(struct thrum__fiber *from, struct thrum__fiber *to, bool last)
{
	to->from = from;
	/* NULL tells ASan that the stack left is done for, so that it frees its fake stack. */
	__sanitizer_start_switch_fiber(last ? NULL : &from->fake, to->bottom, to->size);
}

void thrum__fiber_arrive(struct thrum__fiber *self)
{
	/* The bounds of the stack we came from: this is how those of an OS thread become known. */
	__sanitizer_finish_switch_fiber(self->fake, &self->from->bottom, &self->from->size);
}

#elif defined(THRUM__TSAN)
#include <sanitizer/tsan_interface.h>

void thrum__fiber_create(struct thrum__fiber *fiber, void *bottom, size_t size)
{
	(void)bottom, (void)size;
	fiber->tsan = __tsan_create_fiber(0);
}

void thrum__fiber_adopt(struct thrum__fiber *fiber)
{
	fiber->tsan = __tsan_get_current_fiber();
}

void thrum__fiber_destroy(struct thrum__fiber *fiber)
{
	__tsan_destroy_fiber(fiber->tsan);
	fiber->tsan = NULL;
}

void thrum__fiber_unpoison(void *bottom, size_t size)
{
	(void)bottom, (void)size;
}

void thrum__fiber_leave(struct thrum__fiber *from, struct thrum__fiber *to, bool last)
{
	(void)from, (void)last;
	/*
	 * Flag 0: what ran before the switch on this OS thread happens before what runs after it.
	 */
	__tsan_switch_to_fiber(to->tsan, 0);
}

void thrum__fiber_arrive(struct thrum__fiber *self)
{
	(void)self;
}

#endif
