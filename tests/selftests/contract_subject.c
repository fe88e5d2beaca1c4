// SPDX-License-Identifier: GPL-2.0
/*
 * Subjects, patterns, topic handles and subscriptions: what is refused, and what matches.
 */
#include <fcntl.h>

#include "common.h"
#include "harness.h"

FIXTURE(file) {
	int fd;
};

FIXTURE_SETUP(file)
{
	self->fd = bus_open(O_RDWR);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, make_ring(self->fd, 64, BLIPMQ_POLICY_DROP_OLDEST));
}

FIXTURE_TEARDOWN(file)
{
	close(self->fd);
}

/* ---- Refusals, the same wherever a subject or a pattern is named ---- */

struct verdict {
	int error;
	__u32 reason;
	__u32 detail;
};

enum way { BY_TOPIC, BY_PUBLISH, BY_SUBSCRIBE, NR_WAYS };

static struct verdict name_at(int fd, enum way way, __u64 text, __u32 len)
{
	struct blipmq_topic topic = { .subject = text, .subject_len = len };
	struct blipmq_subscribe sub = { .pattern = text, .pattern_len = len };
	struct blipmq_message m = { .subject = text, .subject_len = len };
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	struct verdict v;
	int ret;

	switch (way) {
	case BY_TOPIC:
		ret = do_topic(fd, &topic);
		v = (struct verdict){ ret, topic.head.reason, topic.head.detail };
		break;
	case BY_PUBLISH:
		ret = do_publish(fd, &pub);
		v = (struct verdict){ ret, pub.head.reason, pub.head.detail };
		break;
	default:
		ret = do_subscribe(fd, &sub);
		v = (struct verdict){ ret, sub.head.reason, sub.head.detail };
		break;
	}
	return v;
}

static struct verdict name_it(int fd, enum way way, const void *text, __u32 len)
{
	return name_at(fd, way, ptr_u64(text), len);
}

#define EXPECT_VERDICT(_error, _reason, _detail, v, text) do { \
	const char *__text = text; \
	struct verdict __v = v; \
	EXPECT_EQ(_error, __v.error) { TH_LOG("'%s', way %d", __text, way); } \
	EXPECT_EQ(_reason, __v.reason) { TH_LOG("'%s', way %d", __text, way); } \
	EXPECT_EQ(_detail, __v.detail) { TH_LOG("'%s', way %d", __text, way); } \
} while (0)

TEST_F(file, subject_length)
{
	char text[BLIPMQ_SUBJECT_MAX + 2];

	memset(text, 'a', sizeof(text));
	for (enum way way = 0; way < NR_WAYS; way++) {
		EXPECT_VERDICT(-EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX,
			       name_it(self->fd, way, text, 0), "");
		EXPECT_VERDICT(-EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX,
			       name_it(self->fd, way, NULL, 0), "");
		EXPECT_VERDICT(-EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX,
			       name_it(self->fd, way, text, BLIPMQ_SUBJECT_MAX + 1), "256");
		EXPECT_VERDICT(0, BLIPMQ_REASON_NONE, 0,
			       name_it(self->fd, way, text, BLIPMQ_SUBJECT_MAX), "255");
		EXPECT_VERDICT(0, BLIPMQ_REASON_NONE, 0, name_it(self->fd, way, text, 1), "1");
	}
	for (enum way way = 0; way < NR_WAYS; way++) {
		if (way == BY_PUBLISH)	/* 16 bits there */
			continue;
		EXPECT_VERDICT(-EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX,
			       name_it(self->fd, way, text, 65537), "65537");
		EXPECT_VERDICT(-EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX,
			       name_it(self->fd, way, text, 1u << 31), "2^31");
		EXPECT_VERDICT(-EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX,
			       name_it(self->fd, way, text, ~0u), "2^32 - 1");
	}
}

TEST_F(file, subject_tokens)
{
	static const struct { const char *text; __u32 token; } bad[] = {
		{ ".", 1 }, { "..", 1 }, { ".a", 1 }, { "a.", 2 }, { "a..b", 2 }, { "a.b.", 3 },
		{ "a.b..c", 3 }, { "a...b", 2 }, { "aaa.bbb.ccc..", 4 }, { ".*", 1 },
		{ "*.", 2 }, { "*..>", 2 },
	};

	for (enum way way = 0; way < NR_WAYS; way++)
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			EXPECT_VERDICT(-EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN, bad[i].token,
				       name_it(self->fd, way, bad[i].text, strlen(bad[i].text)),
				       bad[i].text);
}

TEST_F(file, subject_characters)
{
	char text[] = "ab.cd";

	for (enum way way = 0; way < NR_WAYS; way++) {
		for (int c = 0; c <= 0x7f; c++) {
			bool bad = c <= 0x20 || c == 0x7f;

			if (c == '.')
				continue;
			for (__u32 at = 0; at < 5; at += at == 1 ? 2 : 1) {
				char was = text[at];

				text[at] = c;
				EXPECT_VERDICT(bad ? -EINVAL : 0,
					       bad ? BLIPMQ_REASON_SUBJECT_CHAR : 0, bad ? at : 0,
					       name_it(self->fd, way, text, 5), text);
				text[at] = was;
			}
		}
	}
}

TEST_F(file, pattern_tail)
{
	static const struct { const char *text; __u32 token; } bad[] = {
		{ ">.a", 1 }, { "a.>.b", 2 }, { "a.b.>.c.d", 3 }, { ">.>", 1 }, { "*.>.*", 2 },
	};
	const enum way way = BY_SUBSCRIBE;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_VERDICT(-EINVAL, BLIPMQ_REASON_PATTERN_TAIL, bad[i].token,
			       name_it(self->fd, way, bad[i].text, strlen(bad[i].text)),
			       bad[i].text);
}

TEST_F(file, subject_memory)
{
	char *end = before_hole(page_size()) + page_size();
	const void *const nowhere[] = { NULL, (void *)8, (void *)-4096, end, end - 3 };

	memset(end - 4, 'z', 4);
	for (enum way way = 0; way < NR_WAYS; way++) {
		for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
			struct verdict v = name_it(self->fd, way, nowhere[i], 4);

			EXPECT_EQ(-EFAULT, v.error) { TH_LOG("%p, way %d", nowhere[i], way); }
			EXPECT_NE(BLIPMQ_REASON_NONE, v.reason);
		}
		EXPECT_VERDICT(0, BLIPMQ_REASON_NONE, 0, name_it(self->fd, way, end - 4, 4), "end");
	}
}

/* An address is 64 bits, also for a caller whose pointers have half of them. */
TEST_F(file, subject_address_too_high)
{
	const char *text = "high";

	for (enum way way = 0; way < NR_WAYS; way++)
		EXPECT_EQ(-EFAULT, name_at(self->fd, way, ptr_u64(text) | 1ULL << 63, 4).error);
}

TEST_F(file, subject_good)
{
	char many[BLIPMQ_SUBJECT_MAX + 1] = "", longest[BLIPMQ_SUBJECT_MAX + 1];
	const char *const good[] = { "a", "a.b", "A.b-c_d", "$x.#y!", "größe.温度", "0", "~",
				     "a/b", "a,b;c", "\xf0\x9f\x90\x9f.\xff", many, longest };

	for (int i = 0; i < BLIPMQ_SUBJECT_MAX; i++)
		many[i] = i % 2 ? '.' : 'a';
	memset(longest, 'b', BLIPMQ_SUBJECT_MAX);
	longest[BLIPMQ_SUBJECT_MAX] = 0;
	for (enum way way = 0; way < NR_WAYS; way++)
		for (size_t i = 0; i < ARRAY_SIZE(good); i++)
			EXPECT_VERDICT(0, BLIPMQ_REASON_NONE, 0,
				       name_it(self->fd, way, good[i], strlen(good[i])), good[i]);
}

/* The longest subjects arrive whole, and do match. */
TEST(subject_longest)
{
	char many[BLIPMQ_SUBJECT_MAX + 1] = "", longest[BLIPMQ_SUBJECT_MAX + 1] = "";
	struct blipmq_desc descs[2];
	struct consumer c;
	__u64 index;

	for (int i = 0; i < BLIPMQ_SUBJECT_MAX; i++)
		many[i] = i % 2 ? '.' : 'a';
	memset(longest, 'b', BLIPMQ_SUBJECT_MAX);
	ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, many, 1));
	ASSERT_LT(0, subscribe(c.fd, longest, 2));
	ASSERT_EQ(1, publish(c.fd, many, "m", 1));
	ASSERT_EQ(1, publish(c.fd, longest, "n", 1));
	ASSERT_EQ(2, consumer_claim(&c, descs, 2, &index));
	EXPECT_EQ(1, descs[0].cookie);
	EXPECT_STREQ(many, consumer_subject(&c, &descs[0]));
	EXPECT_EQ(2, descs[1].cookie);
	EXPECT_STREQ(longest, consumer_subject(&c, &descs[1]));
	consumer_close(&c);
}

/* ---- What matches ---- */

static const struct { const char *pattern, *subject; bool match; } matches[] = {
	{ "a", "a", true }, { "a", "b", false }, { "a", "A", false }, { "a", "a.b", false },
	{ "a.b", "a", false }, { "a.b", "a.b", true }, { "a.b", "a.bc", false },
	{ "*", "a", true }, { "*", "a.b", false }, { "*", "*", true }, { "*", ">", true },
	{ "a.*", "a", false }, { "a.*", "a.b", true }, { "a.*", "a.b.c", false },
	{ "a.*", "b.b", false }, { "*.b", "a.b", true }, { "*.b", "b", false },
	{ "*.b", "a.c", false }, { "*.*", "a.b", true }, { "*.*", "a", false },
	{ "a.*.c", "a.b.c", true }, { "a.*.c", "a.b.b.c", false }, { "a.*.c", "a.c", false },
	{ ">", "a", true }, { ">", "a.b.c.d", true }, { ">", "*.>", true },
	{ "a.>", "a", false }, { "a.>", "a.b", true }, { "a.>", "a.b.c", true },
	{ "a.>", "ab.c", false }, { "*.>", "a", false }, { "*.>", "a.b", true },
	{ "*.*.>", "a.b", false }, { "*.*.>", "a.b.c.d", true }, { "a.*.>", "a.b.c", true },
	{ "a.*.>", "a.b", false }, { "a.>", "b.a.c", false }, { "x.y", "x.*", false },
	{ "x.*", "x.*", true }, { "x.y", "x.>", false }, { "größe.*", "größe.ü", true },
};

/* Whichever is there first: the topic meets the patterns, the pattern meets the topics. */
TEST(matching)
{
	ASSERT_EQ(0, fresh_bus(NULL));
	for (int topic_first = 0; topic_first < 2; topic_first++) {
		for (size_t i = 0; i < ARRAY_SIZE(matches); i++) {
			int pub = bus_open(O_RDWR), sub = bus_open(O_RDWR), handle;

			ASSERT_EQ(0, make_ring(sub, 8, BLIPMQ_POLICY_DROP_OLDEST));
			if (topic_first)
				ASSERT_LE(0, publish(pub, matches[i].subject, "m", 1));
			ASSERT_LT(0, subscribe(sub, matches[i].pattern, 0));
			EXPECT_EQ(matches[i].match, publish(pub, matches[i].subject, "m", 1)) {
				TH_LOG("%s, %s", matches[i].pattern, matches[i].subject);
			}
			handle = topic(pub, matches[i].subject);
			ASSERT_LT(0, handle);
			EXPECT_EQ(matches[i].match, publish_on(pub, handle, "m", 1)) {
				TH_LOG("%s, %s", matches[i].pattern, matches[i].subject);
			}
			close(sub);
			EXPECT_EQ(0, publish_on(pub, handle, "m", 1));
			close(pub);
		}
	}
}

/* Once for each subscription that matches, each with its cookie. */
TEST(matching_twice)
{
	static const char *const patterns[] = { "two.b", "two.*", "two.>", "two.b", "other" };
	struct blipmq_desc descs[8];
	struct consumer c;
	unsigned int seen = 0;
	__u64 index;

	ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++)
		ASSERT_LT(0, subscribe(c.fd, patterns[i], 1u << i));
	ASSERT_EQ(4, publish(c.fd, "two.b", "m", 1));
	ASSERT_EQ(4, consumer_claim(&c, descs, 8, &index));
	for (int i = 0; i < 4; i++) {
		EXPECT_EQ(1, desc_length(&descs[i]));
		EXPECT_EQ(descs[0].offset, descs[i].offset);
		seen |= descs[i].cookie;
	}
	EXPECT_EQ(15, seen);
	consumer_close(&c);
}

/* ---- Subscriptions ---- */

TEST_F(file, unsubscribe_unknown)
{
	static const __u32 bad[] = { 0, 2, 3, 65536, 1u << 31, ~0u };
	struct blipmq_unsubscribe unsub;
	int other = bus_open(O_RDWR), id;

	id = subscribe(self->fd, "unsubscribe", 0);
	ASSERT_EQ(1, id);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		unsub = (struct blipmq_unsubscribe){ .id = bad[i] };
		EXPECT_EQ(-ENOENT, do_unsubscribe(self->fd, &unsub)) { TH_LOG("%u", bad[i]); }
		EXPECT_EQ(BLIPMQ_REASON_SUBSCRIPTION, unsub.head.reason);
	}
	/* Numbers belong to the endpoint. */
	unsub = (struct blipmq_unsubscribe){ .id = id };
	EXPECT_EQ(-ENOENT, do_unsubscribe(other, &unsub));
	EXPECT_EQ(0, do_unsubscribe(self->fd, &unsub));
	EXPECT_EQ(-ENOENT, do_unsubscribe(self->fd, &unsub));
	EXPECT_EQ(BLIPMQ_REASON_SUBSCRIPTION, unsub.head.reason);
	close(other);
}

TEST_F(file, unsubscribe_leaves_the_ring)
{
	struct blipmq_unsubscribe unsub;
	char text[8];

	unsub = (struct blipmq_unsubscribe){ .id = subscribe(self->fd, "leaves", 0) };
	ASSERT_EQ(1, publish(self->fd, "leaves", "one", 3));
	ASSERT_EQ(0, do_unsubscribe(self->fd, &unsub));
	EXPECT_EQ(0, publish(self->fd, "leaves", "two", 3));
	EXPECT_EQ(3, read(self->fd, text, sizeof(text)));
	EXPECT_EQ(0, memcmp(text, "one", 3));
	EXPECT_LT(0, subscribe(self->fd, "leaves", 0));
	EXPECT_EQ(1, publish(self->fd, "leaves", "three", 5));
	EXPECT_EQ(5, read(self->fd, text, sizeof(text)));
}

/* ---- Topic handles ---- */

TEST_F(file, handles_unknown)
{
	static const __u32 bad[] = { 0, 2, 3, 65536, 1u << 31, ~0u };
	struct blipmq_topic_close close_it;
	int other = bus_open(O_RDWR), handle;

	handle = topic(self->fd, "handles");
	ASSERT_EQ(1, handle);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		close_it = (struct blipmq_topic_close){ .handle = bad[i] };
		EXPECT_EQ(-ENOENT, do_topic_close(self->fd, &close_it)) { TH_LOG("%u", bad[i]); }
		EXPECT_EQ(BLIPMQ_REASON_HANDLE, close_it.head.reason);
		if (bad[i])
			EXPECT_EQ(-ENOENT, publish_on(self->fd, bad[i], "m", 1));
	}
	EXPECT_EQ(-ENOENT, publish_on(other, handle, "m", 1));
	EXPECT_EQ(0, publish_on(self->fd, handle, "m", 1));
	close_it.handle = handle;
	EXPECT_EQ(0, do_topic_close(self->fd, &close_it));
	EXPECT_EQ(-ENOENT, publish_on(self->fd, handle, "m", 1));
	EXPECT_EQ(-ENOENT, do_topic_close(self->fd, &close_it));
	EXPECT_EQ(BLIPMQ_REASON_HANDLE, close_it.head.reason);
	close(other);
}

TEST_F(file, handles_of_one_topic)
{
	struct blipmq_topic a = { .subject = ptr_u64("handles.one"), .subject_len = 11 };
	struct blipmq_topic b = a, c = { .subject = ptr_u64("handles.two"), .subject_len = 11 };
	struct blipmq_topic_close close_it;

	ASSERT_EQ(0, do_topic(self->fd, &a));
	ASSERT_EQ(0, do_topic(self->fd, &b));
	ASSERT_EQ(0, do_topic(self->fd, &c));
	EXPECT_NE(a.handle, b.handle);
	EXPECT_EQ(a.topic, b.topic);
	EXPECT_NE(a.topic, c.topic);
	EXPECT_NE(0, a.topic);
	close_it = (struct blipmq_topic_close){ .handle = a.handle };
	ASSERT_EQ(0, do_topic_close(self->fd, &close_it));
	EXPECT_EQ(0, publish_on(self->fd, b.handle, "m", 1));
	/* A handle that was closed is no handle, even if its number comes back for another. */
	ASSERT_EQ(0, do_topic(self->fd, &c));
	ASSERT_LT(0, subscribe(self->fd, "handles.two", 0));
	EXPECT_EQ(1, publish_on(self->fd, c.handle, "m", 1));
	EXPECT_EQ(0, publish_on(self->fd, b.handle, "m", 1));
}

TEST_F(file, handles_many)
{
	int handles[1000];
	char name[32];

	for (int i = 0; i < 1000; i++) {
		sprintf(name, "handles.many.%d", i);
		handles[i] = topic(self->fd, name);
		ASSERT_LT(0, handles[i]);
	}
	ASSERT_LT(0, subscribe(self->fd, "handles.many.777", 0));
	for (int i = 0; i < 1000; i++)
		ASSERT_EQ(i == 777, publish_on(self->fd, handles[i], "m", 1));
}

TEST_HARNESS_MAIN
