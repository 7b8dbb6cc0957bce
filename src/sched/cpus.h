/* SPDX-License-Identifier: MIT */
#ifndef THRUM_CPUS_H
#define THRUM_CPUS_H

/*
 * The processors that the cgroups of this process grant it time for, rounded up; UINT32_MAX if they
 * set no limit. root: what stands before /proc and /sys; "" but for tests.
 */
unsigned thrum__quota_cpus(const char *root);

#endif
