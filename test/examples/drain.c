/* SPDX-License-Identifier: MIT */
/* errno is read next to the call that set it, in a function that never suspends. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <thrum.h>

/* Not inlined: errno's address is looked up on each call. */
static __attribute__((noinline)) ssize_t try_read(int fd, char *buf, size_t len)
{
	ssize_t n = read(fd, buf, len);
	return n >= 0 ? n : -errno;
}

static ssize_t read_some(int fd, char *buf, size_t len)
{
	for (;;) {
		ssize_t n = try_read(fd, buf, len);
		if (n != -EAGAIN)
			return n;
		int err = thrum_fd_wait(fd, THRUM_READABLE, THRUM_FOREVER);
		if (err != 0)
			return err; /* maybe on another OS thread by now */
	}
}

static void *drain(void *arg)
{
	int fd = *(int *)arg;
	char buf[16];
	ssize_t n, total = 0;
	while ((n = read_some(fd, buf, sizeof(buf))) > 0)
		total += n;
	printf("%zd bytes, then %s\n", total, n == 0 ? "the end" : thrum_errname((int)n));
	return NULL;
}

static void *root(void *arg)
{
	int ends[2];
	struct thrum_thread *thread = NULL;
	if (pipe(ends) != 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
		return NULL;
	int err = thrum_spawn(&thread, drain, &ends[0]);
	for (int i = 0; i < 3 && err == 0; i++) {
		if (write(ends[1], "some bytes", 10) != 10)
			fprintf(stderr, "drain: a pipe is full\n");
		err = thrum_sleep(THRUM_MS);
	}
	close(ends[1]);
	if (thread != NULL && thrum_join(thread, NULL, THRUM_FOREVER) != 0)
		fprintf(stderr, "drain: not joined\n");
	close(ends[0]);
	return NULL;
}

int main(void)
{
	return thrum_run(NULL, root, NULL, NULL) != 0;
}
