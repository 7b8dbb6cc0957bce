/* SPDX-License-Identifier: MIT */
#include "delta/delta.h"

#include <errno.h>

#include "delta/delta_internal.h"

void *delta__job_create(size_t size, int (*step)(struct delta_job *, struct delta_io *),
	void (*fini)(struct delta_job *))
{
	struct delta_job *job = calloc(1, size);
	if (job == NULL)
		return NULL;
	job->step = step;
	job->fini = fini;
	job->result = DELTA_NEED;
	return job;
}

void delta_job_destroy(struct delta_job *job)
{
	if (job == NULL)
		return;
	job->fini(job);
	free(job);
}

int delta__fault(struct delta_job *job, enum delta_cause cause, uint64_t offset, const char *text)
{
	job->fault = (struct delta_fault){.cause = cause, .offset = offset, .text = text};
	return THRUM_EFORMAT;
}

bool delta__gather(
	struct delta_job *job, struct delta_io *io, uint8_t *to, size_t *have, size_t want)
{
	size_t n = want - *have < io->in_len ? want - *have : io->in_len;
	if (n > 0) {
		memcpy(to + *have, io->in, n);
		*have += n;
		delta__take(job, io, n);
	}
	return *have == want;
}

int delta_step(struct delta_job *job, struct delta_io *io)
{
	if (job->result <= 0)
		return job->result;
	size_t before = io->out != NULL ? thrum__buf_len(io->out) : 0;
	int result = job->step(job, io);
	if (io->out != NULL)
		job->stats.out_bytes += thrum__buf_len(io->out) - before;
	if (result <= 0)
		job->result = result;
	return result;
}

int delta_run(struct delta_job *job, const void *in, size_t in_len, struct thrum__buf *out)
{
	struct delta_io io = {.in = in, .in_len = in_len, .eof = true, .out = out};
	int result;
	do {
		result = delta_step(job, &io);
	} while (result == DELTA_AGAIN);
	/* With eof said, no job asks for more. */
	CHECK(result != DELTA_NEED);
	if (result == DELTA_DONE && io.in_len > 0)
		job->result = result = delta__fault(
			job, DELTA_CAUSE_CORRUPT, job->stats.in_bytes, "bytes behind the end");
	return result;
}

const struct delta_stats *delta_job_stats(const struct delta_job *job)
{
	return &job->stats;
}

const struct delta_fault *delta_job_fault(const struct delta_job *job)
{
	return &job->fault;
}
