/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "ctx/sanitizer.h"
#include "ctx/stack.h"
#include "../emulated.h"

/* ---------------------------------------------------------------- a kernel of our own making */

/*
 * The test binary is linked so that the kernel calls of src/ctx come here: they can be refused one
 * by one, or as an old kernel would.
 */
enum kernel { NEW, WITHOUT_VECTORS, WITHOUT_GUARDS };

static struct {
	enum kernel kernel;
	unsigned long at;    /* the call that fails; 0: none */
	unsigned long count; /* atomic: calls so far */
} fake;

enum { GUARD_INSTALL = 102 };

static bool fails(void)
{
	return __atomic_add_fetch(&fake.count, 1, __ATOMIC_RELAXED) == fake.at;
}

void *__real_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (fails()) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(at, size, prot, flags, fd, offset);
}

int __real_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice)
{
	if (advice == GUARD_INSTALL && fake.kernel == WITHOUT_GUARDS) {
		errno = EINVAL;
		return -1;
	}
	if (fails()) {
		errno = ENOMEM;
		return -1;
	}
	return __real_madvise(at, size, advice);
}

int __real_mprotect(void *at, size_t size, int prot);
int __wrap_mprotect(void *at, size_t size, int prot);
int __wrap_mprotect(void *at, size_t size, int prot)
{
	if (fails()) {
		errno = ENOMEM;
		return -1;
	}
	return __real_mprotect(at, size, prot);
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if (number == SYS_process_madvise) {
		if (fake.kernel != NEW) {
			errno = fake.kernel == WITHOUT_GUARDS ? EINVAL : ENOSYS;
			return -1;
		}
		if (fails()) {
			errno = ENOMEM;
			return -1;
		}
	}
	return __real_syscall(number, a, b, c, d, e, f);
}

/* ---------------------------------------------------------------- helpers */

static struct thrum__stack_cache cache;

static struct thrum__stack get(size_t want)
{
	struct thrum__stack stack = {0};
	ck_assert_int_eq(thrum__stack_get(&cache, thrum__stack_size(want), &stack), 0);
	return stack;
}

static char *end_of(struct thrum__stack stack)
{
	return (char *)stack.base + stack.size;
}

static void put_all(struct thrum__stack *stacks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		thrum__stack_put(&cache, &stacks[i]);
}

static void finish(void)
{
	thrum__stack_cache_fini(&cache);
	thrum__stack_trim();
	struct thrum__stack_stats stats = thrum__stack_stats();
	ck_assert_uint_eq(stats.mapped, 0);
	ck_assert_uint_eq(stats.free, 0);
	ck_assert_uint_eq(stats.used, 0);
}

/* True if the byte can be read, found out without a signal. */
static bool readable(const char *byte)
{
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	ssize_t written = write(ends[1], byte, 1);
	ck_assert(written == 1 || errno == EFAULT);
	close(ends[0]);
	close(ends[1]);
	return written == 1;
}

static void check_guard(struct thrum__stack stack)
{
	char *base = stack.base;
	ck_assert(!readable(base - 1));
	ck_assert(!readable(base - thrum__stack_guard()));
	ck_assert(readable(base));
	ck_assert(readable(end_of(stack) - 1));
}

/* ---------------------------------------------------------------- sizes */

START_TEST(a_request_gets_at_least_15_16_of_its_size)
{
	static const size_t wants[] = {1, 4096, 16384, 16385, 65536, 100000, 245760, 245761, 262144,
		262145, 1 << 20, 3 << 20, 1 << 24, 1 << 30};
	for (size_t i = 0; i < thrum__countof(wants); i++) {
		size_t size = thrum__stack_size(wants[i]);
		ck_assert_uint_eq(size & (size - 1), 0);
		ck_assert_uint_ge(size - thrum__stack_guard(), wants[i] - wants[i] / 16);
	}
	ck_assert_uint_eq(thrum__stack_size(0), thrum__stack_size(THRUM__STACK_DEFAULT));
#if !defined(THRUM__ASAN) && !defined(THRUM__TSAN)
	if (thrum__stack_guard() == 16384)
		ck_assert_uint_eq(thrum__stack_size(0), THRUM__STACK_DEFAULT);
#endif
}
END_TEST

START_TEST(absurd_sizes_are_refused)
{
	ck_assert_uint_eq(thrum__stack_size(SIZE_MAX), 0);
	ck_assert_uint_eq(thrum__stack_size(((size_t)1 << 40) + 1), 0);
	struct thrum__stack huge;
	ck_assert_int_eq(thrum__stack_get(&cache, (size_t)1 << 47, &huge), -ENOMEM);
	finish();
}
END_TEST

START_TEST(a_large_stack_that_cannot_be_had_is_known_to_be_impossible)
{
	size_t large = thrum__stack_size((size_t)1 << 30);
	ck_assert(thrum__stack_possible(thrum__stack_size(0)));
	ck_assert(thrum__stack_possible(large));
	ck_assert(!thrum__stack_possible((size_t)1 << 47));
	fake.count = 0;
	fake.at = 2; /* the mapping, after its slab */
	ck_assert(!thrum__stack_possible(large));
	fake.at = 0;
	ck_assert(thrum__stack_possible(large));
	finish();
}
END_TEST

START_TEST(a_large_stack_is_mapped_for_its_use_alone)
{
	size_t want = (size_t)64 << 20;
	ck_assert(thrum__stack_is_large(thrum__stack_size(want)));
	ck_assert(!thrum__stack_is_large(thrum__stack_size(0)));
	struct thrum__stack stack = get(want);
	check_guard(stack);
	*(char *)stack.base = *(end_of(stack) - 1) = 1;
	char *last = end_of(stack) - 1;
	thrum__stack_put(&cache, &stack);
	ck_assert(!readable(last));
	finish();
}
END_TEST

/* ---------------------------------------------------------------- getting and putting */

enum { CROWD = 1000 };
static struct thrum__stack crowd[CROWD];

static void get_crowd(size_t want)
{
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = get(want);
		*(int *)crowd[i].base = i + 1;
		*((int *)end_of(crowd[i]) - 1) = i + 1;
	}
}

static void check_crowd(int step)
{
	for (int i = 0; i < CROWD; i += step) {
		ck_assert_int_eq(*(int *)crowd[i].base, i + 1);
		ck_assert_int_eq(*((int *)end_of(crowd[i]) - 1), i + 1);
	}
}

static int by_base(const void *a, const void *b)
{
	const struct thrum__stack *left = a, *right = b;
	return left->base < right->base ? -1 : left->base > right->base;
}

START_TEST(neighbours_lie_at_exact_distances_and_do_not_overlap)
{
	size_t size = thrum__stack_size(0), near = 0;
	get_crowd(0);
	check_crowd(1);
	qsort(crowd, CROWD, sizeof(crowd[0]), by_base);
	for (int i = 1; i < CROWD; i++) {
		size_t distance = (size_t)((char *)crowd[i].base - (char *)crowd[i - 1].base);
		ck_assert_uint_ge(distance, size);
		near += distance == size;
	}
	ck_assert_uint_gt(near, CROWD * 9 / 10);
	put_all(crowd, CROWD);
	finish();
}
END_TEST

START_TEST(a_stack_is_found_again_from_its_home)
{
	for (size_t want = 1; want <= (size_t)1 << 26; want *= 8) {
		struct thrum__stack stack = get(want), again = thrum__stack_at(stack.home);
		ck_assert_ptr_eq(again.base, stack.base);
		ck_assert_uint_eq(again.size, stack.size);
		ck_assert_uint_eq(again.home, stack.home);
		thrum__stack_put(&cache, &again);
	}
	finish();
}
END_TEST

START_TEST(the_last_one_given_back_is_used_first)
{
	struct thrum__stack a = get(0), b = get(0);
	void *last = b.base;
	thrum__stack_put(&cache, &a);
	thrum__stack_put(&cache, &b);
	a = get(0);
	ck_assert_ptr_eq(a.base, last);
	thrum__stack_put(&cache, &a);
	ck_assert_ptr_null(a.base);
	finish();
}
END_TEST

START_TEST(stacks_that_have_memory_are_used_before_others)
{
	get_crowd(0);
	struct thrum__stack last = crowd[CROWD / 2 + 5]; /* not the first nor the last of its slab */
	crowd[CROWD / 2 + 5] = crowd[0];
	put_all(crowd + 1, CROWD - 1);
	thrum__stack_cache_trim(&cache);
	thrum__stack_trim();
	/* Those that stayed have no memory, but for this one. */
	ck_assert_uint_gt(thrum__stack_stats().free, 0);
	void *warm = last.base;
	thrum__stack_put(&cache, &last);
	thrum__stack_cache_trim(&cache);
	ck_assert_uint_eq(thrum__stack_stats().used, 1);
	crowd[0] = get(0);
	ck_assert_ptr_eq(crowd[0].base, warm);
	thrum__stack_put(&cache, &crowd[0]);
	finish();
}
END_TEST

START_TEST(sizes_do_not_mix)
{
	static struct thrum__stack other[100];
	for (int i = 0; i < 100; i++) {
		crowd[i] = get(i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : 1 << 20);
		ck_assert_uint_ge(crowd[i].size, i % 3 == 2 ? 900000 : 16384);
	}
	put_all(crowd, 100);
	for (int i = 0; i < 100; i++) {
		other[i] = get(1 << 20);
		ck_assert_uint_ge(other[i].size, 900000);
		check_guard(other[i]);
	}
	put_all(other, 100);
	finish();
}
END_TEST

START_TEST(every_stack_has_its_guard)
{
	fake.kernel = (enum kernel)_i;
	get_crowd(0);
	for (int i = 0; i < CROWD; i += 7)
		check_guard(crowd[i]);
	put_all(crowd, CROWD);
	finish();
}
END_TEST

/* ---------------------------------------------------------------- giving memory back */

#if !defined(THRUM__ASAN) && !defined(THRUM__TSAN)

static size_t resident_pages(void)
{
	size_t size, resident;
	FILE *file = fopen("/proc/self/statm", "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%zu %zu", &size, &resident), 2);
	fclose(file);
	return resident;
}

START_TEST(the_memory_of_a_burst_falls_back_after_a_trim)
{
	enum { BURST = 100000 };
	struct thrum__stack *stacks = calloc(BURST, sizeof(stacks[0]));
	ck_assert_ptr_nonnull(stacks);
	memset(stacks, 1, BURST * sizeof(stacks[0]));
	bool known = !space_costs_memory();
	size_t before = resident_pages(), count = 0;
	/* An emulator is slow at it, and guards that need mappings of their own are not so many. */
	while (count < (known ? BURST : BURST / 10) &&
		thrum__stack_get(&cache, thrum__stack_size(0), &stacks[count]) == 0)
		end_of(stacks[count++])[-1] = 1;
	ck_assert_uint_ge(count, BURST / 10);
	ck_assert_uint_ge(resident_pages(), before + count);
	put_all(stacks, count);
	ck_assert_uint_ge(thrum__stack_stats().used, count - THRUM__STACK_CACHE);
	thrum__stack_cache_trim(&cache);
	thrum__stack_trim();
	if (known)
		ck_assert_uint_lt(resident_pages(), before + count / 50);
	ck_assert_uint_eq(thrum__stack_stats().mapped, 0);
	free(stacks);
	finish();
}
END_TEST

#endif

START_TEST(a_trim_leaves_alone_what_is_in_use)
{
	fake.kernel = (enum kernel)_i;
	get_crowd(0);
	for (int i = 0; i < CROWD; i++)
		if (i % 5 != 0)
			thrum__stack_put(&cache, &crowd[i]);
	thrum__stack_cache_trim(&cache);
	thrum__stack_trim();
	check_crowd(5);
	struct thrum__stack_stats stats = thrum__stack_stats();
	ck_assert_uint_eq(stats.used, 0);
	ck_assert_uint_ge(stats.free, CROWD * 4 / 5);
	/* What had to keep its address space is zero, and guarded as before. */
	for (int i = 0; i < CROWD; i++) {
		if (i % 5 == 0)
			continue;
		crowd[i] = get(0);
		ck_assert_int_eq(*((int *)end_of(crowd[i]) - 1), 0);
		if (i % 7 == 0)
			check_guard(crowd[i]);
	}
	check_crowd(5);
	put_all(crowd, CROWD);
	finish();
}
END_TEST

/* Ends the window of the last decay, and does all that this makes due. */
static void decay(void)
{
	static int64_t now = THRUM_S;
	now += 2 * THRUM_S;
	for (int i = 0; i < 100; i++)
		thrum__stack_decay(now);
}

START_TEST(a_decay_gives_back_half_of_what_was_to_spare)
{
	get_crowd(0);
	put_all(crowd, CROWD);
	thrum__stack_cache_trim(&cache);
	decay(); /* the window began with an empty pool, so nothing goes yet */
	size_t used = thrum__stack_stats().used;
	ck_assert_uint_ge(used, CROWD);
	decay();
	ck_assert_uint_le(thrum__stack_stats().used, used / 2 + 64); /* a slab more or less */
	ck_assert_uint_ge(thrum__stack_stats().used, used / 2 - 64);
	for (int i = 0; i < 12; i++)
		decay();
	ck_assert_uint_eq(thrum__stack_stats().used, 0);
	finish();
}
END_TEST

START_TEST(a_decay_takes_a_step_at_a_time)
{
	get_crowd(0);
	put_all(crowd, CROWD);
	thrum__stack_cache_trim(&cache);
	decay();
	size_t used = thrum__stack_stats().used;
	int64_t now = 1000 * THRUM_S;
	thrum__stack_decay(now);
	ck_assert_uint_lt(thrum__stack_stats().used, used);
	ck_assert_uint_ge(thrum__stack_stats().used, used - 320);
	for (int i = 0; i < 100; i++)
		thrum__stack_decay(now);
	ck_assert_uint_le(thrum__stack_stats().used, used / 2 + 64);
	ck_assert_uint_ge(thrum__stack_stats().used, used / 2 - 64);
	finish();
}
END_TEST

START_TEST(a_decay_leaves_what_has_found_a_use_since)
{
	get_crowd(0);
	put_all(crowd, CROWD);
	thrum__stack_cache_trim(&cache);
	decay();
	int64_t now = 1000 * THRUM_S;
	thrum__stack_decay(now); /* half is due now, and a step of it done */
	get_crowd(0);
	put_all(crowd, CROWD);
	size_t used = thrum__stack_stats().used;
	for (int i = 0; i < 100; i++)
		thrum__stack_decay(now);
	ck_assert_uint_ge(thrum__stack_stats().used, used - 64);
	finish();
}
END_TEST

START_TEST(a_decay_keeps_what_is_used_again_and_again)
{
	get_crowd(0);
	put_all(crowd, CROWD);
	decay();
	size_t mapped = thrum__stack_stats().mapped;
	for (int i = 0; i < 10; i++) {
		get_crowd(0);
		put_all(crowd, CROWD);
		/* Nothing was to spare but what a batch leaves over. */
		decay();
		ck_assert_uint_ge(thrum__stack_stats().used, CROWD - THRUM__STACK_CACHE - 128);
	}
	ck_assert_uint_le(thrum__stack_stats().mapped, mapped + 128);
	finish();
}
END_TEST

START_TEST(a_processor_that_ends_leaves_a_bounded_pool)
{
	static struct thrum__stack many[THRUM__STACK_POOL + 500];
	for (size_t i = 0; i < thrum__countof(many); i++)
		many[i] = get(1);
	put_all(many, thrum__countof(many));
	thrum__stack_cache_fini(&cache);
	ck_assert_uint_le(thrum__stack_stats().used, THRUM__STACK_POOL);
	ck_assert_uint_ge(thrum__stack_stats().used, THRUM__STACK_POOL - 64);
	finish();
}
END_TEST

/* ---------------------------------------------------------------- when memory or mappings fail */

START_TEST(whatever_the_kernel_refuses_is_enomem_and_leaks_nothing)
{
	fake.kernel = (enum kernel)_i;
	for (unsigned long at = 1;; at++) {
		fake.at = at;
		fake.count = 0;
		int err = 0, got = 0;
		for (; got < 150 && err == 0; got += err == 0)
			err = thrum__stack_get(&cache, thrum__stack_size(0), &crowd[got]);
		bool swept = fake.count < at;
		ck_assert(err == 0 || err == -ENOMEM);
		fake.at = 0;
		/* It works again at once. */
		while (got < 200)
			crowd[got++] = get(0);
		for (int i = 0; i < got; i += 13)
			check_guard(crowd[i]);
		put_all(crowd, (size_t)got);
		finish();
		if (swept)
			break;
	}
}
END_TEST

#if !defined(THRUM__ASAN) && !defined(THRUM__TSAN)

enum { PAGE = 4096, MAPPINGS = 300000 };

/*
 * Uses up all mappings the process may have: every other page is of another kind. Where a system
 * allows more the test only shows that nothing breaks.
 */
static void use_up_mappings(char *from)
{
	for (size_t i = 0; i < MAPPINGS; i += 2)
		if (__real_mprotect(from + i * PAGE, PAGE, PROT_READ) != 0)
			return;
}

START_TEST(stacks_are_given_back_although_no_mapping_can_be_split)
{
	fake.kernel = (enum kernel)_i;
	char *space = mmap(NULL, (size_t)MAPPINGS * PAGE, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(space, MAP_FAILED);
	get_crowd(0);
	use_up_mappings(space);
	/* Every fifth stays in use, so that only some slabs can go. */
	for (int i = 0; i < CROWD; i++)
		if (i % 100 != 0)
			thrum__stack_put(&cache, &crowd[i]);
	thrum__stack_cache_trim(&cache);
	thrum__stack_trim();
	ck_assert_uint_eq(thrum__stack_stats().used, 0);
	check_crowd(100);
	munmap(space, (size_t)MAPPINGS * PAGE);
	for (int i = 0; i < CROWD; i += 100)
		thrum__stack_put(&cache, &crowd[i]);
	finish();
}
END_TEST

START_TEST(without_guard_support_stacks_are_refused_when_mappings_run_out)
{
	enum { MOST = 100000 };
	struct thrum__stack *stacks = calloc(MOST, sizeof(stacks[0]));
	ck_assert_ptr_nonnull(stacks);
	fake.kernel = WITHOUT_GUARDS;
	int err = 0, got = 0;
	for (; got < MOST && err == 0; got += err == 0)
		err = thrum__stack_get(&cache, thrum__stack_size(1), &stacks[got]);
	if (err != 0) { /* a system may allow more mappings */
		ck_assert_int_eq(err, -ENOMEM);
		ck_assert_int_gt(got, 10000);
	}
	for (int i = 0; i < got; i += 1111)
		check_guard(stacks[i]);
	put_all(stacks, (size_t)got);
	free(stacks);
	finish();
}
END_TEST

#endif

/* ---------------------------------------------------------------- high-water marks */

START_TEST(the_high_water_mark_is_exact_to_the_word)
{
	static const size_t depths[] = {8, 64, 4096, 5000, 40000, 40960, 100008, 200000, 245760};
	for (size_t i = 0; i < thrum__countof(depths); i++) {
		struct thrum__stack stack = get(0);
		if (i % 2 == 0) /* what earlier lives left */
			memset(stack.base, 0xff, stack.size);
		thrum__stack_clean(&stack);
		ck_assert_uint_eq(thrum__stack_used(&stack), 0);
		end_of(stack)[-(ptrdiff_t)depths[i]] = 1;
		ck_assert_uint_eq(thrum__stack_used(&stack), (depths[i] + 7) / 8 * 8);
		thrum__stack_put(&cache, &stack);
	}
	finish();
}
END_TEST

START_TEST(looking_at_a_high_water_mark_takes_no_memory)
{
	struct thrum__stack stack = get(1 << 20);
	thrum__stack_clean(&stack);
	end_of(stack)[-1] = 1;
	ck_assert_uint_eq(thrum__stack_used(&stack), 8);
	unsigned char resident = 1;
	ck_assert_int_eq(mincore(stack.base, 1, &resident), 0);
	ck_assert_int_eq(resident & 1, 0);
	thrum__stack_put(&cache, &stack);
	finish();
}
END_TEST

/* ---------------------------------------------------------------- several OS threads */

enum { OS_THREADS = 4, ROUNDS = 300, HELD = 60 };

static uint64_t next_random(uint64_t *seed)
{
	return thrum__splitmix64(seed);
}

/* Holds a changing set of stacks and finds its own mark in each. */
static void *storm(void *arg)
{
	uint64_t seed = (uintptr_t)arg, bad = 0;
	struct thrum__stack held[HELD] = {{0}};
	struct thrum__stack_cache own = {.count = 0};
	for (int round = 0; round < ROUNDS * HELD; round++) {
		struct thrum__stack *stack = &held[next_random(&seed) % HELD];
		if (stack->base == NULL) {
			size_t size = thrum__stack_size(next_random(&seed) % 4 == 0 ? 1 : 0);
			if (thrum__stack_get(&own, size, stack) != 0)
				return arg;
			*(uint64_t *)stack->base = (uintptr_t)stack;
		} else {
			bad += *(uint64_t *)stack->base != (uintptr_t)stack;
			thrum__stack_put(&own, stack);
		}
		if (round % 97 == 0)
			thrum__stack_decay(round * THRUM_MS * 100);
		if (round % 1013 == 0)
			thrum__stack_trim();
	}
	for (int i = 0; i < HELD; i++)
		if (held[i].base != NULL)
			thrum__stack_put(&own, &held[i]);
	thrum__stack_cache_fini(&own);
	return bad == 0 ? NULL : arg;
}

START_TEST(no_stack_is_handed_out_twice)
{
	const char *given = getenv("THRUM_SEED");
	unsigned long seed = given != NULL ? strtoul(given, NULL, 0) : (unsigned long)getpid();
	printf("no_stack_is_handed_out_twice: THRUM_SEED=%lu\n", seed);
	pthread_t threads[OS_THREADS];
	for (unsigned long i = 0; i < OS_THREADS; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, storm, (void *)(seed * 8 + i + 1)), 0);
	for (int i = 0; i < OS_THREADS; i++) {
		void *failed;
		ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
		ck_assert_ptr_null(failed);
	}
	finish();
}
END_TEST

Suite *suite_stack(void)
{
	Suite *suite = suite_create("ctx/stack");
	TCase *sizes = tcase_create("sizes");
	tcase_add_test(sizes, a_request_gets_at_least_15_16_of_its_size);
	tcase_add_test(sizes, absurd_sizes_are_refused);
	tcase_add_test(sizes, a_large_stack_that_cannot_be_had_is_known_to_be_impossible);
	tcase_add_test(sizes, a_large_stack_is_mapped_for_its_use_alone);
	suite_add_tcase(suite, sizes);
	TCase *use = tcase_create("use");
	tcase_add_test(use, neighbours_lie_at_exact_distances_and_do_not_overlap);
	tcase_add_test(use, a_stack_is_found_again_from_its_home);
	tcase_add_test(use, the_last_one_given_back_is_used_first);
	tcase_add_test(use, stacks_that_have_memory_are_used_before_others);
	tcase_add_test(use, sizes_do_not_mix);
	tcase_add_loop_test(use, every_stack_has_its_guard, NEW, WITHOUT_GUARDS + 1);
	tcase_add_test(use, the_high_water_mark_is_exact_to_the_word);
	tcase_add_test(use, looking_at_a_high_water_mark_takes_no_memory);
	tcase_add_test(use, no_stack_is_handed_out_twice);
	suite_add_tcase(suite, use);
	TCase *memory = tcase_create("memory");
	tcase_add_loop_test(memory, a_trim_leaves_alone_what_is_in_use, NEW, WITHOUT_GUARDS + 1);
	tcase_add_test(memory, a_decay_gives_back_half_of_what_was_to_spare);
	tcase_add_test(memory, a_decay_takes_a_step_at_a_time);
	tcase_add_test(memory, a_decay_leaves_what_has_found_a_use_since);
	tcase_add_test(memory, a_decay_keeps_what_is_used_again_and_again);
	tcase_add_test(memory, a_processor_that_ends_leaves_a_bounded_pool);
	tcase_add_loop_test(memory, whatever_the_kernel_refuses_is_enomem_and_leaks_nothing, NEW,
		WITHOUT_GUARDS + 1);
#if !defined(THRUM__ASAN) && !defined(THRUM__TSAN)
	/* They count the process's memory and mappings, of which a sanitizer has its own. */
	tcase_add_test(memory, the_memory_of_a_burst_falls_back_after_a_trim);
	tcase_add_loop_test(memory, stacks_are_given_back_although_no_mapping_can_be_split, NEW,
		WITHOUT_GUARDS + 1);
	tcase_add_test(memory, without_guard_support_stacks_are_refused_when_mappings_run_out);
#endif
	suite_add_tcase(suite, memory);
	return suite;
}
