/* SPDX-License-Identifier: MIT */
#include "rdelta.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The output's name while it is not complete; "" otherwise. There is one output per run. */
static char temp_name[PATH_MAX];

static void remove_temp(void)
{
	if (temp_name[0] != '\0')
		unlink(temp_name);
}

static void on_signal(int number)
{
	remove_temp();
	signal(number, SIG_DFL);
	raise(number);
}

_Noreturn static void fail_errno(const struct rdelta_file *file, const char *verb, int error)
{
	const char *remedy = "check its place and the disk";
	if (error == ENOENT || error == ENOTDIR)
		remedy = "check the name";
	else if (error == EACCES || error == EPERM || error == EROFS)
		remedy = "check its permissions";
	else if (error == ENOSPC || error == EDQUOT)
		remedy = "make room";
	else if (error == EISDIR)
		remedy = "name a file";
	rdelta_fail(EXIT_IO, "cannot %s %s '%s': %s; %s", verb, file->role, file->name,
		thrum_strerror(-error), remedy);
}

void rdelta_fail_file(const struct rdelta_file *file, int error, const struct delta_fault *fault)
{
	static const enum rdelta_exit codes[] = {
		[DELTA_CAUSE_NONE] = EXIT_CORRUPT,
		[DELTA_CAUSE_MAGIC] = EXIT_MAGIC,
		[DELTA_CAUSE_TRUNCATED] = EXIT_TRUNCATED,
		[DELTA_CAUSE_CORRUPT] = EXIT_CORRUPT,
		[DELTA_CAUSE_BASIS] = EXIT_CORRUPT,
	};
	static const char *const remedies[] = {
		[DELTA_CAUSE_NONE] = "make it again",
		[DELTA_CAUSE_MAGIC] = "check the order of the files",
		[DELTA_CAUSE_TRUNCATED] = "make or copy it again",
		[DELTA_CAUSE_CORRUPT] = "make or copy it again",
		[DELTA_CAUSE_BASIS] = "give the basis whose signature it was made from",
	};
	if (error == -ENOMEM)
		rdelta_fail(EXIT_MEMORY, "%s '%s': out of memory; give larger blocks (-b)",
			file->role, file->name);
	if (error == THRUM_EFORMAT && fault != NULL)
		rdelta_fail(codes[fault->cause], "%s '%s': %s, at byte %llu; %s", file->role,
			file->name, fault->text, (unsigned long long)fault->offset,
			remedies[fault->cause]);
	fail_errno(file, "use", -error);
}

struct rdelta_file rdelta_open_input(const char *role, const char *name)
{
	struct rdelta_file file = {.role = role, .name = name, .fd = STDIN_FILENO};
	if (name == NULL || strcmp(name, "-") == 0) {
		file.name = "-";
		return file;
	}
	file.fd = open(name, O_RDONLY | O_CLOEXEC);
	if (file.fd < 0)
		fail_errno(&file, "open", errno);
	return file;
}

/* As open(2) would make it, or as the file has it that is replaced. */
static mode_t mode_of_output(const struct stat *old)
{
	if (old != NULL)
		return old->st_mode & 0777;
	mode_t mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

static void open_beside(struct rdelta_file *file, const struct stat *old)
{
	/* A link is written through, not replaced. */
	file->target = old != NULL ? realpath(file->name, NULL) : strdup(file->name);
	if (file->target == NULL)
		fail_errno(file, "write", errno);
	char name[PATH_MAX];
	int len = snprintf(name, sizeof(name), "%s.XXXXXX", file->target);
	if (len < 0 || (size_t)len >= sizeof(name))
		fail_errno(file, "write", ENAMETOOLONG);
	file->fd = mkostemp(name, O_CLOEXEC);
	if (file->fd < 0)
		fail_errno(file, "write", errno);
	memcpy(temp_name, name, sizeof(name));
	atexit(remove_temp);
	static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};
	for (size_t i = 0; i < thrum__countof(signals); i++)
		if (signal(signals[i], on_signal) == SIG_IGN)
			signal(signals[i], SIG_IGN);
	if (fchmod(file->fd, mode_of_output(old)) < 0)
		fail_errno(file, "write", errno);
}

struct rdelta_file rdelta_open_output(const char *role, const char *name, bool force)
{
	struct rdelta_file file = {
		.role = role, .name = name, .fd = STDOUT_FILENO, .replace = force};
	if (name == NULL || strcmp(name, "-") == 0) {
		file.name = "-";
		return file;
	}
	struct stat old;
	bool exists = stat(name, &old) == 0;
	if (exists && !force)
		rdelta_fail(EXIT_IO, "%s '%s' exists; give another name, or -f to replace it", role,
			name);
	if (!exists || S_ISREG(old.st_mode)) {
		open_beside(&file, exists ? &old : NULL);
		return file;
	}
	file.fd = open(name, O_WRONLY | O_CLOEXEC);
	if (file.fd < 0)
		fail_errno(&file, "write", errno);
	return file;
}

static int move_in_place(const struct rdelta_file *file)
{
	unsigned flags = file->replace ? 0 : RENAME_NOREPLACE;
	if (renameat2(AT_FDCWD, temp_name, AT_FDCWD, file->target, flags) == 0)
		return 0;
	/* A file system that cannot look and rename at once; we looked when we began. */
	if (errno == EINVAL && rename(temp_name, file->target) == 0)
		return 0;
	return -errno;
}

void rdelta_close_output(struct rdelta_file *file)
{
	int result = 0;
	/* A crash must not lose what is replaced to a file whose bytes are not on disk yet. */
	if (file->target != NULL && file->replace && fsync(file->fd) < 0)
		result = -errno;
	/* NFS and full disks tell of it here: before the file comes to its place. */
	if (close(file->fd) < 0 && result == 0)
		result = -errno;
	if (result == 0 && file->target != NULL)
		result = move_in_place(file);
	if (result < 0)
		fail_errno(file, "write", -result);
	temp_name[0] = '\0';
	free(file->target);
}

int64_t rdelta_size(const struct rdelta_file *file)
{
	struct stat st;
	if (fstat(file->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	off_t at = lseek(file->fd, 0, SEEK_CUR);
	return at < 0 || at > st.st_size ? -1 : st.st_size - at;
}

ssize_t rdelta_read_at(void *arg, void *to, size_t len, uint64_t offset)
{
	const struct rdelta_file *file = arg;
	ssize_t got;
	do {
		got = pread(file->fd, to, len, (off_t)offset);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		fail_errno(file, "read", errno);
	return got;
}

static size_t read_some(const struct rdelta_file *file, uint8_t *to, size_t cap)
{
	ssize_t got;
	do {
		got = read(file->fd, to, cap);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		fail_errno(file, "read", errno);
	return (size_t)got;
}

static void write_all(const struct rdelta_file *file, struct thrum__buf *buf)
{
	while (thrum__buf_len(buf) > 0) {
		ssize_t put = write(file->fd, thrum__buf_head(buf), thrum__buf_len(buf));
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			fail_errno(file, "write", errno);
		thrum__buf_consume(buf, (size_t)put);
	}
}

void rdelta_pump(struct delta_job *job, struct rdelta_file *in, struct rdelta_file *out)
{
	static uint8_t chunk[DELTA_STEP_MAX];
	struct thrum__buf buf = {0};
	struct delta_io io = {.in = chunk, .out = out != NULL ? &buf : NULL};
	int result = DELTA_NEED;
	while (result != DELTA_DONE) {
		if (result == DELTA_NEED) {
			io.in = chunk;
			io.in_len = read_some(in, chunk, sizeof(chunk));
			io.eof = io.in_len == 0;
		}
		result = delta_step(job, &io);
		if (result < 0)
			rdelta_fail_file(in, result, delta_job_fault(job));
		if (out != NULL)
			write_all(out, &buf);
	}
	if (io.in_len > 0 || read_some(in, chunk, 1) > 0) {
		const struct delta_fault behind = {DELTA_CAUSE_CORRUPT,
			delta_job_stats(job)->in_bytes, "bytes behind the end"};
		rdelta_fail_file(in, THRUM_EFORMAT, &behind);
	}
	thrum__buf_fini(&buf);
}
