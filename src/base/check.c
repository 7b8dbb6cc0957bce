/* SPDX-License-Identifier: MIT */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void thrum__check_failed(const char *expr, const char *file, int line)
{
	fprintf(stderr, "thrum: %s:%d: check failed: %s\n", file, line, expr);
	abort();
}
