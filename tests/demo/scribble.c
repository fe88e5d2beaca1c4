// SPDX-License-Identifier: GPL-2.0
/*
 * A reader that goes mad: takes some messages as the ring's contract says, then
 * stores random numbers in the words that only it may write, until the kernel has
 * had enough of it. Prints what it received and what it lost, by reason.
 *
 * It uses the device without the library, which would not let it.
 */
#include <blipmq.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/blipmq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES		1024
#define PATIENCE	60	/* seconds for a message to come, and for the ring to break */

struct reader {
	int fd;
	uint32_t id;
	const uint64_t *prod;
	const uint32_t *broken;
	uint64_t *claim;
	uint64_t *release;
	uint32_t *need_wakeup;
};

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static uint64_t deadline(void)
{
	return now() + PATIENCE * UINT64_C(1000000000);
}

static void *map(int fd, size_t size, int prot, uint64_t offset)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, offset);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static void subscribe(struct reader *reader, const char *pattern)
{
	struct blipmq_ring ring = {
		.head.size = sizeof(ring),
		.entries = ENTRIES,
		.policy = BLIPMQ_POLICY_DROP_OLDEST,
	};
	struct blipmq_subscribe sub = {
		.head.size = sizeof(sub),
		.pattern = (uintptr_t)pattern,
		.pattern_len = strlen(pattern),
	};
	char *page, *control;

	reader->fd = open(BLIPMQ_DEVICE, O_RDWR | O_CLOEXEC);
	if (reader->fd == -1)
		err(1, "%s", BLIPMQ_DEVICE);
	if (ioctl(reader->fd, BLIPMQ_IOC_RING, &ring))
		err(1, "RING, reason %u", ring.head.reason);
	page = map(reader->fd, ring.ring_size, PROT_READ, BLIPMQ_OFF_RING);
	control = map(reader->fd, ring.control_size, PROT_READ | PROT_WRITE, BLIPMQ_OFF_CONTROL);
	if (ioctl(reader->fd, BLIPMQ_IOC_SUBSCRIBE, &sub))
		err(1, "SUBSCRIBE, reason %u", sub.head.reason);
	reader->id = sub.id;
	reader->prod = (void *)(page + ring.prod);
	reader->broken = (void *)(page + ring.broken);
	reader->claim = (void *)(control + ring.claim);
	reader->release = (void *)(control + ring.release);
	reader->need_wakeup = (void *)(control + ring.need_wakeup);
}

/* Claim all that waits and release it at once: the letters are the contract's. */
static unsigned int take(struct reader *reader)
{
	uint64_t claim = __atomic_load_n(reader->claim, __ATOMIC_ACQUIRE);
	uint64_t prod = __atomic_load_n(reader->prod, __ATOMIC_ACQUIRE);	/* B */

	if (!__atomic_compare_exchange_n(reader->claim, &claim, prod, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))	/* C */
		return 0;
	__atomic_store_n(reader->release, prod, __ATOMIC_RELEASE);		/* E */
	return prod - claim;
}

static uint64_t behave(struct reader *reader, uint64_t messages)
{
	uint64_t received = 0;

	while (received < messages) {
		struct blipmq_wait wait = {
			.head.size = sizeof(wait),
			.deadline = deadline(),
		};

		__atomic_store_n(reader->need_wakeup, 1, __ATOMIC_SEQ_CST);
		if (ioctl(reader->fd, BLIPMQ_IOC_WAIT, &wait))
			err(1, "WAIT, reason %u", wait.head.reason);
		received += take(reader);
	}
	return received;
}

static void store_random(uint64_t *word)
{
	__atomic_store_n(word, (uint64_t)mrand48() << 32 | (uint32_t)mrand48(), __ATOMIC_RELAXED);
}

/* The kernel looks at the words when it delivers the next message, not before. */
static void scribble(struct reader *reader)
{
	uint64_t end = deadline();

	while (!__atomic_load_n(reader->broken, __ATOMIC_RELAXED)) {
		store_random(reader->claim);
		store_random(reader->release);
		__atomic_store_n(reader->need_wakeup, (uint32_t)mrand48(), __ATOMIC_RELAXED);
		if (now() > end)
			errx(1, "the kernel did not mind in %d seconds", PATIENCE);
	}
}

static void print_stats(struct reader *reader)
{
	struct blipmq_stats stats = {
		.head.size = sizeof(stats),
		.kind = BLIPMQ_STATS_SUBSCRIPTION,
		.id = reader->id,
	};
	unsigned int i;

	if (ioctl(reader->fd, BLIPMQ_IOC_STATS, &stats))
		err(1, "STATS, reason %u", stats.head.reason);
	/* What was unread when the ring broke counts when the kernel takes it back. */
	stats.drops[BLIPMQ_DROP_BROKEN] += stats.queued;
	printf("delivered %" PRIu64 "\n", (uint64_t)stats.delivered);
	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		if (stats.drops[i])
			printf("%s %" PRIu64 "\n", blipmq_drop_name(i), (uint64_t)stats.drops[i]);
}

int main(int argc, char **argv)
{
	struct blipmq_wait wait = { .head.size = sizeof(wait) };
	struct reader reader;

	if (argc != 4)
		errx(2, "usage: scribble PATTERN MESSAGES READY-FD");
	subscribe(&reader, argv[1]);
	if (write(atoi(argv[3]), "\n", 1) != 1)
		err(1, "ready");
	printf("received %" PRIu64 "\n", behave(&reader, strtoull(argv[2], NULL, 0)));
	scribble(&reader);
	if (!ioctl(reader.fd, BLIPMQ_IOC_WAIT, &wait) || errno != EIO)
		errx(1, "a broken ring can still be waited for");
	print_stats(&reader);
	return 0;
}
