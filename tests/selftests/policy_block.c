// SPDX-License-Identifier: GPL-2.0
/*
 * Block rings: the publisher waits for the slowest reader, or is told to come again; and no
 * reader, dead or hostile, makes it wait for longer than its budget.
 */
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

static void pair_begin(struct __test_metadata *_metadata, struct pair *p,
		       const struct param *params)
{
	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, source_open(&p->s, SUBJECT, LENGTH, 64));
	ASSERT_EQ(0, consumer_open(&p->c, 8, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(p->c.fd, SUBJECT, WITNESS_COOKIE));
}

static void pair_end(struct __test_metadata *_metadata, struct pair *p)
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
static void take(struct __test_metadata *_metadata, struct consumer *c, unsigned int nr,
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

static int send_nonblock(struct source *s, unsigned int nr, struct blipmq_publish *pub)
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

/* ---- A publisher in a thread, that waits ---- */

struct pusher {
	struct source *s;
	struct blipmq_publish pub;
	pthread_t thread;
	pid_t tid;
	bool done;
	int ret;
};

static void *push(void *arg)
{
	struct pusher *p = arg;

	__atomic_store_n(&p->tid, gettid(), __ATOMIC_RELEASE);
	p->ret = do_publish(p->s->fd, &p->pub);
	if (!p->ret)
		p->s->published += p->pub.done;
	__atomic_store_n(&p->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_full(const struct consumer *c)
{
	return consumer_prod(c) - consumer_load(consumer_release_word(c)) == c->info.entries;
}

static void push_begin(struct __test_metadata *_metadata, struct pusher *p, struct source *s,
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
static void push_start(struct __test_metadata *_metadata, struct pusher *p, struct source *s,
		       unsigned int nr, const struct consumer *full)
{
	push_begin(_metadata, p, s, nr);
	while (!is_full(full))
		sleep_ms(1);
	ASSERT_TRUE(wait_asleep(p->tid));
	EXPECT_FALSE(__atomic_load_n(&p->done, __ATOMIC_ACQUIRE));
}

/* It ends soon; not when somebody comes to look after a minute. */
static void push_end(struct __test_metadata *_metadata, struct pusher *p)
{
	__u64 end = deadline_in(20);

	while (!__atomic_load_n(&p->done, __ATOMIC_ACQUIRE) && now_ns() < end)
		sleep_ms(1);
	ASSERT_TRUE(p->done);
	pthread_join(p->thread, NULL);
}

/* Again and again: the first may come before it is in the call. */
static void push_interrupt(struct pusher *p)
{
	while (!__atomic_load_n(&p->done, __ATOMIC_ACQUIRE)) {
		pthread_kill(p->thread, SIGUSR1);
		sleep_ms(5);
	}
}

#define SLEEPS	10	/* a waiting publisher looks again every 10 ms */

/* It sleeps between its looks: what it finds free is too little for its message. */
static void expect_sleeping(struct __test_metadata *_metadata, const struct pusher *p)
{
	long until = nr_sleeps(p->tid) + SLEEPS;
	__u64 end = deadline_in(20);

	while (nr_sleeps(p->tid) < until && now_ns() < end)
		sleep_ms(5);
	EXPECT_LE(until, nr_sleeps(p->tid));
	EXPECT_FALSE(__atomic_load_n(&p->done, __ATOMIC_ACQUIRE));
}

TEST_F(block, publisher_waits)
{
	struct blipmq_stats stats;
	struct pusher p;
	__u64 last = 0;

	push_start(_metadata, &p, &self->pair.s, 40, &self->pair.c);
	EXPECT_EQ(8, consumer_prod(&self->pair.c));
	EXPECT_LT(0, consumer_blocked(&self->pair.c));
	take(_metadata, &self->pair.c, 40, &last);
	push_end(_metadata, &p);
	EXPECT_EQ(0, p.ret);
	EXPECT_EQ(40, p.pub.done);
	EXPECT_EQ(40, p.pub.delivered);
	EXPECT_EQ(0, p.pub.error);
	ASSERT_EQ(0, ring_stats(self->pair.c.fd, &stats));
	EXPECT_EQ(40, stats.delivered);
	EXPECT_EQ(0, sum_drops(stats.drops));
}

/* ---- A publisher that does not wait ---- */

static short writable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };

	poll(&pfd, 1, 0);
	return pfd.revents;
}

TEST_F(block, told_to_come_again)
{
	struct blipmq_result results[20];
	struct blipmq_publish pub;
	__u64 last = 0;
	int other;

	other = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(other, "default"));
	EXPECT_EQ(POLLOUT, writable(self->pair.s.fd));

	memset(results, POISON, sizeof(results));
	pub = (struct blipmq_publish){ };
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 20, &pub));
	EXPECT_EQ(8, pub.done);
	EXPECT_EQ(-EAGAIN, pub.error);
	EXPECT_EQ(BLIPMQ_REASON_ROOM, pub.head.reason);
	EXPECT_EQ(0, writable(self->pair.s.fd));
	/* Only who was told is not writable. */
	EXPECT_EQ(POLLOUT, writable(other));

	pub = (struct blipmq_publish){
		.head.flags = BLIPMQ_PUBLISH_NONBLOCK,
		.messages = ptr_u64(self->pair.s.messages),
		.nr = 20,
		.results = ptr_u64(results),
	};
	EXPECT_EQ(-EAGAIN, do_publish(self->pair.s.fd, &pub));
	EXPECT_EQ(BLIPMQ_REASON_ROOM, pub.head.reason);
	EXPECT_EQ(0, pub.done);
	EXPECT_EQ(-EAGAIN, pub.error);
	EXPECT_EQ(-EAGAIN, results[0].error);
	EXPECT_EQ(BLIPMQ_REASON_ROOM, results[0].reason);
	EXPECT_EQ(0, results[0].seq);
	EXPECT_EQ(0, writable(self->pair.s.fd));

	take(_metadata, &self->pair.c, 1, &last);
	EXPECT_EQ(POLLOUT, writable(self->pair.s.fd));
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 20, &pub));
	EXPECT_EQ(1, pub.done);
	take(_metadata, &self->pair.c, 8, &last);
	close(other);
}

TEST_F(block, o_nonblock_file)
{
	__u64 last = 0;

	ASSERT_EQ(0, fcntl(self->pair.s.fd, F_SETFL, O_RDWR | O_NONBLOCK));
	EXPECT_EQ(8, source_send_nr(&self->pair.s, 10));
	EXPECT_EQ(-EAGAIN, source_send_nr(&self->pair.s, 1));
	EXPECT_EQ(0, writable(self->pair.s.fd));
	take(_metadata, &self->pair.c, 8, &last);
}

struct poller {
	int fd;
	int ret;
	pid_t tid;
	bool done;
};

static void *poll_out(void *arg)
{
	struct poller *p = arg;
	struct pollfd pfd = { .fd = p->fd, .events = POLLOUT };

	__atomic_store_n(&p->tid, gettid(), __ATOMIC_RELEASE);
	p->ret = poll(&pfd, 1, 20000);
	__atomic_store_n(&p->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Who sleeps until it is writable is woken by a release, which is no call. */
TEST_F(block, poller_is_woken)
{
	struct poller p = { .fd = self->pair.s.fd };
	struct blipmq_publish pub;
	pthread_t thread;
	__u64 last = 0;

	ASSERT_EQ(0, send_nonblock(&self->pair.s, 20, &pub));
	ASSERT_EQ(0, pthread_create(&thread, NULL, poll_out, &p));
	while (!__atomic_load_n(&p.tid, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	ASSERT_TRUE(wait_asleep(p.tid));
	EXPECT_FALSE(__atomic_load_n(&p.done, __ATOMIC_ACQUIRE));
	take(_metadata, &self->pair.c, 8, &last);
	pthread_join(thread, NULL);
	EXPECT_EQ(1, p.ret);
}

#define KICKS	500

/* A kick wakes those whom this ring refused, not everybody who polls for room. */
TEST_F(block, others_sleep_through_a_kick)
{
	struct consumer *c = &self->pair.c, other;
	struct blipmq_publish pub;
	struct blipmq_desc d[2];
	struct poller p = { };
	__u64 index, begun;
	struct source s;
	pthread_t thread;
	long sleeps;
	int i;

	ASSERT_EQ(0, source_open(&s, "other", LENGTH, 16));
	ASSERT_EQ(0, consumer_open(&other, 8, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(other.fd, "other", 0));
	ASSERT_EQ(0, send_nonblock(&s, 9, &pub));
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 9, &pub));
	p.fd = s.fd;
	ASSERT_EQ(0, pthread_create(&thread, NULL, poll_out, &p));
	while (!__atomic_load_n(&p.tid, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	ASSERT_TRUE(wait_asleep(p.tid));

	begun = now_ns();
	sleeps = nr_sleeps(p.tid);
	for (i = 0; i < KICKS; i++) {
		ASSERT_LT(0, consumer_blocked(c));
		ASSERT_EQ(2, consumer_claim(c, d, 2, &index));
		consumer_release(c, index + 2);
		ASSERT_EQ(0, consumer_blocked(c));
		ASSERT_EQ(0, send_nonblock(&self->pair.s, 9, &pub));
		ASSERT_EQ(2, pub.done);
	}
	/* But for the looks, every 10 ms, that do not depend on kicks. */
	EXPECT_GT(KICKS / 10 + (now_ns() - begun) / (10 * MSEC), nr_sleeps(p.tid) - sleeps);
	EXPECT_FALSE(__atomic_load_n(&p.done, __ATOMIC_ACQUIRE));
	EXPECT_EQ(8, consumer_drain(&other));
	pthread_join(thread, NULL);
	EXPECT_EQ(1, p.ret);
	consumer_close(&other);
	source_close(&s);
}

/* ---- Several publishers ---- */

/* A later publisher does not put off the kick that an earlier one asked for. */
TEST_F(block, the_first_to_ask_is_kicked)
{
	int later = bus_open(O_RDWR | O_NONBLOCK);
	struct consumer *c = &self->pair.c;
	struct blipmq_publish pub;
	__u64 asked, last = 0;

	ASSERT_EQ(0, send_nonblock(&self->pair.s, 9, &pub));
	asked = consumer_blocked(c);
	ASSERT_EQ(2, asked);	/* a quarter of the ring */
	take(_metadata, c, 1, &last);
	ASSERT_EQ(1, publish(later, SUBJECT, "x", 1));
	ASSERT_EQ(-EAGAIN, publish(later, SUBJECT, "x", 1));
	EXPECT_EQ(0, writable(later));
	EXPECT_EQ(asked, consumer_blocked(c));
	take(_metadata, c, 1, &last);
	EXPECT_EQ(0, consumer_blocked(c));
	/* The later one is not forgotten: it asks again. */
	ASSERT_EQ(1, publish(later, SUBJECT, "x", 1));
	ASSERT_EQ(-EAGAIN, publish(later, SUBJECT, "x", 1));
	EXPECT_EQ(asked + 2, consumer_blocked(c));
	close(later);
}

/* Who finds room after all does not wait, and leaves no kick for others to make. */
TEST_F(block, who_finds_room_asks_for_nothing)
{
	struct consumer *c = &self->pair.c;
	struct blipmq_publish pub;
	__u64 last = 0;

	ASSERT_EQ(0, send_nonblock(&self->pair.s, 9, &pub));
	take(_metadata, c, 2, &last);
	EXPECT_EQ(0, consumer_blocked(c));
	EXPECT_EQ(POLLOUT, writable(self->pair.s.fd));
	EXPECT_EQ(0, consumer_blocked(c));
}

/* Wait until so many were written. */
static bool written(const struct consumer *c, __u64 nr)
{
	__u64 end = deadline_in(20);

	while (consumer_prod(c) < nr && now_ns() < end)
		sleep_ms(1);
	return consumer_prod(c) == nr;
}

#define EACH	20	/* messages of each publisher */

/* Both get on, a kick at a time, though what a kick makes room for is too little for both. */
TEST_F(block, two_publishers_wait)
{
	struct consumer *c = &self->pair.c;
	struct pusher first, second;
	struct blipmq_desc d[2];
	struct source s;
	__u64 index, nr;

	ASSERT_EQ(0, source_open(&s, SUBJECT, LENGTH, EACH));
	push_start(_metadata, &first, &self->pair.s, EACH, c);
	push_start(_metadata, &second, &s, EACH, c);
	for (nr = 8; nr < 2 * EACH; nr += 2) {
		ASSERT_EQ(2, consumer_claim(c, d, 2, &index));
		consumer_release(c, index + 2);
		ASSERT_TRUE(written(c, nr + 2));
	}
	push_end(_metadata, &first);
	push_end(_metadata, &second);
	EXPECT_EQ(EACH, first.pub.done);
	EXPECT_EQ(EACH, second.pub.done);
	EXPECT_EQ(8, consumer_drain(c));
	EXPECT_EQ(0, sum_drops(consumer_drops(c)));
	source_close(&s);
}

/* ---- Several rings ---- */

/* What does not fit everywhere goes nowhere. */
TEST_F(block, all_or_nothing)
{
	__u64 last = 0, small_last = 0, loose_last = 0;
	struct blipmq_publish pub;
	struct consumer small, loose;

	ASSERT_EQ(0, consumer_open(&small, 4, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(small.fd, "block.*", 0));
	ASSERT_EQ(0, consumer_open(&loose, 64, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(loose.fd, ">", 0));

	ASSERT_EQ(0, send_nonblock(&self->pair.s, 10, &pub));
	EXPECT_EQ(4, pub.done);
	EXPECT_EQ(12, pub.delivered);
	EXPECT_EQ(4, consumer_prod(&self->pair.c));
	EXPECT_EQ(4, consumer_prod(&small));
	EXPECT_EQ(4, consumer_prod(&loose));

	take(_metadata, &small, 2, &small_last);
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 10, &pub));
	EXPECT_EQ(2, pub.done);
	take(_metadata, &self->pair.c, 6, &last);
	EXPECT_EQ(-EAGAIN, send_nonblock(&self->pair.s, 1, &pub));
	take(_metadata, &small, 4, &small_last);
	take(_metadata, &loose, 6, &loose_last);
	consumer_close(&small);
	consumer_close(&loose);
}

/* A message takes a slot for each subscription. */
TEST_F(block, twice_into_one_ring)
{
	struct blipmq_publish pub;

	ASSERT_LT(0, subscribe(self->pair.c.fd, ">", 0));
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 10, &pub));
	EXPECT_EQ(4, pub.done);
	EXPECT_EQ(8, pub.delivered);
	EXPECT_EQ(8, consumer_drain(&self->pair.c));
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 2, &pub));
	EXPECT_EQ(2, pub.done);
}

/* Room for one of them is none: who waits sleeps on. */
TEST_F(block, sleeps_while_slots_are_few)
{
	struct consumer *c = &self->pair.c;
	struct blipmq_desc d;
	struct pusher p;
	__u64 index;

	ASSERT_LT(0, subscribe(c->fd, ">", 0));
	push_start(_metadata, &p, &self->pair.s, 5, c);
	ASSERT_EQ(1, consumer_claim(c, &d, 1, &index));
	consumer_release(c, index + 1);
	expect_sleeping(_metadata, &p);
	EXPECT_EQ(7, consumer_drain(c));
	push_end(_metadata, &p);
	EXPECT_EQ(5, p.pub.done);
	EXPECT_EQ(2, consumer_drain(c));
}

/* Likewise who polls. */
TEST_F(block, room_for_half_a_message)
{
	struct blipmq_publish pub;
	struct blipmq_desc d;
	__u64 index;

	ASSERT_LT(0, subscribe(self->pair.c.fd, ">", 0));
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 5, &pub));
	ASSERT_EQ(4, pub.done);
	ASSERT_EQ(1, consumer_claim(&self->pair.c, &d, 1, &index));
	consumer_release(&self->pair.c, index + 1);
	EXPECT_EQ(0, writable(self->pair.s.fd));
	EXPECT_EQ(-EAGAIN, send_nonblock(&self->pair.s, 1, &pub));
	EXPECT_EQ(0, writable(self->pair.s.fd));
	ASSERT_EQ(1, consumer_claim(&self->pair.c, &d, 1, &index));
	consumer_release(&self->pair.c, index + 1);
	EXPECT_EQ(POLLOUT, writable(self->pair.s.fd));
	EXPECT_EQ(0, send_nonblock(&self->pair.s, 1, &pub));
}

/* It never fits: nobody waits for it, and it counts as lost there. */
TEST_F(block, more_slots_than_the_ring_has)
{
	struct consumer one;

	ASSERT_EQ(0, consumer_open(&one, 1, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(one.fd, "other", 0));
	ASSERT_LT(0, subscribe(one.fd, "*", 0));
	ASSERT_EQ(0, publish_nonblock(self->pair.s.fd, "other", "x", 1));
	EXPECT_EQ(0, publish(self->pair.s.fd, "other", "x", 1));
	EXPECT_EQ(4, consumer_drops(&one)[BLIPMQ_DROP_FULL]);
	consumer_close(&one);
}

/* Claimed messages leave their slots as far as the held bound goes. */
TEST_F(block, claimed_and_not_released)
{
	struct blipmq_desc descs[8];
	struct blipmq_publish pub;
	__u64 index;

	EXPECT_EQ(2, self->pair.c.info.held);
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 8, &pub));
	ASSERT_EQ(8, consumer_claim(&self->pair.c, descs, 8, &index));
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 8, &pub));
	EXPECT_EQ(2, pub.done);
	EXPECT_EQ(-EAGAIN, send_nonblock(&self->pair.s, 8, &pub));
	consumer_release(&self->pair.c, index + 8);
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 8, &pub));
	EXPECT_EQ(6, pub.done);
	EXPECT_EQ(0, sum_drops(consumer_drops(&self->pair.c)));
}

/* Two topics with the same two block rings, which heard of them in opposite order. */

struct crossed {
	const char *first;
	const char *second;
	__u64 received;
	__u64 expected;		/* once it is known */
	bool ready;
};

static int crossed_reader(void *arg)
{
	struct crossed *x = arg;
	struct blipmq_desc d;
	__u64 seq[2] = { }, index;
	struct consumer c;

	if (consumer_open(&c, 8, 0, BLIPMQ_POLICY_BLOCK) ||
	    subscribe(c.fd, x->first, x->first[0] - 'a') < 0 ||
	    subscribe(c.fd, x->second, x->second[0] - 'a') < 0)
		return 1;
	__atomic_store_n(&x->ready, true, __ATOMIC_RELEASE);
	while (!x->expected || x->received < x->expected) {
		if (!consumer_claim(&c, &d, 1, &index)) {
			wait_for(c.fd, 1, 50);
			continue;
		}
		if (consumer_header(&c, &d)->seq != ++seq[d.cookie])
			return 2;
		consumer_release(&c, index + 1);
		__atomic_add_fetch(&x->received, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

static int crossed_writer(void *arg)
{
	const char *subject = arg;
	__u64 end = deadline_in(test_seconds() / 4);
	struct source s;
	int ret;

	if (source_open(&s, subject, LENGTH, 16))
		return 1;
	do {
		ret = source_send(&s);
	} while (ret == 16 && now_ns() < end);
	return ret != 16;
}

TEST_F(block, opposite_orders)
{
	struct crossed *x = shared(2 * sizeof(*x));
	struct blipmq_stats stats;
	pid_t readers[2], writers[2];
	int i;

	x[0] = (struct crossed){ .first = "a.cross", .second = "b.cross" };
	x[1] = (struct crossed){ .first = "b.cross", .second = "a.cross" };
	for (i = 0; i < 2; i++) {
		readers[i] = spawn(crossed_reader, &x[i]);
		while (!__atomic_load_n(&x[i].ready, __ATOMIC_ACQUIRE))
			ASSERT_EQ(-ETIME, reap_within(readers[i], 1));
	}
	for (i = 0; i < 2; i++)
		writers[i] = spawn(crossed_writer, (void *)x[i].first);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, reap(writers[i]));
	ASSERT_EQ(0, bus_stats(self->pair.s.fd, &stats));
	for (i = 0; i < 2; i++)
		__atomic_store_n(&x[i].expected, stats.published, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, reap_within(readers[i], 20000));
		EXPECT_EQ(stats.published, x[i].received);
	}
	EXPECT_EQ(0, sum_drops(stats.drops));
}

/* ---- What ends a wait ---- */

static void nothing(int sig)
{
	(void)sig;
}

TEST_F(block, signal)
{
	struct sigaction action = { .sa_handler = nothing };
	struct pusher p;
	__u64 last = 0;

	sigaction(SIGUSR1, &action, NULL);
	/* The count of those done ... */
	push_start(_metadata, &p, &self->pair.s, 20, &self->pair.c);
	push_interrupt(&p);
	push_end(_metadata, &p);
	EXPECT_EQ(0, p.ret);
	EXPECT_EQ(8, p.pub.done);
	EXPECT_EQ(-EINTR, p.pub.error);
	/* ... or the error. */
	push_start(_metadata, &p, &self->pair.s, 20, &self->pair.c);
	push_interrupt(&p);
	push_end(_metadata, &p);
	EXPECT_EQ(-EINTR, p.ret);
	EXPECT_EQ(0, p.pub.done);
	take(_metadata, &self->pair.c, 8, &last);
	EXPECT_EQ(0, consumer_prod(&self->pair.c) - last);
}

TEST_F(block, full_ring_closes)
{
	struct pusher p;

	push_start(_metadata, &p, &self->pair.s, 20, &self->pair.c);
	consumer_close(&self->pair.c);
	push_end(_metadata, &p);
	EXPECT_EQ(0, p.ret);
	EXPECT_EQ(20, p.pub.done);
	EXPECT_EQ(8, p.pub.delivered);
}

TEST_F(block, full_ring_breaks)
{
	struct pusher p;

	push_start(_metadata, &p, &self->pair.s, 20, &self->pair.c);
	consumer_store(consumer_claim_word(&self->pair.c), 1000);
	push_end(_metadata, &p);
	EXPECT_EQ(0, p.ret);
	EXPECT_EQ(20, p.pub.done);
	EXPECT_EQ(8, p.pub.delivered);
	EXPECT_EQ(1, consumer_broken(&self->pair.c));
}

TEST_F(block, full_ring_unsubscribes)
{
	struct blipmq_unsubscribe unsub = { .id = 1 };
	struct pusher p;
	__u64 last = 0;

	push_start(_metadata, &p, &self->pair.s, 20, &self->pair.c);
	ASSERT_EQ(0, do_unsubscribe(self->pair.c.fd, &unsub));
	push_end(_metadata, &p);
	EXPECT_EQ(20, p.pub.done);
	take(_metadata, &self->pair.c, 8, &last);
}

/*
 * Who waits looks again after 10 ms; what ends the wait wakes it at once. Seen on one CPU,
 * where who is woken does not run before we sleep.
 */
#define ROUNDS	10

static void go_first(struct __test_metadata *_metadata)
{
	const struct sched_param param = { .sched_priority = 1 };
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param));
}

/* A full ring to wait for, of its own in each round. */
static void full_begin(struct __test_metadata *_metadata, struct pusher *p, struct source *s,
		       struct consumer *c)
{
	ASSERT_EQ(0, source_open(s, "full", LENGTH, 16));
	ASSERT_EQ(0, consumer_open(c, 8, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_EQ(1, subscribe(c->fd, "full", 0));
	push_start(_metadata, p, s, 9, c);
}

static void full_end(struct __test_metadata *_metadata, struct pusher *p, struct source *s,
		     struct consumer *c)
{
	push_end(_metadata, p);
	EXPECT_EQ(9, p->pub.done);
	EXPECT_EQ(8, p->pub.delivered);
	consumer_close(c);
	source_close(s);
}

TEST_F(block, unsubscribe_wakes)
{
	struct blipmq_unsubscribe unsub;
	struct consumer c;
	struct pusher p;
	struct source s;
	int i, woken = 0;

	go_first(_metadata);
	for (i = 0; i < ROUNDS; i++) {
		full_begin(_metadata, &p, &s, &c);
		unsub = (struct blipmq_unsubscribe){ .id = 1 };
		EXPECT_EQ(0, do_unsubscribe(c.fd, &unsub));
		woken += !is_asleep(p.tid);
		full_end(_metadata, &p, &s, &c);
	}
	EXPECT_EQ(ROUNDS, woken);
}

TEST_F(block, close_wakes)
{
	struct consumer c;
	struct pusher p;
	struct source s;
	int i, woken = 0;

	go_first(_metadata);
	for (i = 0; i < ROUNDS; i++) {
		full_begin(_metadata, &p, &s, &c);
		consumer_close(&c);
		woken += !is_asleep(p.tid);
		full_end(_metadata, &p, &s, &c);
	}
	EXPECT_EQ(ROUNDS, woken);
}

/* Whoever notices that it is broken. */
TEST_F(block, break_wakes)
{
	struct consumer c;
	struct pusher p;
	struct source s;
	int i, woken = 0;

	go_first(_metadata);
	for (i = 0; i < ROUNDS; i++) {
		full_begin(_metadata, &p, &s, &c);
		consumer_store(consumer_claim_word(&c), 1000);
		EXPECT_EQ(-EIO, wait_for(c.fd, 1, 0));
		woken += !is_asleep(p.tid);
		full_end(_metadata, &p, &s, &c);
	}
	EXPECT_EQ(ROUNDS, woken);
}

/* Who was refused may try again, though the ring is as full as it was. */
TEST_F(block, unsubscribe_makes_writable)
{
	struct blipmq_unsubscribe unsub = { .id = 1 };
	struct blipmq_publish pub;

	ASSERT_EQ(0, send_nonblock(&self->pair.s, 9, &pub));
	EXPECT_EQ(0, writable(self->pair.s.fd));
	ASSERT_EQ(0, do_unsubscribe(self->pair.c.fd, &unsub));
	EXPECT_EQ(POLLOUT, writable(self->pair.s.fd));
	ASSERT_EQ(0, send_nonblock(&self->pair.s, 9, &pub));
	EXPECT_EQ(9, pub.done);
	EXPECT_EQ(8, consumer_prod(&self->pair.c));
}

/* The publisher of a block ring notices that it is broken, and tells its reader. */
static int polls_for_an_error(void *fd)
{
	struct pollfd pfd = { .fd = *(int *)fd };

	return poll(&pfd, 1, 20000) == 1 && pfd.revents == POLLERR ? 0 : 1;
}

TEST_F(block, break_wakes_the_reader)
{
	struct consumer *c = &self->pair.c;
	struct blipmq_publish pub;
	pid_t pid;

	ASSERT_EQ(0, send_nonblock(&self->pair.s, 8, &pub));
	pid = spawn(polls_for_an_error, &c->fd);
	ASSERT_TRUE(wait_asleep(pid));
	consumer_store(consumer_claim_word(c), 1000);
	EXPECT_EQ(0, publish_nonblock(self->pair.s.fd, SUBJECT, "x", 1));
	EXPECT_EQ(1, consumer_broken(c));
	EXPECT_EQ(0, reap_within(pid, 10000));
}

static int never_reads(void *arg)
{
	bool *ready = arg;
	int fd = bus_open(O_RDWR);

	if (make_ring(fd, 8, BLIPMQ_POLICY_BLOCK) || subscribe(fd, "killed", 0) < 0)
		return 1;
	__atomic_store_n(ready, true, __ATOMIC_RELEASE);
	pause();
	return 2;
}

TEST_F(block, reader_is_killed)
{
	bool *ready = shared(sizeof(*ready));
	pid_t pid = spawn(never_reads, ready);
	struct pusher p;
	struct source s;

	while (!__atomic_load_n(ready, __ATOMIC_ACQUIRE))
		ASSERT_EQ(-ETIME, reap_within(pid, 1));
	ASSERT_EQ(0, source_open(&s, "killed", LENGTH, 64));
	/* Its ring is not mapped here; the one that is, is full beside it. */
	ASSERT_LT(0, subscribe(self->pair.c.fd, "killed", WITNESS_COOKIE));
	push_start(_metadata, &p, &s, 8 + 8, &self->pair.c);
	EXPECT_EQ(8, consumer_drain(&self->pair.c));
	sleep_ms(50);
	EXPECT_FALSE(__atomic_load_n(&p.done, __ATOMIC_ACQUIRE));
	slay(pid);
	push_end(_metadata, &p);
	EXPECT_EQ(16, p.pub.done);
	EXPECT_EQ(8 + 8 + 8, p.pub.delivered);
	EXPECT_EQ(8, consumer_drain(&self->pair.c));
	source_close(&s);
}

/* The reader copies: each message that it takes makes room for one. */
TEST_F(block, room_by_read)
{
	struct blipmq_publish pub;
	char payload[LENGTH];
	struct source s;
	__u64 number;
	int fd, i;

	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(fd, 4, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(fd, "read", 0));
	ASSERT_EQ(0, source_open(&s, "read", LENGTH, 16));
	ASSERT_EQ(0, send_nonblock(&s, 16, &pub));
	EXPECT_EQ(4, pub.done);
	for (i = 1; i <= 20; i++) {
		ASSERT_EQ(LENGTH, read(fd, payload, sizeof(payload)));
		EXPECT_TRUE(stamp_holds(payload, LENGTH, &number));
		EXPECT_EQ(i, number);
		EXPECT_EQ(POLLOUT, writable(s.fd));
		ASSERT_EQ(0, send_nonblock(&s, 16, &pub));
		EXPECT_EQ(1, pub.done);
	}
	source_close(&s);
	close(fd);
}

/* ---- Who may, and how much ---- */

TEST(needs_the_right_to_publish)
{
	/* Others: subscribe, and map. */
	const struct param params[] = { { "mode", "0775" }, { } };
	struct blipmq_ring ring = { .entries = 8, .policy = BLIPMQ_POLICY_BLOCK };
	int fd;

	ASSERT_EQ(0, fresh_bus(params));
	fd = open_as(GOOD_UID);
	EXPECT_EQ(-EACCES, do_ring(fd, &ring));
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_PUBLISH, ring.head.reason);
	EXPECT_EQ(1, bus_event(BLIPMQ_EVENT_DENIED));
	EXPECT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_NEWEST));
	close(fd);
}

/* A ring may pin an eighth of the budget: then it is as full as one without slots. */
TEST_F(block, full_of_pages)
{
	struct blipmq_info info = { };
	struct blipmq_publish pub;
	struct consumer c;
	unsigned int fit;
	struct source s = { };

	consumer_close(&self->pair.c);
	ASSERT_EQ(0, consumer_open(&c, 64, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(c.fd, "large", 0));
	ASSERT_EQ(0, source_open(&s, "large", 1 << 20, 16));
	ASSERT_EQ(0, do_info(s.fd, &info));
	/* Header and subject make each a page longer. */
	fit = info.budget / 8 / ((1 << 20) + info.page_size);
	ASSERT_EQ(0, send_nonblock(&s, 16, &pub));
	EXPECT_EQ(fit, pub.done);
	EXPECT_EQ(BLIPMQ_REASON_ROOM, pub.head.reason);
	EXPECT_EQ(fit, consumer_drain(&c));
	ASSERT_EQ(0, send_nonblock(&s, 1, &pub));
	EXPECT_EQ(0, sum_drops(consumer_drops(&c)));
	consumer_close(&c);
	source_close(&s);
}

#define CLOSED	7	/* and one: a part of that is less than what one ring may pin */

/* A ring that is closed takes no part of the pins, though publishers remember it. */
TEST_F(block, closed_rings_pin_nothing)
{
	struct blipmq_info info = { };
	struct blipmq_publish pub;
	int rings[CLOSED], to[CLOSED], i;
	struct consumer c;
	struct source s = { };

	consumer_close(&self->pair.c);
	for (i = 0; i < CLOSED; i++) {
		const char subject[] = { 'a' + i, 0 };

		to[i] = bus_open(O_RDWR);
		rings[i] = bus_open(O_RDWR);
		ASSERT_EQ(0, make_ring(rings[i], 1, BLIPMQ_POLICY_BLOCK));
		ASSERT_LT(0, subscribe(rings[i], subject, 0));
		ASSERT_EQ(1, publish_nonblock(to[i], subject, "x", 1));
		ASSERT_EQ(-EAGAIN, publish_nonblock(to[i], subject, "x", 1));
	}
	ASSERT_EQ(0, consumer_open(&c, 64, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(c.fd, "large", 0));
	ASSERT_EQ(0, source_open(&s, "large", 1 << 20, 16));
	ASSERT_EQ(0, do_info(s.fd, &info));
	for (i = 0; i < CLOSED; i++)
		close(rings[i]);
	ASSERT_EQ(0, send_nonblock(&s, 16, &pub));
	EXPECT_EQ(info.budget / 8 / ((1 << 20) + info.page_size), pub.done);
	for (i = 0; i < CLOSED; i++)
		close(to[i]);
	consumer_close(&c);
	source_close(&s);
}

/* Some pages may still be pinned, but too few for the message: likewise. */
TEST_F(block, sleeps_while_pages_are_few)
{
	struct blipmq_publish pub;
	struct source s = { };
	struct consumer c;
	struct pusher p;

	consumer_close(&self->pair.c);
	ASSERT_EQ(0, consumer_open(&c, 64, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(c.fd, "large", 0));
	ASSERT_EQ(0, source_open(&s, "large", 1 << 20, 16));
	ASSERT_EQ(0, send_nonblock(&s, 16, &pub));
	ASSERT_GT(16, pub.done);
	EXPECT_EQ(0, writable(s.fd));

	push_begin(_metadata, &p, &s, 1);
	expect_sleeping(_metadata, &p);
	EXPECT_LT(0, consumer_drain(&c));
	push_end(_metadata, &p);
	EXPECT_EQ(0, p.ret);
	EXPECT_EQ(POLLOUT, writable(s.fd));
	consumer_close(&c);
	source_close(&s);
}

/* ---- The budget ---- */

FIXTURE(budget)
{
	struct pair pair;
};

FIXTURE_SETUP(budget)
{
	/* BUDGET_MS */
	const struct param params[] = { OPEN_TO_ALL, { "block_budget", "300" }, { } };

	pair_begin(_metadata, &self->pair, params);
}

FIXTURE_TEARDOWN(budget)
{
	pair_end(_metadata, &self->pair);
}

/* What a publish of nr messages took, ms. */
static unsigned int send_ms(struct __test_metadata *_metadata, struct source *s,
			    unsigned int nr)
{
	__u64 begun = now_ns();

	ASSERT_EQ(nr, source_send_nr(s, nr));
	return (now_ns() - begun) / MSEC;
}

/* A reader that stands still: the publisher waits as long as the budget allows, once. */
TEST_F(budget, stopped_reader)
{
	struct source *s = &self->pair.s;
	struct consumer *c = &self->pair.c;
	unsigned int took;

	took = send_ms(_metadata, s, 20);
	EXPECT_LE(BUDGET_MS + GRACE_MS, took);
	EXPECT_GT(10 * (BUDGET_MS + GRACE_MS), took);
	EXPECT_EQ(1, bus_event(BLIPMQ_EVENT_BLOCKED));
	EXPECT_EQ(12, consumer_drops(c)[BLIPMQ_DROP_OLDEST]);
	/* From now on it is drop-oldest, also for who does not wait. */
	took = send_ms(_metadata, s, 64);
	EXPECT_GT(10 * (BUDGET_MS + GRACE_MS), took);
	EXPECT_EQ(1, publish_nonblock(s->fd, SUBJECT, "x", 1));
	EXPECT_EQ(12 + 64 + 1, consumer_drops(c)[BLIPMQ_DROP_OLDEST]);
	EXPECT_EQ(1, bus_event(BLIPMQ_EVENT_BLOCKED));
}

#define RENEWALS	12
#define RENEWAL_MS	50	/* long enough for what was closed to be gone */

/* A user who makes a new ring at every timeout gains nothing; another user is not touched. */
TEST_F(budget, ring_made_again)
{
	struct blipmq_publish pub;
	struct consumer c, other;
	unsigned int took = 0;
	struct source s;
	int i;

	ASSERT_EQ(0, source_open(&s, "again", LENGTH, 16));
	for (i = 0; i < RENEWALS; i++) {
		ASSERT_EQ(0, consumer_attach(&c, open_as(BAD_UID), 8, 0, BLIPMQ_POLICY_BLOCK));
		ASSERT_LT(0, subscribe(c.fd, "again", 0));
		took += send_ms(_metadata, &s, 10);
		EXPECT_EQ(2, consumer_drops(&c)[BLIPMQ_DROP_OLDEST]);
		consumer_close(&c);
		sleep_ms(RENEWAL_MS);
	}
	/* Each on its own would have taken its budget. */
	EXPECT_LE(BUDGET_MS + GRACE_MS, took);
	EXPECT_GT(RENEWALS * BUDGET_MS / 2, took);
	EXPECT_EQ(1, bus_event(BLIPMQ_EVENT_BLOCKED));

	ASSERT_EQ(0, consumer_attach(&other, open_as(GOOD_UID), 8, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(other.fd, "again", 0));
	ASSERT_EQ(0, send_nonblock(&s, 16, &pub));
	EXPECT_EQ(8, pub.done);
	EXPECT_EQ(-EAGAIN, pub.error);
	consumer_close(&other);
	source_close(&s);
}

/* ---- A slow reader ---- */

#define SLOW_MS		30	/* for a message: far below the grace, also in a slow guest */
#define SLOW_MESSAGES	50	/* together longer than budget and grace */

/* Only time in which nothing is released counts: it blocks on, as slow as it is. */
TEST(slow_reader)
{
	const struct param params[] = { { "block_budget", "1000" }, { } };
	struct pair pair;
	struct pusher p;
	__u64 last = 0;

	pair_begin(_metadata, &pair, params);
	push_start(_metadata, &p, &pair.s, SLOW_MESSAGES + 8, &pair.c);
	while (last < SLOW_MESSAGES) {
		sleep_ms(SLOW_MS);
		take(_metadata, &pair.c, 1, &last);
	}
	take(_metadata, &pair.c, 8, &last);
	push_end(_metadata, &p);
	EXPECT_EQ(SLOW_MESSAGES + 8, p.pub.done);
	EXPECT_EQ(0, sum_drops(consumer_drops(&pair.c)));
	EXPECT_EQ(0, bus_event(BLIPMQ_EVENT_BLOCKED));
	pair_end(_metadata, &pair);
}

TEST_HARNESS_MAIN
