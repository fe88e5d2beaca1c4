// SPDX-License-Identifier: GPL-2.0
/*
 * Who makes way for a publisher that needs memory. Over its share it gets only its own oldest
 * messages that nobody claimed; below it those of others too; what is claimed, and what is in
 * a block ring, stays whatever happens.
 */
#include "memory.h"

#define SHARE_PAGES	(STORE_PAGES / 2)

struct evict {
	struct holder h[4];
	int mine;		/* publishers: root's, */
	int other;		/* and of a stranger */
};

FIXTURE(evict)
{
	struct evict e;
};

static void evict_begin(struct __test_metadata *_metadata, struct evict *e,
			const char *share)
{
	const struct param params[] = {
		OPEN_TO_ALL, PATIENT, SMALL_BUDGET, { "share", share }, { }
	};
	int i;

	ASSERT_EQ(0, fresh_bus(params));
	/* A block ring that may not pin more would make them wait. */
	e->mine = bus_open(O_RDWR | O_NONBLOCK);
	e->other = bus_open_as(GOOD_UID, GOOD_UID, O_RDWR | O_NONBLOCK);
	for (i = 0; i < 4; i++)
		e->h[i].c.fd = -1;
}

static void evict_end(struct __test_metadata *_metadata, struct evict *e)
{
	int i;

	for (i = 0; i < 4; i++)
		if (e->h[i].c.fd >= 0)
			consumer_close(&e->h[i].c);
	close(e->mine);
	close(e->other);
	expect_bus_empty(_metadata);
}

FIXTURE_SETUP(evict)
{
	evict_begin(_metadata, &self->e, "50");
}

FIXTURE_TEARDOWN(evict)
{
	evict_end(_metadata, &self->e);
}

static __u64 evicted(struct holder *h)
{
	return consumer_drops(&h->c)[BLIPMQ_DROP_EVICTED];
}

/* Nothing else was lost, and what is there can be taken. */
static void expect_evicted(struct __test_metadata *_metadata, struct holder *h, __u64 lost,
			   __u64 left)
{
	struct blipmq_stats stats;

	ASSERT_EQ(0, sub_stats(h->c.fd, h->id, &stats));
	EXPECT_EQ(lost, stats.drops[BLIPMQ_DROP_EVICTED]);
	EXPECT_EQ(lost, sum_drops(stats.drops));
	EXPECT_EQ(lost, evicted(h));
	EXPECT_EQ(left, stats.queued);
	EXPECT_EQ(left, consumer_drain(&h->c));
	ASSERT_EQ(0, sub_stats(h->c.fd, h->id, &stats));
	EXPECT_EQ(stats.delivered, left + sum_drops(stats.drops));
}

/* ---- Over the share ---- */

static void own_goes(struct __test_metadata *_metadata, struct evict *e,
		     enum blipmq_policy policy)
{
	ASSERT_EQ(0, holder_open(&e->h[0], 0, policy));
	ASSERT_EQ(0, holder_open(&e->h[1], 1, policy));
	EXPECT_EQ(1, publish_large(e->mine, "hold.0"));
	EXPECT_EQ(1, publish_large(e->mine, "hold.1"));
	EXPECT_LE(1, bus_event(BLIPMQ_EVENT_EVICTING));
	expect_evicted(_metadata, &e->h[0], 1, 0);
	expect_evicted(_metadata, &e->h[1], 0, 1);
}

TEST_F(evict, own_of_drop_oldest)
{
	own_goes(_metadata, &self->e, BLIPMQ_POLICY_DROP_OLDEST);
}

TEST_F(evict, own_of_drop_newest)
{
	own_goes(_metadata, &self->e, BLIPMQ_POLICY_DROP_NEWEST);
}

TEST_F(evict, nothing_of_block)
{
	ASSERT_EQ(0, holder_open(&self->e.h[0], 0, BLIPMQ_POLICY_BLOCK));
	EXPECT_EQ(1, publish_large(self->e.mine, "hold.0"));
	EXPECT_REFUSED(self->e.mine, -ENOBUFS, BLIPMQ_REASON_SHARE, SHARE_PAGES);
	expect_evicted(_metadata, &self->e.h[0], 0, 1);
	EXPECT_EQ(0, bus_event(BLIPMQ_EVENT_EVICTING));
}

TEST_F(evict, nothing_claimed)
{
	ASSERT_EQ(0, holder_open(&self->e.h[0], 0, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_EQ(1, hold_large(&self->e.h[0], self->e.mine));
	EXPECT_REFUSED(self->e.mine, -ENOBUFS, BLIPMQ_REASON_SHARE, SHARE_PAGES);
	EXPECT_EQ(0, evicted(&self->e.h[0]));
	consumer_release(&self->e.h[0].c, self->e.h[0].index + 1);
	EXPECT_EQ(0, publish_large(self->e.mine, "nobody"));
}

TEST_F(evict, nothing_of_others)
{
	ASSERT_EQ(0, holder_open(&self->e.h[0], 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_EQ(0, holder_open(&self->e.h[1], 1, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_EQ(1, publish_large(self->e.other, "hold.0"));
	EXPECT_EQ(1, publish_large(self->e.mine, "hold.1"));
	/* Both are over now: each gets its own. */
	EXPECT_EQ(0, publish_large(self->e.mine, "nobody"));
	EXPECT_EQ(0, evicted(&self->e.h[0]));
	EXPECT_EQ(1, evicted(&self->e.h[1]));
	EXPECT_EQ(0, publish_large(self->e.other, "nobody"));
	expect_evicted(_metadata, &self->e.h[0], 1, 0);
	expect_evicted(_metadata, &self->e.h[1], 1, 0);
}

/* Idle pages of others, which its share does not give it, do not keep its own from going. */
TEST_F(evict, own_beside_idle_of_others)
{
	ASSERT_EQ(0, holder_open(&self->e.h[0], 0, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_EQ(0, publish_large(self->e.other, "nobody"));
	EXPECT_EQ(1, publish_large(self->e.mine, "hold.0"));
	EXPECT_EQ(0, publish_large(self->e.mine, "nobody"));
	expect_evicted(_metadata, &self->e.h[0], 1, 0);
}

/*
 * One ring, with a message of another account before one's own: only heads go, so it yields
 * nothing until its reader took that one.
 */
#define MIDDLE		(64u << 10)
#define MIDDLE_PAGES	(MIDDLE / 4096 + 1)

TEST(foreign_head)
{
	const struct param params[] = { OPEN_TO_ALL, SMALL_BUDGET, { "share", "5" }, { } };
	static char middle[MIDDLE];
	struct blipmq_desc d;
	struct blipmq_stats stats;
	int mine, other, id;
	struct consumer c;
	__u64 index;

	ASSERT_EQ(0, fresh_bus(params));
	mine = bus_open(O_RDWR);
	other = open_as(GOOD_UID);
	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	id = subscribe(c.fd, "mixed", 0);
	ASSERT_LT(0, id);

	/* A share is 51 pages at first: three of these messages. */
	EXPECT_EQ(1, publish(other, "mixed", middle, MIDDLE));
	EXPECT_EQ(1, publish(mine, "mixed", middle, MIDDLE));
	EXPECT_EQ(1, publish(mine, "mixed", middle, MIDDLE));
	EXPECT_EQ(-ENOBUFS, publish(mine, "mixed", middle, MIDDLE));
	ASSERT_EQ(0, sub_stats(c.fd, id, &stats));
	EXPECT_EQ(3, stats.queued);
	EXPECT_EQ(0, sum_drops(stats.drops));

	ASSERT_EQ(1, consumer_claim(&c, &d, 1, &index));
	EXPECT_EQ(1, consumer_header(&c, &d)->seq);
	EXPECT_EQ(GOOD_UID, consumer_header(&c, &d)->uid);
	consumer_release(&c, index + 1);
	EXPECT_EQ(1, publish(mine, "mixed", middle, MIDDLE));
	ASSERT_EQ(0, sub_stats(c.fd, id, &stats));
	EXPECT_LE(1, stats.drops[BLIPMQ_DROP_EVICTED]);
	EXPECT_EQ(4, stats.delivered);
	EXPECT_EQ(stats.delivered, 1 + sum_drops(stats.drops) + stats.queued);
	/* The newest is there, and the reader is told of the loss. */
	while (consumer_claim(&c, &d, 1, &index))
		consumer_release(&c, index + 1);
	EXPECT_EQ(4, consumer_header(&c, &d)->seq);
	EXPECT_TRUE(d.length & BLIPMQ_DESC_GAP);

	consumer_close(&c);
	close(mine);
	close(other);
	expect_bus_empty(_metadata);
}

/* ---- Below the share: when the host has no more ---- */

#define HOST_PAGES	(2 * LARGE_PAGES + LARGE_PAGES / 2)

FIXTURE(host_full)
{
	struct evict e;
	int third;		/* below its share, when the two others have one large message */
};

FIXTURE_SETUP(host_full)
{
	evict_begin(_metadata, &self->e, "75");
	self->third = bus_open_as(THIRD_UID, THIRD_UID, O_RDWR | O_NONBLOCK);
	host_pages_set(HOST_PAGES);
	host_settle();
}

FIXTURE_TEARDOWN(host_full)
{
	close(self->third);
	evict_end(_metadata, &self->e);
}

/* Two messages of two users take what the host allows. */
static void fill_host(struct __test_metadata *_metadata, struct evict *e,
		      enum blipmq_policy policy)
{
	ASSERT_EQ(0, holder_open(&e->h[0], 0, policy));
	ASSERT_EQ(0, holder_open(&e->h[1], 1, policy));
	EXPECT_EQ(1, publish_large(e->mine, "hold.0"));
	EXPECT_EQ(1, publish_large(e->other, "hold.1"));
}

TEST_F(host_full, others_go)
{
	struct holder *h = self->e.h;

	fill_host(_metadata, &self->e, BLIPMQ_POLICY_DROP_OLDEST);
	EXPECT_EQ(0, publish_large(self->third, "nobody"));
	EXPECT_LE(1, evicted(&h[0]) + evicted(&h[1]));
	EXPECT_LE(1, bus_event(BLIPMQ_EVENT_EVICTING));
	expect_evicted(_metadata, &h[0], evicted(&h[0]), 1 - evicted(&h[0]));
	expect_evicted(_metadata, &h[1], evicted(&h[1]), 1 - evicted(&h[1]));
}

TEST_F(host_full, nothing_of_block)
{
	fill_host(_metadata, &self->e, BLIPMQ_POLICY_BLOCK);
	EXPECT_REFUSED(self->third, -ENOBUFS, BLIPMQ_REASON_HOST, HOST_PAGES);
	expect_evicted(_metadata, &self->e.h[0], 0, 1);
	expect_evicted(_metadata, &self->e.h[1], 0, 1);
}

TEST_F(host_full, nothing_claimed)
{
	struct holder *h = self->e.h;
	int i;

	fill_host(_metadata, &self->e, BLIPMQ_POLICY_DROP_OLDEST);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(1, consumer_claim(&h[i].c, &h[i].desc, 1, &h[i].index));
	EXPECT_REFUSED(self->third, -ENOBUFS, BLIPMQ_REASON_HOST, HOST_PAGES);
	EXPECT_EQ(0, evicted(&h[0]) + evicted(&h[1]));
}

TEST_HARNESS_MAIN
