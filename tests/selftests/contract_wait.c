// SPDX-License-Identifier: GPL-2.0
/*
 * WAIT, KEEP and DROP.
 */
#include <fcntl.h>
#include <signal.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"wait.subject"
#define ENTRIES	8
#define KEPT	64	/* the default bound on kept messages */

FIXTURE(reader) {
	struct consumer c;
};

FIXTURE_SETUP(reader)
{
	ASSERT_EQ(0, consumer_open(&self->c, ENTRIES, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, SUBJECT, 1));
}

FIXTURE_TEARDOWN(reader)
{
	consumer_close(&self->c);
}

static int publish_some(struct consumer *c, int nr)
{
	for (int i = 0; i < nr; i++)
		if (publish(c->fd, SUBJECT, &i, sizeof(i)) != 1)
			return -1;
	return 0;
}

/* ---- WAIT ---- */

TEST_F(reader, wait_min_too_large)
{
	static const __u32 bad[] = { ENTRIES + 1, 65536, 1u << 31, ~0u };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct blipmq_wait wait = { .min = bad[i] };

		EXPECT_EQ(-EINVAL, do_wait(self->c.fd, &wait)) { TH_LOG("%u", bad[i]); }
		EXPECT_NE(BLIPMQ_REASON_NONE, wait.head.reason);
		EXPECT_NE(POISON32, wait.head.reason);
	}
}

TEST_F(reader, wait_looks_only)
{
	struct blipmq_wait wait = { };

	EXPECT_EQ(-ETIME, do_wait(self->c.fd, &wait));
	EXPECT_EQ(0, wait.prod);
	ASSERT_EQ(0, publish_some(&self->c, 2));
	for (__u32 min = 0; min <= ENTRIES; min++) {
		wait = (struct blipmq_wait){ .min = min };
		EXPECT_EQ(min <= 2 ? 0 : -ETIME, do_wait(self->c.fd, &wait)) {
			TH_LOG("min %u", min);
		}
		EXPECT_EQ(2, wait.prod);
		/* It is no output. */
		EXPECT_EQ(min, wait.min);
	}
}

TEST_F(reader, wait_deadline)
{
	struct blipmq_wait wait = { .deadline = 1 };
	__u64 end;

	EXPECT_EQ(-ETIME, do_wait(self->c.fd, &wait));
	wait.deadline = now_ns() - MSEC;
	EXPECT_EQ(-ETIME, do_wait(self->c.fd, &wait));
	end = now_ns() + 30 * MSEC;
	wait.deadline = end;
	EXPECT_EQ(-ETIME, do_wait(self->c.fd, &wait));
	EXPECT_LE(end, now_ns());
	EXPECT_EQ(0, wait.prod);
	/* A message that is there counts, however late it is. */
	ASSERT_EQ(0, publish_some(&self->c, 1));
	wait.deadline = 1;
	EXPECT_EQ(0, do_wait(self->c.fd, &wait));
}

/* What was claimed waits no more. */
TEST_F(reader, wait_counts_unclaimed)
{
	struct blipmq_desc desc;
	struct blipmq_wait wait;
	__u64 index;

	ASSERT_EQ(0, publish_some(&self->c, 2));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	wait = (struct blipmq_wait){ .min = 2 };
	EXPECT_EQ(-ETIME, do_wait(self->c.fd, &wait));
	wait = (struct blipmq_wait){ .min = 1 };
	EXPECT_EQ(0, do_wait(self->c.fd, &wait));
	EXPECT_EQ(2, wait.prod);
}

static void nothing(int sig)
{
	(void)sig;
}

struct sleeper {
	struct consumer *c;
	struct blipmq_wait wait;
	__u64 woken;
};

/* Exits with 0, or the errno. What it saw lies in shared memory. */
static int sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	struct sigaction sa = { .sa_handler = nothing };
	int ret;

	sigaction(SIGUSR1, &sa, NULL);
	ret = do_wait(s->c->fd, &s->wait);
	s->woken = now_ns();
	return -ret;
}

static struct sleeper *new_sleeper(struct consumer *c, __u64 deadline, __u32 min, __u32 max_delay)
{
	struct sleeper *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	*s = (struct sleeper){
		.c = c,
		.wait = { .deadline = deadline, .min = min, .max_delay = max_delay },
	};
	consumer_arm(c, min);
	return s;
}

TEST_F(reader, wait_until_a_signal)
{
	struct sleeper *s = new_sleeper(&self->c, BLIPMQ_WAIT_FOREVER, 1, 0);
	pid_t pid = spawn(sleeper_main, s);

	ASSERT_TRUE(wait_asleep(pid));
	sleep_ms(20);
	ASSERT_EQ(-ETIME, reap_within(pid, 0));
	kill(pid, SIGUSR1);
	EXPECT_EQ(EINTR, reap(pid));
	EXPECT_EQ(BLIPMQ_REASON_NONE, s->wait.head.reason);
}

TEST_F(reader, wait_until_a_message)
{
	static const __u64 deadlines[] = { BLIPMQ_WAIT_FOREVER, BLIPMQ_WAIT_FOREVER - 1 };

	for (size_t i = 0; i < ARRAY_SIZE(deadlines); i++) {
		struct sleeper *s = new_sleeper(&self->c, deadlines[i], 1, 0);
		pid_t pid = spawn(sleeper_main, s);

		ASSERT_TRUE(wait_asleep(pid));
		ASSERT_EQ(0, publish_some(&self->c, 1));
		EXPECT_EQ(0, reap(pid));
		EXPECT_EQ(i + 1, s->wait.prod);
		consumer_drain(&self->c);
	}
}

/* The low-water mark: two messages wake nobody who waits for three. */
TEST_F(reader, wait_for_three)
{
	struct sleeper *s = new_sleeper(&self->c, BLIPMQ_WAIT_FOREVER, 3, 0);
	pid_t pid = spawn(sleeper_main, s);

	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(0, publish_some(&self->c, 2));
	sleep_ms(50);
	EXPECT_EQ(-ETIME, reap_within(pid, 0));
	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(0, publish_some(&self->c, 1));
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(3, s->wait.prod);
}

/* A message waits max_delay for others, whether it came before or during the sleep. */
TEST_F(reader, wait_max_delay)
{
	for (int before = 0; before < 2; before++) {
		struct sleeper *s = new_sleeper(&self->c, BLIPMQ_WAIT_FOREVER, ENTRIES, 30000);
		__u64 published = now_ns();
		pid_t pid;

		if (before)
			ASSERT_EQ(0, publish_some(&self->c, 1));
		pid = spawn(sleeper_main, s);
		if (!before) {
			ASSERT_TRUE(wait_asleep(pid));
			sleep_ms(60);
			ASSERT_EQ(-ETIME, reap_within(pid, 0));
			published = now_ns();
			ASSERT_EQ(0, publish_some(&self->c, 1));
		}
		EXPECT_EQ(0, reap(pid));
		EXPECT_LE(published + 30 * MSEC, s->woken);
		ASSERT_EQ(1, consumer_drain(&self->c));
	}
}

/* The deadline ends a wait in which messages came, but not enough. */
TEST_F(reader, wait_deadline_with_too_few)
{
	struct blipmq_wait wait = { .deadline = now_ns() + 30 * MSEC, .min = 4 };

	ASSERT_EQ(0, publish_some(&self->c, 3));
	consumer_arm(&self->c, 4);
	EXPECT_EQ(-ETIME, do_wait(self->c.fd, &wait));
	EXPECT_EQ(3, wait.prod);
}

/* WAIT takes back what was released. */
TEST_F(reader, wait_takes_back)
{
	static char large[100000];
	struct blipmq_stats stats;

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(1, publish(self->c.fd, SUBJECT, large, sizeof(large)));
	ASSERT_EQ(0, ring_stats(self->c.fd, &stats));
	EXPECT_LE(3 * sizeof(large) / page_size(), stats.pinned);
	EXPECT_EQ(3, consumer_drain(&self->c));
	EXPECT_EQ(-ETIME, wait_for(self->c.fd, 1, 0));
	ASSERT_EQ(0, ring_stats(self->c.fd, &stats));
	EXPECT_EQ(0, stats.pinned);
	EXPECT_EQ(0, stats.queued);
	EXPECT_EQ(0, stats.held);
}

/* ---- KEEP and DROP ---- */

static int keep(int fd, __u64 index, __u64 *id, __u32 *reason)
{
	struct blipmq_keep keep = { .index = index };
	int ret = do_keep(fd, &keep);

	*id = keep.id;
	*reason = keep.head.reason;
	return ret;
}

static int drop(int fd, __u64 id, __u32 *reason)
{
	struct blipmq_drop_kept drop = { .id = id };
	int ret = do_drop(fd, &drop);

	*reason = drop.head.reason;
	return ret;
}

TEST_F(reader, keep_what_is_not_claimed)
{
	const __u64 bad[] = { 0, 3, 4, 5, 1000, 1ULL << 32, 1ULL << 63, ~0ULL, ~0ULL - ENTRIES };
	struct blipmq_desc descs[3];
	__u64 index, id;
	__u32 reason;

	/* [0, 1) is released, [1, 3) claimed, [3, 4) waits. */
	ASSERT_EQ(0, publish_some(&self->c, 4));
	ASSERT_EQ(3, consumer_claim(&self->c, descs, 3, &index));
	consumer_release(&self->c, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, keep(self->c.fd, bad[i], &id, &reason)) {
			TH_LOG("%llu", bad[i]);
		}
		EXPECT_EQ(BLIPMQ_REASON_INDEX, reason);
	}
	EXPECT_EQ(0, keep(self->c.fd, 1, &id, &reason));
	EXPECT_EQ(BLIPMQ_REASON_NONE, reason);
	EXPECT_EQ(-EINVAL, keep(self->c.fd, 1, &id, &reason));
	EXPECT_EQ(BLIPMQ_REASON_INDEX, reason);
	EXPECT_EQ(0, keep(self->c.fd, 2, &id, &reason));
}

TEST_F(reader, drop_unknown)
{
	static const __u64 beside[] = { 1, 1000, 1ULL << 31, 1ULL << 32, 1ULL << 63, ~0ULL };
	struct blipmq_desc desc;
	__u64 index, id, other;
	__u32 reason;
	int fd = bus_open(O_RDWR);

	ASSERT_EQ(0, publish_some(&self->c, 1));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	ASSERT_EQ(0, keep(self->c.fd, index, &id, &reason));
	EXPECT_EQ(-ENOENT, drop(self->c.fd, 0, &reason));
	for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
		other = id + beside[i];
		EXPECT_EQ(-ENOENT, drop(self->c.fd, other, &reason)) { TH_LOG("%llu", other); }
		EXPECT_EQ(BLIPMQ_REASON_KEPT, reason);
	}
	EXPECT_EQ(-ENOENT, drop(fd, id, &reason));
	EXPECT_EQ(0, drop(self->c.fd, id, &reason));
	EXPECT_EQ(-ENOENT, drop(self->c.fd, id, &reason));
	EXPECT_EQ(BLIPMQ_REASON_KEPT, reason);
	close(fd);
}

/* A kept message is the same after its release and laps of others. */
TEST_F(reader, keep_holds)
{
	struct blipmq_desc desc, other;
	struct blipmq_stats stats;
	__u64 index, id;
	__u32 reason;

	ASSERT_EQ(1, publish(self->c.fd, SUBJECT, "keep me", 8));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	ASSERT_EQ(0, keep(self->c.fd, index, &id, &reason));
	consumer_release(&self->c, index + 1);
	for (int i = 0; i < 1000; i++) {
		ASSERT_EQ(1, publish(self->c.fd, SUBJECT, "another", 8));
		ASSERT_EQ(1, consumer_claim(&self->c, &other, 1, &index));
		ASSERT_NE(desc.offset, other.offset);
		consumer_release(&self->c, index + 1);
	}
	EXPECT_STREQ("keep me", consumer_payload(&self->c, &desc));
	ASSERT_EQ(0, ring_stats(self->c.fd, &stats));
	EXPECT_EQ(1, stats.kept);
	EXPECT_EQ(0, drop(self->c.fd, id, &reason));
	EXPECT_EQ(-ETIME, wait_for(self->c.fd, 1, 0));
	ASSERT_EQ(0, ring_stats(self->c.fd, &stats));
	EXPECT_EQ(0, stats.kept);
	EXPECT_EQ(0, stats.pinned);
}

/* Also one that left its slot for newer ones meanwhile. */
TEST_F(reader, keep_what_is_held)
{
	struct blipmq_desc desc;
	struct blipmq_stats stats;
	__u64 index, id;
	__u32 reason;

	ASSERT_EQ(1, publish(self->c.fd, SUBJECT, "keep me", 8));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	ASSERT_EQ(0, publish_some(&self->c, 3 * ENTRIES));
	ASSERT_EQ(0, ring_stats(self->c.fd, &stats));
	EXPECT_EQ(1, stats.held);
	ASSERT_EQ(0, keep(self->c.fd, index, &id, &reason));
	EXPECT_EQ(-EINVAL, keep(self->c.fd, index, &id, &reason));
	consumer_release(&self->c, index + 1);
	ASSERT_EQ(0, publish_some(&self->c, 3 * ENTRIES));
	ASSERT_EQ(0, ring_stats(self->c.fd, &stats));
	EXPECT_EQ(0, stats.held);
	EXPECT_EQ(1, stats.kept);
	EXPECT_STREQ("keep me", consumer_payload(&self->c, &desc));
	EXPECT_EQ(-EINVAL, keep(self->c.fd, index, &id, &reason));
	EXPECT_EQ(0, consumer_broken(&self->c));
}

TEST_F(reader, keep_limit)
{
	struct blipmq_keep one = { };
	struct blipmq_desc desc;
	__u64 ids[KEPT], index;
	__u32 reason;

	for (int i = 0; i <= KEPT; i++) {
		ASSERT_EQ(0, publish_some(&self->c, 1));
		ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
		if (i < KEPT)
			ASSERT_EQ(0, keep(self->c.fd, index, &ids[i], &reason));
		if (i < KEPT)
			consumer_release(&self->c, index + 1);
		for (int k = 0; k < i && i < KEPT; k++)
			ASSERT_NE(ids[k], ids[i]);
	}
	one.index = index;
	EXPECT_EQ(-ENOSPC, do_keep(self->c.fd, &one));
	EXPECT_EQ(BLIPMQ_REASON_LIMIT_KEPT, one.head.reason);
	EXPECT_EQ(KEPT, one.head.detail);
	EXPECT_EQ(0, drop(self->c.fd, ids[7], &reason));
	EXPECT_EQ(0, do_keep(self->c.fd, &one));
}

/* Kept messages go with their endpoint. */
TEST(keep_ends_with_the_file)
{
	static char large[200000];
	struct blipmq_stats stats;
	struct blipmq_desc desc;
	struct consumer c;
	__u64 index, id;
	__u32 reason;
	int fd;

	ASSERT_EQ(0, fresh_bus(NULL));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, SUBJECT, 0));
	ASSERT_EQ(1, publish(fd, SUBJECT, large, sizeof(large)));
	ASSERT_EQ(1, consumer_claim(&c, &desc, 1, &index));
	ASSERT_EQ(0, keep(c.fd, index, &id, &reason));
	consumer_release(&c, index + 1);
	ASSERT_EQ(-ETIME, wait_for(c.fd, 1, 0));
	ASSERT_EQ(0, bus_stats(fd, &stats));
	EXPECT_LE(sizeof(large) / page_size(), stats.pages - stats.idle);
	consumer_close(&c);
	ASSERT_EQ(0, bus_stats(fd, &stats));
	EXPECT_EQ(stats.pages, stats.idle);
}

/* ---- A ring that is consumed by read(2) ---- */

TEST(wait_and_keep_beside_read)
{
	struct blipmq_wait wait = { };
	struct blipmq_keep keep = { };
	int fd = bus_open(O_RDWR | O_NONBLOCK);
	char byte;

	ASSERT_EQ(0, make_ring(fd, ENTRIES, BLIPMQ_POLICY_DROP_OLDEST));
	/* Undecided as yet. */
	EXPECT_EQ(-ETIME, do_wait(fd, &wait));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-EBUSY, do_wait(fd, &wait));
	EXPECT_EQ(BLIPMQ_REASON_RING_MODE, wait.head.reason);
	EXPECT_EQ(-EBUSY, do_keep(fd, &keep));
	EXPECT_EQ(BLIPMQ_REASON_RING_MODE, keep.head.reason);
	close(fd);
}

TEST_HARNESS_MAIN
