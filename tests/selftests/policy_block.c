// SPDX-License-Identifier: GPL-2.0
/* Block rings: the publisher waits for the slowest reader, or is told to come again. */
#include "policy_block.h"

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
	unsigned int taken;
	struct pusher p;
	__u64 index;

	ASSERT_LT(0, subscribe(c->fd, ">", 0));
	push_start(_metadata, &p, &self->pair.s, 5, c);
	ASSERT_EQ(1, consumer_claim(c, &d, 1, &index));
	consumer_release(c, index + 1);
	expect_sleeping(_metadata, &p);
	/* The last message may come while we take those before it. */
	taken = consumer_drain(c);
	push_end(_metadata, &p);
	EXPECT_EQ(5, p.pub.done);
	EXPECT_EQ(7 + 2, taken + consumer_drain(c));
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

TEST_HARNESS_MAIN
