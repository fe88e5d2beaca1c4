// SPDX-License-Identifier: GPL-2.0
/* How many may hear a topic, whichever came first: who is refused, and what others notice. */
#include <sys/epoll.h>

#include "hostile.h"
#include "topics.h"

#define RING_MAX	4
#define USER_MAX	6
#define ALL_MAX		8

struct fanout {
	int fd[4];	/* subscribers: two of one user, two others */
	int pub;
};

FIXTURE(fanout)
{
	struct fanout f;
};

FIXTURE_SETUP(fanout)
{
	const struct param params[] = { OPEN_TO_ALL, { "fanout", "8" }, { "fanout_user", "6" },
					{ "fanout_ring", "4" }, { } };
	static const uid_t uids[] = { GOOD_UID, GOOD_UID, BAD_UID, THIRD_UID };
	int i;

	ASSERT_EQ(0, fresh_bus(params));
	for (i = 0; i < 4; i++) {
		self->f.fd[i] = open_as(uids[i]);
		ASSERT_EQ(0, make_ring(self->f.fd[i], 16, BLIPMQ_POLICY_DROP_OLDEST));
	}
	self->f.pub = bus_open(O_RDWR);
}

FIXTURE_TEARDOWN(fanout)
{
	int i;

	for (i = 0; i < 4; i++)
		close(self->f.fd[i]);
	close(self->f.pub);
	expect_bus_empty(_metadata);
}

/* On a topic that exists: refused, ring by ring and user by user. */
static void expect_full(struct __test_metadata *_metadata, struct fanout *f,
			const char *one, const char *two)
{
	struct blipmq_subscribe sub;
	int i;

	for (i = 0; i < RING_MAX; i++)
		ASSERT_EQ(0, try_subscribe(f->fd[0], i % 2 ? one : two, &sub));
	EXPECT_LIMIT(-ENOSPC, try_subscribe(f->fd[0], one, &sub), sub, BLIPMQ_REASON_FANOUT_RING,
		     RING_MAX);
	for (i = RING_MAX; i < USER_MAX; i++)
		ASSERT_EQ(0, try_subscribe(f->fd[1], two, &sub));
	EXPECT_LIMIT(-ENOSPC, try_subscribe(f->fd[1], one, &sub), sub, BLIPMQ_REASON_FANOUT_USER,
		     USER_MAX);
	for (i = USER_MAX; i < ALL_MAX; i++)
		ASSERT_EQ(0, try_subscribe(f->fd[2], one, &sub));
	EXPECT_LIMIT(-ENOSPC, try_subscribe(f->fd[3], two, &sub), sub, BLIPMQ_REASON_FANOUT,
		     ALL_MAX);
	EXPECT_EQ(ALL_MAX, publish(f->pub, "fan.out", "x", 1));
	/* Other topics have their own. */
	EXPECT_EQ(0, try_subscribe(f->fd[0], "other", &sub));
}

TEST_F(fanout, refused)
{
	ASSERT_LT(0, topic(self->f.pub, "fan.out"));
	expect_full(_metadata, &self->f, "fan.out", "fan.out");
}

TEST_F(fanout, refused_by_patterns)
{
	ASSERT_LT(0, topic(self->f.pub, "fan.out"));
	expect_full(_metadata, &self->f, "fan.*", "*.out");
}

/* No topic of it could have more, so a pattern has not either. */
TEST_F(fanout, refused_before_topics)
{
	expect_full(_metadata, &self->f, "fan.*", "fan.*");
}

/* ---- What is left of many ---- */

#define MANY_SUBS	256	/* of one pattern */
#define BATCH		64	/* messages of one fan-out, if little is to be walked */

/* Once the others are gone, one subscription costs what one does: a batch wakes once. */
TEST(after_many)
{
	const struct param params[] = { { "fanout_user", "256" }, { } };
	struct epoll_event event = { .events = EPOLLIN };
	struct blipmq_message m[BATCH];
	struct blipmq_publish pub = { .messages = ptr_u64(m), .nr = BATCH };
	struct blipmq_stats before, stats;
	int many[MANY_SUBS / 64], fd, epoll, i;

	ASSERT_EQ(0, fresh_bus(params));
	for (i = 0; i < MANY_SUBS - 1; i++) {
		if (i % 64 == 0) {
			many[i / 64] = bus_open(O_RDWR);
			ASSERT_EQ(0, make_ring(many[i / 64], 16, BLIPMQ_POLICY_DROP_OLDEST));
		}
		ASSERT_LT(0, subscribe(many[i / 64], "many", 0));
	}
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(fd, 1024, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(fd, "many", 0));
	for (i = 0; i < MANY_SUBS / 64; i++)
		close(many[i]);
	epoll = epoll_create1(0);
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));

	for (i = 0; i < BATCH; i++)
		m[i] = (struct blipmq_message){ .data = ptr_u64("x"), .length = 1,
						.subject = ptr_u64("many"), .subject_len = 4 };
	ASSERT_EQ(0, ring_stats(fd, &before));
	ASSERT_EQ(0, do_publish(fd, &pub));
	ASSERT_EQ(BATCH, pub.delivered);
	ASSERT_EQ(0, ring_stats(fd, &stats));
	EXPECT_EQ(1, stats.wakeups - before.wakeups);
	close(epoll);
	close(fd);
	expect_bus_empty(_metadata);
}

/* ---- At once ---- */

#define AT_ONCE		16
#define WALKED		2048	/* topics: a walk lets others at the lock */

static void make_walk(struct __test_metadata *_metadata, int fd)
{
	char subject[32];
	int i;

	for (i = 0; i < WALKED; i++) {
		snprintf(subject, sizeof(subject), "walk.%d", i);
		ASSERT_LT(0, topic(fd, subject));
	}
}

struct joiner {
	pthread_barrier_t *start;
	int fd;
	int err;
};

static void *join_all(void *arg)
{
	struct joiner *j = arg;
	struct blipmq_subscribe sub;

	pthread_barrier_wait(j->start);
	j->err = try_subscribe(j->fd, "*.*", &sub);
	return NULL;
}

/* Many join at once while there are places for few: no more than these get one. */
TEST_F(fanout, joined_at_once)
{
	struct joiner j[AT_ONCE];
	pthread_t threads[AT_ONCE];
	pthread_barrier_t start;
	int i, joined = 0;

	/* The only topic that is nearly full is the first one that is looked at. */
	ASSERT_LT(0, topic(self->f.pub, "fan.out"));
	make_walk(_metadata, self->f.pub);
	for (i = 0; i < USER_MAX - 1; i++)
		ASSERT_LT(0, subscribe(self->f.fd[i % 2], "fan.out", 0));
	/* As many on another one that no joiner hears: so they have to walk. */
	for (i = 0; i < USER_MAX; i++)
		ASSERT_LT(0, subscribe(self->f.fd[i % 2], "other", 0));
	ASSERT_EQ(0, pthread_barrier_init(&start, NULL, AT_ONCE));
	for (i = 0; i < AT_ONCE; i++) {
		j[i] = (struct joiner){ .start = &start, .fd = open_as(GOOD_UID) };
		ASSERT_EQ(0, make_ring(j[i].fd, 16, BLIPMQ_POLICY_DROP_OLDEST));
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, join_all, &j[i]));
	}
	for (i = 0; i < AT_ONCE; i++) {
		pthread_join(threads[i], NULL);
		joined += !j[i].err;
		if (j[i].err)
			EXPECT_EQ(-ENOSPC, j[i].err);
	}
	pthread_barrier_destroy(&start);
	EXPECT_EQ(1, joined);
	EXPECT_EQ(USER_MAX, publish(self->f.pub, "fan.out", "x", 1));
	EXPECT_EQ(1, publish(self->f.pub, "walk.0", "x", 1));
	for (i = 0; i < AT_ONCE; i++)
		close(j[i].fd);
}

#define WALKS_SEEN	200	/* messages that are published while others walk */

struct beside {
	bool stop;
	__u64 published;
	__u64 heard;		/* of these, or an error */
};

static void *publish_beside(void *arg)
{
	struct beside *b = arg;
	int fd = bus_open(O_RDWR);

	while (!__atomic_load_n(&b->stop, __ATOMIC_RELAXED)) {
		b->heard += publish(fd, "walk.0", "x", 1) != 0;
		__atomic_add_fetch(&b->published, 1, __ATOMIC_SEQ_CST);
	}
	close(fd);
	return NULL;
}

/* While places are looked for a subscription counts, but hears nothing: there is none. */
TEST_F(fanout, refused_heard_nothing)
{
	struct blipmq_subscribe sub;
	struct blipmq_stats stats;
	struct beside b = { };
	pthread_t thread;
	__u64 seen = 0;
	int fd, i;

	/* The only topic that is full is the last one that is looked at. */
	make_walk(_metadata, self->f.pub);
	ASSERT_LT(0, topic(self->f.pub, "fan.out"));
	for (i = 0; i < USER_MAX; i++)
		ASSERT_LT(0, subscribe(self->f.fd[i % 2], "fan.out", 0));
	fd = open_as(GOOD_UID);
	ASSERT_EQ(0, make_ring(fd, 16, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_EQ(0, pthread_create(&thread, NULL, publish_beside, &b));
	do {
		seen -= __atomic_load_n(&b.published, __ATOMIC_SEQ_CST);
		EXPECT_LIMIT(-ENOSPC, try_subscribe(fd, "*.*", &sub), sub,
			     BLIPMQ_REASON_FANOUT_USER, USER_MAX);
		seen += __atomic_load_n(&b.published, __ATOMIC_SEQ_CST);
	} while (seen < WALKS_SEEN);
	__atomic_store_n(&b.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, b.heard);
	ASSERT_EQ(0, ring_stats(fd, &stats));
	EXPECT_EQ(0, stats.delivered);
	EXPECT_EQ(0, stats.queued);
	close(fd);
}

/* A topic that is born under more: the oldest hear it, the others count each message. */
TEST_F(fanout, born_under_too_many)
{
	static const char * const patterns[] = { "fan.*", "*.out", ">", "*.*", "fan.>" };
	struct blipmq_stats stats;
	struct consumer c[5];
	int ids[5], i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, consumer_attach(&c[i], open_as(GOOD_UID + i / 3), 16, 0,
					     BLIPMQ_POLICY_DROP_OLDEST));
		ids[i] = subscribe(c[i].fd, patterns[i], 0);
		ASSERT_LT(0, ids[i]);
		/* Twice each: ten, of them six of the first user. */
		ASSERT_LT(0, subscribe(c[i].fd, i ? "fan.*" : ">", 0));
	}
	EXPECT_EQ(ALL_MAX, publish(self->f.pub, "fan.out", "x", 1));
	EXPECT_EQ(ALL_MAX, publish(self->f.pub, "fan.out", "x", 1));
	EXPECT_EQ(1, bus_event(BLIPMQ_EVENT_FANOUT));
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, sub_stats(c[i].fd, ids[i], &stats));
		EXPECT_EQ(2, stats.delivered);
		EXPECT_EQ(i < 4 ? 0 : 2, stats.drops[BLIPMQ_DROP_FANOUT]);
		EXPECT_EQ(i < 4 ? 2 : 0, stats.queued);
		EXPECT_EQ(stats.delivered, stats.queued + sum_drops(stats.drops));
	}
	for (i = 0; i < 5; i++)
		consumer_close(&c[i]);
}

TEST_HARNESS_MAIN
