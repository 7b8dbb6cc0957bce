/* SPDX-License-Identifier: MIT */
/* Each message arrives exactly once, in its sender's order, whoever gives up in the middle. */
#include <thrum/channel.h>

#include "../sync/fixture.h"

enum { SENDERS = 8, PER_SENDER = 400 };

struct message {
	uint32_t sender, number;
	uint64_t check;
};

struct storm {
	struct thrum_channel *channel;
	uint64_t seed;
	unsigned next_sender, next_receiver;
	uint8_t sent[SENDERS + 2][PER_SENDER];
	uint8_t received[SENDERS + 2][PER_SENDER];
	int broken, disorder;
};

static thrum_deadline random_deadline(uint64_t *random)
{
	uint64_t dice = thrum__splitmix64(random);

	if (dice % 4 == 0)
		return THRUM_NOW;
	return dice % 4 == 1 ? thrum_after((int64_t)(dice / 4 % 60) * THRUM_US) : THRUM_FOREVER;
}

static void *storm_send(void *arg)
{
	struct storm *s = arg;
	uint32_t me = atomic_add(&s->next_sender, 1) - 1;
	uint64_t random = seed_for(s->seed, me);

	for (uint32_t i = 0; i < PER_SENDER; i++) {
		struct message m = {me, i, me * UINT64_C(1000003) + i};
		int result = thrum_channel_send(s->channel, &m, random_deadline(&random));
		s->sent[me][i] = result == 0;
		if (result == -ECANCELED)
			break;
		if (thrum__splitmix64(&random) % 8 == 0)
			thrum_yield();
	}
	return NULL;
}

static void *storm_recv(void *arg)
{
	struct storm *s = arg;
	uint64_t random = seed_for(s->seed, 100 + atomic_add(&s->next_receiver, 1));
	uint32_t last[SENDERS + 2] = {0};
	struct message m;
	int result;

	while ((result = thrum_channel_recv(s->channel, &m, random_deadline(&random))) !=
		THRUM_EEOF) {
		if (result == -ECANCELED)
			break;
		if (result < 0) {
			thrum_yield();
			continue;
		}
		if (m.sender >= SENDERS + 2 || m.number >= PER_SENDER ||
			m.check != m.sender * UINT64_C(1000003) + m.number) {
			atomic_add(&s->broken, 1);
			continue;
		}
		if (m.number + 1 <= last[m.sender])
			atomic_add(&s->disorder, 1);
		last[m.sender] = m.number + 1;
		atomic_add(&s->received[m.sender][m.number], 1);
	}
	return NULL;
}

static void *storm_receivers(void *arg)
{
	struct storm *s = arg;
	struct thrum_thread *threads[SENDERS];
	uint64_t random = seed_for(s->seed, 1000);

	for (int i = 0; i < SENDERS; i++)
		threads[i] = green(storm_recv, s);
	for (int i = 1; i < SENDERS; i++) { /* the first one stays */
		if (thrum__splitmix64(&random) % 3 == 0)
			thrum_cancel(threads[i]);
		thrum_yield();
	}
	for (int i = 0; i < SENDERS; i++)
		join_green(threads[i]);
	return NULL;
}

static void *storm_senders(void *arg)
{
	struct storm *s = arg;
	struct thrum_thread *threads[SENDERS];
	uint64_t random = seed_for(s->seed, 2000);

	for (int i = 0; i < SENDERS; i++)
		threads[i] = green(storm_send, s);
	for (int i = 0; i < SENDERS; i++) {
		if (thrum__splitmix64(&random) % 3 == 0)
			thrum_cancel(threads[i]);
		thrum_yield();
	}
	for (int i = 0; i < SENDERS; i++)
		join_green(threads[i]);
	return NULL;
}

struct runtime {
	unsigned workers;
	thrum_fn fn;
	void *arg;
};

static void *run_beside(void *arg)
{
	struct runtime *r = arg;
	struct thrum_config config = {.workers = r->workers};

	CHECK(thrum_run(&config, r->fn, r->arg, NULL) == 0);
	return NULL;
}

/* Senders in one runtime, receivers in another, OS threads on both sides. */
static void storm(unsigned workers, size_t capacity)
{
	struct storm *s = calloc(1, sizeof(*s));
	ck_assert_int_eq(
		thrum_channel_create(&s->channel, sizeof(struct message), capacity), 0);
	s->seed = test_seed("channel storm");
	struct runtime senders = {workers, storm_senders, s}, receivers = {2, storm_receivers, s};
	pthread_t os[5] = {os_thread(run_beside, &senders), os_thread(storm_send, s),
		os_thread(storm_send, s), os_thread(run_beside, &receivers),
		os_thread(storm_recv, s)};

	for (int i = 0; i < 3; i++)
		join_os(os[i]);
	thrum_channel_close(s->channel);
	join_os(os[3]);
	join_os(os[4]);
	ck_assert_int_eq(s->broken, 0);
	ck_assert_int_eq(s->disorder, 0);
	int sent = 0;
	for (int i = 0; i < SENDERS + 2; i++)
		for (int k = 0; k < PER_SENDER; k++) {
			ck_assert_uint_eq(s->sent[i][k], s->received[i][k]);
			sent += s->sent[i][k];
		}
	ck_assert_int_gt(sent, 0);
	thrum_channel_unref(s->channel);
	free(s);
}

START_TEST(every_message_arrives_exactly_once_through_a_small_ring)
{
	storm(worker_counts[_i], 3);
}
END_TEST

START_TEST(every_message_arrives_exactly_once_from_hand_to_hand)
{
	storm(worker_counts[_i], 0);
}
END_TEST

Suite *suite_channel_storm(void)
{
	Suite *suite = suite_create("chan/channel_storm");
	TCase *stress = tcase_create("stress");
	add_for_workers(stress, every_message_arrives_exactly_once_through_a_small_ring);
	add_for_workers(stress, every_message_arrives_exactly_once_from_hand_to_hand);
	suite_add_tcase(suite, stress);
	return suite;
}
