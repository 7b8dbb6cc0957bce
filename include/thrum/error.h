/* SPDX-License-Identifier: MIT */
#ifndef THRUM_ERROR_H
#define THRUM_ERROR_H

/*
 * Errors: every fallible call returns a value >= 0 or a negative code. Codes are
 * negated errno numbers, or one of the private codes below (-5000 and lower).
 *
 * errno itself is never part of the contract: a green thread may resume on another
 * OS thread, and compilers cache errno's address across calls.
 */

#if defined(__GNUC__) || defined(__clang__)
#define THRUM_NODISCARD __attribute__((warn_unused_result))
#define THRUM_API __attribute__((visibility("default")))
#else
#define THRUM_NODISCARD
#define THRUM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The private codes: X(name, number, text). */
#define THRUM_ERROR_CODES(X)                                                                       \
	X(THRUM_EEOF, -5001, "end of stream")                                                      \
	X(THRUM_ECLOSED, -5002, "closed")                                                          \
	X(THRUM_ENORUNTIME, -5003, "not called from a green thread")                               \
	X(THRUM_EFORMAT, -5004, "malformed data")                                                  \
	X(THRUM_ENOHOST, -5005, "host not found")                                                  \
	X(THRUM_EAUTH, -5006, "authentication failed")                                             \
	X(THRUM_ECHANGED, -5007, "changed while in use")

enum thrum_error {
#define THRUM_ERROR_ENUM(name, number, text) name = number,
	THRUM_ERROR_CODES(THRUM_ERROR_ENUM)
#undef THRUM_ERROR_ENUM
};

/*
 * Text for a code, such as "Connection refused" or "end of stream".
 * code: any value a thrum call returned. Returns a constant string, never NULL.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API const char *thrum_strerror(int code);

/*
 * Symbolic name of a code, such as "ECONNREFUSED" or "THRUM_EEOF"; "EUNKNOWN" if there is none.
 * Returns a constant string. Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_API const char *thrum_errname(int code);

#ifdef __cplusplus
}
#endif
#endif
