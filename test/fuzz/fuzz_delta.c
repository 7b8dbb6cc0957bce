/* SPDX-License-Identifier: MIT */
/*
 * Everything in src/delta that reads what others wrote. An input is two bytes, which decoder and
 * into what pieces the rest is cut, and the rest. Under libFuzzer (-fsanitize=fuzzer
 * -DTHRUM_LIBFUZZER) the engine has main; otherwise
 *
 *   fuzz_delta [FILE|FOLDER ...]        (test/fuzz/fuzz_delta.corpus)
 *
 * replays the files and then FUZZ_RUNS (20000) seeded mutations of them; THRUM_SEED repeats a run.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "delta/delta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BASIS_LEN = 3000, LIMIT = 1 << 20, MAX_BLOCKS = 4096 };

static const uint8_t *pattern(void)
{
	static uint8_t bytes[BASIS_LEN];
	if (bytes[1] == 0)
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)(i * i / 7 + 1);
	return bytes;
}

/* Runs and destroys job. Checks that each step stays within its bounds. */
static int feed(
	struct delta_job *job, const uint8_t *in, size_t len, size_t piece, struct thrum__buf *out)
{
	struct delta_io io = {.in = in, .out = out};
	int result = DELTA_NEED;
	while (result > 0) {
		if (result == DELTA_NEED) {
			CHECK(io.in_len == 0 && !io.eof);
			io.in_len = len < piece ? len : piece;
			len -= io.in_len;
			io.eof = len == 0;
		}
		size_t left = io.in_len, made = out != NULL ? thrum__buf_len(out) : 0;
		result = delta_step(job, &io);
		CHECK(io.in_len <= left);
		CHECK(out == NULL || thrum__buf_len(out) - made <= 4 * DELTA_STEP_MAX);
	}
	CHECK(result != THRUM_EFORMAT || delta_job_fault(job)->text != NULL);
	return result;
}

static ssize_t read_pattern(void *arg, void *to, size_t len, uint64_t offset)
{
	uint64_t size = *(const uint64_t *)arg;
	if (offset >= size)
		return 0;
	if (len > size - offset)
		len = (size_t)(size - offset);
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = pattern()[(offset + i) % BASIS_LEN];
	return (ssize_t)len;
}

static int patch(
	const uint8_t *delta, size_t len, size_t piece, uint64_t basis_size, struct thrum__buf *out)
{
	struct delta_job *job;
	CHECK(delta_patch_create(&job, read_pattern, &basis_size, LIMIT) == 0);
	int result = feed(job, delta, len, piece, out);
	CHECK(thrum__buf_len(out) <= LIMIT);
	delta_job_destroy(job);
	return result;
}

/* NULL: refused. */
static struct delta_index *load(const uint8_t *signature, size_t len, size_t piece)
{
	struct delta_job *job;
	CHECK(delta_load_create(&job, MAX_BLOCKS) == 0);
	struct delta_index *index = NULL;
	if (feed(job, signature, len, piece, NULL) == 0)
		index = delta_load_take(job);
	delta_job_destroy(job);
	return index;
}

static struct thrum__buf diff(
	const struct delta_index *index, const uint8_t *in, size_t len, size_t piece)
{
	struct thrum__buf out = {0};
	struct delta_job *job;
	CHECK(delta_diff_create(&job, index) == 0);
	CHECK(feed(job, in, len, piece, &out) == 0);
	delta_job_destroy(job);
	return out;
}

/* Any signature that loads gives a delta that can be read; of the right length if copies are in
 * range. */
static void try_signature(const uint8_t *data, size_t len, size_t piece)
{
	struct delta_index *index = load(data, len, piece);
	if (index == NULL)
		return;
	struct thrum__buf delta = diff(index, pattern(), BASIS_LEN, piece), out = {0};
	CHECK(patch(thrum__buf_head(&delta), thrum__buf_len(&delta), piece, UINT64_MAX, &out) == 0);
	CHECK(thrum__buf_len(&out) == BASIS_LEN);
	thrum__buf_fini(&delta);
	thrum__buf_fini(&out);
	delta_index_destroy(index);
}

/* The cut must show neither in the result nor in what comes out. */
static void try_delta(const uint8_t *data, size_t len, size_t piece)
{
	struct thrum__buf a = {0}, b = {0};
	int one = patch(data, len, piece, BASIS_LEN, &a);
	int two = patch(data, len, SIZE_MAX, BASIS_LEN, &b);
	CHECK(one == two && thrum__buf_len(&a) == thrum__buf_len(&b));
	CHECK(thrum__buf_len(&a) == 0 ||
		memcmp(thrum__buf_head(&a), thrum__buf_head(&b), thrum__buf_len(&a)) == 0);
	thrum__buf_fini(&a);
	thrum__buf_fini(&b);
}

struct span {
	const uint8_t *bytes;
	size_t len;
};

static ssize_t read_span(void *arg, void *to, size_t len, uint64_t offset)
{
	const struct span *span = arg;
	if (offset >= span->len)
		return 0;
	if (len > span->len - offset)
		len = span->len - (size_t)offset;
	memcpy(to, span->bytes + offset, len);
	return (ssize_t)len;
}

static bool same(const struct thrum__buf *buf, const struct span *span)
{
	return thrum__buf_len(buf) == span->len &&
	       (span->len == 0 || memcmp(thrum__buf_head(buf), span->bytes, span->len) == 0);
}

/* The rest is block length, kind, and basis and new file of half the bytes each: they must survive
 * the round trip. */
static void try_round_trip(const uint8_t *data, size_t len, size_t piece)
{
	static const uint32_t magics[] = {
		DELTA_MAGIC_MD4, DELTA_MAGIC_BLAKE2, DELTA_MAGIC_RK_MD4, DELTA_MAGIC_RK_BLAKE2};
	if (len < 2)
		return;
	struct span basis = {data + 2, (len - 2) / 2};
	struct span wanted = {data + 2 + basis.len, len - 2 - basis.len};
	struct delta_sign_options options = {
		.size = -1, .block_len = 1 + data[0], .magic = magics[data[1] % 4]};
	struct thrum__buf signature = {0}, out = {0};
	struct delta_job *job;
	CHECK(delta_sign_create(&job, &options) == 0);
	CHECK(feed(job, basis.bytes, basis.len, piece, &signature) == 0);
	delta_job_destroy(job);
	struct delta_index *index =
		load(thrum__buf_head(&signature), thrum__buf_len(&signature), piece);
	if (index != NULL) {
		struct thrum__buf delta = diff(index, wanted.bytes, wanted.len, piece);
		CHECK(delta_patch_create(&job, read_span, &basis, LIMIT) == 0);
		int result =
			feed(job, thrum__buf_head(&delta), thrum__buf_len(&delta), piece, &out);
		CHECK(result == 0 || (result == -EFBIG && wanted.len > LIMIT));
		CHECK(result < 0 || same(&out, &wanted));
		delta_job_destroy(job);
		thrum__buf_fini(&delta);
	}
	delta_index_destroy(index);
	thrum__buf_fini(&signature);
	thrum__buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t piece = 1 + (size_t)data[1] * data[1];
	switch (data[0] % 3) {
	case 0:
		try_signature(data + 2, size - 2, piece);
		break;
	case 1:
		try_delta(data + 2, size - 2, piece);
		break;
	default:
		try_round_trip(data + 2, size - 2, piece);
	}
	return 0;
}

#ifndef THRUM_LIBFUZZER
enum { MAX_FILES = 1000, INPUT_MAX = 64 * 1024 };

static struct thrum__buf corpus[MAX_FILES];
static size_t corpus_len;

static void add_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL || corpus_len == MAX_FILES) {
		fprintf(stderr, "fuzz_delta: cannot take '%s' into the corpus\n", path);
		exit(1);
	}
	struct thrum__buf *buf = &corpus[corpus_len++];
	uint8_t *to = thrum__buf_reserve(buf, INPUT_MAX);
	CHECK(to != NULL);
	thrum__buf_commit(buf, fread(to, 1, INPUT_MAX, file));
	fclose(file);
}

static void add_path(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		add_file(path);
		return;
	}
	struct dirent **names;
	int count = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char name[1024];
		snprintf(name, sizeof(name), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			add_file(name);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

/* A few random changes to bytes[0..len), of which cap may be used; returns the new length. */
static size_t mutate(uint8_t *bytes, size_t len, size_t cap, uint64_t *seed)
{
	static const uint8_t edges[] = {
		0x00, 0x01, 0x40, 0x41, 0x44, 0x45, 0x54, 0x55, 0x7f, 0x80, 0xff};
	unsigned changes = 1 + thrum__splitmix64(seed) % 6;
	while (changes-- > 0) {
		uint64_t r = thrum__splitmix64(seed);
		size_t at = len > 0 ? (r >> 8) % len : 0, n = 1 + (r >> 40) % 32;
		switch (r % 6) {
		case 0: /* one bit */
			if (len > 0)
				bytes[at] ^= (uint8_t)(1 << ((r >> 32) & 7));
			break;
		case 1: /* a byte that means something */
			if (len > 0)
				bytes[at] = edges[(r >> 32) % sizeof(edges)];
			break;
		case 2: /* cut the end */
			len = at;
			break;
		case 3: /* remove */
			n = n < len - at ? n : len - at;
			memmove(bytes + at, bytes + at + n, len - at - n);
			len -= n;
			break;
		case 4: /* repeat */
			n = n < len - at ? n : len - at;
			n = n < cap - len ? n : cap - len;
			memmove(bytes + at + n, bytes + at, len - at);
			len += n;
			break;
		default: /* from another file */
			if (corpus_len > 0) {
				const struct thrum__buf *other = &corpus[(r >> 32) % corpus_len];
				size_t have = thrum__buf_len(other);
				size_t start = have > 0 ? (r >> 16) % have : 0;
				n = (r >> 24) % 300;
				n = n < have - start ? n : have - start;
				n = n < cap - at ? n : cap - at;
				if (n > 0)
					memcpy(bytes + at, thrum__buf_head(other) + start, n);
				len = at + n > len ? at + n : len;
			}
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	static uint8_t bytes[2 * INPUT_MAX];
	const char *seed_text = getenv("THRUM_SEED"), *runs_text = getenv("FUZZ_RUNS");
	uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : 1;
	unsigned long runs = runs_text != NULL ? strtoul(runs_text, NULL, 0) : 20000;
	printf("fuzz_delta: %lu runs, THRUM_SEED=%llu\n", runs, (unsigned long long)seed);
	fflush(stdout);
	for (int i = 1; i < argc; i++)
		add_path(argv[i]);
	if (argc == 1)
		add_path("test/fuzz/fuzz_delta.corpus");
	for (size_t i = 0; i < corpus_len; i++)
		LLVMFuzzerTestOneInput(thrum__buf_head(&corpus[i]), thrum__buf_len(&corpus[i]));
	if (corpus_len == 0) {
		fputs("fuzz_delta: the corpus is empty; name its files or folders\n", stderr);
		return 1;
	}
	for (unsigned long run = 0; run < runs; run++) {
		const struct thrum__buf *from = &corpus[thrum__splitmix64(&seed) % corpus_len];
		size_t len = thrum__buf_len(from);
		memcpy(bytes, thrum__buf_head(from), len);
		len = mutate(bytes, len, sizeof(bytes), &seed);
		LLVMFuzzerTestOneInput(bytes, len);
	}
	for (size_t i = 0; i < corpus_len; i++)
		thrum__buf_fini(&corpus[i]);
	printf("fuzz_delta: %zu corpus files and %lu mutations passed\n", corpus_len, runs);
	return 0;
}
#endif
