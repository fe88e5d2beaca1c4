// SPDX-License-Identifier: GPL-2.0
/*
 * Topics and patterns: who hears what, whichever came first; nothing is missed after SUBSCRIBE
 * returned; and the limits of topics and patterns. How many may hear a topic is in
 * topics_fanout.c; many topics, and those who make them, are in topics_scale.c.
 */
#include "hostile.h"
#include "topics.h"

/* ---- The obvious matcher ---- */

static size_t token_end(const char *s)
{
	return strcspn(s, ".");
}

static bool is_token(const char *s, const char *token)
{
	return token_end(s) == strlen(token) && !strncmp(s, token, strlen(token));
}

/* Token by token; '>' stands for one or more, '*' for one. */
static bool matches(const char *pattern, const char *subject)
{
	size_t p = token_end(pattern), s = token_end(subject);

	if (is_token(pattern, ">"))
		return true;
	if (!is_token(pattern, "*") && (p != s || strncmp(pattern, subject, p)))
		return false;
	if (!pattern[p] || !subject[s])
		return !pattern[p] && !subject[s];
	return matches(pattern + p + 1, subject + s + 1);
}

/* ---- Random subjects and patterns ---- */

#define PATTERNS	60	/* of one ring, wildcard ones among them */
#define SUBJECTS	200
#define TEXT		48

static const char * const words[] = { "a", "b", "ab", "*", ">", "a*", "\xc3\xa4" };

/* Few words, so that much matches; in subjects '*' and '>' stand for themselves. */
static void random_text(char *text, __u64 *state, bool pattern)
{
	unsigned int tokens = 1 + random_next(state) % 4, i, w;

	for (i = 0, *text = 0; i < tokens; i++) {
		do {
			w = random_next(state) % (pattern ? 5 : ARRAY_SIZE(words));
		} while (pattern && w == 4 && i + 1 < tokens);
		strcat(text, i ? "." : "");
		strcat(text, words[w]);
	}
}

static bool known(char text[][TEXT], unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!strcmp(text[i], text[nr]))
			return true;
	return false;
}

/* All different. */
static void random_texts(char text[][TEXT], unsigned int nr, __u64 *state, bool pattern)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		do {
			random_text(text[i], state, pattern);
		} while (known(text, i));
	}
}

/* A ring with patterns, and a publisher of subjects. */
struct match {
	char patterns[PATTERNS][TEXT];
	char subjects[SUBJECTS][TEXT];
	struct consumer c;
	int fd;
};

FIXTURE(match)
{
	struct match m;
};

/* One ring may hear a topic by 64 subscriptions, so 60 patterns never meet that limit. */
FIXTURE_SETUP(match)
{
	__u64 state = 0x9e3779b97f4a7c15ULL;

	ASSERT_EQ(0, fresh_bus(NULL));
	random_texts(self->m.patterns, PATTERNS, &state, true);
	random_texts(self->m.subjects, SUBJECTS, &state, false);
	ASSERT_EQ(0, consumer_open(&self->m.c, 128, 128, BLIPMQ_POLICY_DROP_NEWEST));
	self->m.fd = bus_open(O_RDWR);
}

FIXTURE_TEARDOWN(match)
{
	consumer_close(&self->m.c);
	close(self->m.fd);
	expect_bus_empty(_metadata);
}

/* Publish on a subject: exactly the patterns from first to last that match hear it, once. */
static void expect_heard(struct __test_metadata *_metadata, struct match *m,
			 const char *subject, int first, int last)
{
	bool heard[PATTERNS] = { };
	struct blipmq_desc d;
	__u64 index;
	int i, nr = 0;

	for (i = first; i < last; i++)
		nr += matches(m->patterns[i], subject);
	EXPECT_EQ(nr, publish(m->fd, subject, "x", 1)) {
		TH_LOG("subject %s", subject);
	}
	while (consumer_claim(&m->c, &d, 1, &index)) {
		EXPECT_STREQ(subject, consumer_subject(&m->c, &d));
		ASSERT_GT(PATTERNS, d.cookie);
		EXPECT_FALSE(heard[d.cookie]);
		heard[d.cookie] = true;
		consumer_release(&m->c, index + 1);
	}
	for (i = 0; i < PATTERNS; i++)
		EXPECT_EQ(i >= first && i < last && matches(m->patterns[i], subject),
			  heard[i]) {
			TH_LOG("pattern %s, subject %s", m->patterns[i], subject);
		}
}

static void subscribe_from(struct __test_metadata *_metadata, struct match *m,
			   int first, int last, int *ids)
{
	int i;

	for (i = first; i < last; i++) {
		ids[i] = subscribe(m->c.fd, m->patterns[i], i);
		ASSERT_LT(0, ids[i]);
	}
}

static void expect_all_heard(struct __test_metadata *_metadata, struct match *m,
			     int first, int last)
{
	int i;

	for (i = 0; i < SUBJECTS; i++)
		expect_heard(_metadata, m, m->subjects[i], first, last);
}

TEST_F(match, patterns_first)
{
	int ids[PATTERNS];

	subscribe_from(_metadata, &self->m, 0, PATTERNS, ids);
	expect_all_heard(_metadata, &self->m, 0, PATTERNS);
}

TEST_F(match, topics_first)
{
	int ids[PATTERNS];

	expect_all_heard(_metadata, &self->m, 0, 0);
	subscribe_from(_metadata, &self->m, 0, PATTERNS, ids);
	expect_all_heard(_metadata, &self->m, 0, PATTERNS);
}

/* Topics live; patterns come, and go, and come again. */
TEST_F(match, patterns_come_and_go)
{
	struct blipmq_unsubscribe unsub = { };
	struct blipmq_stats stats;
	int ids[PATTERNS], i;

	subscribe_from(_metadata, &self->m, 0, PATTERNS / 2, ids);
	expect_all_heard(_metadata, &self->m, 0, PATTERNS / 2);
	subscribe_from(_metadata, &self->m, PATTERNS / 2, PATTERNS, ids);
	expect_all_heard(_metadata, &self->m, 0, PATTERNS);
	for (i = 0; i < PATTERNS / 2; i++) {
		unsub.id = ids[i];
		ASSERT_EQ(0, do_unsubscribe(self->m.c.fd, &unsub));
	}
	expect_all_heard(_metadata, &self->m, PATTERNS / 2, PATTERNS);
	ASSERT_EQ(0, bus_stats(self->m.fd, &stats));
	EXPECT_EQ(PATTERNS - PATTERNS / 2, stats.patterns);
	EXPECT_EQ(PATTERNS - PATTERNS / 2, stats.subscriptions);
	EXPECT_EQ(SUBJECTS, stats.topics);
	subscribe_from(_metadata, &self->m, 0, PATTERNS / 2, ids);
	expect_all_heard(_metadata, &self->m, 0, PATTERNS);
}

/* Two subscriptions of one pattern are two; when one goes the other stays. */
TEST_F(match, one_pattern_twice)
{
	struct blipmq_unsubscribe unsub = { };

	ASSERT_LT(0, unsub.id = subscribe(self->m.c.fd, "same.>", 1));
	ASSERT_LT(0, subscribe(self->m.c.fd, "same.>", 2));
	EXPECT_EQ(2, publish(self->m.fd, "same.a", "x", 1));
	ASSERT_EQ(0, do_unsubscribe(self->m.c.fd, &unsub));
	EXPECT_EQ(1, publish(self->m.fd, "same.a", "x", 1));
	EXPECT_EQ(1, publish(self->m.fd, "same.b", "x", 1));
	EXPECT_EQ(0, publish(self->m.fd, "same", "x", 1));
}

/* ---- Joining while topics are born ---- */

struct birth {
	bool stop;
	bool failed;
	__u64 begun;		/* publishes; each makes a topic */
};

static void *give_birth(void *arg)
{
	struct birth *b = arg;
	char subject[32];
	int fd = bus_open(O_RDWR);
	__u64 n;

	while (!__atomic_load_n(&b->stop, __ATOMIC_RELAXED)) {
		n = __atomic_add_fetch(&b->begun, 1, __ATOMIC_SEQ_CST);
		snprintf(subject, sizeof(subject), "birth.%llu", n);
		if (publish(fd, subject, &n, sizeof(n)) < 0)
			b->failed = true;
	}
	close(fd);
	return NULL;
}

/* What began after SUBSCRIBE returned is there, without a hole. */
static void join_once(struct __test_metadata *_metadata, struct birth *b, const char *pattern)
{
	struct blipmq_desc d;
	__u64 index, before, number, next = 0;
	struct consumer c;

	ASSERT_EQ(0, consumer_open(&c, 1024, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(c.fd, pattern, 0));
	before = __atomic_load_n(&b->begun, __ATOMIC_SEQ_CST);
	do {
		if (!consumer_claim(&c, &d, 1, &index)) {
			wait_for(c.fd, 1, 100);
			continue;
		}
		memcpy(&number, consumer_payload(&c, &d), sizeof(number));
		if (!next)
			EXPECT_GE(before + 1, number);
		else
			EXPECT_EQ(next, number);
		next = number + 1;
		consumer_release(&c, index + 1);
	} while (next < before + 20);
	consumer_close(&c);
}

TEST(joining_while_topics_are_born)
{
	const struct param params[] = { PATIENT, { "max_user_topics", "512" }, { } };
	static const char * const patterns[] = { "birth.*", ">", "*.*" };
	struct birth b = { };
	pthread_t thread;
	unsigned int i = 0;
	__u64 end;

	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, pthread_create(&thread, NULL, give_birth, &b));
	end = deadline_in(test_seconds() / 2);
	do {
		join_once(_metadata, &b, patterns[i++ % ARRAY_SIZE(patterns)]);
	} while (now_ns() < end);
	__atomic_store_n(&b.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_FALSE(b.failed);
	TH_LOG("%u joined, %llu topics", i, b.begun);
	expect_bus_empty(_metadata);
}

/* ---- Limits of topics ---- */

static int topic_nr(int fd, unsigned int nr, struct blipmq_topic *t)
{
	static char subject[32];

	snprintf(subject, sizeof(subject), "topic.%u", nr);
	*t = (struct blipmq_topic){ .subject = ptr_u64(subject), .subject_len = strlen(subject) };
	return do_topic(fd, t);
}

static __u64 topics(int fd)
{
	struct blipmq_stats stats;

	return bus_stats(fd, &stats) ? ~0ULL : stats.topics;
}

TEST(topics_held)
{
	const struct param params[] = { OPEN_TO_ALL, { "max_user_topics", "16" },
					{ "max_topics", "24" }, { } };
	struct blipmq_topic_close shut = { };
	struct blipmq_topic t;
	int fd, other;
	unsigned int i;

	ASSERT_EQ(0, fresh_bus(params));
	fd = bus_open(O_RDWR);
	other = open_as(GOOD_UID);
	for (i = 0; i < 16; i++)
		ASSERT_EQ(0, topic_nr(fd, i, &t));
	shut.handle = t.handle;
	EXPECT_LIMIT(-ENOSPC, topic_nr(fd, 16, &t), t, BLIPMQ_REASON_LIMIT_USER_TOPICS, 16);
	EXPECT_EQ(-ENOSPC, publish(fd, "one.more", "x", 1));
	/* Those that exist go on, also for the other user, who makes eight more. */
	EXPECT_EQ(0, topic_nr(fd, 3, &t));
	for (i = 0; i < 24; i++)
		ASSERT_EQ(0, topic_nr(other, i, &t));
	EXPECT_LIMIT(-ENOSPC, topic_nr(other, 24, &t), t, BLIPMQ_REASON_LIMIT_TOPICS, 24);
	EXPECT_EQ(24, topics(fd));
	/* One that nothing holds any more makes way, for its own user. */
	ASSERT_EQ(0, do_topic_close(fd, &shut));
	EXPECT_LIMIT(-ENOSPC, topic_nr(fd, 24, &t), t, BLIPMQ_REASON_LIMIT_USER_TOPICS, 16);
	close(other);
	EXPECT_EQ(0, topic_nr(fd, 24, &t));
	EXPECT_EQ(24, topics(fd));
	close(fd);
	expect_bus_empty(_metadata);
}

/* Number of the message that a publish gives, so 1 for a topic that is new. */
static __u64 seq_of(struct __test_metadata *_metadata, int fd, const char *subject)
{
	struct blipmq_message m = { .subject = ptr_u64(subject), .subject_len = strlen(subject) };
	struct blipmq_result result;
	struct blipmq_publish pub = {
		.messages = ptr_u64(&m),
		.nr = 1,
		.results = ptr_u64(&result),
	};

	ASSERT_EQ(0, do_publish(fd, &pub));
	return result.seq;
}

/* The longest idle goes; what has a handle or an exact subscription stays. */
TEST(topics_reaped)
{
	const struct param params[] = { { "max_user_topics", "4" }, { } };
	struct consumer c;
	int fd;

	ASSERT_EQ(0, fresh_bus(params));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "exact", 0));
	ASSERT_LT(0, topic(fd, "handle"));
	EXPECT_EQ(1, seq_of(_metadata, fd, "handle"));
	EXPECT_EQ(1, seq_of(_metadata, fd, "exact"));
	EXPECT_EQ(1, seq_of(_metadata, fd, "first"));
	EXPECT_EQ(1, seq_of(_metadata, fd, "second"));
	EXPECT_EQ(4, topics(fd));
	/* Used again, the first is not the longest idle. */
	EXPECT_EQ(2, seq_of(_metadata, fd, "first"));
	EXPECT_EQ(1, seq_of(_metadata, fd, "third"));
	EXPECT_EQ(4, topics(fd));
	EXPECT_EQ(3, seq_of(_metadata, fd, "first"));
	EXPECT_EQ(1, seq_of(_metadata, fd, "second"));
	EXPECT_EQ(4, seq_of(_metadata, fd, "first"));
	EXPECT_EQ(2, seq_of(_metadata, fd, "handle"));
	EXPECT_EQ(2, seq_of(_metadata, fd, "exact"));
	EXPECT_EQ(2, consumer_drain(&c));
	close(fd);
	consumer_close(&c);
	expect_bus_empty(_metadata);
}

#define USED_AGAIN	1024	/* topics: more than are sorted without letting others in */

/* All were used since they were made, in another order: that of their last use counts. */
TEST(topics_reaped_after_use)
{
	const struct param params[] = { { "max_user_topics", "1024" }, { } };
	char subject[32];
	int fd, i;

	ASSERT_EQ(0, fresh_bus(params));
	fd = bus_open(O_RDWR);
	for (i = 0; i < 2 * USED_AGAIN; i++) {
		snprintf(subject, sizeof(subject), "used.%d",
			 i < USED_AGAIN ? i : 5 * i % USED_AGAIN);
		ASSERT_EQ(1 + i / USED_AGAIN, seq_of(_metadata, fd, subject));
	}
	/* Each takes the place of one: of 0, 5, 10, 15. */
	for (i = 0; i < 4; i++) {
		snprintf(subject, sizeof(subject), "new.%d", i);
		EXPECT_EQ(1, seq_of(_metadata, fd, subject));
	}
	EXPECT_EQ(USED_AGAIN, topics(fd));
	EXPECT_EQ(3, seq_of(_metadata, fd, "used.1"));
	EXPECT_EQ(3, seq_of(_metadata, fd, "used.20"));
	EXPECT_EQ(1, seq_of(_metadata, fd, "used.15"));
	EXPECT_EQ(1, seq_of(_metadata, fd, "used.25"));
	close(fd);
	expect_bus_empty(_metadata);
}

/* ---- Limits of subscriptions ---- */

TEST(patterns)
{
	const struct param params[] = {
		OPEN_TO_ALL, { "max_user_patterns", "4" }, { "max_patterns", "6" },
		{ "max_subscriptions", "8" }, { }
	};
	struct blipmq_unsubscribe unsub = { };
	struct blipmq_subscribe sub;
	int mine, other, i;
	char pattern[32];

	ASSERT_EQ(0, fresh_bus(params));
	mine = bus_open(O_RDWR);
	other = open_as(GOOD_UID);
	ASSERT_EQ(0, make_ring(mine, 16, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_EQ(0, make_ring(other, 16, BLIPMQ_POLICY_DROP_OLDEST));
	for (i = 0; i < 4; i++) {
		snprintf(pattern, sizeof(pattern), "mine.%d.*", i);
		unsub.id = subscribe(mine, pattern, 0);
		ASSERT_LT(0, unsub.id);
	}
	EXPECT_LIMIT(-ENOSPC, try_subscribe(mine, "more.>", &sub), sub,
		     BLIPMQ_REASON_LIMIT_USER_PATTERNS, 4);
	/* What is known already, and what has no wildcard, is not one more. */
	EXPECT_EQ(0, try_subscribe(mine, "mine.0.*", &sub));
	EXPECT_EQ(0, try_subscribe(mine, "exact", &sub));
	ASSERT_LT(0, subscribe(other, "other.>", 0));
	ASSERT_LT(0, subscribe(other, "*", 0));
	EXPECT_LIMIT(-ENOSPC, try_subscribe(other, "more.>", &sub), sub,
		     BLIPMQ_REASON_LIMIT_PATTERNS, 6);
	ASSERT_EQ(0, do_unsubscribe(mine, &unsub));
	EXPECT_EQ(0, try_subscribe(other, "more.>", &sub));
	/* Subscriptions of an endpoint. */
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, try_subscribe(mine, "mine.0.*", &sub));
	EXPECT_LIMIT(-ENOSPC, try_subscribe(mine, "exact", &sub), sub,
		     BLIPMQ_REASON_LIMIT_SUBSCRIPTIONS, 8);
	close(mine);
	close(other);
	expect_bus_empty(_metadata);
}

TEST(wildcard_subscriptions)
{
	const struct param params[] = { OPEN_TO_ALL, { "max_user_wild", "4" },
					{ "max_wild", "6" }, { } };
	struct blipmq_unsubscribe unsub = { };
	struct blipmq_subscribe sub;
	int mine, other, i;

	ASSERT_EQ(0, fresh_bus(params));
	mine = bus_open(O_RDWR);
	other = open_as(GOOD_UID);
	ASSERT_EQ(0, make_ring(mine, 16, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_EQ(0, make_ring(other, 16, BLIPMQ_POLICY_DROP_OLDEST));
	for (i = 0; i < 4; i++)
		ASSERT_LT(0, unsub.id = subscribe(mine, i % 2 ? "mine.>" : "*", 0));
	EXPECT_LIMIT(-ENOSPC, try_subscribe(mine, "*", &sub), sub,
		     BLIPMQ_REASON_LIMIT_USER_WILD, 4);
	EXPECT_LIMIT(-ENOSPC, try_subscribe(mine, "new.*", &sub), sub,
		     BLIPMQ_REASON_LIMIT_USER_WILD, 4);
	EXPECT_EQ(0, try_subscribe(mine, "exact", &sub));
	for (i = 0; i < 2; i++)
		ASSERT_LT(0, subscribe(other, "*", 0));
	EXPECT_LIMIT(-ENOSPC, try_subscribe(other, "*", &sub), sub, BLIPMQ_REASON_LIMIT_WILD, 6);
	ASSERT_EQ(0, do_unsubscribe(mine, &unsub));
	EXPECT_EQ(0, try_subscribe(other, "*", &sub));
	close(mine);
	close(other);
	expect_bus_empty(_metadata);
}

TEST_HARNESS_MAIN
