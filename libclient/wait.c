// SPDX-License-Identifier: LGPL-2.1+
/* Sleeping until messages wait, in a call or in the user's event loop. */
#define _GNU_SOURCE	/* ppoll() */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <time.h>

#include "endpoint.h"

#define NSEC_PER_SEC	1000000000LL

int64_t blipmq__now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* Of the monotonic clock; INT64_MAX if there is none, 0 if nothing is waited for. */
int64_t blipmq__deadline(int64_t timeout)
{
	int64_t now;

	if (!timeout)
		return 0;
	now = blipmq__now();
	if (timeout < 0 || timeout > INT64_MAX - now)
		return INT64_MAX;
	return now + timeout;
}

/*
 * The ring is of no use any more, as a reader or a wait found out: records what the kernel
 * says of it now. Touches no mapping, which may be gone.
 */
static int lost(struct blipmq *b)
{
	struct blipmq_info info = { .head.size = sizeof(info) };
	int error = blipmq__call(b, BLIPMQ_IOC_INFO, &info.head);

	if (error)
		return error;
	if (!(info.rights & BLIPMQ_RIGHT_SUBSCRIBE))
		return blipmq__fail(-EACCES, BLIPMQ_REASON_RIGHT_SUBSCRIBE, 0);
	return blipmq__fail(-EIO, BLIPMQ_REASON_RING_BROKEN, 0);
}

/*
 * Why a ring cannot be used in the way that was tried: records @error, as it came
 * out of the reader or of a wait, with its reason. Returns what the caller returns.
 */
int blipmq__refuse(struct blipmq *b, int error)
{
	switch (error) {
	case -EAGAIN:
	case -ETIME:
		return blipmq__fail(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0);
	case -EINTR:
		return blipmq__fail(error, BLIPMQ_REASON_SIGNAL, 0);
	case -EIO:
	case -ENODEV:
		return lost(b);
	case -ENXIO:
		return blipmq__fail(error, BLIPMQ_REASON_RING_NONE, 0);
	case -EACCES:
		return blipmq__fail(error, BLIPMQ_REASON_COPYING, 0);
	case -ENOBUFS:
		return blipmq__fail(error, BLIPMQ_REASON_CLAIMS, b->reader.held);
	default:
		return blipmq__fail(error, BLIPMQ_REASON_NONE, 0);
	}
}

/* In the kernel, until something can be read from the descriptor. */
static int sleep_polling(struct blipmq *b, int64_t deadline)
{
	struct pollfd pfd = { .fd = b->fd, .events = POLLIN };
	struct timespec ts, *timeout = NULL;
	int64_t left;
	int ret;

	if (deadline != INT64_MAX) {
		left = deadline - (deadline ? blipmq__now() : 0);
		if (left < 0)
			left = 0;
		ts.tv_sec = left / NSEC_PER_SEC;
		ts.tv_nsec = left % NSEC_PER_SEC;
		timeout = &ts;
	}
	ret = ppoll(&pfd, 1, timeout, NULL);
	if (ret < 0)
		return -errno;
	if (pfd.revents & (POLLHUP | POLLERR))
		return -EIO;
	return ret ? 0 : -EAGAIN;
}

#if BLIPMQ_LOCK_FREE

static int wait_call(int fd, uint32_t min, uint32_t max_delay, int64_t deadline)
{
	struct blipmq_wait wait = {
		.head.size = sizeof(wait),
		.deadline = deadline == INT64_MAX ? BLIPMQ_WAIT_FOREVER : (uint64_t)deadline,
		.min = min,
		.max_delay = max_delay,
	};
	int error = blipmq__ioctl(fd, BLIPMQ_IOC_WAIT, &wait.head);

	return error == -EACCES ? -EIO : error;	/* no right any more: see lost() */
}

/* A courtesy: who waits for room also looks by itself. */
void blipmq_reader_kick(const struct blipmq_reader *r)
{
	wait_call(r->fd, 1, 0, 0);
}

static int sleep_mapped(struct blipmq *b, uint32_t min, uint32_t max_delay, int64_t deadline)
{
	int error = 0;

	if (blipmq__reader_arm(&b->reader, min) < min)
		error = wait_call(b->fd, min, max_delay, deadline);
	blipmq__reader_disarm(&b->reader);
	return error;
}

static inline void cpu_relax(void)
{
#if __has_builtin(__builtin_ia32_pause)
	__builtin_ia32_pause();
#endif
}

/* Is there something to tell the caller? */
static bool look(const struct blipmq *b)
{
	uint64_t claim;

	return blipmq_words_waiting(&b->reader.words, &claim) ||
	       blipmq_words_broken(&b->reader.words);
}

/* Looks at the ring for a while: true if something waits. */
static bool spin(const struct blipmq *b, int64_t deadline)
{
	enum { LOOKS = 64 };	/* for one at the clock */
	int64_t end = blipmq__now() + b->spin;
	int i;

	if (end > deadline)
		end = deadline;
	do {
		for (i = 0; i < LOOKS; i++) {
			if (look(b))
				return true;
			cpu_relax();
		}
	} while (blipmq__now() < end);
	return false;
}

/*
 * Until a message waits, as a receiving call does: 0, or what blipmq__refuse() takes.
 */
int blipmq__sleep(struct blipmq *b, int64_t deadline)
{
	if (blipmq__consume(b) == CONSUME_COPYING)
		return sleep_polling(b, deadline);
	if (b->spin && spin(b, deadline))
		return 0;
	if (b->yield && !sched_yield() && look(b))
		return 0;
	return sleep_mapped(b, 1, 0, deadline);
}

#else /* !BLIPMQ_LOCK_FREE */

static int sleep_mapped(struct blipmq *b, uint32_t min, uint32_t max_delay, int64_t deadline)
{
	(void)b;
	(void)min;
	(void)max_delay;
	(void)deadline;
	return -EACCES;
}

int blipmq__sleep(struct blipmq *b, int64_t deadline)
{
	return sleep_polling(b, deadline);
}

#endif

/* Is @min something that can be waited for? */
static int min_check(struct blipmq *b, uint32_t min)
{
	int consume = blipmq__consume(b);

	if (consume == CONSUME_NOT)
		return blipmq__refuse(b, -ENXIO);
	if (min > b->entries)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_WAIT_MIN, b->entries);
	if (min > 1 && consume == CONSUME_COPYING)
		return blipmq__refuse(b, -EACCES);
	return 0;
}

int blipmq_wait(struct blipmq *b, uint32_t min, uint32_t max_delay_us, int64_t timeout)
{
	int64_t deadline = blipmq__deadline(timeout);
	int error;

	if (!min)
		min = 1;
	error = min_check(b, min);
	if (error)
		return error;
	if (blipmq__consume(b) == CONSUME_COPYING)
		error = sleep_polling(b, deadline);
	else
		error = sleep_mapped(b, min, max_delay_us, deadline);
	return error ? blipmq__refuse(b, error) : 0;
}

int blipmq_fd(struct blipmq *b)
{
	pthread_mutex_lock(&b->lock);
	b->exported = true;
#if BLIPMQ_LOCK_FREE
	if (blipmq__consume(b) == CONSUME_MAPPED)
		blipmq__reader_export(&b->reader, 0);
#endif
	pthread_mutex_unlock(&b->lock);
	return b->fd;
}

int blipmq_low_water(struct blipmq *b, uint32_t min)
{
	int error;

	if (!min)
		min = 1;
	error = min_check(b, min);
#if BLIPMQ_LOCK_FREE
	if (!error && blipmq__consume(b) == CONSUME_MAPPED)
		blipmq__reader_export(&b->reader, min);
#endif
	return error;
}
