// SPDX-License-Identifier: GPL-2.0
/*
 * The peer to beat: a ring in shared memory, as well made as we can.
 *
 * One log for all subscribers and a cursor for each. The publisher copies a batch
 * into the log, publishes it with one store and wakes all sleepers with one futex
 * call; it makes no call while nobody sleeps. It never overwrites what the slowest
 * subscriber has not passed: it remembers the slowest cursor, looks again only when
 * the ring seems full, and then sleeps until a quarter of the ring is free. There
 * is no protection whatever: any process can write anything anywhere.
 */
#include <sched.h>
#include <sys/mman.h>

#include "futex.h"
#include "transport.h"

/* Of struct transport_ops */
#define OPTION_YIELD	(1u << 0)	/* readers give way before they sleep */

#define LINE __attribute__((aligned(CACHE_LINE)))

struct slot {
	uint32_t length;
	uint32_t reserved;
	unsigned char payload[];
};

/**
 * struct log - the shared memory; slots follow
 * @head:     messages ever published; written by the publisher
 * @wake:     readers sleep on it; moves when they are to look again
 * @sleeping: set by a reader about to sleep, cleared by the publisher that wakes
 * @wanted:   0, or the publisher sleeps until every cursor has reached this
 * @room:     the publisher sleeps on it
 * @cursors:  messages that each reader has done with; written by the reader
 */
struct log {
	LINE uint64_t head;
	LINE uint32_t wake;
	uint32_t sleeping;
	LINE uint64_t wanted;
	uint32_t room;
	struct {
		LINE uint64_t next;
	} cursors[MAX_SUBSCRIBERS];
	LINE unsigned char slots[];
};

/**
 * struct shmring - one process's view; made by setup, each process has its copy
 * @head:   publisher: its own copy of log.head
 * @slowest: publisher: all cursors had reached this
 * @index:  subscriber: which cursor is its own
 * @next:   subscriber: its own copy of the cursor
 */
struct shmring {
	struct log *log;
	size_t bytes;
	size_t stride;
	unsigned int readers;
	uint64_t entries;
	uint64_t head;
	uint64_t slowest;
	unsigned int index;
	uint64_t next;
};

static struct slot *slot_of(const struct shmring *r, uint64_t seq)
{
	return (struct slot *)(r->log->slots + (seq & (r->entries - 1)) * r->stride);
}

static int shmring_setup(struct transport *t)
{
	static struct shmring r;

	r = (struct shmring){
		.stride = round_up_line(sizeof(struct slot) + t->work->size),
		.readers = t->work->subscribers,
		.entries = t->work->entries,
	};
	r.bytes = sizeof(struct log) + r.entries * r.stride;
	r.log = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (r.log == MAP_FAILED)
		return transport_fail(t, -errno, "shared memory of %zu bytes", r.bytes);
	t->shared = &r;
	return 0;
}

static void shmring_teardown(struct transport *t)
{
	struct shmring *r = t->shared;

	munmap(r->log, r->bytes);
}

static int shmring_open_publisher(struct transport *t)
{
	t->local = t->shared;
	return 0;
}

static uint64_t slowest_cursor(const struct shmring *r)
{
	uint64_t slowest = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < r->readers; i++) {
		uint64_t next = __atomic_load_n(&r->log->cursors[i].next, __ATOMIC_ACQUIRE);

		if (next < slowest)
			slowest = next;
	}
	return slowest;
}

/* Makes everything before r->head visible, and wakes who sleeps. */
static void commit(struct shmring *r)
{
	struct log *log = r->log;

	__atomic_store_n(&log->head, r->head, __ATOMIC_RELEASE);
	/* pairs with the fence in wait_messages(): one of the two sees the other */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&log->sleeping, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&log->sleeping, 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&log->wake, 1, __ATOMIC_RELEASE);
	futex_wake_all(&log->wake);
}

static void wait_room(struct shmring *r)
{
	uint64_t target = r->head - r->entries + r->entries / 4 + 1;
	struct log *log = r->log;
	uint32_t seen;

	for (;;) {
		seen = __atomic_load_n(&log->room, __ATOMIC_ACQUIRE);
		__atomic_store_n(&log->wanted, target, __ATOMIC_RELAXED);
		/* pairs with the fence in pass(): one of the two sees the other */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		r->slowest = slowest_cursor(r);
		if (r->slowest >= target)
			break;
		futex_wait(&log->room, seen);
	}
	__atomic_store_n(&log->wanted, 0, __ATOMIC_RELAXED);
}

static bool full(struct shmring *r)
{
	if (r->head - r->slowest < r->entries)
		return false;
	r->slowest = slowest_cursor(r);
	return r->head - r->slowest >= r->entries;
}

static int shmring_publish(struct transport *t, uint64_t first, unsigned int nr)
{
	struct shmring *r = t->local;
	struct slot *slot;
	uint64_t seq;

	for (seq = first; seq < first + nr; seq++) {
		if (full(r)) {
			commit(r);
			wait_room(r);
		}
		slot = slot_of(r, seq);
		slot->length = t->source.size;
		memcpy(slot->payload, source_message(&t->source, seq), t->source.size);
		r->head++;
	}
	commit(r);
	return 0;
}

static int shmring_open_subscriber(struct transport *t, unsigned int index)
{
	struct shmring *r = t->shared;

	r->index = index;
	t->local = r;
	return 0;
}

static uint64_t wait_messages(struct shmring *r, bool yield)
{
	struct log *log = r->log;
	uint64_t head;
	uint32_t seen;

	for (;;) {
		head = __atomic_load_n(&log->head, __ATOMIC_ACQUIRE);
		if (head != r->next)
			return head;
		if (yield) {
			yield = false;
			sched_yield();
			continue;
		}
		seen = __atomic_load_n(&log->wake, __ATOMIC_ACQUIRE);
		__atomic_store_n(&log->sleeping, 1, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(&log->head, __ATOMIC_ACQUIRE) == r->next)
			futex_wait(&log->wake, seen);
	}
}

/* Gives back what lies before r->next; the last to pass wakes the publisher. */
static void pass(struct shmring *r)
{
	struct log *log = r->log;
	uint64_t wanted;

	__atomic_store_n(&log->cursors[r->index].next, r->next, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wanted = __atomic_load_n(&log->wanted, __ATOMIC_RELAXED);
	if (!wanted || slowest_cursor(r) < wanted)
		return;
	if (!__atomic_compare_exchange_n(&log->wanted, &wanted, 0, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return;
	__atomic_fetch_add(&log->room, 1, __ATOMIC_RELEASE);
	futex_wake_all(&log->room);
}

static int shmring_receive(struct transport *t, struct check *check)
{
	struct shmring *r = t->local;
	uint64_t end = wait_messages(r, t->ops->option & OPTION_YIELD);
	struct slot *slot;

	if (end - r->next > MAX_BURST)
		end = r->next + MAX_BURST;
	for (; r->next != end; r->next++) {
		slot = slot_of(r, r->next);
		if (!check_message(check, slot->payload, slot->length))
			return transport_disorder(t, check);
	}
	pass(r);
	return 0;
}

#define SHMRING_OPS					\
	.setup = shmring_setup,				\
	.open_publisher = shmring_open_publisher,	\
	.publish = shmring_publish,			\
	.open_subscriber = shmring_open_subscriber,	\
	.receive = shmring_receive,			\
	.teardown = shmring_teardown

const struct transport_ops shmring_batch_ops = {
	.name = "shm-batch",
	.summary = "shared-memory log, futexes; one commit and one wake for a batch",
	.batch = MAX_BATCH,
	SHMRING_OPS,
};

const struct transport_ops shmring_yield_ops = {
	.name = "shm-yield",
	.summary = "as shm-batch, but readers give way before they sleep",
	.batch = MAX_BATCH,
	.option = OPTION_YIELD,
	SHMRING_OPS,
};

const struct transport_ops shmring_single_ops = {
	.name = "shm-single",
	.summary = "shared-memory log, futexes; one commit and one wake for a message",
	.batch = 1,
	SHMRING_OPS,
};
