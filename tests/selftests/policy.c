// SPDX-License-Identifier: GPL-2.0
/*
 * What a ring does when it is full: which messages stay, which are lost, and that each loss
 * is counted once, with its reason, and told to the reader. The block policy is in
 * policy_block.c.
 */
#include "hostile.h"

#define SUBJECT		"policy.topic"
#define LENGTH		64

/* An endpoint with one subscription, and what was taken from it. */
struct taker {
	struct consumer c;
	int id;
	__u64 received;
	struct blipmq_desc descs[128];
	__u64 index;		/* of the first one taken last */
};

FIXTURE(full)
{
	struct taker t;
	struct source s;
};

FIXTURE_SETUP(full)
{
	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, source_open(&self->s, SUBJECT, LENGTH, 128));
}

FIXTURE_TEARDOWN(full)
{
	consumer_close(&self->t.c);
	source_close(&self->s);
	expect_bus_empty(_metadata);
}

static void open_taker(struct __test_metadata *_metadata, struct taker *t, __u32 entries,
		       __u32 held, enum blipmq_policy policy)
{
	ASSERT_EQ(0, consumer_open(&t->c, entries, held, policy));
	t->id = subscribe(t->c.fd, SUBJECT, WITNESS_COOKIE);
	ASSERT_LT(0, t->id);
}

static void send(struct __test_metadata *_metadata, struct source *s, unsigned int nr)
{
	ASSERT_EQ(nr, source_send_nr(s, nr));
}

/* One message a call. */
static void send_each(struct __test_metadata *_metadata, struct source *s, unsigned int nr)
{
	while (nr--)
		send(_metadata, s, 1);
}

static __u64 number_of(const struct consumer *c, const struct blipmq_desc *d)
{
	__u64 number;

	return stamp_holds(consumer_payload(c, d), desc_length(d), &number) ? number : 0;
}

/* Claim all: they must be the numbers from first to last, without holes; not released. */
static void expect_claim(struct __test_metadata *_metadata, struct taker *t, __u64 first,
			 __u64 last)
{
	unsigned int n = consumer_claim(&t->c, t->descs, 128, &t->index), i;

	ASSERT_EQ(last + 1 - first, n);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(first + i, number_of(&t->c, &t->descs[i]));
		EXPECT_EQ(first + i, consumer_header(&t->c, &t->descs[i])->seq);
	}
	t->received += n;
}

static bool gap_at(const struct taker *t, unsigned int i)
{
	return t->descs[i].length & BLIPMQ_DESC_GAP;
}

static void release_all(struct taker *t)
{
	consumer_release(&t->c, consumer_load(consumer_claim_word(&t->c)));
}

/* Nothing waits: what was addressed to the subscription was taken, or lost for this reason. */
static void expect_lost(struct __test_metadata *_metadata, struct taker *t, __u64 delivered,
			enum blipmq_drop why, __u64 lost)
{
	struct blipmq_stats stats;

	ASSERT_EQ(0, sub_stats(t->c.fd, t->id, &stats));
	EXPECT_EQ(delivered, stats.delivered);
	EXPECT_EQ(lost, stats.drops[why]);
	EXPECT_EQ(lost, sum_drops(stats.drops));
	EXPECT_EQ(0, stats.queued);
	EXPECT_EQ(delivered, t->received + lost);
	EXPECT_EQ(lost, consumer_drops(&t->c)[why]);
	EXPECT_EQ(lost, sum_drops(consumer_drops(&t->c)));
}

/* ---- drop-oldest ---- */

TEST_F(full, oldest_go)
{
	struct taker *t = &self->t;
	int i;

	open_taker(_metadata, t, 8, 0, BLIPMQ_POLICY_DROP_OLDEST);
	send_each(_metadata, &self->s, 20);
	expect_claim(_metadata, t, 13, 20);
	expect_lost(_metadata, t, 20, BLIPMQ_DROP_OLDEST, 12);
	/* Each of them made an older one go, and says so. */
	for (i = 0; i < 8; i++)
		EXPECT_TRUE(gap_at(t, i));
	release_all(t);
	send_each(_metadata, &self->s, 8);
	expect_claim(_metadata, t, 21, 28);
	for (i = 0; i < 8; i++)
		EXPECT_FALSE(gap_at(t, i));
	expect_lost(_metadata, t, 28, BLIPMQ_DROP_OLDEST, 12);
}

TEST_F(full, no_gap_before_the_first_loss)
{
	struct taker *t = &self->t;
	int i;

	open_taker(_metadata, t, 8, 0, BLIPMQ_POLICY_DROP_OLDEST);
	send(_metadata, &self->s, 8);
	send(_metadata, &self->s, 1);
	expect_claim(_metadata, t, 2, 9);
	for (i = 0; i < 7; i++)
		EXPECT_FALSE(gap_at(t, i));
	EXPECT_TRUE(gap_at(t, 7));
	expect_lost(_metadata, t, 9, BLIPMQ_DROP_OLDEST, 1);
}

/* Batches that are larger than the ring, and than what the kernel works at once. */
TEST_F(full, batch_beyond_the_ring)
{
	struct taker *t = &self->t;

	open_taker(_metadata, t, 8, 0, BLIPMQ_POLICY_DROP_OLDEST);
	send(_metadata, &self->s, 3);
	send(_metadata, &self->s, 128);
	expect_claim(_metadata, t, 124, 131);
	EXPECT_TRUE(gap_at(t, 0));
	EXPECT_FALSE(gap_at(t, 7));
	expect_lost(_metadata, t, 131, BLIPMQ_DROP_OLDEST, 123);
}

/* A ring of one entry is a latest value, also while the one before is in use. */
TEST_F(full, latest_value)
{
	struct taker *t = &self->t;
	struct blipmq_desc before;

	open_taker(_metadata, t, 1, 0, BLIPMQ_POLICY_DROP_OLDEST);
	send_each(_metadata, &self->s, 100);
	expect_claim(_metadata, t, 100, 100);
	before = t->descs[0];
	send(_metadata, &self->s, 100);
	send_each(_metadata, &self->s, 50);
	expect_claim(_metadata, t, 250, 250);
	EXPECT_EQ(100, number_of(&t->c, &before));
	expect_lost(_metadata, t, 250, BLIPMQ_DROP_OLDEST, 248);
	release_all(t);
	send(_metadata, &self->s, 1);
	expect_claim(_metadata, t, 251, 251);
}

/*
 * A reader keeps the first message while a ringful and 100 more pass: the newest are there,
 * the first is whole, and after the release across the holes the ring is as new.
 */
TEST_F(full, one_held_while_many_pass)
{
	struct taker *t = &self->t;
	struct blipmq_desc first;
	struct blipmq_stats stats;
	__u64 base = 0;
	int round;

	open_taker(_metadata, t, 64, 0, BLIPMQ_POLICY_DROP_OLDEST);
	for (round = 0; round < 20; round++, base += 165) {
		send(_metadata, &self->s, 1);
		expect_claim(_metadata, t, base + 1, base + 1);
		first = t->descs[0];
		send(_metadata, &self->s, 100);
		send_each(_metadata, &self->s, 64);
		expect_claim(_metadata, t, base + 102, base + 165);
		EXPECT_EQ(base + 1, number_of(&t->c, &first));
		expect_lost(_metadata, t, base + 165, BLIPMQ_DROP_OLDEST, 100 * (round + 1));
		ASSERT_EQ(0, ring_stats(t->c.fd, &stats));
		EXPECT_EQ(1, stats.held);
		release_all(t);
		EXPECT_EQ(-ETIME, wait_for(t->c.fd, 1, 0));
		ASSERT_EQ(0, ring_stats(t->c.fd, &stats));
		EXPECT_EQ(0, stats.held);
		EXPECT_EQ(0, stats.pinned);
	}
}

/* ---- The held bound ---- */

TEST_F(full, held_bound)
{
	struct taker *t = &self->t;
	struct blipmq_stats stats;

	open_taker(_metadata, t, 16, 1, BLIPMQ_POLICY_DROP_OLDEST);
	EXPECT_EQ(1, t->c.info.held);
	send(_metadata, &self->s, 3);
	expect_claim(_metadata, t, 1, 3);
	send(_metadata, &self->s, 13);
	/* One of the three leaves its slot; the others stand in the way. */
	send(_metadata, &self->s, 1);
	send_each(_metadata, &self->s, 10);
	ASSERT_EQ(0, sub_stats(t->c.fd, t->id, &stats));
	EXPECT_EQ(14, stats.queued);
	EXPECT_EQ(10, stats.drops[BLIPMQ_DROP_HELD]);
	expect_claim(_metadata, t, 4, 17);
	expect_lost(_metadata, t, 27, BLIPMQ_DROP_HELD, 10);
	release_all(t);
	send(_metadata, &self->s, 1);
	expect_claim(_metadata, t, 28, 28);
	EXPECT_TRUE(gap_at(t, 0));
	expect_lost(_metadata, t, 28, BLIPMQ_DROP_HELD, 10);
}

/* A release that the kernel has not seen yet prevents the loss. */
TEST_F(full, late_release_counts)
{
	struct taker *t = &self->t;

	open_taker(_metadata, t, 4, 1, BLIPMQ_POLICY_DROP_OLDEST);
	send(_metadata, &self->s, 4);
	expect_claim(_metadata, t, 1, 4);
	send(_metadata, &self->s, 1);
	release_all(t);
	send(_metadata, &self->s, 3);
	expect_claim(_metadata, t, 5, 8);
	expect_lost(_metadata, t, 8, BLIPMQ_DROP_HELD, 0);
}

/* As many may be held as the ring has entries, and the ring is all free beside them. */
TEST_F(full, whole_ring_held)
{
	struct taker *t = &self->t;
	struct blipmq_desc first[8];
	int i;

	open_taker(_metadata, t, 8, 8, BLIPMQ_POLICY_DROP_OLDEST);
	send(_metadata, &self->s, 8);
	expect_claim(_metadata, t, 1, 8);
	memcpy(first, t->descs, sizeof(first));
	send(_metadata, &self->s, 20);
	expect_claim(_metadata, t, 21, 28);
	send_each(_metadata, &self->s, 5);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(1 + i, number_of(&t->c, &first[i]));
	EXPECT_EQ(5, consumer_drops(&t->c)[BLIPMQ_DROP_HELD]);
	EXPECT_EQ(12, consumer_drops(&t->c)[BLIPMQ_DROP_OLDEST]);
}

/* ---- drop-newest ---- */

TEST_F(full, newest_go)
{
	struct blipmq_result results[20];
	struct blipmq_publish pub = {
		.messages = ptr_u64(self->s.messages),
		.nr = 20,
		.results = ptr_u64(results),
	};
	struct taker *t = &self->t;
	int i;

	open_taker(_metadata, t, 8, 0, BLIPMQ_POLICY_DROP_NEWEST);
	for (i = 0; i < 20; i++)
		stamp(self->s.buf + i * LENGTH, LENGTH, i + 1);
	memset(results, POISON, sizeof(results));
	ASSERT_EQ(0, do_publish(self->s.fd, &pub));
	EXPECT_EQ(20, pub.done);
	EXPECT_EQ(8, pub.delivered);
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(i + 1, results[i].seq);
		EXPECT_EQ(i < 8, results[i].delivered);
		EXPECT_EQ(0, results[i].error);
	}
	self->s.published = 20;
	expect_claim(_metadata, t, 1, 8);
	for (i = 0; i < 8; i++)
		EXPECT_FALSE(gap_at(t, i));
	expect_lost(_metadata, t, 20, BLIPMQ_DROP_FULL, 12);
	release_all(t);
	send(_metadata, &self->s, 2);
	expect_claim(_metadata, t, 21, 22);
	EXPECT_TRUE(gap_at(t, 0));
	EXPECT_FALSE(gap_at(t, 1));
}

/* Claimed messages do not occupy their slots here either, up to the held bound. */
TEST_F(full, newest_beside_claimed)
{
	struct taker *t = &self->t;

	open_taker(_metadata, t, 8, 2, BLIPMQ_POLICY_DROP_NEWEST);
	send(_metadata, &self->s, 8);
	expect_claim(_metadata, t, 1, 8);
	send_each(_metadata, &self->s, 6);
	expect_claim(_metadata, t, 9, 10);
	expect_lost(_metadata, t, 14, BLIPMQ_DROP_HELD, 4);
}

/* ---- Two subscriptions of one ring ---- */

TEST_F(full, twice_into_one_ring)
{
	struct taker *t = &self->t;
	struct blipmq_stats stats;
	unsigned int n, i;
	int wild;

	open_taker(_metadata, t, 64, 0, BLIPMQ_POLICY_DROP_OLDEST);
	wild = subscribe(t->c.fd, "policy.*", ~WITNESS_COOKIE);
	ASSERT_LT(0, wild);
	EXPECT_NE(t->id, wild);
	EXPECT_EQ(2, publish(self->s.fd, SUBJECT, "x", 1));
	send(_metadata, &self->s, 10);
	n = consumer_claim(&t->c, t->descs, 128, &t->index);
	ASSERT_EQ(22, n);
	for (i = 0; i < 2; i++) {
		__u64 cookie = i ? ~WITNESS_COOKIE : WITNESS_COOKIE;
		__u64 seq = 0;
		unsigned int j;

		/* Each subscription has its own, in order. */
		for (j = 0; j < n; j++) {
			if (t->descs[j].cookie != cookie)
				continue;
			EXPECT_EQ(seq + 1, consumer_header(&t->c, &t->descs[j])->seq);
			seq++;
		}
		EXPECT_EQ(11, seq);
		ASSERT_EQ(0, sub_stats(t->c.fd, i ? wild : t->id, &stats));
		EXPECT_EQ(11, stats.delivered);
	}
}

/* What needs more slots than the ring has is lost there, and counted twice. */
TEST_F(full, twice_into_one_slot)
{
	struct taker *t = &self->t;
	struct blipmq_stats stats;
	int wild;

	open_taker(_metadata, t, 1, 0, BLIPMQ_POLICY_DROP_OLDEST);
	wild = subscribe(t->c.fd, ">", 0);
	ASSERT_LT(0, wild);
	send(_metadata, &self->s, 10);
	ASSERT_EQ(0, sub_stats(t->c.fd, t->id, &stats));
	EXPECT_EQ(10, stats.delivered);
	EXPECT_EQ(10, stats.drops[BLIPMQ_DROP_FULL]);
	ASSERT_EQ(0, sub_stats(t->c.fd, wild, &stats));
	EXPECT_EQ(10, stats.drops[BLIPMQ_DROP_FULL]);
	EXPECT_EQ(20, consumer_drops(&t->c)[BLIPMQ_DROP_FULL]);
	EXPECT_EQ(0, consumer_prod(&t->c));
}

TEST_F(full, twice_into_two_slots)
{
	struct taker *t = &self->t;
	unsigned int n;

	open_taker(_metadata, t, 2, 0, BLIPMQ_POLICY_DROP_OLDEST);
	ASSERT_LT(0, subscribe(t->c.fd, ">", 0));
	send_each(_metadata, &self->s, 10);
	n = consumer_claim(&t->c, t->descs, 128, &t->index);
	ASSERT_EQ(2, n);
	EXPECT_EQ(10, number_of(&t->c, &t->descs[0]));
	EXPECT_EQ(10, number_of(&t->c, &t->descs[1]));
	EXPECT_NE(t->descs[0].cookie, t->descs[1].cookie);
	EXPECT_EQ(18, consumer_drops(&t->c)[BLIPMQ_DROP_OLDEST]);
}

/* ---- Unsubscribing and closing ---- */

TEST_F(full, stays_after_unsubscribe)
{
	struct blipmq_unsubscribe unsub = { };
	struct taker *t = &self->t;
	struct blipmq_stats stats;

	open_taker(_metadata, t, 8, 0, BLIPMQ_POLICY_DROP_OLDEST);
	send(_metadata, &self->s, 5);
	unsub.id = t->id;
	ASSERT_EQ(0, do_unsubscribe(t->c.fd, &unsub));
	send(_metadata, &self->s, 5);
	expect_claim(_metadata, t, 1, 5);
	release_all(t);
	ASSERT_EQ(0, ring_stats(t->c.fd, &stats));
	EXPECT_EQ(5, stats.delivered);
	EXPECT_EQ(0, sum_drops(stats.drops));
}

TEST_F(full, closed_with_unread)
{
	struct taker *t = &self->t;
	struct blipmq_stats before, stats;

	open_taker(_metadata, t, 16, 0, BLIPMQ_POLICY_DROP_OLDEST);
	send(_metadata, &self->s, 4);
	expect_claim(_metadata, t, 1, 4);
	send(_metadata, &self->s, 7);
	ASSERT_EQ(0, bus_stats(self->s.fd, &before));
	consumer_close(&t->c);
	ASSERT_EQ(0, bus_stats(self->s.fd, &stats));
	EXPECT_EQ(11, stats.delivered);
	EXPECT_EQ(7, stats.drops[BLIPMQ_DROP_CLOSED] - before.drops[BLIPMQ_DROP_CLOSED]);
	EXPECT_EQ(7, sum_drops(stats.drops));
	EXPECT_EQ(0, stats.subscriptions);
}

TEST_HARNESS_MAIN
