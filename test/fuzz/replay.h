/* SPDX-License-Identifier: MIT */
#ifndef TEST_FUZZ_REPLAY_H
#define TEST_FUZZ_REPLAY_H

/*
 * The main of a fuzzer that is built without libFuzzer (-fsanitize=fuzzer -DTHRUM_LIBFUZZER has its
 * own):
 *
 *   fuzz_x FILE|FOLDER ...
 *
 * replays the files and then FUZZ_RUNS (20000) seeded mutations of them; THRUM_SEED repeats a run.
 */

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef THRUM_LIBFUZZER

enum { REPLAY_FILES = 1000, REPLAY_INPUT = 64 * 1024 };

static struct thrum__buf replay_corpus[REPLAY_FILES];
static size_t replay_count;

static void replay_add_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	CHECK(file != NULL && replay_count < REPLAY_FILES);
	struct thrum__buf *buf = &replay_corpus[replay_count++];
	uint8_t *to = thrum__buf_reserve(buf, REPLAY_INPUT);
	CHECK(to != NULL);
	thrum__buf_commit(buf, fread(to, 1, REPLAY_INPUT, file));
	fclose(file);
}

static void replay_add(const char *path)
{
	struct stat st;
	struct dirent **names;
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		replay_add_file(path);
		return;
	}
	int count = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char name[1024];
		snprintf(name, sizeof(name), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			replay_add_file(name);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

/* Up to five changes: a bit, a byte, a cut, a removal, a repetition, a piece of another file. */
static size_t replay_mutate(uint8_t *bytes, size_t len, size_t cap, uint64_t *seed)
{
	for (unsigned changes = 1 + thrum__splitmix64(seed) % 5; changes > 0 && len > 0;
		changes--) {
		uint64_t r = thrum__splitmix64(seed);
		size_t at = (r >> 8) % len, n = 1 + (r >> 40) % 40;
		const struct thrum__buf *other = &replay_corpus[(r >> 50) % replay_count];
		switch (r % 6) {
		case 0:
			bytes[at] ^= (uint8_t)(1 << (r >> 32 & 7));
			break;
		case 1:
			bytes[at] = (uint8_t)(r >> 32);
			break;
		case 2:
			len = at;
			break;
		case 3:
			n = n < len - at ? n : len - at;
			memmove(bytes + at, bytes + at + n, len - at - n);
			len -= n;
			break;
		case 4:
			n = n < len - at ? n : len - at;
			n = n < cap - len ? n : cap - len;
			memmove(bytes + at + n, bytes + at, len - at);
			len += n;
			break;
		default:
			n = n < thrum__buf_len(other) ? n : thrum__buf_len(other);
			n = n < cap - at ? n : cap - at;
			if (n > 0)
				memcpy(bytes + at,
					thrum__buf_head(other) +
						(r >> 16) % (thrum__buf_len(other) - n + 1),
					n);
			len = at + n > len ? at + n : len;
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	static uint8_t bytes[2 * REPLAY_INPUT];
	const char *seed_text = getenv("THRUM_SEED"), *runs_text = getenv("FUZZ_RUNS");
	uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : 1;
	unsigned long runs = runs_text != NULL ? strtoul(runs_text, NULL, 0) : 20000;
	printf("%s: %lu runs, THRUM_SEED=%llu\n", argv[0], runs, (unsigned long long)seed);
	fflush(stdout);
	for (int i = 1; i < argc; i++)
		replay_add(argv[i]);
	if (replay_count == 0) {
		fprintf(stderr, "%s: the corpus is empty; name its files or folders\n", argv[0]);
		return 1;
	}
	for (size_t i = 0; i < replay_count; i++)
		LLVMFuzzerTestOneInput(
			thrum__buf_head(&replay_corpus[i]), thrum__buf_len(&replay_corpus[i]));
	for (unsigned long run = 0; run < runs; run++) {
		const struct thrum__buf *from =
			&replay_corpus[thrum__splitmix64(&seed) % replay_count];
		size_t len = thrum__buf_len(from);
		memcpy(bytes, thrum__buf_head(from), len);
		LLVMFuzzerTestOneInput(bytes, replay_mutate(bytes, len, sizeof(bytes), &seed));
	}
	for (size_t i = 0; i < replay_count; i++)
		thrum__buf_fini(&replay_corpus[i]);
	printf("%s: %zu corpus files and %lu mutations passed\n", argv[0], replay_count, runs);
	return 0;
}

#endif
#endif
