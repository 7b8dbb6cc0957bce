/* SPDX-License-Identifier: MIT */
/*
 * Linked with each example by --wrap=thrum_run: where the example leaves the number of workers to
 * the library, EXAMPLE_WORKERS of the environment sets it.
 */
#include <stdlib.h>
#include <thrum.h>

int __real_thrum_run(const struct thrum_config *config, thrum_fn fn, void *arg, void **result);
int __wrap_thrum_run(const struct thrum_config *config, thrum_fn fn, void *arg, void **result);

int __wrap_thrum_run(const struct thrum_config *config, thrum_fn fn, void *arg, void **result)
{
	struct thrum_config own = {0};
	const char *workers = getenv("EXAMPLE_WORKERS");
	if (config != NULL)
		own = *config;
	if (own.workers == 0 && workers != NULL)
		own.workers = (unsigned)atoi(workers);
	return __real_thrum_run(&own, fn, arg, result);
}
