/* SPDX-License-Identifier: MIT */
#ifndef THRUM_BASE_H
#define THRUM_BASE_H

/*
 * What every layer stands on: checks, clock, randomness, a short-term lock, lists and buffers.
 * Nothing here suspends a green thread.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <thrum/error.h>
#include <thrum/time.h>

#include "base/check.h"
#include "base/lock.h"
#include "base/list.h"
#include "base/buf.h"
#include "base/log.h"

#define thrum__likely(x)    __builtin_expect(!!(x), 1)
#define thrum__unlikely(x)  __builtin_expect(!!(x), 0)
#define THRUM__NOINLINE     __attribute__((noinline))
#define THRUM__PRINTF(f, a) __attribute__((format(printf, f, a)))
#define THRUM__CACHELINE    64

#define thrum__container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define thrum__countof(a)                      (sizeof(a) / sizeof((a)[0]))

/* Fills buf from the kernel's generator; never fails on a running system (CHECKs). */
void thrum__random_bytes(void *buf, size_t len);

/* One step of a small seeded generator (splitmix64), for stealing order and tests; not for keys. */
uint64_t thrum__splitmix64(uint64_t *state);

/* Microseconds of the wall clock since 1970. */
int64_t thrum__wall_us(void);

#endif
