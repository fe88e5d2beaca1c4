/* SPDX-License-Identifier: GPL-2.0 */
/* Publishers that wait for room in a block ring, and who reads it. */
#ifndef POLICY_BLOCK_H
#define POLICY_BLOCK_H

#include <sched.h>

#include "hostile.h"

#define SUBJECT		"block.topic"
#define LENGTH		64
#define BUDGET_MS	300
#define GRACE_MS	100	/* after a release, before a stall is charged */

/* A block ring of 8 entries, and who publishes to it. */
struct pair {
	struct consumer c;
	struct source s;
};

static inline void pair_begin(struct __test_metadata *_metadata, struct pair *p,
			      const struct param *params)
{
	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, source_open(&p->s, SUBJECT, LENGTH, 64));
	ASSERT_EQ(0, consumer_open(&p->c, 8, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(p->c.fd, SUBJECT, WITNESS_COOKIE));
}

static inline void pair_end(struct __test_metadata *_metadata, struct pair *p)
{
	consumer_close(&p->c);
	source_close(&p->s);
	expect_bus_empty(_metadata);
}

FIXTURE(block)
{
	struct pair pair;
};

FIXTURE_SETUP(block)
{
	const struct param params[] = { OPEN_TO_ALL, PATIENT, { } };

	pair_begin(_metadata, &self->pair, params);
}

FIXTURE_TEARDOWN(block)
{
	pair_end(_metadata, &self->pair);
}

/* ---- Taking ---- */

/* Take so many messages; their numbers go on from *last. */
static inline void take(struct __test_metadata *_metadata, struct consumer *c, unsigned int nr,
			__u64 *last)
{
	struct blipmq_desc d;
	__u64 index, number;

	while (nr) {
		if (!consumer_claim(c, &d, 1, &index)) {
			ASSERT_EQ(0, wait_for(c->fd, 1, 20000));
			continue;
		}
		EXPECT_TRUE(stamp_holds(consumer_payload(c, &d), LENGTH, &number));
		EXPECT_EQ(++*last, number);
		EXPECT_EQ(0, d.length & BLIPMQ_DESC_GAP);
		consumer_release(c, index + 1);
		nr--;
	}
}

static inline int send_nonblock(struct source *s, unsigned int nr, struct blipmq_publish *pub)
{
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++)
		stamp(s->buf + i * s->length, s->length, s->published + 1 + i);
	*pub = (struct blipmq_publish){
		.head.flags = BLIPMQ_PUBLISH_NONBLOCK,
		.messages = ptr_u64(s->messages),
		.nr = nr,
	};
	ret = do_publish(s->fd, pub);
	if (!ret)
		s->published += pub->done;
	return ret;
}

/* POLLOUT, or 0. */
static inline short writable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };

	poll(&pfd, 1, 0);
	return pfd.revents;
}

/* ---- A publisher in a thread, that waits ---- */

struct pusher {
	struct source *s;
	struct blipmq_publish pub;
	pthread_t thread;
	pid_t tid;
	bool done;
	int ret;
};

static inline void *push(void *arg)
{
	struct pusher *p = arg;

	__atomic_store_n(&p->tid, gettid(), __ATOMIC_RELEASE);
	p->ret = do_publish(p->s->fd, &p->pub);
	if (!p->ret)
		p->s->published += p->pub.done;
	__atomic_store_n(&p->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static inline bool is_full(const struct consumer *c)
{
	return consumer_prod(c) - consumer_load(consumer_release_word(c)) == c->info.entries;
}

static inline void push_begin(struct __test_metadata *_metadata, struct pusher *p, struct source *s,
			      unsigned int nr)
{
	unsigned int i;

	*p = (struct pusher){
		.s = s,
		.pub = { .messages = ptr_u64(s->messages), .nr = nr },
	};
	for (i = 0; i < nr; i++)
		stamp(s->buf + i * s->length, s->length, s->published + 1 + i);
	ASSERT_EQ(0, pthread_create(&p->thread, NULL, push, p));
	while (!__atomic_load_n(&p->tid, __ATOMIC_ACQUIRE))
		sleep_ms(1);
}

/* Returns when the ring is full and the publisher sleeps. */
static inline void push_start(struct __test_metadata *_metadata, struct pusher *p, struct source *s,
			      unsigned int nr, const struct consumer *full)
{
	push_begin(_metadata, p, s, nr);
	while (!is_full(full))
		sleep_ms(1);
	ASSERT_TRUE(wait_asleep(p->tid));
	EXPECT_FALSE(__atomic_load_n(&p->done, __ATOMIC_ACQUIRE));
}

/* It ends soon; not when somebody comes to look after a minute. */
static inline void push_end(struct __test_metadata *_metadata, struct pusher *p)
{
	__u64 end = deadline_in(20);

	while (!__atomic_load_n(&p->done, __ATOMIC_ACQUIRE) && now_ns() < end)
		sleep_ms(1);
	ASSERT_TRUE(p->done);
	pthread_join(p->thread, NULL);
}

/* Again and again: the first may come before it is in the call. */
static inline void push_interrupt(struct pusher *p)
{
	while (!__atomic_load_n(&p->done, __ATOMIC_ACQUIRE)) {
		pthread_kill(p->thread, SIGUSR1);
		sleep_ms(5);
	}
}

#define SLEEPS	10	/* a waiting publisher looks again every 10 ms */

/* It sleeps between its looks: what it finds free is too little for its message. */
static inline void expect_sleeping(struct __test_metadata *_metadata, const struct pusher *p)
{
	long until = nr_sleeps(p->tid) + SLEEPS;
	__u64 end = deadline_in(20);

	while (nr_sleeps(p->tid) < until && now_ns() < end)
		sleep_ms(5);
	EXPECT_LE(until, nr_sleeps(p->tid));
	EXPECT_FALSE(__atomic_load_n(&p->done, __ATOMIC_ACQUIRE));
}

#endif /* POLICY_BLOCK_H */
