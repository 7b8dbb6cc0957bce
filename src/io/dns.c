/* SPDX-License-Identifier: MIT */
#include <thrum/dns.h>

#include "io/io.h"

#include <errno.h>
#include <netdb.h>

/*
 * getaddrinfo blocks for as long as name servers please, so it runs on an OS thread of its own and
 * the caller waits with a deadline. Who gives up first, the caller or the lookup, must not matter:
 *
 *   - the lookup has two references, the caller's and the OS thread's; the last one frees it
 *   - wait points into the caller's stack. The caller clears it, under the lock, before it returns;
 * the OS thread claims and wakes it under the same lock. So the OS thread never sees a wait that is
 * gone.
 */
struct lookup {
	struct thrum__job job;
	struct thrum__lock lock;
	struct thrum__wait *wait; /* under the lock; NULL: the caller has gone */
	uint32_t refs;            /* atomic */
	int flags;
	int error;                      /* written by the OS thread before its claim */
	struct thrum_dns_result result; /* the same */
	char host[THRUM__HOST_MAX], service[THRUM__SERVICE_MAX];
};

/* getaddrinfo's error as ours. */
static int translate(int code)
{
	switch (code) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
	case EAI_FAIL:
		return THRUM_ENOHOST;
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return thrum__last_error();
	default:
		return -EINVAL;
	}
}

static int copy_list(struct thrum_dns_result *out, const struct addrinfo *list)
{
	size_t count = 0;
	for (const struct addrinfo *it = list; it != NULL; it = it->ai_next)
		count += it->ai_addrlen <= sizeof(out->addresses->addr);
	if (count == 0)
		return THRUM_ENOHOST;
	struct thrum_address *addresses = calloc(count, sizeof(*addresses));
	if (addresses == NULL)
		return -ENOMEM;
	*out = (struct thrum_dns_result){.addresses = addresses};
	for (const struct addrinfo *it = list; it != NULL; it = it->ai_next) {
		if (it->ai_addrlen > sizeof(addresses->addr))
			continue;
		memcpy(&addresses[out->count].addr, it->ai_addr, it->ai_addrlen);
		addresses[out->count++].len = it->ai_addrlen;
	}
	return 0;
}

/* getaddrinfo in place. Never suspends. */
static int look_up(struct thrum_dns_result *out, const char *host, const char *service, int flags)
{
	struct addrinfo hints = {.ai_flags = flags, .ai_socktype = SOCK_STREAM}, *list;
	int code = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, &list);
	if (code != 0)
		return translate(code);
	int r = copy_list(out, list);
	freeaddrinfo(list);
	return r;
}

static void unref(struct lookup *lookup)
{
	if (__atomic_fetch_sub(&lookup->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	thrum_dns_result_fini(&lookup->result);
	free(lookup);
}

/* On an OS thread of the pool. */
static void run_lookup(struct thrum__job *job)
{
	struct lookup *lookup = thrum__container_of(job, struct lookup, job);
	lookup->error = look_up(&lookup->result, lookup->host, lookup->service, lookup->flags);
	thrum__lock(&lookup->lock);
	struct thrum__wait *wait = lookup->wait;
	if (wait != NULL && thrum__wait_claim(wait, 1))
		thrum__wait_wake(wait);
	thrum__unlock(&lookup->lock);
	unref(lookup);
}

/* Waits for a submitted lookup and ends the caller's reference. */
static int await(struct lookup *lookup, struct thrum__wait *wait, struct thrum_dns_result *out,
	thrum_deadline deadline)
{
	int r = thrum__wait_park(wait, "name lookup", deadline);
	if (r < 0) {
		thrum__lock(&lookup->lock);
		lookup->wait = NULL;
		thrum__unlock(&lookup->lock);
	} else {
		r = lookup->error;
		if (r == 0) {
			*out = lookup->result;
			lookup->result = (struct thrum_dns_result){0};
		}
	}
	unref(lookup);
	return r;
}

static int copy_name(char *to, size_t cap, const char *from)
{
	size_t len = strlen(from);
	if (len >= cap)
		return -EINVAL;
	memcpy(to, from, len + 1);
	return 0;
}

static int look_up_elsewhere(struct thrum_dns_result *out, const char *host, const char *service,
	int flags, thrum_deadline deadline)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	struct thrum__wait wait;
	if (lookup == NULL)
		return -ENOMEM;
	lookup->refs = 2;
	lookup->flags = flags;
	lookup->job.run = run_lookup;
	lookup->wait = &wait;
	int r = copy_name(lookup->host, sizeof(lookup->host), host);
	if (r == 0)
		r = copy_name(lookup->service, sizeof(lookup->service), service);
	thrum__wait_init(&wait);
	if (r == 0)
		r = thrum__job_submit(&lookup->job);
	if (r < 0) {
		free(lookup);
		return r;
	}
	return await(lookup, &wait, out, deadline);
}

int thrum__dns_resolve(struct thrum_dns_result *out, const char *host, const char *service,
	int flags, thrum_deadline deadline)
{
	if (thrum__cancel_due())
		return -ECANCELED;
	service = service != NULL ? service : "0";
	int r = look_up(out, host, service, flags | AI_NUMERICHOST | AI_NUMERICSERV);
	if (r != THRUM_ENOHOST && r != -EINVAL)
		return r;
	/* Not all numbers: a lookup takes time, and a try has none. */
	if (deadline == THRUM_NOW)
		return -ETIMEDOUT;
	return look_up_elsewhere(out, host, service, flags, deadline);
}

int thrum_dns_resolve(struct thrum_dns_result *out, const char *host, const char *service,
	thrum_deadline deadline)
{
	return thrum__dns_resolve(out, host != NULL ? host : "", service, 0, deadline);
}

void thrum_dns_result_fini(struct thrum_dns_result *result)
{
	free(result->addresses);
	*result = (struct thrum_dns_result){0};
}
