/* SPDX-License-Identifier: MIT */
#include "io/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

enum { UNIX_PATH_AT = offsetof(struct sockaddr_un, sun_path) };

/* The part after "unix:": a path, or '@' and an abstract name. 0, -EINVAL, -ENAMETOOLONG. */
static int parse_unix(struct thrum_address *out, const char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	bool abstract = name[0] == '@';
	if (len <= (abstract ? 1 : 0))
		return -EINVAL;
	if (len >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	memcpy(un.sun_path, name, len + 1);
	if (abstract)
		un.sun_path[0] = '\0';
	*out = (struct thrum_address){0};
	memcpy(&out->addr, &un, sizeof(un));
	/* An abstract name ends with the length, a path with its NUL. */
	out->len = (socklen_t)(UNIX_PATH_AT + len + (abstract ? 0 : 1));
	return 0;
}

/* Copies text[0..len) and a NUL. 0 or -ENAMETOOLONG. */
static int copy_part(char *out, size_t cap, const char *text, size_t len)
{
	if (len >= cap)
		return -ENAMETOOLONG;
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

int thrum__endpoint_parse(struct thrum__endpoint *out, const char *text)
{
	*out = (struct thrum__endpoint){0};
	if (strncmp(text, "unix:", 5) == 0) {
		out->is_unix = true;
		return parse_unix(&out->local, text + 5);
	}
	const char *colon = strrchr(text, ':');
	if (colon == NULL || colon[1] == '\0')
		return -EINVAL;
	const char *host = text;
	size_t len = (size_t)(colon - text);
	if (text[0] == '[') {
		if (len < 3 || colon[-1] != ']')
			return -EINVAL;
		host++;
		len -= 2;
	} else if (memchr(text, ':', len) != NULL) {
		return -EINVAL; /* an IPv6 address without brackets: where would its port begin? */
	}
	int r = copy_part(out->host, sizeof(out->host), host, len);
	if (r == 0)
		r = copy_part(out->service, sizeof(out->service), colon + 1, strlen(colon + 1));
	/* Who looks a number up that is too big would cut it to its low bits. */
	if (r == 0 && strspn(out->service, "0123456789") == strlen(out->service) &&
		strtoul(out->service, NULL, 10) > UINT16_MAX)
		r = -EINVAL;
	return r;
}

/* Moves IPv6 addresses before IPv4 ones, order kept otherwise: a wildcard pair is at most two. */
static void prefer_ipv6(struct thrum_dns_result *result)
{
	for (size_t i = 1; i < result->count; i++) {
		struct thrum_address address = result->addresses[i];
		size_t at = i;
		if (address.addr.ss_family != AF_INET6)
			continue;
		for (; at > 0 && result->addresses[at - 1].addr.ss_family == AF_INET; at--)
			result->addresses[at] = result->addresses[at - 1];
		result->addresses[at] = address;
	}
}

int thrum__endpoint_resolve(struct thrum_dns_result *out, const struct thrum__endpoint *endpoint,
	bool passive, thrum_deadline deadline)
{
	if (endpoint->is_unix) {
		struct thrum_address *address = malloc(sizeof(*address));
		if (address == NULL)
			return -ENOMEM;
		*address = endpoint->local;
		*out = (struct thrum_dns_result){.addresses = address, .count = 1};
		return 0;
	}
	int r = thrum__dns_resolve(
		out, endpoint->host, endpoint->service, passive ? AI_PASSIVE : 0, deadline);
	if (r == 0 && passive && endpoint->host[0] == '\0')
		prefer_ipv6(out);
	return r;
}

/* snprintf's result as ours. */
static int fitted(int n, size_t cap)
{
	return n >= 0 && (size_t)n < cap ? 0 : -ENOSPC;
}

static int format_in6(const struct sockaddr_in6 *in6, char *out, size_t cap)
{
	char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE + 1] = "";
	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	if (in6->sin6_scope_id != 0) {
		zone[0] = '%';
		if (if_indextoname(in6->sin6_scope_id, zone + 1) == NULL)
			snprintf(zone + 1, IF_NAMESIZE, "%u", in6->sin6_scope_id);
	}
	return fitted(snprintf(out, cap, "[%s%s]:%u", host, zone, ntohs(in6->sin6_port)), cap);
}

static int format_unix(const struct thrum_address *address, char *out, size_t cap)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address->addr;
	size_t len = address->len > UNIX_PATH_AT ? address->len - UNIX_PATH_AT : 0;
	char name[sizeof(un->sun_path) + 1];
	memcpy(name, un->sun_path, len);
	if (len > 0 && name[0] == '\0')
		for (size_t i = 0; i < len;
			i++) /* other NULs of an abstract name have no spelling */
			name[i] = name[i] ? name[i] : '@';
	name[len] = '\0';
	return fitted(snprintf(out, cap, "unix:%s", name), cap);
}

int thrum_address_format(const struct thrum_address *address, char *out, size_t cap)
{
	switch (address->addr.ss_family) {
	case AF_INET: {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&address->addr;
		char host[INET_ADDRSTRLEN];
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		return fitted(snprintf(out, cap, "%s:%u", host, ntohs(in->sin_port)), cap);
	}
	case AF_INET6:
		return format_in6((const struct sockaddr_in6 *)&address->addr, out, cap);
	case AF_UNIX:
		return format_unix(address, out, cap);
	default:
		return -EAFNOSUPPORT;
	}
}

int thrum__socket_address(int fd, bool peer, char *out, size_t cap)
{
	struct thrum_address address = {.len = sizeof(address.addr)};
	struct sockaddr *addr = (struct sockaddr *)&address.addr;
	int r = peer ? getpeername(fd, addr, &address.len) : getsockname(fd, addr, &address.len);
	if (r < 0)
		return thrum__last_error();
	return thrum_address_format(&address, out, cap);
}
