// SPDX-License-Identifier: GPL-2.0
/*
 * What ends a wait for room in a block ring; and no reader, dead or hostile, makes a
 * publisher wait for longer than its budget.
 */
#include "policy_block.h"

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

/* A full ring to wait for, of its own in each round; @end returns what it was expected to. */
static void expect_ended(struct __test_metadata *_metadata, int (*end)(struct consumer *c),
			 int expected)
{
	struct consumer c;
	struct pusher p;
	struct source s;
	int i, woken = 0;

	go_first(_metadata);
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, source_open(&s, "full", LENGTH, 16));
		ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_BLOCK));
		ASSERT_EQ(1, subscribe(c.fd, "full", 0));
		push_start(_metadata, &p, &s, 9, &c);
		EXPECT_EQ(expected, end(&c));
		woken += !is_asleep(p.tid);
		push_end(_metadata, &p);
		EXPECT_EQ(9, p.pub.done);
		EXPECT_EQ(8, p.pub.delivered);
		consumer_close(&c);
		source_close(&s);
	}
	EXPECT_EQ(ROUNDS, woken);
}

static int end_unsubscribe(struct consumer *c)
{
	struct blipmq_unsubscribe unsub = { .id = 1 };

	return do_unsubscribe(c->fd, &unsub);
}

static int end_close(struct consumer *c)
{
	consumer_close(c);
	return 0;
}

/* Whoever notices that it is broken. */
static int end_break(struct consumer *c)
{
	consumer_store(consumer_claim_word(c), 1000);
	return wait_for(c->fd, 1, 0);
}

TEST_F(block, unsubscribe_wakes)
{
	expect_ended(_metadata, end_unsubscribe, 0);
}

TEST_F(block, close_wakes)
{
	expect_ended(_metadata, end_close, 0);
}

TEST_F(block, break_wakes)
{
	expect_ended(_metadata, end_break, -EIO);
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
