// SPDX-License-Identifier: GPL-2.0
/*
 * Very many topics, patterns and endpoints: what they cost those who publish and subscribe
 * beside them, and where those who make them are stopped.
 */
#include <sys/resource.h>

#include "hostile.h"
#include "topics.h"

#define TOPICS		100000
#define TOPICS_DEBUG	10000
#define SUBJECT		32	/* bytes for one */
#define SAMPLES		400

static __u64 cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

/* Kilobytes that the kernel uses for its objects. */
static long slab_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "re");

	if (!f)
		abort();
	while (kb < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "Slab: %ld", &kb);
	fclose(f);
	return kb;
}

/* ---- Very many topics ---- */

static unsigned int many(void)
{
	return debug_kernel() ? TOPICS_DEBUG : TOPICS;
}

/* A message on each of the topics from first on, a batch. */
static int publish_batch(int fd, unsigned int first, unsigned int nr)
{
	static char subjects[BLIPMQ_BATCH_MAX][SUBJECT];
	static struct blipmq_message messages[BLIPMQ_BATCH_MAX];
	struct blipmq_publish pub = { .messages = ptr_u64(messages), .nr = nr };
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		messages[i] = (struct blipmq_message){
			.subject = ptr_u64(subjects[i]),
			.subject_len = snprintf(subjects[i], SUBJECT, "many.topic.%u", first + i),
			.data = ptr_u64(subjects[i]),
			.length = sizeof(first),
		};
	}
	ret = do_publish(fd, &pub);
	return ret ? ret : (int)pub.done;
}

/* It hears exactly one message on each, in order. */
static void expect_batch(struct __test_metadata *_metadata, struct consumer *c,
			 unsigned int first, unsigned int nr)
{
	static struct blipmq_desc descs[BLIPMQ_BATCH_MAX];
	char subject[SUBJECT];
	unsigned int i;
	__u64 index;

	ASSERT_EQ(nr, consumer_claim(c, descs, BLIPMQ_BATCH_MAX, &index));
	for (i = 0; i < nr; i++) {
		snprintf(subject, sizeof(subject), "many.topic.%u", first + i);
		EXPECT_EQ(1, consumer_header(c, &descs[i])->seq);
		/* The whole subject now and then: it takes long. */
		if (i % 64 == 0)
			EXPECT_STREQ(subject, consumer_subject(c, &descs[i]));
	}
	consumer_release(c, index + nr);
}

/* Time of the fastest of some rounds of publishing, for what was in the way of others. */
static __u64 publish_cost(struct __test_metadata *_metadata, int fd, __u32 handle,
			  struct consumer *c)
{
	__u64 best = ~0ULL, begun, took;
	int round, i;

	for (round = 0; round < 5; round++) {
		begun = cpu_ns();
		for (i = 0; i < SAMPLES; i++)
			ASSERT_LE(1, publish_on(fd, handle, "x", 1));
		took = cpu_ns() - begun;
		best = took < best ? took : best;
		consumer_drain(c);
	}
	return best;
}

/* Time of a subscription. */
static __u64 join_ns(struct __test_metadata *_metadata, struct consumer *c, const char *pattern)
{
	__u64 begun = now_ns();

	ASSERT_LT(0, subscribe(c->fd, pattern, 0));
	return now_ns() - begun;
}

/* The least of some, of which the last one stays. */
static __u64 join_again_ns(struct __test_metadata *_metadata, struct consumer *c,
			   const char *pattern)
{
	struct blipmq_unsubscribe unsub = { .id = 1 };
	__u64 least = join_ns(_metadata, c, pattern), took;
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, do_unsubscribe(c->fd, &unsub));
		took = join_ns(_metadata, c, pattern);
		least = took < least ? took : least;
	}
	return least;
}

/* ---- One who joins and leaves all topics again and again ---- */

struct restless {
	__u64 loops;
};

static int restless(void *arg)
{
	struct restless *r = arg;
	int fd;

	for (;;) {
		fd = open_as(BAD_UID);
		if (make_ring(fd, 1, BLIPMQ_POLICY_DROP_OLDEST) || subscribe(fd, "*.>", 0) < 0)
			return 1;
		close(fd);
		__atomic_add_fetch(&r->loops, 1, __ATOMIC_RELAXED);
	}
}

/* Beside it others subscribe without waiting for a walk of its, and memory does not grow. */
static void beside_restless(struct __test_metadata *_metadata, int pub, __u32 handle,
			    __u64 walk)
{
	struct restless *r = shared(sizeof(*r));
	__u64 begun, total = 0, nr = 0, end;
	struct blipmq_unsubscribe unsub = { };
	struct consumer c;
	long before;
	pid_t pid;

	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	pid = spawn(restless, r);
	while (!__atomic_load_n(&r->loops, __ATOMIC_RELAXED))
		ASSERT_EQ(-ETIME, reap_within(pid, 1));
	before = slab_kb();
	end = deadline_in(test_seconds() / 2);
	do {
		begun = now_ns();
		unsub.id = subscribe(c.fd, "many.topic.7", 0);
		ASSERT_LT(0, unsub.id);
		ASSERT_EQ(0, do_unsubscribe(c.fd, &unsub));
		total += now_ns() - begun;
		nr++;
		ASSERT_LE(1, publish_on(pub, handle, "x", 1));
	} while (now_ns() < end);
	EXPECT_EQ(-ETIME, reap_within(pid, 0));
	slay(pid);
	EXPECT_GT(walk, total / nr);
	EXPECT_GT(before + 16 * 1024, slab_kb());
	TH_LOG("%llu loops; a subscription took %llu us of %llu", r->loops, total / nr / 1000,
	       walk / 1000);
	consumer_close(&c);
}

TEST_TIMEOUT(many_topics, 120)
{
	const struct param params[] = { OPEN_TO_ALL, { } };
	unsigned int nr = many(), i, n;
	__u64 one, all, first, second;
	struct consumer c, late, later;
	struct blipmq_stats stats;
	int pub, handle;

	ASSERT_EQ(0, fresh_bus(params));
	pub = bus_open(O_RDWR);
	ASSERT_EQ(0, consumer_open(&c, 1024, 1024, BLIPMQ_POLICY_DROP_NEWEST));
	ASSERT_LT(0, subscribe(c.fd, "many.>", 0));
	handle = topic(pub, "many.handle");
	ASSERT_LT(0, handle);
	one = publish_cost(_metadata, pub, handle, &c);

	for (i = 0; i < nr; i += n) {
		n = nr - i < BLIPMQ_BATCH_MAX ? nr - i : BLIPMQ_BATCH_MAX;
		ASSERT_EQ(n, publish_batch(pub, i, n));
		expect_batch(_metadata, &c, i, n);
	}
	ASSERT_EQ(0, bus_stats(pub, &stats));
	EXPECT_EQ(nr + 1, stats.topics);
	all = publish_cost(_metadata, pub, handle, &c);
	EXPECT_GT(10 * one, all);

	/* Of a pattern that is known all topics know already. */
	ASSERT_EQ(0, consumer_open(&late, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_EQ(0, consumer_open(&later, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	first = join_ns(_metadata, &late, ">");
	second = join_again_ns(_metadata, &later, ">");
	EXPECT_GT(first, 10 * second);
	EXPECT_EQ(3, publish(pub, "many.topic.77", "x", 1));
	EXPECT_EQ(1, consumer_drain(&c));
	EXPECT_EQ(1, consumer_drain(&late));
	EXPECT_EQ(1, consumer_drain(&later));
	TH_LOG("%u topics; publish %llu ns, was %llu; joined in %llu us, then in %llu", nr,
	       all / SAMPLES, one / SAMPLES, first / 1000, second / 1000);

	beside_restless(_metadata, pub, handle, first);
	consumer_close(&c);
	consumer_close(&late);
	consumer_close(&later);
	close(pub);
	expect_bus_empty(_metadata);
}

/* ---- Killed while it joins ---- */

#define CUT_SHORT	10	/* calls that were */
#define KILLS		200	/* for these */

struct joiner {
	struct blipmq_subscribe sub;
	unsigned int begun;
	unsigned int ended;
};

static int joins(void *arg)
{
	struct blipmq_unsubscribe unsub;
	struct joiner *j = arg;
	int fd = bus_open(O_RDWR);

	if (make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST))
		return 1;
	for (;;) {
		j->sub = (struct blipmq_subscribe){ .head.reason = POISON32,
						    .pattern = ptr_u64("*.topic"),
						    .pattern_len = 7 };
		__atomic_add_fetch(&j->begun, 1, __ATOMIC_SEQ_CST);
		if (do_subscribe(fd, &j->sub))
			return 2;
		__atomic_add_fetch(&j->ended, 1, __ATOMIC_SEQ_CST);
		unsub = (struct blipmq_unsubscribe){ .id = j->sub.id };
		if (do_unsubscribe(fd, &unsub))
			return 3;
	}
}

/* Interrupted, and nothing that it could ask for was short. */
TEST(killed_while_joining)
{
	struct joiner *j = shared(sizeof(*j));
	int pub, i, nr = many() / 10, cut = 0;

	ASSERT_EQ(0, fresh_bus(NULL));
	pub = bus_open(O_RDWR);
	for (i = 0; i < nr; i += 1000)
		ASSERT_EQ(1000, publish_batch(pub, i, 1000));
	for (i = 0; i < KILLS && cut < CUT_SHORT; i++) {
		unsigned int begun = j->begun;
		pid_t pid = spawn(joins, j);

		while (__atomic_load_n(&j->begun, __ATOMIC_SEQ_CST) == begun)
			ASSERT_EQ(-ETIME, reap_within(pid, 0));
		sleep_ms(i % 4);
		EXPECT_EQ(128 + SIGKILL, slay(pid));
		if (j->begun != j->ended && j->sub.head.reason != POISON32) {
			EXPECT_EQ(BLIPMQ_REASON_NONE, j->sub.head.reason);
			cut++;
		}
		j->ended = j->begun;
	}
	EXPECT_EQ(CUT_SHORT, cut);
	close(pub);
	expect_bus_empty(_metadata);
}

/* ---- Patterns that overlap in every way ---- */

#define OVERLAP_STEPS	1024	/* nodes of a look-up at the most */

/* The variant of "t.t. ... .t" that has '*' where bits of @stars are. */
static const char *variant(unsigned int tokens, unsigned int stars)
{
	static char text[64];
	unsigned int i;

	for (i = 0; i < tokens; i++) {
		text[2 * i] = stars >> i & 1 ? '*' : 't';
		text[2 * i + 1] = i + 1 < tokens ? '.' : 0;
	}
	return text;
}

static int subscribe_variants(int fd, unsigned int tokens, struct blipmq_subscribe *sub)
{
	unsigned int stars;
	int ret = 0;

	for (stars = 1; !ret && stars < 1u << tokens; stars++)
		ret = try_subscribe(fd, variant(tokens, stars), sub);
	return ret;
}

static int publish_text(int fd, const char *text, struct blipmq_publish *pub)
{
	static struct blipmq_message m;

	m = (struct blipmq_message){ .subject = ptr_u64(text), .subject_len = strlen(text) };
	*pub = (struct blipmq_publish){ .messages = ptr_u64(&m), .nr = 1 };
	return do_publish(fd, pub);
}

/* As the bus is made, a user is stopped soon. */
TEST(overlapping_patterns_stop)
{
	const struct param params[] = { OPEN_TO_ALL, { } };
	struct blipmq_subscribe sub;
	struct blipmq_publish pub;
	int bad, good;

	ASSERT_EQ(0, fresh_bus(params));
	bad = open_as(BAD_UID);
	good = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(bad, 64, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_LIMIT(-ENOSPC, subscribe_variants(bad, 8, &sub), sub,
		     BLIPMQ_REASON_LIMIT_USER_PATTERNS, 64);
	EXPECT_EQ(0, publish_text(good, variant(8, 0), &pub));
	EXPECT_GE(64, pub.delivered);
	EXPECT_LT(0, pub.delivered);
	close(bad);
	close(good);
	expect_bus_empty(_metadata);
}

/* Where more is allowed, the look-up stops; others' topics are as they were. */
TEST(overlapping_patterns_steps)
{
	const struct param params[] = { OPEN_TO_ALL, { "max_user_patterns", "1024" }, { } };
	struct blipmq_subscribe sub;
	struct blipmq_publish pub;
	struct consumer c;
	int bad, good;

	ASSERT_EQ(0, fresh_bus(params));
	bad = open_as(BAD_UID);
	good = bus_open(O_RDWR);
	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "good.*", 0));
	ASSERT_EQ(0, make_ring(bad, 64, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_EQ(0, subscribe_variants(bad, 7, &sub));
	/* 127 subscriptions of one ring: the oldest 64 hear it. */
	EXPECT_EQ(0, publish_text(good, variant(7, 0), &pub));
	EXPECT_EQ(64, pub.delivered);
	close(bad);

	bad = open_as(BAD_UID);
	ASSERT_EQ(0, make_ring(bad, 64, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_EQ(0, subscribe_variants(bad, 10, &sub));
	EXPECT_LIMIT(-ENOSPC, publish_text(good, variant(10, 0), &pub), pub,
		     BLIPMQ_REASON_MATCH_STEPS, OVERLAP_STEPS);
	EXPECT_EQ(1, publish(good, "good.one", "x", 1));
	EXPECT_EQ(1, publish(good, "good.two", "x", 1));
	close(bad);
	EXPECT_EQ(0, publish_text(good, variant(10, 0), &pub));
	EXPECT_EQ(2, consumer_drain(&c));
	consumer_close(&c);
	close(good);
	expect_bus_empty(_metadata);
}

/* ---- A publisher of random topics ---- */

#define USER_TOPICS	256

TEST(random_topics_stop)
{
	const struct param params[] = { OPEN_TO_ALL, { "max_user_topics", "256" }, { } };
	__u64 state = 0x853c49e6748fea9bULL;
	struct blipmq_message m = { .subject = ptr_u64("good.idle"), .subject_len = 9 };
	struct blipmq_result result = { };
	struct blipmq_publish pub = {
		.messages = ptr_u64(&m),
		.nr = 1,
		.results = ptr_u64(&result),
	};
	struct blipmq_stats stats;
	char subject[SUBJECT];
	int bad, good, i;
	long before;

	ASSERT_EQ(0, fresh_bus(params));
	bad = open_as(BAD_UID);
	good = bus_open(O_RDWR);
	ASSERT_EQ(0, do_publish(good, &pub));
	before = slab_kb();
	for (i = 0; i < 8 * USER_TOPICS; i++) {
		snprintf(subject, sizeof(subject), "bad.%llx", random_next(&state));
		ASSERT_EQ(0, publish(bad, subject, "x", 1));
	}
	ASSERT_EQ(0, bus_stats(good, &stats));
	EXPECT_EQ(USER_TOPICS + 1, stats.topics);
	EXPECT_GT(before + 8 * 1024, slab_kb());
	/* The topic of another, idle for longer, is still the same. */
	ASSERT_EQ(0, do_publish(good, &pub));
	EXPECT_EQ(2, result.seq);
	close(bad);
	close(good);
	expect_bus_empty(_metadata);
}

/* ---- A crowd on one topic ---- */

#define CROWD		140
#define CROWD_HEARS	128	/* subscriptions of one user */
#define CROWD_ALL	256	/* of all */

static int subscribe_crowd(uid_t uid, struct blipmq_subscribe *sub, int *err)
{
	int fd = open_as(uid);

	*err = make_ring(fd, 2, BLIPMQ_POLICY_DROP_OLDEST);
	if (!*err)
		*err = try_subscribe(fd, "crowd", sub);
	return fd;
}

/* As many endpoints of a user; those beyond the limit are told which it was. */
static void crowd(struct __test_metadata *_metadata, uid_t uid, int *fds, __u32 reason,
		  __u32 detail)
{
	struct blipmq_subscribe sub;
	int i, err;

	for (i = 0; i < CROWD; i++) {
		fds[i] = subscribe_crowd(uid, &sub, &err);
		if (i < CROWD_HEARS)
			ASSERT_EQ(0, err);
		else
			EXPECT_LIMIT(-ENOSPC, err, sub, reason, detail);
	}
}

TEST(crowd_on_one_topic)
{
	const struct param params[] = { OPEN_TO_ALL, { } };
	int fds[2 * CROWD], pub, third, i, err;
	struct blipmq_subscribe sub;
	struct blipmq_stats stats;

	ASSERT_EQ(0, fresh_bus(params));
	pub = bus_open(O_RDWR);
	ASSERT_LT(0, topic(pub, "crowd"));
	crowd(_metadata, BAD_UID, fds, BLIPMQ_REASON_FANOUT_USER, CROWD_HEARS);
	EXPECT_EQ(CROWD_HEARS, publish(pub, "crowd", "x", 1));
	/* Another user has room still, a third one has not. */
	crowd(_metadata, GOOD_UID, fds + CROWD, BLIPMQ_REASON_FANOUT, CROWD_ALL);
	third = subscribe_crowd(THIRD_UID, &sub, &err);
	EXPECT_LIMIT(-ENOSPC, err, sub, BLIPMQ_REASON_FANOUT, CROWD_ALL);
	EXPECT_EQ(CROWD_ALL, publish(pub, "crowd", "x", 1));
	for (i = 0; i < 2 * CROWD; i++) {
		ASSERT_EQ(0, ring_stats(fds[i], &stats));
		/* The first user heard both messages, the second one. */
		EXPECT_EQ(i % CROWD >= CROWD_HEARS ? 0 : 2 - i / CROWD, stats.queued);
		close(fds[i]);
	}
	EXPECT_EQ(0, publish(pub, "crowd", "x", 1));
	close(third);
	close(pub);
	expect_bus_empty(_metadata);
}

/* ---- Those who want to hear everything many times ---- */

#define CRAM_EACH	256	/* tries for a pattern; 64 of a ring pass */
#define CRAM_RING	64
#define CRAM_RINGS	5	/* of another user each two */

static const char * const crams[] = { ">", "*.>", "*.*" };

/* As often as it is let. Return: how often that was. */
static unsigned int cram(int fd)
{
	unsigned int i, nr = 0;

	for (i = 0; i < CRAM_EACH * ARRAY_SIZE(crams); i++)
		nr += subscribe(fd, crams[i % ARRAY_SIZE(crams)], 0) > 0;
	return nr;
}

/* A user who may only subscribe, before there is any topic: others have theirs. */
TEST(crammed_by_one)
{
	const struct param params[] = { { "mode", "0774" }, { } };
	struct consumer c;
	int bad, pub;

	ASSERT_EQ(0, fresh_bus(params));
	bad = open_as(BAD_UID);
	pub = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(bad, 256, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_EQ(CRAM_RING * ARRAY_SIZE(crams), cram(bad));
	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "good.*", 0));
	EXPECT_EQ(CRAM_RING + 1, publish(pub, "good.one", "x", 1));
	ASSERT_LT(0, topic(pub, "good.two"));
	EXPECT_EQ(CRAM_RING + 1, publish(pub, "good.two", "x", 1));
	EXPECT_EQ(2, consumer_drain(&c));
	consumer_close(&c);
	close(bad);
	close(pub);
	expect_bus_empty(_metadata);
}

/* Several users, all they can: what does not hear a topic counts each message. */
TEST(crammed_by_all)
{
	const struct param params[] = { OPEN_TO_ALL, { } };
	unsigned int i, joined = 0, heard = 0, lost = 0;
	int fds[CRAM_RINGS], pub;
	struct blipmq_stats stats;

	ASSERT_EQ(0, fresh_bus(params));
	pub = bus_open(O_RDWR);
	for (i = 0; i < CRAM_RINGS; i++) {
		fds[i] = open_as(BAD_UID + i / 2);
		ASSERT_EQ(0, make_ring(fds[i], 256, BLIPMQ_POLICY_DROP_OLDEST));
		joined += cram(fds[i]);
	}
	/* Each pattern is full. */
	EXPECT_EQ(CROWD_ALL * ARRAY_SIZE(crams), joined);
	EXPECT_EQ(CROWD_ALL, publish(pub, "any.topic", "x", 1));
	EXPECT_EQ(1, bus_event(BLIPMQ_EVENT_FANOUT));
	for (i = 0; i < CRAM_RINGS; i++) {
		ASSERT_EQ(0, ring_stats(fds[i], &stats));
		heard += stats.queued;
		lost += stats.drops[BLIPMQ_DROP_FANOUT];
		EXPECT_EQ(stats.delivered, stats.queued + sum_drops(stats.drops));
		close(fds[i]);
	}
	EXPECT_EQ(CROWD_ALL, heard);
	EXPECT_EQ(joined - CROWD_ALL, lost);
	close(pub);
	expect_bus_empty(_metadata);
}

/* ---- A crowd of endpoints ---- */

#define USER_ENDPOINTS	1024
#define BUS_ENDPOINTS	"1100"

static int try_bind(int fd, struct blipmq_bind *bind)
{
	*bind = (struct blipmq_bind){ .bus = "default" };
	return do_bind(fd, bind);
}

TEST(crowd_of_endpoints)
{
	const struct param params[] = { OPEN_TO_ALL, { "max_endpoints", BUS_ENDPOINTS }, { } };
	struct rlimit files = { 2 * USER_ENDPOINTS, 2 * USER_ENDPOINTS };
	unsigned int max = atoi(BUS_ENDPOINTS), i;
	int fds[2 * USER_ENDPOINTS], fd;
	struct blipmq_bind bind;

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	ASSERT_EQ(0, fresh_bus(params));
	for (i = 0; i < USER_ENDPOINTS; i++) {
		fds[i] = open_as(BAD_UID);
		ASSERT_EQ(0, try_bind(fds[i], &bind));
	}
	fd = open_as(BAD_UID);
	EXPECT_LIMIT(-EMFILE, try_bind(fd, &bind), bind, BLIPMQ_REASON_LIMIT_USER_ENDPOINTS,
		     USER_ENDPOINTS);
	close(fd);
	for (; i < max; i++) {
		fds[i] = open_as(GOOD_UID);
		ASSERT_EQ(0, try_bind(fds[i], &bind));
	}
	fd = open_as(GOOD_UID);
	EXPECT_LIMIT(-ENFILE, try_bind(fd, &bind), bind, BLIPMQ_REASON_LIMIT_ENDPOINTS, max);
	/* What closes makes room; a file that was refused may try again. */
	close(fds[--i]);
	EXPECT_EQ(0, try_bind(fd, &bind));
	close(fd);
	while (i--)
		close(fds[i]);
	expect_bus_empty(_metadata);
}

TEST_HARNESS_MAIN
