// SPDX-License-Identifier: GPL-2.0
/*
 * What a file is: its bus, its ring, its counters.
 */
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/uio.h>

#include "common.h"
#include "harness.h"

FIXTURE(file) {
	int fd;
};

FIXTURE_SETUP(file)
{
	self->fd = bus_open(O_RDWR);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(file)
{
	close(self->fd);
}

/* ---- BIND and INFO ---- */

static bool is_bound(int fd)
{
	struct blipmq_info info = { };

	return !do_info(fd, &info) && info.endpoint;
}

TEST_F(file, bind_unknown_name)
{
	static const char *const names[] = { "", "defaul", "default2", "Default", " default",
					     "/default", ".." };
	struct blipmq_bind bind;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		bind = (struct blipmq_bind){ };
		strcpy(bind.bus, names[i]);
		EXPECT_EQ(-ENOENT, do_bind(self->fd, &bind)) { TH_LOG("'%s'", names[i]); }
		EXPECT_EQ(BLIPMQ_REASON_BUS_NAME, bind.head.reason);
		EXPECT_FALSE(is_bound(self->fd));
	}
	EXPECT_EQ(0, bind_bus(self->fd, "default"));
}

TEST_F(file, bind_name_not_padded)
{
	struct blipmq_bind bind = { };

	memset(bind.bus, 'a', sizeof(bind.bus));
	EXPECT_EQ(-EINVAL, do_bind(self->fd, &bind));
	EXPECT_EQ(BLIPMQ_REASON_BUS_NAME, bind.head.reason);
	/* Behind the NUL there are NULs alone. */
	for (size_t i = strlen("default") + 1; i < sizeof(bind.bus); i++) {
		memset(bind.bus, 0, sizeof(bind.bus));
		strcpy(bind.bus, "default");
		bind.bus[i] = 'x';
		EXPECT_EQ(-EINVAL, do_bind(self->fd, &bind));
		EXPECT_EQ(BLIPMQ_REASON_BUS_NAME, bind.head.reason);
	}
	EXPECT_FALSE(is_bound(self->fd));
}

TEST_F(file, bind_twice)
{
	struct blipmq_bind bind = { .bus = "default" };

	ASSERT_EQ(0, do_bind(self->fd, &bind));
	EXPECT_EQ(BLIPMQ_REASON_NONE, bind.head.reason);
	EXPECT_EQ(-EBUSY, do_bind(self->fd, &bind));
	EXPECT_EQ(BLIPMQ_REASON_BOUND, bind.head.reason);
	bind = (struct blipmq_bind){ .bus = "other" };
	EXPECT_EQ(-EBUSY, do_bind(self->fd, &bind));
	EXPECT_EQ(BLIPMQ_REASON_BOUND, bind.head.reason);
}

TEST_F(file, bound_info)
{
	struct blipmq_info info = { };

	ASSERT_EQ(0, bind_bus(self->fd, "default"));
	ASSERT_EQ(0, do_info(self->fd, &info));
	EXPECT_EQ(BLIPMQ_VERSION, info.version);
	EXPECT_EQ(FEATURES, info.features);
	EXPECT_EQ(BLIPMQ_RIGHT_MAP | BLIPMQ_RIGHT_PUBLISH | BLIPMQ_RIGHT_SUBSCRIBE, info.rights);
	EXPECT_NE(0, info.endpoint);
	EXPECT_LT(0, info.max_message);
	EXPECT_GE(BLIPMQ_MESSAGE_MAX, info.max_message);
	EXPECT_GE(info.budget / 4, info.max_message);
	EXPECT_GE(info.store_size, info.budget);
	EXPECT_EQ(0, info.store_size % page_size());
	EXPECT_EQ(BLIPMQ_ENTRIES_MAX, info.max_entries);
	EXPECT_EQ(BLIPMQ_BATCH_MAX, info.max_batch);
	EXPECT_EQ(page_size(), info.page_size);
	EXPECT_EQ(0, info.reserved);
	for (size_t i = 0; i < sizeof(info.bus); i++)
		EXPECT_EQ(i < strlen("default") ? "default"[i] : 0, info.bus[i]);
}

static void bind_by(int fd, int way)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct blipmq_stats stats;
	char byte;

	switch (way) {
	case 0:
		make_ring(fd, 1, BLIPMQ_POLICY_DROP_OLDEST);
		break;
	case 1:
		subscribe(fd, "a", 0);	/* fails: there is no ring */
		break;
	case 2:
		topic(fd, "a");
		break;
	case 3:
		publish(fd, "a", "m", 1);
		break;
	case 4:
		wait_for(fd, 1, 0);
		break;
	case 5:
		bus_stats(fd, &stats);
		break;
	case 6:
		poll(&p, 1, 0);
		break;
	case 7:
		(void)!read(fd, &byte, 1);
		break;
	case 8:
		(void)!write(fd, &byte, 1);
		break;
	}
}

/* The first call that needs a bus gives the file the default one. */
TEST(bound_by_use)
{
	for (int way = 0; way <= 8; way++) {
		struct blipmq_bind bind = { .bus = "default" };
		int fd = bus_open(O_RDWR | O_NONBLOCK);

		ASSERT_LE(0, fd);
		EXPECT_FALSE(is_bound(fd));
		bind_by(fd, way);
		EXPECT_TRUE(is_bound(fd)) { TH_LOG("way %d", way); }
		EXPECT_EQ(-EBUSY, do_bind(fd, &bind));
		close(fd);
	}
}

TEST(endpoint_ids)
{
	struct blipmq_info info = { };
	__u64 seen[32];

	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		int fd = bus_open(O_RDWR);

		ASSERT_EQ(0, bind_bus(fd, "default"));
		ASSERT_EQ(0, do_info(fd, &info));
		seen[i] = info.endpoint;
		for (size_t k = 0; k < i; k++)
			EXPECT_NE(seen[k], seen[i]);
		/* Never reused, whether the file is closed or not. */
		if (i % 2)
			close(fd);
	}
}

/* ---- RING ---- */

TEST_F(file, ring_entries)
{
	static const __u32 bad[] = { 0, 3, 5, 12, 65535, 65537, 131072, 1u << 31, ~0u };
	struct blipmq_ring ring;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ring = (struct blipmq_ring){ .entries = bad[i] };
		EXPECT_EQ(-EINVAL, do_ring(self->fd, &ring)) { TH_LOG("%u", bad[i]); }
		EXPECT_EQ(BLIPMQ_REASON_RING_ENTRIES, ring.head.reason);
		EXPECT_EQ(BLIPMQ_ENTRIES_MAX, ring.head.detail);
	}
	EXPECT_EQ(0, make_ring(self->fd, 1, BLIPMQ_POLICY_DROP_OLDEST));
}

TEST_F(file, ring_held)
{
	static const __u32 bad[] = { 9, 16, 65536, 1u << 31, ~0u };
	struct blipmq_ring ring;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ring = (struct blipmq_ring){ .entries = 8, .held = bad[i] };
		EXPECT_EQ(-EINVAL, do_ring(self->fd, &ring)) { TH_LOG("%u", bad[i]); }
		EXPECT_EQ(BLIPMQ_REASON_RING_HELD, ring.head.reason);
		EXPECT_EQ(8, ring.head.detail);
	}
	ring = (struct blipmq_ring){ .entries = 8, .held = 8 };
	EXPECT_EQ(0, do_ring(self->fd, &ring));
	EXPECT_EQ(8, ring.held);
}

TEST_F(file, ring_policy)
{
	static const __u32 bad[] = { BLIPMQ_NR_POLICIES, 256, 1u << 31, ~0u };
	struct blipmq_ring ring;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ring = (struct blipmq_ring){ .entries = 8, .policy = bad[i] };
		EXPECT_EQ(-EINVAL, do_ring(self->fd, &ring)) { TH_LOG("%u", bad[i]); }
		EXPECT_EQ(BLIPMQ_REASON_RING_POLICY, ring.head.reason);
		EXPECT_EQ(BLIPMQ_NR_POLICIES - 1, ring.head.detail);
	}
	EXPECT_EQ(0, make_ring(self->fd, 8, BLIPMQ_POLICY_BLOCK));
}

TEST_F(file, ring_twice)
{
	struct blipmq_ring ring = { .entries = 8 };

	ASSERT_EQ(0, do_ring(self->fd, &ring));
	ring = (struct blipmq_ring){ .entries = 16 };
	EXPECT_EQ(-EEXIST, do_ring(self->fd, &ring));
	EXPECT_EQ(BLIPMQ_REASON_RING_EXISTS, ring.head.reason);
}

TEST(ring_held_default)
{
	static const __u32 defaults[][2] = { { 1, 1 }, { 2, 1 }, { 4, 1 }, { 8, 2 }, { 64, 16 },
					     { 65536, 16384 } };

	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		struct blipmq_ring ring = { .entries = defaults[i][0] };
		int fd = bus_open(O_RDWR);

		ASSERT_EQ(0, do_ring(fd, &ring));
		EXPECT_EQ(defaults[i][1], ring.held);
		EXPECT_EQ(BLIPMQ_REASON_NONE, ring.head.reason);
		EXPECT_EQ(0, ring.head.detail);
		close(fd);
	}
}

/* Offsets are aligned, apart, and inside of what is to be mapped. */
TEST(ring_layout)
{
	for (__u32 entries = 1; entries <= BLIPMQ_ENTRIES_MAX; entries *= 2) {
		struct blipmq_ring r = { .entries = entries };
		int fd = bus_open(O_RDWR);

		ASSERT_EQ(0, do_ring(fd, &r));
		EXPECT_EQ(0, r.ring_size % page_size());
		EXPECT_EQ(0, r.control_size % page_size());
		EXPECT_EQ(0, r.desc % sizeof(struct blipmq_desc));
		EXPECT_LE(r.desc + (__u64)entries * sizeof(struct blipmq_desc), r.ring_size);
		EXPECT_EQ(0, r.prod % 8);
		EXPECT_EQ(0, r.blocked % 8);
		EXPECT_EQ(0, r.broken % 4);
		EXPECT_EQ(0, r.drops % 8);
		EXPECT_LE(r.drops + BLIPMQ_DROPS_MAX * sizeof(__u64), r.desc);
		EXPECT_LE(r.claim + sizeof(__u64), r.control_size);
		EXPECT_LE(r.need_wakeup + sizeof(__u32), r.control_size);
		EXPECT_EQ(r.claim / 64, r.release / 64);
		EXPECT_NE(r.claim / 64, r.need_wakeup / 64);
		EXPECT_NE(r.claim, r.release);
		close(fd);
	}
}

TEST(ring_starts_empty)
{
	struct consumer c;

	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_EQ(0, consumer_prod(&c));
	EXPECT_EQ(0, consumer_blocked(&c));
	EXPECT_EQ(0, consumer_broken(&c));
	EXPECT_EQ(0, consumer_load(consumer_claim_word(&c)));
	EXPECT_EQ(0, consumer_load(consumer_release_word(&c)));
	EXPECT_EQ(1, *(__u32 *)(c.control + c.info.need_wakeup));
	for (int i = 0; i < BLIPMQ_DROPS_MAX; i++)
		EXPECT_EQ(0, consumer_drops(&c)[i]);
	/* Not a byte of what the pages were before is seen. */
	for (__u64 i = c.info.desc; i < c.info.ring_size; i++)
		ASSERT_EQ(0, c.ring[i]);
	consumer_close(&c);
}

TEST(ring_of_the_largest_size)
{
	struct blipmq_desc desc;
	struct consumer c;
	__u64 index;

	ASSERT_EQ(0, consumer_open(&c, BLIPMQ_ENTRIES_MAX, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "endpoint.large", 1));
	ASSERT_EQ(1, publish(c.fd, "endpoint.large", "m", 1));
	ASSERT_EQ(1, consumer_claim(&c, &desc, 1, &index));
	EXPECT_EQ('m', *consumer_payload(&c, &desc));
	consumer_close(&c);
}

/* ---- Calls that need a ring ---- */

TEST_F(file, ring_missing)
{
	struct blipmq_subscribe sub = { .pattern = ptr_u64("a"), .pattern_len = 1 };
	struct blipmq_stats stats = { .kind = BLIPMQ_STATS_SUBSCRIPTION, .id = 1 };
	struct blipmq_drop_kept drop = { .id = 1 };
	struct blipmq_unsubscribe unsub = { .id = 1 };
	struct blipmq_wait wait = { };
	struct blipmq_keep keep = { };
	struct blipmq_recv recv = { };
	char byte;

	EXPECT_EQ(-ENXIO, do_subscribe(self->fd, &sub));
	EXPECT_EQ(BLIPMQ_REASON_RING_NONE, sub.head.reason);
	EXPECT_EQ(-ENXIO, do_wait(self->fd, &wait));
	EXPECT_EQ(BLIPMQ_REASON_RING_NONE, wait.head.reason);
	EXPECT_EQ(-ENXIO, do_keep(self->fd, &keep));
	EXPECT_EQ(BLIPMQ_REASON_RING_NONE, keep.head.reason);
	EXPECT_EQ(-ENXIO, do_recv(self->fd, &recv));
	EXPECT_EQ(BLIPMQ_REASON_RING_NONE, recv.head.reason);
	EXPECT_EQ(-ENXIO, do_stats(self->fd, &stats));
	EXPECT_EQ(BLIPMQ_REASON_RING_NONE, stats.head.reason);
	EXPECT_EQ(-ENOENT, do_drop(self->fd, &drop));
	EXPECT_EQ(BLIPMQ_REASON_KEPT, drop.head.reason);
	EXPECT_EQ(-ENOENT, do_unsubscribe(self->fd, &unsub));
	EXPECT_EQ(BLIPMQ_REASON_SUBSCRIPTION, unsub.head.reason);
	EXPECT_EQ(-1, read(self->fd, &byte, 1));
	EXPECT_EQ(ENXIO, errno);
}

/* ---- STATS ---- */

TEST_F(file, stats_refused)
{
	static const __u32 kinds[] = { BLIPMQ_NR_STATS, 256, 1u << 31, ~0u };
	static const __u32 ids[] = { 0, 2, 1000, 1u << 31, ~0u };
	struct blipmq_stats stats;
	int id;

	ASSERT_EQ(0, make_ring(self->fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	id = subscribe(self->fd, "endpoint.stats", 0);
	ASSERT_EQ(1, id);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		stats = (struct blipmq_stats){ .kind = kinds[i] };
		EXPECT_EQ(-EINVAL, do_stats(self->fd, &stats));
		EXPECT_EQ(BLIPMQ_REASON_STATS, stats.head.reason);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		EXPECT_EQ(-ENOENT, sub_stats(self->fd, ids[i], &stats)) { TH_LOG("%u", ids[i]); }
		EXPECT_EQ(BLIPMQ_REASON_SUBSCRIPTION, stats.head.reason);
	}
	EXPECT_EQ(0, sub_stats(self->fd, id, &stats));
}

/* All fields from first on but the named ones are 0: none is left as the caller had it. */
static bool only(const struct blipmq_stats *stats, const size_t *fields, size_t nr)
{
	size_t at = offsetof(struct blipmq_stats, delivered);

	for (; at < sizeof(*stats); at += sizeof(__u64)) {
		bool named = false;

		for (size_t i = 0; i < nr; i++)
			named |= fields[i] == at;
		if (!named && *(const __u64 *)((const char *)stats + at))
			return false;
	}
	return true;
}

#define AT(member)	offsetof(struct blipmq_stats, member)

TEST(stats_of_each_kind)
{
	static const size_t of_ring[] = { AT(delivered), AT(drops[BLIPMQ_DROP_OLDEST]),
					  AT(queued), AT(pinned), AT(published), AT(bytes),
					  AT(lonely) };
	static const size_t of_sub[] = { AT(delivered), AT(drops[BLIPMQ_DROP_OLDEST]),
					 AT(queued) };
	static const size_t of_bus[] = { AT(delivered), AT(drops[BLIPMQ_DROP_OLDEST]),
					 AT(queued), AT(published), AT(bytes), AT(lonely),
					 AT(pages), AT(idle), AT(topics), AT(patterns),
					 AT(subscriptions), AT(endpoints), AT(pinned) };
	struct blipmq_stats stats;
	int fd, id, wild;

	ASSERT_EQ(0, fresh_bus(NULL));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(fd, 4, BLIPMQ_POLICY_DROP_OLDEST));
	id = subscribe(fd, "a.b", 0);
	ASSERT_LT(0, id);
	wild = subscribe(fd, "*.c", 0);
	ASSERT_LT(0, wild);
	for (int i = 0; i < 6; i++)
		ASSERT_EQ(1, publish(fd, "a.b", "12345", 5));
	ASSERT_EQ(0, publish(fd, "x", "1", 1));

	ASSERT_EQ(0, ring_stats(fd, &stats));
	EXPECT_EQ(6, stats.delivered);
	EXPECT_EQ(2, stats.drops[BLIPMQ_DROP_OLDEST]);
	EXPECT_EQ(4, stats.queued);
	EXPECT_LT(0, stats.pinned);
	EXPECT_EQ(7, stats.published);
	EXPECT_EQ(31, stats.bytes);
	EXPECT_EQ(1, stats.lonely);
	EXPECT_TRUE(only(&stats, of_ring, ARRAY_SIZE(of_ring)));

	ASSERT_EQ(0, sub_stats(fd, id, &stats));
	EXPECT_EQ(6, stats.delivered);
	EXPECT_EQ(2, stats.drops[BLIPMQ_DROP_OLDEST]);
	EXPECT_EQ(4, stats.queued);
	EXPECT_TRUE(only(&stats, of_sub, ARRAY_SIZE(of_sub)));

	ASSERT_EQ(0, sub_stats(fd, wild, &stats));
	EXPECT_TRUE(only(&stats, NULL, 0));

	ASSERT_EQ(0, bus_stats(fd, &stats));
	EXPECT_EQ(6, stats.delivered);
	EXPECT_EQ(2, stats.drops[BLIPMQ_DROP_OLDEST]);
	EXPECT_EQ(7, stats.published);
	EXPECT_EQ(31, stats.bytes);
	EXPECT_EQ(1, stats.lonely);
	EXPECT_LT(0, stats.pages);
	EXPECT_GE(stats.pages, stats.idle);
	EXPECT_EQ(2, stats.topics);
	EXPECT_EQ(2, stats.patterns);
	EXPECT_EQ(2, stats.subscriptions);
	EXPECT_EQ(1, stats.endpoints);
	EXPECT_TRUE(only(&stats, of_bus, ARRAY_SIZE(of_bus)));
}

/* What is claimed is not queued any more; that of another subscription is its own affair. */
TEST(stats_of_what_is_claimed)
{
	static const unsigned int parts[] = { 7, 150 };
	unsigned int claimed = 0, of_b;
	struct blipmq_desc descs[150];
	struct blipmq_stats stats;
	struct consumer c;
	__u64 index;
	int a, b;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, consumer_open(&c, 256, 256, BLIPMQ_POLICY_DROP_OLDEST));
	a = subscribe(c.fd, "a", 0);
	b = subscribe(c.fd, "b", 0);
	ASSERT_LT(0, a);
	ASSERT_LT(0, b);
	for (int i = 0; i < 200; i++)
		ASSERT_EQ(1, publish(c.fd, i % 3 ? "a" : "b", "m", 1));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		ASSERT_EQ(parts[i], consumer_claim(&c, descs, parts[i], &index));
		claimed += parts[i];
		of_b = (claimed + 2) / 3;
		ASSERT_EQ(0, sub_stats(c.fd, a, &stats));
		EXPECT_EQ(133 - (claimed - of_b), stats.queued);
		ASSERT_EQ(0, sub_stats(c.fd, b, &stats));
		EXPECT_EQ(67 - of_b, stats.queued);
	}
	consumer_close(&c);
}

/* A file that only publishes has its counts. */
TEST_F(file, stats_without_a_ring)
{
	static const size_t fields[] = { AT(published), AT(bytes), AT(lonely) };
	struct blipmq_stats stats;

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, publish(self->fd, "endpoint.lonely", "12", 2));
	ASSERT_EQ(0, ring_stats(self->fd, &stats));
	EXPECT_EQ(3, stats.published);
	EXPECT_EQ(6, stats.bytes);
	EXPECT_EQ(3, stats.lonely);
	EXPECT_TRUE(only(&stats, fields, ARRAY_SIZE(fields)));
}

/* What was unread at close is lost for reason `closed`, and the bus remembers. */
TEST(stats_outlive_the_endpoint)
{
	struct blipmq_stats stats;
	int fd, reader;

	ASSERT_EQ(0, fresh_bus(NULL));
	fd = bus_open(O_RDWR);
	reader = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(reader, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(reader, "a.*", 0));
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(1, publish(fd, "a.b", "m", 1));
	close(reader);
	ASSERT_EQ(0, bus_stats(fd, &stats));
	EXPECT_EQ(5, stats.delivered);
	EXPECT_EQ(5, stats.drops[BLIPMQ_DROP_CLOSED]);
	EXPECT_EQ(5, sum_drops(stats.drops));
	EXPECT_EQ(0, stats.queued);
	EXPECT_EQ(0, stats.subscriptions);
	EXPECT_EQ(0, stats.patterns);
	EXPECT_EQ(1, stats.endpoints);
	EXPECT_EQ(5, stats.published);
}

/* ---- How the file was opened ---- */

TEST(open_read_only)
{
	char byte = 'x';
	int fd = bus_open(O_RDONLY);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(fd, "endpoint.rdonly", 0));
	/* The rights are the bus's; only write(2) goes by the mode of the file. */
	EXPECT_EQ(1, publish(fd, "endpoint.rdonly", "m", 1));
	EXPECT_LT(0, topic(fd, "endpoint.rdonly"));
	EXPECT_EQ(-1, write(fd, &byte, 1));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(1, read(fd, &byte, 1));
	EXPECT_EQ('m', byte);
}

TEST(open_write_only)
{
	struct blipmq_topic topic = {
		.head.flags = BLIPMQ_TOPIC_WRITE,
		.subject = ptr_u64("endpoint.wronly"),
		.subject_len = strlen("endpoint.wronly"),
	};
	char byte = 'x';
	int fd = bus_open(O_WRONLY);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, do_topic(fd, &topic));
	EXPECT_EQ(1, write(fd, &byte, 1));
	EXPECT_EQ(0, publish_on(fd, topic.handle, &byte, 1));
	ASSERT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	EXPECT_EQ(EBADF, errno);
}

TEST_HARNESS_MAIN
