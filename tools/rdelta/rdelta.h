/* SPDX-License-Identifier: MIT */
#ifndef RDELTA_H
#define RDELTA_H

#include "delta/delta.h"

/* Exit codes; the numbers are those of rdiff 2.3. */
enum rdelta_exit {
	EXIT_OK = 0,
	EXIT_IO = 100,    /* a file cannot be opened, read, written */
	EXIT_USAGE = 101, /* the command line makes no sense */
	EXIT_MEMORY = 102,
	EXIT_TRUNCATED = 103, /* an input ends too early */
	EXIT_MAGIC = 104,     /* an input is not what it should be */
	EXIT_CORRUPT = 106,
	EXIT_PARAM = 108, /* an option's value is out of range */
};

struct rdelta_options {
	struct delta_sign_options sign;
	bool force, statistics, verbose;
};

/* Prints "rdelta: ..." as one line on standard error, control characters escaped, and exits. */
_Noreturn void rdelta_fail(enum rdelta_exit code, const char *format, ...) THRUM__PRINTF(2, 3);
void rdelta_note(const char *format, ...) THRUM__PRINTF(1, 2);

/* The subcommands; args are the files named behind it, at most three. They return or exit. */
void rdelta_signature(const struct rdelta_options *options, char **args);
void rdelta_delta(const struct rdelta_options *options, char **args);
void rdelta_patch(const struct rdelta_options *options, char **args);

/* ---- files; every function exits with a message if it fails ---- */
struct rdelta_file {
	const char *role; /* "basis", "delta" ...: how messages name it */
	const char *name; /* as given; "-" for standard input or output */
	int fd;
	char *target; /* output: where temp goes when complete; NULL: written in place */
	bool replace; /* output: target may exist */
};

/* name NULL or "-": standard input. */
struct rdelta_file rdelta_open_input(const char *role, const char *name);

/*
 * name NULL or "-": standard output. A new or regular file is written beside its place, and comes
 * there only when complete: an error or a signal leaves no half-written file.
 */
struct rdelta_file rdelta_open_output(const char *role, const char *name, bool force);
void rdelta_close_output(struct rdelta_file *file);

/* Bytes in a regular file from its current position, or -1. */
int64_t rdelta_size(const struct rdelta_file *file);

/* delta_read_fn; arg is a struct rdelta_file of a file with offsets. */
ssize_t rdelta_read_at(void *arg, void *to, size_t len, uint64_t offset);

/* Runs a job from in to out (NULL: it makes none) and destroys nothing. Exits if the job fails. */
void rdelta_pump(struct delta_job *job, struct rdelta_file *in, struct rdelta_file *out);

/* Exits for an error of a job about file. fault: NULL, or what is wrong with its content. */
_Noreturn void rdelta_fail_file(
	const struct rdelta_file *file, int error, const struct delta_fault *fault);

#endif
