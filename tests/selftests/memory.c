// SPDX-License-Identifier: GPL-2.0
/*
 * Memory: sizes of messages, who is refused and by which limit, what rings pin, and kept
 * messages. Who must make way for whom is in memory_evict.c, memory cgroups and what becomes
 * of idle pages in memory_cgroup.c.
 */
#include "memory.h"

FIXTURE(store)
{
	struct source s;
};

FIXTURE_SETUP(store)
{
	const struct param params[] = {
		OPEN_TO_ALL, PATIENT, SMALL_BUDGET, { "share", "100" }, { "max_kept", "64" }, { }
	};

	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, source_open(&self->s, "store.small", 64, 128));
}

FIXTURE_TEARDOWN(store)
{
	source_close(&self->s);
	expect_bus_empty(_metadata);
}

/* ---- Sizes ---- */

static void round_trip(struct __test_metadata *_metadata, struct consumer *c, int fd,
		       char *buf, size_t len)
{
	struct blipmq_desc d;
	__u64 index, number;

	stamp(buf, len, len + 1);
	ASSERT_EQ(1, publish(fd, "size", buf, len));
	ASSERT_EQ(1, consumer_claim(c, &d, 1, &index));
	EXPECT_EQ(len, desc_length(&d));
	EXPECT_EQ(len, consumer_header(c, &d)->length);
	EXPECT_STREQ("size", consumer_subject(c, &d));
	EXPECT_TRUE(stamp_holds(consumer_payload(c, &d), len, &number));
	EXPECT_EQ(len < 8 ? 0 : len + 1, number);
	consumer_release(c, index + 1);
}

TEST_F(store, sizes)
{
	static const size_t edges[] = { 0, 8, 64, 4096 - 64, 4096, 8192, 65536, 1 << 20 };
	struct blipmq_message m = { .subject = ptr_u64("size"), .subject_len = 4 };
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	struct blipmq_info info = { };
	struct consumer c;
	unsigned int i;
	size_t len;
	char *buf;

	ASSERT_EQ(0, consumer_open(&c, 4, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "size", 0));
	ASSERT_EQ(0, do_info(c.fd, &info));
	EXPECT_EQ(1 << 20, info.max_message);
	EXPECT_EQ(4 << 20, info.budget);
	buf = malloc(info.max_message + 1);
	for (i = 0; i < ARRAY_SIZE(edges); i++) {
		for (len = edges[i] > 12 ? edges[i] - 12 : 0; len <= edges[i] + 12; len++)
			if (len <= info.max_message)
				round_trip(_metadata, &c, self->s.fd, buf, len);
	}
	m.data = ptr_u64(buf);
	m.length = info.max_message + 1;
	EXPECT_EQ(-EMSGSIZE, do_publish(self->s.fd, &pub));
	EXPECT_EQ(BLIPMQ_REASON_MESSAGE_SIZE, pub.head.reason);
	EXPECT_EQ(info.max_message, pub.head.detail);
	EXPECT_EQ(0, pub.done);
	consumer_close(&c);
	free(buf);
}

/* ---- Limits ---- */

TEST_F(store, budget)
{
	struct holder h[4];
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, holder_open(&h[i], i, BLIPMQ_POLICY_DROP_OLDEST));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(1, hold_large(&h[i], self->s.fd));
	EXPECT_REFUSED(self->s.fd, -ENOBUFS, BLIPMQ_REASON_BUDGET, STORE_PAGES);
	/* What is small has room still. */
	EXPECT_EQ(128, source_send(&self->s));
	consumer_close(&h[1].c);
	EXPECT_EQ(1, hold_large(&h[3], self->s.fd));
	for (i = 0; i < 4; i++)
		consumer_close(&h[i].c);
}

/* What is idle stands in nobody's way. */
TEST_F(store, idle_makes_way)
{
	char *large = calloc(1, LARGE);
	int i, other = open_as(GOOD_UID);

	for (i = 0; i < 20; i++) {
		EXPECT_EQ(0, publish(self->s.fd, "nobody", large, LARGE - i * 50000));
		EXPECT_EQ(0, publish(other, "nobody", large, LARGE - i * 30000));
	}
	close(other);
	free(large);
}

TEST(share)
{
	const struct param params[] = { OPEN_TO_ALL, SMALL_BUDGET, { "share", "50" }, { } };
	struct holder h[4];
	int other, fd, i;

	ASSERT_EQ(0, fresh_bus(params));
	fd = bus_open(O_RDWR);
	other = open_as(GOOD_UID);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, holder_open(&h[i], i, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_EQ(1, hold_large(&h[0], fd));
	EXPECT_REFUSED(fd, -ENOBUFS, BLIPMQ_REASON_SHARE, STORE_PAGES / 2);
	/* Half of what the first left free. */
	EXPECT_EQ(1, hold_large(&h[1], other));
	EXPECT_REFUSED(other, -ENOBUFS, BLIPMQ_REASON_SHARE, (STORE_PAGES - LARGE_PAGES) / 2);
	EXPECT_REFUSED(fd, -ENOBUFS, BLIPMQ_REASON_SHARE, (STORE_PAGES - LARGE_PAGES) / 2);
	/* What went no longer counts. */
	consumer_close(&h[0].c);
	EXPECT_EQ(1, hold_large(&h[2], fd));
	for (i = 0; i < 4; i++)
		consumer_close(&h[i].c);
	close(other);
	close(fd);
	expect_bus_empty(_metadata);
}

FIXTURE(host)
{
	int fd;
};

FIXTURE_SETUP(host)
{
	const struct param params[] = { OPEN_TO_ALL, SMALL_BUDGET, { } };

	ASSERT_EQ(0, fresh_bus(params));
	self->fd = bus_open(O_RDWR);
}

FIXTURE_TEARDOWN(host)
{
	close(self->fd);
	expect_bus_empty(_metadata);
}

TEST_F(host, all_buses)
{
	host_pages_set(LARGE_PAGES - 1);
	EXPECT_REFUSED(self->fd, -ENOBUFS, BLIPMQ_REASON_HOST, LARGE_PAGES - 1);
	host_pages_restore();
	EXPECT_EQ(0, publish_large(self->fd, "nobody"));
}

#define IDLE_SLACK	64	/* pages */

TEST_F(host, one_user)
{
	host_pages_set(2 * LARGE_PAGES - 2);
	host_settle();
	EXPECT_REFUSED(self->fd, -ENOBUFS, BLIPMQ_REASON_HOST_USER, LARGE_PAGES - 1);
	/* Buses of namespaces that went lately may have some idle pages of this user still. */
	host_pages_set(2 * (LARGE_PAGES + IDLE_SLACK));
	EXPECT_EQ(0, publish_large(self->fd, "nobody"));
}

static void lower_and_hang(struct __test_metadata *_metadata __attribute__((unused)))
{
	host_pages_set(1);
	pause();
}

/* The harness runs a test that hangs; as if it were another program, and says nothing. */
static int run_hanging(void *results)
{
	struct __test_metadata hanging = {
		.name = "hanging",
		.fn = lower_and_hang,
		.timeout = TEST_TIMEOUT_DEFAULT,
		.results = results,
	};

	if (!freopen("/dev/null", "w", stdout))
		return KSFT_PASS;
	return __harness_run(&hanging, 1, 0) ? KSFT_PASS : KSFT_FAIL;
}

/* A test that is killed leaves no limit behind for those after it. */
TEST(host_pages_of_killed)
{
	pid_t pid = spawn(run_hanging, shared(sizeof(struct __test_results)));

	while (strcmp("1", param_get("host_pages")))
		ASSERT_EQ(-ETIME, reap_within(pid, 1));
	kill(pid, SIGTERM);
	EXPECT_EQ(KSFT_FAIL, reap(pid));
	EXPECT_STREQ(host_pages, param_get("host_pages"));
}

/* ---- Pins ---- */

static __u64 pinned(const struct consumer *c)
{
	struct blipmq_stats stats;

	return ring_stats(c->fd, &stats) ? ~0ULL : stats.pinned;
}

/* Different pages in which messages lie. */
static unsigned int count_pages(const struct blipmq_desc *descs, unsigned int nr)
{
	static unsigned char seen[STORE_PAGES];
	unsigned int i, pages = 0;

	memset(seen, 0, sizeof(seen));
	for (i = 0; i < nr; i++) {
		unsigned char *page = &seen[descs[i].offset * BLIPMQ_ALIGN / page_size()];

		pages += !*page;
		*page = 1;
	}
	return pages;
}

/* Consecutive messages of one page pin it once. */
TEST_F(store, pins_in_stretches)
{
	struct blipmq_desc descs[128];
	struct consumer c;
	__u64 index;

	ASSERT_EQ(0, consumer_open(&c, 128, 128, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "store.small", 0));
	ASSERT_EQ(128, source_send(&self->s));
	ASSERT_EQ(128, consumer_claim(&c, descs, 128, &index));
	EXPECT_GT(128 / 8, count_pages(descs, 128));
	EXPECT_EQ(count_pages(descs, 128), pinned(&c));
	consumer_release(&c, index + 128);
	/* At most so many are put in one go. */
	while (pinned(&c))
		ASSERT_EQ(-ETIME, wait_for(c.fd, 1, 0));
	consumer_close(&c);
}

/* Publishers that take turns each have their page, not one for each message. */
TEST_F(store, pins_of_alternating_publishers)
{
	struct blipmq_desc descs[128];
	struct consumer c;
	struct source other;
	__u64 index;
	int i;

	ASSERT_EQ(0, consumer_open(&c, 128, 128, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "store.small", 0));
	ASSERT_EQ(0, source_open(&other, "store.small", 64, 1));
	for (i = 0; i < 64; i++) {
		ASSERT_EQ(1, source_send_nr(&self->s, 1));
		ASSERT_EQ(1, source_send(&other));
	}
	ASSERT_EQ(128, consumer_claim(&c, descs, 128, &index));
	EXPECT_GT(128 / 8, count_pages(descs, 128));
	EXPECT_EQ(count_pages(descs, 128), pinned(&c));
	source_close(&other);
	consumer_close(&c);
}

/* A message whose neighbours belong to others pins its page whole. */
static void fill_with_single_pages(struct __test_metadata *_metadata, struct source *s,
				   unsigned int nr)
{
	while (nr--) {
		ASSERT_LE(0, publish(s->fd, "pins", "x", 1));
		ASSERT_EQ(32, source_send_nr(s, 32));
	}
}

TEST_F(store, pins_of_single_messages)
{
	struct consumer c;

	ASSERT_EQ(0, consumer_open(&c, 128, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "pins", 0));
	fill_with_single_pages(_metadata, &self->s, 50);
	EXPECT_EQ(50, consumer_prod(&c));
	EXPECT_EQ(50, pinned(&c));
	EXPECT_EQ(50, consumer_drain(&c));
	EXPECT_EQ(-ETIME, wait_for(c.fd, 1, 0));
	EXPECT_EQ(0, pinned(&c));
	consumer_close(&c);
}

/* The cap is an eighth of the budget, or less where users and rings share half of it. */
TEST_F(store, pins_cap)
{
	static const struct {
		int users, rings;
		unsigned int cap;
	} cases[] = {
		{ 1, 1, STORE_PAGES / 8 },
		{ 1, 8, STORE_PAGES / 2 / 8 },
		{ 2, 4, STORE_PAGES / 2 / 2 / 4 },
	};
	struct consumer c[8];
	struct blipmq_stats stats;
	unsigned int k, cap;
	int i, rings;

	for (k = 0; k < ARRAY_SIZE(cases); k++) {
		const struct param params[] = {
			OPEN_TO_ALL, SMALL_BUDGET, { "share", "100" }, { }
		};
		struct source s;

		/* Rings that were closed count for a while: a bus without any. */
		ASSERT_EQ(0, fresh_bus(params));
		ASSERT_EQ(0, source_open(&s, "store.small", 64, 32));
		rings = cases[k].users * cases[k].rings;
		cap = cases[k].cap;
		for (i = 0; i < rings; i++) {
			/* Drop-oldest and drop-newest, of each user some. */
			ASSERT_EQ(0, consumer_attach(&c[i], open_as(GOOD_UID + i % cases[k].users),
						     256, 0, i / 2 % 2));
			ASSERT_LT(0, subscribe(c[i].fd, "pins", 0));
		}
		fill_with_single_pages(_metadata, &s, cap + 20);
		for (i = 0; i < rings; i++) {
			EXPECT_EQ(cap, pinned(&c[i]));
			ASSERT_EQ(0, ring_stats(c[i].fd, &stats));
			EXPECT_EQ(cap, stats.queued);
			EXPECT_EQ(20, stats.drops[BLIPMQ_DROP_PINS]);
			EXPECT_EQ(20, sum_drops(stats.drops));
			EXPECT_EQ(cap, consumer_drain(&c[i]));
			consumer_close(&c[i]);
		}
		source_close(&s);
	}
}

/* One message has room in each ring, however large it is; the newest, under drop-oldest. */
TEST_F(store, pins_one_always)
{
	struct consumer c;
	struct blipmq_desc d;
	__u64 index;
	int i;

	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "large", 0));
	for (i = 0; i < 5; i++)
		EXPECT_EQ(1, publish_large(self->s.fd, "large"));
	EXPECT_EQ(LARGE_PAGES, pinned(&c));
	ASSERT_EQ(1, consumer_claim(&c, &d, 1, &index));
	EXPECT_EQ(5, consumer_header(&c, &d)->seq);
	EXPECT_EQ(4, consumer_drops(&c)[BLIPMQ_DROP_PINS]);
	/* It has it in its hands: the next cannot be had. */
	EXPECT_EQ(0, publish_large(self->s.fd, "large"));
	consumer_release(&c, index + 1);
	EXPECT_EQ(1, publish_large(self->s.fd, "large"));
	consumer_close(&c);
}

/* ---- Kept messages ---- */

static int keep(int fd, __u64 index, struct blipmq_keep *k)
{
	*k = (struct blipmq_keep){ .index = index };
	return do_keep(fd, k);
}

TEST_F(store, kept_outlives_release)
{
	struct blipmq_desc descs[3];
	struct blipmq_drop_kept drop = { };
	struct blipmq_stats stats;
	__u64 index, number;
	struct blipmq_keep k;
	struct consumer c;
	int i;

	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "store.small", 0));
	ASSERT_EQ(3, source_send_nr(&self->s, 3));
	EXPECT_EQ(-EINVAL, keep(c.fd, 0, &k));
	EXPECT_EQ(BLIPMQ_REASON_INDEX, k.head.reason);
	ASSERT_EQ(3, consumer_claim(&c, descs, 3, &index));
	ASSERT_EQ(0, keep(c.fd, index + 1, &k));
	drop.id = k.id;
	EXPECT_EQ(-EINVAL, keep(c.fd, index + 1, &k));
	EXPECT_EQ(BLIPMQ_REASON_INDEX, k.head.reason);
	EXPECT_EQ(-EINVAL, keep(c.fd, index + 3, &k));
	consumer_release(&c, index + 3);
	EXPECT_EQ(-EINVAL, keep(c.fd, index, &k));

	/* Many more pass, through every page there is. */
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, publish_large(self->s.fd, "nobody"));
	for (i = 0; i < 100; i++)
		ASSERT_EQ(128, source_send(&self->s));
	EXPECT_TRUE(stamp_holds(consumer_payload(&c, &descs[1]), 64, &number));
	EXPECT_EQ(2, number);
	EXPECT_EQ(2, consumer_header(&c, &descs[1])->seq);

	consumer_drain(&c);
	EXPECT_EQ(-ETIME, wait_for(c.fd, 1, 0));
	ASSERT_EQ(0, ring_stats(c.fd, &stats));
	EXPECT_EQ(1, stats.kept);
	EXPECT_EQ(1, stats.pinned);
	EXPECT_EQ(0, do_drop(c.fd, &drop));
	ASSERT_EQ(0, ring_stats(c.fd, &stats));
	EXPECT_EQ(0, stats.kept);
	EXPECT_EQ(0, stats.pinned);
	EXPECT_EQ(-ENOENT, do_drop(c.fd, &drop));
	EXPECT_EQ(BLIPMQ_REASON_KEPT, drop.head.reason);
	consumer_close(&c);
}

TEST_F(store, kept_number)
{
	struct blipmq_desc descs[128];
	struct blipmq_drop_kept drop = { };
	struct blipmq_keep k;
	struct consumer c;
	__u64 index;
	int i;

	ASSERT_EQ(0, consumer_open(&c, 128, 128, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "store.small", 0));
	ASSERT_EQ(128, source_send(&self->s));
	ASSERT_EQ(128, consumer_claim(&c, descs, 128, &index));
	for (i = 0; i < 64; i++) {
		ASSERT_EQ(0, keep(c.fd, index + i, &k));
		drop.id = k.id;
	}
	EXPECT_EQ(-ENOSPC, keep(c.fd, index + 64, &k));
	EXPECT_EQ(BLIPMQ_REASON_LIMIT_KEPT, k.head.reason);
	EXPECT_EQ(64, k.head.detail);
	ASSERT_EQ(0, do_drop(c.fd, &drop));
	EXPECT_EQ(0, keep(c.fd, index + 64, &k));
	consumer_close(&c);
}

/* Keeping pins; the cap of the ring holds here too, and the message stays claimed. */
TEST_F(store, kept_pages)
{
	struct blipmq_desc descs[128];
	struct blipmq_keep k;
	struct consumer c;
	__u64 index, number;
	int i, ret = 0;

	ASSERT_EQ(0, consumer_open(&c, 128, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "pins", 0));
	fill_with_single_pages(_metadata, &self->s, STORE_PAGES / 8);
	ASSERT_EQ(STORE_PAGES / 8, consumer_claim(&c, descs, 128, &index));
	for (i = 0; i < 64 && !ret; i++)
		ret = keep(c.fd, index + i, &k);
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(BLIPMQ_REASON_LIMIT_KEPT_PINS, k.head.reason);
	EXPECT_EQ(STORE_PAGES / 8, k.head.detail);
	EXPECT_GE(STORE_PAGES / 8, pinned(&c));
	EXPECT_TRUE(stamp_holds(consumer_payload(&c, &descs[127]), 1, &number));
	/* With half of them released there are pages to keep others. */
	consumer_release(&c, index + 64);
	EXPECT_EQ(-ETIME, wait_for(c.fd, 1, 0));
	for (i = 64; i < 64 + 32; i++)
		EXPECT_EQ(0, keep(c.fd, index + i, &k));
	consumer_release(&c, index + 128);
	EXPECT_EQ(-ETIME, wait_for(c.fd, 1, 0));
	EXPECT_EQ(32, pinned(&c));
	consumer_close(&c);
}

TEST_HARNESS_MAIN
