/* SPDX-License-Identifier: MIT */
#include "rdelta.h"

#include <errno.h>
#include <unistd.h>

typedef unsigned long long ull;

static double seconds_since(int64_t start)
{
	double seconds = (double)(thrum_now() - start) / 1e9;
	return seconds > 1e-9 ? seconds : 1e-9;
}

static void note_speed(const char *what, const struct delta_stats *stats, int64_t start)
{
	uint64_t most = stats->in_bytes > stats->out_bytes ? stats->in_bytes : stats->out_bytes;
	double seconds = seconds_since(start);
	rdelta_note("%s: %llu bytes in, %llu out, %.2f s, %.1f MB/s", what, (ull)stats->in_bytes,
		(ull)stats->out_bytes, seconds, (double)most / 1e6 / seconds);
}

static void note_commands(const char *what, const struct delta_stats *stats)
{
	rdelta_note("%s: %llu copies of %llu bytes, %llu literals of %llu bytes, %llu false hits",
		what, (ull)stats->copies, (ull)stats->copy_bytes, (ull)stats->literals,
		(ull)stats->literal_bytes, (ull)stats->false_hits);
}

void rdelta_signature(const struct rdelta_options *options, char **args)
{
	int64_t start = thrum_now();
	struct rdelta_file basis = rdelta_open_input("basis", args[0]);
	struct delta_sign_options sign = options->sign;
	sign.size = rdelta_size(&basis);
	if (delta_recommend(&sign) == -EINVAL)
		rdelta_fail(
			EXIT_PARAM, "--sum-size: md4 has 16 bytes; give less, or another --hash");
	struct delta_job *job;
	int result = delta_sign_create(&job, &sign);
	if (result < 0)
		rdelta_fail_file(&basis, result, NULL);
	struct rdelta_file out = rdelta_open_output("signature", args[1], options->force);
	if (options->verbose)
		rdelta_note("signature of '%s' to '%s': blocks of %u bytes, sums of %d", basis.name,
			out.name, sign.block_len, sign.strong_len);
	rdelta_pump(job, &basis, &out);
	rdelta_close_output(&out);
	if (options->statistics) {
		rdelta_note("signature: %llu blocks of %u bytes", (ull)delta_job_stats(job)->blocks,
			sign.block_len);
		note_speed("signature", delta_job_stats(job), start);
	}
	delta_job_destroy(job);
}

static struct delta_index *load_signature(const struct rdelta_options *options, const char *name)
{
	int64_t start = thrum_now();
	struct rdelta_file file = rdelta_open_input("signature", name);
	struct delta_job *job;
	int result = delta_load_create(&job, 0);
	if (result < 0)
		rdelta_fail_file(&file, result, NULL);
	rdelta_pump(job, &file, NULL);
	struct delta_index *index = delta_load_take(job);
	if (options->statistics || options->verbose)
		rdelta_note("signature '%s': %u blocks of %u bytes", file.name,
			delta_index_blocks(index), delta_index_block_len(index));
	if (options->statistics)
		note_speed("load", delta_job_stats(job), start);
	delta_job_destroy(job);
	if (file.fd != STDIN_FILENO)
		close(file.fd);
	return index;
}

static bool is_stdio(const char *name)
{
	return name == NULL || strcmp(name, "-") == 0;
}

void rdelta_delta(const struct rdelta_options *options, char **args)
{
	if (is_stdio(args[0]) && is_stdio(args[1]))
		rdelta_fail(EXIT_USAGE, "signature and new file are both standard input; name one");
	struct rdelta_file new_file = rdelta_open_input("new file", args[1]);
	struct rdelta_file out = rdelta_open_output("delta", args[2], options->force);
	struct delta_index *index = load_signature(options, args[0]);
	int64_t start = thrum_now();
	struct delta_job *job;
	int result = delta_diff_create(&job, index);
	if (result < 0)
		rdelta_fail_file(&new_file, result, NULL);
	if (options->verbose)
		rdelta_note("delta from '%s' to '%s'", new_file.name, out.name);
	rdelta_pump(job, &new_file, &out);
	rdelta_close_output(&out);
	if (options->statistics) {
		note_commands("delta", delta_job_stats(job));
		note_speed("delta", delta_job_stats(job), start);
	}
	delta_job_destroy(job);
	delta_index_destroy(index);
}

void rdelta_patch(const struct rdelta_options *options, char **args)
{
	if (is_stdio(args[0]) && is_stdio(args[1]))
		rdelta_fail(EXIT_USAGE, "basis and delta are both standard input; name one");
	int64_t start = thrum_now();
	struct rdelta_file basis = rdelta_open_input("basis", args[0]);
	if (lseek(basis.fd, 0, SEEK_CUR) < 0)
		rdelta_fail(EXIT_IO,
			"basis '%s' can only be read in order; copy it to a file first",
			basis.name);
	struct rdelta_file delta = rdelta_open_input("delta", args[1]);
	struct delta_job *job;
	int result = delta_patch_create(&job, rdelta_read_at, &basis, UINT64_MAX);
	if (result < 0)
		rdelta_fail_file(&delta, result, NULL);
	struct rdelta_file out = rdelta_open_output("new file", args[2], options->force);
	if (options->verbose)
		rdelta_note("patch of '%s' with '%s' to '%s'", basis.name, delta.name, out.name);
	rdelta_pump(job, &delta, &out);
	rdelta_close_output(&out);
	if (options->statistics) {
		note_commands("patch", delta_job_stats(job));
		note_speed("patch", delta_job_stats(job), start);
	}
	delta_job_destroy(job);
}
