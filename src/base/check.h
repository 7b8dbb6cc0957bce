/* SPDX-License-Identifier: MIT */
#ifndef THRUM_BASE_CHECK_H
#define THRUM_BASE_CHECK_H

/*
 * CHECK  always on: corruption and broken invariants that must never go on. Aborts.
 * ASSERT in debug and sanitizer builds only (THRUM_DEBUG).
 * Input from a peer, a disk or a user never reaches either.
 */

_Noreturn void thrum__check_failed(const char *expr, const char *file, int line);

#define CHECK(expr) ((expr) ? (void)0 : thrum__check_failed(#expr, __FILE__, __LINE__))

#ifdef THRUM_DEBUG
#define ASSERT(expr) CHECK(expr)
#else
#define ASSERT(expr) ((void)sizeof(!(expr)))
#endif

#endif
