// SPDX-License-Identifier: GPL-2.0
/*
 * Subscribers that store nonsense in the words they share with the kernel. Beside each stand
 * two witnesses of the same topic, who must not notice. What has to do with sleeping, reading
 * and whole rings is in hostile_wake.c.
 */
#include <sched.h>
#include <sys/syscall.h>

#include "hostile.h"

#define SUBJECT		"good.topic"

FIXTURE(hostile)
{
	struct scene scene;
};

FIXTURE_SETUP(hostile)
{
	const struct param params[] = { OPEN_TO_ALL, PATIENT, { } };

	scene_begin(_metadata, &self->scene, params, SUBJECT, SUBJECT);
}

FIXTURE_TEARDOWN(hostile)
{
	scene_end(_metadata, &self->scene);
}

/* ---- Two threads write random words ---- */

/* Numbers of any kind, such as may be right, and such as were right a moment ago. */
enum scribble_kind { WILD, NEAR, STALE, NR_KINDS };

struct scribble {
	struct consumer c;
	enum scribble_kind kind;
	bool stop;
	__u64 seed;
};

struct scribbled {
	__u64 rounds;
	__u64 broken;
	__u64 refused;
};

static __u64 random_index(struct scribble *s, __u64 *state)
{
	__u64 r = random_next(state);

	switch (s->kind) {
	case WILD:
		return r & 1 ? r >> 1 : r % 128;
	case NEAR:
		return consumer_prod(&s->c) - r % 4;
	default:
		return consumer_prod(&s->c);
	}
}

static void *scribble(void *arg)
{
	struct scribble *s = arg;
	__u64 state = __atomic_add_fetch(&s->seed, 0x9e3779b9, __ATOMIC_RELAXED);

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED) && !consumer_broken(&s->c)) {
		consumer_store(consumer_claim_word(&s->c), random_index(s, &state));
		consumer_store(consumer_release_word(&s->c), random_index(s, &state));
	}
	return NULL;
}

static int scribble_round(struct scribble *s, struct scribbled *sum)
{
	pthread_t threads[2];
	int ret, i;

	ret = consumer_attach(&s->c, open_as(BAD_UID), 64, 0, BLIPMQ_POLICY_DROP_OLDEST);
	if (ret || subscribe(s->c.fd, SUBJECT, 0) < 0)
		return 1;
	s->stop = false;
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, scribble, s);
	for (i = 0; i < 20 && !consumer_broken(&s->c); i++)
		sleep_ms(1);
	__atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ret = wait_for(s->c.fd, 1, 0);
	sum->rounds++;
	sum->broken += consumer_broken(&s->c);
	sum->refused += ret == -EIO;
	s->kind = (s->kind + 1) % NR_KINDS;
	consumer_close(&s->c);
	return 0;
}

static int scribbler(void *arg)
{
	struct scribble s = { .seed = 88172645463325252ULL };
	struct scribbled *sum = arg;
	__u64 end = deadline_in(test_seconds() / 2);
	int ret;

	do {
		ret = scribble_round(&s, sum);
	} while (!ret && now_ns() < end);
	return ret;
}

TEST_F(hostile, random_words)
{
	struct scribbled *sum = shared(sizeof(*sum));
	pid_t pid = spawn(scribbler, sum);
	int ret;

	while ((ret = reap_within(pid, 0)) == -ETIME)
		ASSERT_LT(0, source_send(&self->scene.source));
	EXPECT_EQ(0, ret);
	EXPECT_LT(0, sum->broken);
	/* A ring that broke says so, and was one event. */
	EXPECT_EQ(sum->broken, sum->refused);
	EXPECT_EQ(sum->broken, bus_event(BLIPMQ_EVENT_BROKEN));
	TH_LOG("%llu rounds, %llu broken", sum->rounds, sum->broken);
}

/* ---- Everything claimed, nothing released ---- */

#define GREEDY_MESSAGE	(1u << 20)
#define GREEDY_MAX	64

struct greedy {
	unsigned int nr;
	bool ready;
};

/*
 * Claim what is there in one ring after the other, so that each holds other messages. The
 * ring after the last only tells when there is something new.
 */
static int greedy(void *arg)
{
	static struct consumer c[GREEDY_MAX + 1];
	struct greedy *g = arg;
	struct blipmq_desc descs[16];
	__u64 newest = 0, index;
	unsigned int i;

	for (i = 0; i <= g->nr; i++) {
		if (consumer_attach(&c[i], open_as(BAD_UID), 16, 16, BLIPMQ_POLICY_DROP_OLDEST) ||
		    subscribe(c[i].fd, SUBJECT, 0) < 0)
			return 1;
	}
	__atomic_store_n(&g->ready, true, __ATOMIC_RELEASE);
	for (i = 0;; i = (i + 1) % g->nr) {
		while (consumer_prod(&c[g->nr]) == newest)
			sched_yield();
		newest = consumer_prod(&c[g->nr]);
		consumer_claim(&c[i], descs, 16, &index);
	}
}

static void greedy_case(struct __test_metadata *_metadata, struct scene *scene,
			unsigned int nr)
{
	struct greedy *g = shared(sizeof(*g));
	struct blipmq_stats stats;
	struct source large;
	pid_t pid;
	__u64 end;

	ASSERT_EQ(0, source_open(&large, SUBJECT, GREEDY_MESSAGE, 1));
	g->nr = nr;
	pid = spawn(greedy, g);
	while (!__atomic_load_n(&g->ready, __ATOMIC_ACQUIRE) && reap_within(pid, 1) == -ETIME)
		;
	ASSERT_TRUE(g->ready);
	/* Long enough for each ring to have its own. */
	end = deadline_in(test_seconds() / 2);
	do {
		ASSERT_EQ(1, source_send(&large)) {
			TH_LOG("after %llu messages", large.published);
		}
	} while (now_ns() < end || large.published < 2 * nr);
	EXPECT_EQ(0, source_send_until(&scene->source, deadline_in(0)));
	ASSERT_EQ(0, bus_stats(large.fd, &stats));
	EXPECT_EQ(-ETIME, reap_within(pid, 0));
	TH_LOG("%llu messages, %llu pages, %llu of them idle", large.published, stats.pages,
	       stats.idle);
	slay(pid);
	scene->source.published += large.published;
	source_close(&large);
}

TEST_F(hostile, all_claimed_1)
{
	greedy_case(_metadata, &self->scene, 1);
}

TEST_F(hostile, all_claimed_8)
{
	greedy_case(_metadata, &self->scene, 8);
}

TEST_F(hostile, all_claimed_64)
{
	greedy_case(_metadata, &self->scene, GREEDY_MAX);
}

/* ---- Words that no honest subscriber stores ---- */

/* The ring has 4 entries, and 6 messages came; then `taken` were claimed and released. */
static const struct impossible {
	const char *what;
	unsigned int taken;
	__u64 claim;
	__u64 release;
} impossible[] = {
	{ "claim rewound behind what the kernel dropped", 0, 0, 0 },
	{ "claim rewound by one", 0, 1, 0 },
	{ "claim beyond prod", 0, 7, 0 },
	{ "claim at the end of time", 0, ~0ULL, 0 },
	{ "release beyond claim", 0, 3, 4 },
	{ "release rewound", 3, 5, 4 },
	{ "both rewound", 3, 4, 4 },
	{ "both beyond prod", 3, 9, 9 },
};

static void expect_broken(struct __test_metadata *_metadata, struct consumer *c)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	struct blipmq_keep keep = { .index = consumer_load(consumer_claim_word(c)) };
	struct blipmq_wait wait = { };

	EXPECT_EQ(-EIO, do_wait(c->fd, &wait));
	EXPECT_EQ(BLIPMQ_REASON_RING_BROKEN, wait.head.reason);
	EXPECT_EQ(1, consumer_broken(c));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLERR, pfd.revents & POLLERR);
	EXPECT_EQ(-EIO, do_keep(c->fd, &keep));
	EXPECT_EQ(BLIPMQ_REASON_RING_BROKEN, keep.head.reason);
	EXPECT_EQ(-EIO, subscribe(c->fd, "other.topic", 0));
}

/* Every message is accounted for, once, and the ring pins nothing. */
static void expect_broken_sums(struct __test_metadata *_metadata, struct consumer *c, int id,
			       __u64 received)
{
	struct blipmq_stats stats;

	ASSERT_EQ(0, sub_stats(c->fd, id, &stats));
	EXPECT_EQ(stats.delivered, received + sum_drops(stats.drops));
	EXPECT_EQ(0, stats.queued);
	ASSERT_EQ(0, ring_stats(c->fd, &stats));
	EXPECT_EQ(0, stats.pinned);
	EXPECT_EQ(0, stats.held);
	EXPECT_EQ(sum_drops(stats.drops), sum_drops(consumer_drops(c)));
}

TEST_F(hostile, impossible_words)
{
	unsigned int i, n;
	struct consumer c;
	int id;

	for (i = 0; i < ARRAY_SIZE(impossible); i++) {
		const struct impossible *bad = &impossible[i];
		struct blipmq_desc descs[4];
		__u64 index = 0;

		ASSERT_EQ(0, consumer_attach(&c, open_as(BAD_UID), 4, 0,
					     BLIPMQ_POLICY_DROP_OLDEST));
		id = subscribe(c.fd, SUBJECT, 0);
		ASSERT_LT(0, id);
		for (n = 0; n < 6; n++)
			ASSERT_EQ(1, source_send_nr(&self->scene.source, 1));
		ASSERT_EQ(bad->taken, consumer_claim(&c, descs, bad->taken, &index));
		if (bad->taken)
			consumer_release(&c, index + bad->taken);
		EXPECT_EQ(0, wait_for(c.fd, 1, 0));

		consumer_store(consumer_claim_word(&c), bad->claim);
		consumer_store(consumer_release_word(&c), bad->release);
		expect_broken(_metadata, &c);
		ASSERT_LT(0, source_send(&self->scene.source));
		expect_broken(_metadata, &c);
		expect_broken_sums(_metadata, &c, id, bad->taken);
		EXPECT_EQ(i + 1, bus_event(BLIPMQ_EVENT_BROKEN)) {
			TH_LOG("%s", bad->what);
		}
		consumer_close(&c);
	}
}

/* ---- An honest reader at full speed is never called broken ---- */

TEST_F(hostile, honest_at_full_speed)
{
	static const struct { __u32 entries, held; } shapes[] = {
		{ 1, 1 }, { 2, 1 }, { 2, 2 }, { 8, 1 }, { 64, 64 },
	};
	struct witness *w[ARRAY_SIZE(shapes)];
	__u64 state = 2463534242, end;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct witness what = {
			.pattern = SUBJECT,
			.entries = shapes[i].entries,
			.held = shapes[i].held,
			.policy = BLIPMQ_POLICY_DROP_OLDEST,
		};

		w[i] = witness_start(&what);
	}
	end = deadline_in(test_seconds() / 2);
	while (now_ns() < end)
		ASSERT_LT(0, source_send_nr(&self->scene.source, 1 + random_next(&state) % 16));
	for (i = 0; i < ARRAY_SIZE(shapes); i++)
		witness_settle(_metadata, w[i], self->scene.source.published);
	EXPECT_EQ(0, bus_event(BLIPMQ_EVENT_BROKEN));
}

/* ---- The same value stored again and again ---- */

static void *store_storm(void *arg)
{
	struct scribble *s = arg;
	__u64 *word = consumer_claim_word(&s->c);
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(__atomic_fetch_add(&s->seed, 1, __ATOMIC_RELAXED), &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED) && !consumer_broken(&s->c))
		consumer_store(word, consumer_load(word));
	return NULL;
}

static __u64 cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

/* CPU time that a number of publishes take. */
static __u64 publish_cost(struct __test_metadata *_metadata, struct source *s, unsigned int nr)
{
	__u64 begin = cpu_ns();

	while (nr--)
		ASSERT_EQ(1, source_send_nr(s, 1));
	return cpu_ns() - begin;
}

#define STORM_PUBLISHES	200
#define STORM_ROUNDS	5

/* What publishes cost beside a storm on a ring that hears @pattern; some of them are lost. */
static __u64 storm_cost(struct __test_metadata *_metadata, struct source *source,
			const char *pattern, __u64 *lost)
{
	struct scribble s = { };
	struct blipmq_stats stats;
	pthread_t threads[2];
	__u64 cost;
	int i, id;

	ASSERT_EQ(0, consumer_attach(&s.c, open_as(BAD_UID), 4, 0, BLIPMQ_POLICY_DROP_OLDEST));
	id = subscribe(s.c.fd, pattern, 0);
	ASSERT_LT(0, id);
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, store_storm, &s);
	cost = publish_cost(_metadata, source, STORM_PUBLISHES);
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ASSERT_EQ(0, sub_stats(s.c.fd, id, &stats));
	EXPECT_EQ(stats.delivered, stats.queued + sum_drops(stats.drops));
	*lost += sum_drops(stats.drops);
	consumer_close(&s.c);
	return cost;
}

/* A publish tries a few times, not for as long as the storm goes on. */
TEST_F(hostile, store_storm)
{
	__u64 here = 0, elsewhere = 0, none = 0, lost = 0;
	int round;

	for (round = 0; round < STORM_ROUNDS; round++) {
		elsewhere += storm_cost(_metadata, &self->scene.source, "else.where", &none);
		here += storm_cost(_metadata, &self->scene.source, SUBJECT, &lost);
	}
	EXPECT_GT(10 * elsewhere, here);
	TH_LOG("%llu ns a publish, elsewhere %llu", here / STORM_ROUNDS / STORM_PUBLISHES,
	       elsewhere / STORM_ROUNDS / STORM_PUBLISHES);
	EXPECT_EQ(0, none);
	EXPECT_LT(0, lost);
}

TEST_HARNESS_MAIN
