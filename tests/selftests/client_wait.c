// SPDX-License-Identifier: GPL-2.0
/*
 * libblipmq on the real kernel: waiting, what is lost and why, and several threads that
 * receive from one endpoint. Checks do not stand in threads: these note what went wrong.
 */
#include "client.h"

/* ---- Threads that sleep in a call ---- */

struct sleeper {
	struct blipmq *b;
	int (*call)(struct sleeper *s);
	struct blipmq_view view;
	pthread_t thread;
	pid_t tid;
	int result;
	bool done;
};

static void *sleeper_main(void *arg)
{
	struct sleeper *s = arg;

	__atomic_store_n(&s->tid, gettid(), __ATOMIC_RELEASE);
	s->result = s->call(s);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool awake(struct sleeper *s)
{
	return __atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
}

/* Returns when it sleeps. */
static void sleeper_start(struct sleeper *s, struct blipmq *b, int (*call)(struct sleeper *s))
{
	*s = (struct sleeper){ .b = b, .call = call };
	memset(&s->view, POISON, sizeof(s->view));
	if (pthread_create(&s->thread, NULL, sleeper_main, s))
		abort();
	while (!__atomic_load_n(&s->tid, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	if (!wait_asleep(s->tid) && !awake(s))
		abort();
}

static int sleeper_join(struct sleeper *s)
{
	pthread_join(s->thread, NULL);
	return s->result;
}

static int call_next(struct sleeper *s)
{
	return blipmq_next(s->b, &s->view, BLIPMQ_FOREVER);
}

static int call_wait_three(struct sleeper *s)
{
	return blipmq_wait(s->b, 3, 0, BLIPMQ_FOREVER);
}

static int call_poll(struct sleeper *s)
{
	struct pollfd pfd = { .fd = blipmq_fd(s->b), .events = POLLIN };

	return poll(&pfd, 1, -1);
}

static bool readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1 && pfd.revents == POLLIN;
}

static void next_sleeps(struct __test_metadata *_metadata, struct _test_data_client *self,
			const struct blipmq_ring_opts *opts)
{
	struct blipmq_result result;
	struct blipmq_view view;
	struct sleeper s;

	listen_to(self->sub, opts);
	EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0, take(self->sub, &view, BLIPMQ_MSEC));
	EXPECT_SAID("no message came in time");
	sleeper_start(&s, self->sub, call_next);
	EXPECT_FALSE(awake(&s));
	ASSERT_EQ(0, say(self->pub, SUBJECT, "wake", &result));
	EXPECT_EQ(1, sleeper_join(&s));
	expect_view(_metadata, &s.view, SUBJECT, "wake", 4);
	EXPECT_EQ(0, blipmq_release(self->sub, &s.view, 1));
}

TEST_F(client, next_sleeps)
{
	next_sleeps(_metadata, self, NULL);
}

/* Not for ever. */
TEST_F(client, next_spins_and_sleeps)
{
	next_sleeps(_metadata, self, RING(.spin_us = BLIPMQ_SPIN_US_MAX));
}

static void ignore(int sig __attribute__((unused)))
{
}

TEST_F(client, next_interrupted)
{
	const struct sigaction sa = { .sa_handler = ignore };
	struct sleeper s;

	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	listen_to(self->sub, NULL);
	sleeper_start(&s, self->sub, call_next);
	/* One that came before it slept would be lost. */
	while (!awake(&s)) {
		pthread_kill(s.thread, SIGUSR1);
		sleep_ms(5);
	}
	EXPECT_EQ(-EINTR, sleeper_join(&s));
	EXPECT_EQ(POISON64, s.view.index);
}

TEST_F(client, wait_for_several)
{
	struct blipmq_result result;

	listen_to(self->sub, RING(.entries = 8));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_WAIT_MIN, 8, blipmq_wait(self->sub, 9, 0, 0));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_WAIT_MIN, 8, blipmq_low_water(self->sub, 9));
	EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0,
		       blipmq_wait(self->sub, 1, 0, BLIPMQ_MSEC));
	/* Nobody waited yet: there is no delay to bound. */
	EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0,
		       blipmq_wait(self->sub, 3, 1, 10 * BLIPMQ_MSEC));
	ASSERT_EQ(0, say(self->pub, SUBJECT, "1", &result));
	ASSERT_EQ(0, say(self->pub, SUBJECT, "2", &result));
	EXPECT_EQ(0, blipmq_wait(self->sub, 0, 0, 0));
	EXPECT_EQ(0, blipmq_wait(self->sub, 2, 0, BLIPMQ_FOREVER));
	EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0,
		       blipmq_wait(self->sub, 3, 0, 20 * BLIPMQ_MSEC));
	/* Only the bound on the delay ends this. */
	EXPECT_EQ(0, blipmq_wait(self->sub, 3, 1000, BLIPMQ_FOREVER));
	/* It took nothing. */
	expect_text(_metadata, self->sub, "1");
	expect_text(_metadata, self->sub, "2");
	expect_nothing(_metadata, self->sub);
}

/* The publisher wakes it once, with the third. */
TEST_F(client, wakes_for_several)
{
	struct blipmq_result result;
	struct sleeper s;

	listen_to(self->sub, RING(.entries = 8));
	sleeper_start(&s, self->sub, call_wait_three);
	ASSERT_EQ(0, say(self->pub, SUBJECT, "1", &result));
	ASSERT_EQ(0, say(self->pub, SUBJECT, "2", &result));
	EXPECT_EQ(0, stats_of(self->sub, BLIPMQ_STATS_RING, 0).wakeups);
	EXPECT_FALSE(awake(&s));
	ASSERT_EQ(0, say(self->pub, SUBJECT, "3", &result));
	EXPECT_EQ(0, sleeper_join(&s));
	EXPECT_EQ(1, stats_of(self->sub, BLIPMQ_STATS_RING, 0).wakeups);
	expect_text(_metadata, self->sub, "1");
	expect_text(_metadata, self->sub, "2");
	expect_text(_metadata, self->sub, "3");
	expect_nothing(_metadata, self->sub);
}

TEST_F(client, low_water)
{
	struct blipmq_result result;
	struct sleeper s;
	int fd;

	listen_to(self->sub, RING(.entries = 8));
	/* Once, as an event loop does. */
	fd = blipmq_fd(self->sub);
	EXPECT_FALSE(readable(fd));
	ASSERT_EQ(0, blipmq_low_water(self->sub, 3));
	ASSERT_EQ(0, say(self->pub, SUBJECT, "1", &result));
	EXPECT_FALSE(readable(fd));
	sleeper_start(&s, self->sub, call_poll);
	ASSERT_EQ(0, say(self->pub, SUBJECT, "2", &result));
	EXPECT_FALSE(readable(fd));
	EXPECT_FALSE(awake(&s));
	ASSERT_EQ(0, say(self->pub, SUBJECT, "3", &result));
	EXPECT_EQ(1, sleeper_join(&s));
	EXPECT_TRUE(readable(fd));
	expect_text(_metadata, self->sub, "1");
	EXPECT_FALSE(readable(fd));
	/* Other calls have wishes of their own, and leave this one alone. */
	EXPECT_EQ(0, blipmq_wait(self->sub, 1, 0, BLIPMQ_FOREVER));
	EXPECT_FALSE(readable(fd));
	EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0,
		       blipmq_wait(self->sub, 4, 0, BLIPMQ_MSEC));
	EXPECT_FALSE(readable(fd));
	ASSERT_EQ(0, blipmq_low_water(self->sub, 0));
	EXPECT_TRUE(readable(fd));
}

/* ---- Losses ---- */

/* All that was sent to the subscription was received or is accounted for by one reason. */
static void expect_lost(struct __test_metadata *_metadata, struct blipmq *b, uint32_t id,
			enum blipmq_drop reason, __u64 lost, __u64 received)
{
	struct blipmq_stats stats = stats_of(b, BLIPMQ_STATS_SUBSCRIPTION, id);

	EXPECT_EQ(lost, stats.drops[reason]);
	EXPECT_EQ(lost, sum_drops(stats.drops));
	EXPECT_EQ(lost + received, stats.delivered);
	stats = stats_of(b, BLIPMQ_STATS_RING, 0);
	EXPECT_EQ(lost, stats.drops[reason]);
	EXPECT_EQ(lost, sum_drops(stats.drops));
}

TEST_F(client, lost_oldest)
{
	struct blipmq_view view, other;
	struct blipmq_result result;
	uint32_t id = listen_to(self->sub, RING(.entries = 4));
	char text[] = "0";

	for (; text[0] <= '9'; text[0]++) {
		ASSERT_EQ(0, say(self->pub, SUBJECT, text, &result));
		EXPECT_EQ(1, result.delivered);
	}
	ASSERT_EQ(1, take(self->sub, &view, 0));
	expect_view(_metadata, &view, SUBJECT, "6", 1);
	EXPECT_EQ(BLIPMQ_DESC_GAP, view.flags);
	/* The held bound of four entries is one. */
	EXPECT_REFUSED(-ENOBUFS, BLIPMQ_REASON_CLAIMS, 1, take(self->sub, &other, BLIPMQ_FOREVER));
	EXPECT_EQ(0, blipmq_release(self->sub, &view, 1));
	expect_text(_metadata, self->sub, "7");
	expect_text(_metadata, self->sub, "8");
	expect_text(_metadata, self->sub, "9");
	expect_nothing(_metadata, self->sub);
	expect_lost(_metadata, self->sub, id, BLIPMQ_DROP_OLDEST, 6, 4);
}

TEST_F(client, lost_newest)
{
	struct blipmq_result result;
	uint32_t id = listen_to(self->sub, RING(.entries = 2,
						.policy = BLIPMQ_POLICY_DROP_NEWEST));

	ASSERT_EQ(0, say(self->pub, SUBJECT, "1", &result));
	ASSERT_EQ(0, say(self->pub, SUBJECT, "2", &result));
	EXPECT_RESULT(2, 1, 0, BLIPMQ_REASON_NONE, &result);
	ASSERT_EQ(0, say(self->pub, SUBJECT, "3", &result));
	EXPECT_RESULT(3, 0, 0, BLIPMQ_REASON_NONE, &result);
	expect_text(_metadata, self->sub, "1");
	expect_text(_metadata, self->sub, "2");
	expect_nothing(_metadata, self->sub);
	expect_lost(_metadata, self->sub, id, BLIPMQ_DROP_FULL, 1, 2);
}

/* A ring may pin an eighth of the budget: one of these, not two. */
TEST_F(client, lost_to_pins)
{
	static char large[300 << 10];
	struct blipmq_view view;
	uint32_t id = listen_to(self->sub, NULL);
	int i;

	for (i = 0; i < 3; i++) {
		stamp(large, sizeof(large), i);
		ASSERT_EQ(0, blipmq_publish(self->pub, SUBJECT, large, sizeof(large), NULL));
	}
	ASSERT_EQ(1, take(self->sub, &view, 0));
	expect_view(_metadata, &view, SUBJECT, large, sizeof(large));
	EXPECT_EQ(BLIPMQ_DESC_GAP, view.flags);
	EXPECT_EQ(0, blipmq_release(self->sub, &view, 1));
	expect_nothing(_metadata, self->sub);
	expect_lost(_metadata, self->sub, id, BLIPMQ_DROP_PINS, 2, 1);
}

/* ---- Several threads ---- */

#define CROWD_MAX	4
#define CROWD_MESSAGES	4000
#define CROWD_BATCH	8	/* most that one takes at once */
#define CROWD_SHORTEST	8
#define CROWD_LENGTHS	500

/* They receive from one endpoint, and note each message that they see. */
struct crowd {
	struct blipmq *b;
	bool copying;
	bool all_sent;
	unsigned char seen[CROWD_MESSAGES + 1];
};

struct member {
	struct crowd *crowd;
	pthread_t thread;
	__u64 random;
	__u64 last;
	unsigned int received;
	char trouble[128];	/* the first */
};

static size_t crowd_length(__u64 number)
{
	return CROWD_SHORTEST + number % CROWD_LENGTHS;
}

static void look(struct member *m, const void *data, size_t length, __u64 cookie)
{
	const char *what = NULL;
	__u64 number;

	if (length < CROWD_SHORTEST || !stamp_holds(data, length, &number) || !number ||
	    number > CROWD_MESSAGES || length != crowd_length(number) || cookie != COOKIE)
		what = "not whole";
	else if (number <= m->last)
		what = "out of order";
	else if (__atomic_fetch_add(&m->crowd->seen[number], 1, __ATOMIC_RELAXED))
		what = "here before";
	if (what && !m->trouble[0])
		snprintf(m->trouble, sizeof(m->trouble), "message behind number %llu: %s",
			 m->last, what);
	if (!what)
		m->last = number;
	m->received++;
}

/* Views, finished in another order than they came. */
static int look_at_views(struct member *m)
{
	struct blipmq_view views[CROWD_BATCH];
	struct blipmq *b = m->crowd->b;
	int i, n;

	n = take_batch(b, views, 1 + random_next(&m->random) % CROWD_BATCH, 20 * BLIPMQ_MSEC);
	for (i = 0; i < n; i++)
		look(m, views[i].data, views[i].length, views[i].cookie);
	for (i = n - 1; i >= 0; i--)
		if (blipmq_release(b, &views[i], 1))
			return -EINVAL;
	return n;
}

static int look_at_copy(struct member *m)
{
	char buf[CROWD_SHORTEST + CROWD_LENGTHS];
	struct blipmq_received message;
	int64_t n = copy(m->crowd->b, buf, sizeof(buf), &message, 20 * BLIPMQ_MSEC);

	if (n >= 0)
		look(m, buf, n, message.cookie);
	return n < 0 ? (int)n : 1;
}

static void *member_main(void *arg)
{
	struct member *m = arg;
	bool all_sent;
	int ret;

	do {
		all_sent = __atomic_load_n(&m->crowd->all_sent, __ATOMIC_ACQUIRE);
		ret = m->crowd->copying ? look_at_copy(m) : look_at_views(m);
		/* The others have them all out. */
		if (ret == -ENOBUFS)
			sched_yield();
	} while (ret > 0 || ret == -ENOBUFS || (ret == -EAGAIN && !all_sent));
	if (ret != -EAGAIN)
		snprintf(m->trouble, sizeof(m->trouble), "%s", blipmq_strerror());
	return NULL;
}

/* Alternately in place, as many as fit, and some by themselves. */
static void crowd_publish(struct __test_metadata *_metadata, struct blipmq *b,
			  const struct blipmq_handle *topic)
{
	char buf[CROWD_SHORTEST + CROWD_LENGTHS];
	struct blipmq_writer *w;
	__u64 number;
	void *data;

	ASSERT_EQ(0, blipmq_writer_open(b, NULL, &w));
	for (number = 1; number <= CROWD_MESSAGES; number++) {
		size_t length = crowd_length(number);

		if (number % 100 < 10) {
			ASSERT_EQ(blipmq_staged(w), blipmq_flush(w, NULL));
			stamp(buf, length, number);
			ASSERT_EQ(0, blipmq_publish_topic(b, topic, buf, length, NULL));
			continue;
		}
		ASSERT_EQ(0, blipmq_reserve(w, topic, length, &data));
		stamp(data, length, number);
		ASSERT_EQ(0, blipmq_commit(w, length));
	}
	EXPECT_EQ(0, blipmq_writer_close(w));
}

/* Each message goes to one thread, and none is lost. */
static void crowd_run(struct __test_metadata *_metadata, struct _test_data_client *self,
		      const struct blipmq_ring_opts *opts, int nr)
{
	static struct member members[CROWD_MAX];
	static struct crowd crowd;
	struct blipmq_stats stats;
	unsigned int received = 0;
	uint32_t id = listen_to(self->sub, opts);
	int i;

	crowd = (struct crowd){ .b = self->sub, .copying = opts->flags & BLIPMQ_RING_COPY };

	for (i = 0; i < nr; i++) {
		members[i] = (struct member){ .crowd = &crowd, .random = i + 1 };
		ASSERT_EQ(0, pthread_create(&members[i].thread, NULL, member_main, &members[i]));
	}
	crowd_publish(_metadata, self->pub, &self->topic);
	__atomic_store_n(&crowd.all_sent, true, __ATOMIC_RELEASE);
	for (i = 0; i < nr; i++) {
		pthread_join(members[i].thread, NULL);
		EXPECT_STREQ("", members[i].trouble);
		received += members[i].received;
	}
	EXPECT_EQ(CROWD_MESSAGES, received);
	for (i = 1; i <= CROWD_MESSAGES; i++)
		EXPECT_EQ(1, crowd.seen[i]);
	stats = stats_of(self->sub, BLIPMQ_STATS_SUBSCRIPTION, id);
	EXPECT_EQ(CROWD_MESSAGES, stats.delivered);
	EXPECT_EQ(0, sum_drops(stats.drops));
	stats = stats_of(self->sub, BLIPMQ_STATS_RING, 0);
	EXPECT_EQ(0, stats.queued);
	EXPECT_EQ(0, stats.held);
}

TEST_F(client, threads)
{
	crowd_run(_metadata, self,
		  RING(.entries = 64, .held = 32, .policy = BLIPMQ_POLICY_BLOCK), 4);
}

TEST_F(client, threads_small_ring)
{
	crowd_run(_metadata, self, RING(.entries = 2, .policy = BLIPMQ_POLICY_BLOCK), 3);
}

TEST_F(client, threads_spinning)
{
	crowd_run(_metadata, self, RING(.entries = 64, .held = 64, .spin_us = 200,
					.policy = BLIPMQ_POLICY_BLOCK), 3);
}

TEST_F(client, threads_giving_way)
{
	crowd_run(_metadata, self, RING(.entries = 16, .held = 16, .flags = BLIPMQ_RING_YIELD,
					.policy = BLIPMQ_POLICY_BLOCK), 3);
}

TEST_F(client, threads_copying)
{
	crowd_run(_metadata, self, RING(.entries = 16, .flags = BLIPMQ_RING_COPY,
					.policy = BLIPMQ_POLICY_BLOCK), 3);
}

TEST_HARNESS_MAIN
