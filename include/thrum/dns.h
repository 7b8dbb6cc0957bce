/* SPDX-License-Identifier: MIT */
#ifndef THRUM_DNS_H
#define THRUM_DNS_H

#include <stddef.h>
#include <sys/socket.h>
#include <thrum/error.h>
#include <thrum/time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One socket address. */
struct thrum_address {
	struct sockaddr_storage addr;
	socklen_t len;
};

/* What a lookup found, in the order to try. All-zero is empty. */
struct thrum_dns_result {
	struct thrum_address *addresses;
	size_t count;
};

/*
 * Looks up the stream addresses of a host and service, as the system does (getaddrinfo: hosts
 * file, name servers, gai.conf). Numeric hosts with numeric services are converted in place.
 * out: gives at least one address, ended by thrum_dns_result_fini; its old content is not looked
 * at, and on failure it is untouched.
 * host: a name or numeric address; NULL or "": this machine. service: a number or name; NULL:
 * port 0.
 * Returns 0, THRUM_ENOHOST (no such host, or it has no address), -EAGAIN (no name server
 * answered), -EINVAL (no such service, malformed), -ETIMEDOUT, -ECANCELED, -ENOMEM, or another
 * errno.
 * Context: green thread or OS thread. Suspends: may. Timed out or cancelled, the lookup runs to
 * its end behind the scenes and its result is dropped. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_dns_resolve(struct thrum_dns_result *out, const char *host,
	const char *service, thrum_deadline deadline);

/* Frees the addresses and empties the result. Suspends: never. Since: 0.1. */
THRUM_API void thrum_dns_result_fini(struct thrum_dns_result *result);

/*
 * An address as a string that thrum_conn_open takes: "192.0.2.1:80", "[2001:db8::1]:80",
 * "unix:/path".
 * out: cap bytes; THRUM_ADDRESS_MAX (net.h) always do. Returns 0, -ENOSPC, -EAFNOSUPPORT.
 * Context: any thread. Suspends: never. Since: 0.1.
 */
THRUM_NODISCARD THRUM_API int thrum_address_format(
	const struct thrum_address *address, char *out, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
