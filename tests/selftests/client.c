// SPDX-License-Identifier: GPL-2.0
/*
 * libblipmq on the real kernel: endpoints, single messages, batches and copies. Publishing in
 * place is in client_writer.c, waiting and threads in client_wait.c. What the library does by
 * itself tests/unit/client shows, without a kernel.
 */
#include "client.h"

/* ---- Refusals ---- */

TEST_F(client, open_refused)
{
	struct blipmq *b;

	EXPECT_REFUSED(-ENOENT, BLIPMQ_REASON_BUS_NAME, 0, open_bus("blipmq:other", 0, &b));
	EXPECT_SAID("this network namespace has no bus of that name");
	EXPECT_NULL(b);
	EXPECT_REFUSED(-EPROTONOSUPPORT, BLIPMQ_REASON_TRANSPORT, 0, open_bus("tcp://a", 0, &b));
	EXPECT_NULL(b);
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_OPTIONS, 0, open_bus(NULL, 1u << 31, &b));
	EXPECT_NULL(b);
	/* A stranger, on a bus of root and nobody else. */
	ASSERT_EQ(0, seteuid(GOOD_UID));
	EXPECT_REFUSED(-EACCES, BLIPMQ_REASON_RIGHT_NONE, 0, open_bus(NULL, 0, &b));
	ASSERT_EQ(0, seteuid(0));
	EXPECT_NULL(b);
}

/* Who may only subscribe does not publish, holds nobody up, and gets copies. */
TEST(rights)
{
	const struct param params[] = { PATIENT, SMALL_BUDGET, { "mode", "0774" }, { } };
	struct blipmq_received message;
	struct blipmq_result result;
	struct blipmq *b, *root;
	struct blipmq_view view;
	struct blipmq_info info;
	char buf[8];

	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, seteuid(GOOD_UID));
	ASSERT_EQ(0, open_bus(NULL, 0, &b));
	ASSERT_EQ(0, seteuid(0));
	ASSERT_EQ(0, open_bus(NULL, 0, &root));
	ASSERT_EQ(0, blipmq_info(b, &info, sizeof(info)));
	EXPECT_EQ(BLIPMQ_RIGHT_SUBSCRIBE, info.rights);
	EXPECT_REFUSED(-EACCES, BLIPMQ_REASON_RIGHT_PUBLISH, 0, say(b, SUBJECT, "m", &result));
	EXPECT_SAID("no right to publish on this bus");
	EXPECT_RESULT(0, 0, -EACCES, BLIPMQ_REASON_RIGHT_PUBLISH, &result);
	EXPECT_REFUSED(-EACCES, BLIPMQ_REASON_RIGHT_PUBLISH, 0,
		       blipmq_ring(b, RING(.policy = BLIPMQ_POLICY_BLOCK)));
	listen_to(b, NULL);
	EXPECT_EQ(0, blipmq_held(b));
	EXPECT_NULL(blipmq_reader(b));
	ASSERT_EQ(0, say(root, SUBJECT, "m", &result));
	EXPECT_EQ(1, result.delivered);
	EXPECT_REFUSED(-EACCES, BLIPMQ_REASON_COPYING, 0, take(b, &view, 0));
	EXPECT_EQ(1, copy(b, buf, sizeof(buf), &message, 0));
	EXPECT_EQ('m', buf[0]);
	blipmq_close(b);
	blipmq_close(root);
	expect_bus_empty(_metadata);
}

TEST_F(client, ring_refused)
{
	struct blipmq *b = self->sub;
	struct blipmq_stats stats;
	struct blipmq_view view;

	EXPECT_REFUSED(-ENXIO, BLIPMQ_REASON_RING_NONE, 0, take(b, &view, 0));
	EXPECT_REFUSED(-ENXIO, BLIPMQ_REASON_RING_NONE, 0, blipmq_wait(b, 1, 0, 0));
	EXPECT_REFUSED(-ENXIO, BLIPMQ_REASON_RING_NONE, 0,
		       blipmq_stats(b, BLIPMQ_STATS_SUBSCRIPTION, 1, &stats, sizeof(stats)));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_RING_ENTRIES, BLIPMQ_ENTRIES_MAX,
		       blipmq_ring(b, RING(.entries = 100)));
	EXPECT_SAID("ring entries must be a power of two from 1 to 65536");
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_RING_ENTRIES, BLIPMQ_ENTRIES_MAX,
		       blipmq_ring(b, RING(.entries = 2 * BLIPMQ_ENTRIES_MAX)));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_RING_HELD, 8,
		       blipmq_ring(b, RING(.entries = 8, .held = 9)));
	EXPECT_SAID("the held bound must not be above the entries of the ring (8)");
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_RING_POLICY, BLIPMQ_POLICY_BLOCK,
		       blipmq_ring(b, RING(.policy = BLIPMQ_NR_POLICIES)));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_SPIN, BLIPMQ_SPIN_US_MAX,
		       blipmq_ring(b, RING(.spin_us = BLIPMQ_SPIN_US_MAX + 1)));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_OPTIONS, 0,
		       blipmq_ring(b, RING(.flags = BLIPMQ_RING_YIELD << 1)));
	/* None of these made one. */
	EXPECT_EQ(0, blipmq_ring(b, RING(.entries = 8)));
	EXPECT_EQ(2, blipmq_held(b));
	EXPECT_REFUSED(-EEXIST, BLIPMQ_REASON_RING_EXISTS, 0, blipmq_ring(b, NULL));
}

TEST_F(client, subject_refused)
{
	char longest[BLIPMQ_SUBJECT_MAX + 2];
	struct blipmq_result result;
	struct blipmq *literal;
	uint32_t id;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	listen_to(self->sub, NULL);
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN, 2,
		       blipmq_subscribe(self->sub, "a..b", 0, &id));
	EXPECT_SAID("subject token 2 is empty: write a word between two dots");
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_PATTERN_TAIL, 2,
		       blipmq_subscribe(self->sub, "a.>.b", 0, &id));
	EXPECT_SAID("'>' stands for the rest of a subject and must be the last token, not token 2");
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX,
		       blipmq_subscribe(self->sub, "", 0, &id));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_SUBJECT_CHAR, 3,
		       blipmq_subscribe(self->sub, "a.b c", 0, &id));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX,
		       say(self->pub, longest, "m", &result));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN, 1,
		       say(self->pub, ".b", "m", &result));
	EXPECT_SAID("subject token 1 is empty");
	EXPECT_RESULT(0, 0, -EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN, &result);
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_WILDCARD, 2,
		       say(self->pub, "client.*", "m", &result));
	EXPECT_EQ(1, stats_of(self->sub, BLIPMQ_STATS_BUS, 0).subscriptions);
	EXPECT_EQ(0, stats_of(self->sub, BLIPMQ_STATS_BUS, 0).published);
	expect_nothing(_metadata, self->sub);

	ASSERT_EQ(0, open_bus(NULL, BLIPMQ_OPEN_LITERAL, &literal));
	ASSERT_EQ(0, blipmq_subscribe(self->sub, "client.*", OTHER_COOKIE, &id));
	EXPECT_EQ(0, say(literal, "client.*", "m", &result));
	EXPECT_RESULT(1, 1, 0, BLIPMQ_REASON_NONE, &result);
	blipmq_close(literal);
}

TEST_F(client, message_refused)
{
	char *data = calloc(1, MAX_MESSAGE + 1);
	struct blipmq_result result;
	struct blipmq_view view;

	listen_to(self->sub, NULL);
	memset(&result, POISON, sizeof(result));
	EXPECT_REFUSED(-EMSGSIZE, BLIPMQ_REASON_MESSAGE_SIZE, MAX_MESSAGE,
		       blipmq_publish(self->pub, SUBJECT, data, MAX_MESSAGE + 1, &result));
	EXPECT_SAID("the message is larger than the bus allows (1048576 bytes)");
	EXPECT_RESULT(0, 0, -EMSGSIZE, BLIPMQ_REASON_MESSAGE_SIZE, &result);
	EXPECT_REFUSED(-EFAULT, BLIPMQ_REASON_FAULT, 0,
		       blipmq_publish(self->pub, SUBJECT, before_hole(1), 2, &result));
	expect_nothing(_metadata, self->sub);
	stamp(data, MAX_MESSAGE, 1);
	EXPECT_EQ(0, blipmq_publish(self->pub, SUBJECT, data, MAX_MESSAGE, &result));
	ASSERT_EQ(1, take(self->sub, &view, 0));
	expect_view(_metadata, &view, SUBJECT, data, MAX_MESSAGE);
	EXPECT_EQ(0, blipmq_release(self->sub, &view, 1));
	free(data);
}

/* ---- One message ---- */

TEST_F(client, round_trip)
{
	uint64_t begun = now_ns();
	struct blipmq_result result;
	struct blipmq_view view;
	struct blipmq_info info;
	uint32_t id;

	id = listen_to(self->sub, NULL);
	ASSERT_EQ(0, blipmq_info(self->pub, &info, sizeof(info)));
	EXPECT_STREQ("default", info.bus);
	ASSERT_EQ(0, say(self->pub, SUBJECT, "hello", &result));
	EXPECT_RESULT(1, 1, 0, BLIPMQ_REASON_NONE, &result);
	ASSERT_EQ(1, take(self->sub, &view, BLIPMQ_FOREVER));
	expect_view(_metadata, &view, SUBJECT, "hello", 5);
	EXPECT_EQ(COOKIE, view.cookie);
	EXPECT_EQ(0, view.flags);
	EXPECT_EQ(1, view.header->seq);
	EXPECT_EQ(self->topic.topic, view.header->topic);
	EXPECT_EQ(info.endpoint, view.header->sender);
	EXPECT_EQ(getpid(), view.header->pid);
	EXPECT_EQ(0, view.header->uid);
	EXPECT_LE(begun, view.header->time);
	EXPECT_GE(now_ns(), view.header->time);
	EXPECT_EQ(0, blipmq_release(self->sub, &view, 1));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_VIEW, 0, blipmq_release(self->sub, &view, 1));

	EXPECT_EQ(0, say(self->pub, SUBJECT, "", &result));
	EXPECT_EQ(0, blipmq_unsubscribe(self->sub, id));
	EXPECT_REFUSED(-ENOENT, BLIPMQ_REASON_SUBSCRIPTION, 0, blipmq_unsubscribe(self->sub, id));
	EXPECT_EQ(0, say(self->pub, SUBJECT, "late", &result));
	EXPECT_RESULT(3, 0, 0, BLIPMQ_REASON_NONE, &result);
	/* What came before stays. */
	expect_text(_metadata, self->sub, "");
	expect_nothing(_metadata, self->sub);
}

TEST_F(client, handles)
{
	struct blipmq_handle other;
	struct blipmq_result result;
	struct blipmq_view view;

	listen_to(self->sub, NULL);
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_WILDCARD, 1,
		       open_topic(self->pub, ">", 0, &other));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN, 2,
		       open_topic(self->pub, "a.", 0, &other));
	ASSERT_EQ(0, open_topic(self->pub, SUBJECT, BLIPMQ_TOPIC_WRITE, &other));
	EXPECT_NE(self->topic.handle, other.handle);
	EXPECT_EQ(self->topic.topic, other.topic);
	EXPECT_EQ(strlen(SUBJECT), other.subject_len);
	EXPECT_EQ(0, blipmq_publish_topic(self->pub, &self->topic, "1", 1, &result));
	EXPECT_RESULT(1, 1, 0, BLIPMQ_REASON_NONE, &result);
	EXPECT_EQ(1, write(blipmq_fd(self->pub), "2", 1));
	EXPECT_EQ(0, blipmq_topic_close(self->pub, &other));
	EXPECT_REFUSED(-ENOENT, BLIPMQ_REASON_HANDLE, other.handle,
		       blipmq_topic_close(self->pub, &other));
	EXPECT_REFUSED(-ENOENT, BLIPMQ_REASON_HANDLE, other.handle,
		       blipmq_publish_topic(self->pub, &other, "x", 1, &result));
	EXPECT_RESULT(0, 0, -ENOENT, BLIPMQ_REASON_HANDLE, &result);
	EXPECT_SAID("the endpoint has no topic handle of that number");
	/* The first one is as good as ever. */
	EXPECT_EQ(0, blipmq_publish_topic(self->pub, &self->topic, "3", 1, NULL));
	expect_text(_metadata, self->sub, "1");
	expect_text(_metadata, self->sub, "2");
	ASSERT_EQ(1, take(self->sub, &view, 0));
	EXPECT_EQ(self->topic.topic, view.header->topic);
	EXPECT_EQ(3, view.header->seq);
	EXPECT_EQ(0, blipmq_release(self->sub, &view, 1));
}

TEST_F(client, kept)
{
	char *large = calloc(1, MAX_MESSAGE);
	struct blipmq_view view;
	uint64_t id = POISON64, again = POISON64;
	int i;

	/* One is lost: what it has claimed is not all there ever was. */
	listen_to(self->sub, RING(.entries = 2));
	ASSERT_EQ(0, blipmq_publish(self->pub, SUBJECT, "lost", 4, NULL));
	ASSERT_EQ(0, blipmq_publish(self->pub, SUBJECT, "kept", 4, NULL));
	ASSERT_EQ(0, blipmq_publish(self->pub, SUBJECT, "gone", 4, NULL));
	ASSERT_EQ(1, take(self->sub, &view, 0));
	ASSERT_EQ(0, blipmq_keep(self->sub, &view, &id));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_INDEX, 0, blipmq_keep(self->sub, &view, &again));
	EXPECT_EQ(POISON64, again);
	EXPECT_EQ(0, blipmq_release(self->sub, &view, 1));
	/* Others pass through every page there is. */
	for (i = 0; i < 8; i++)
		EXPECT_EQ(0, blipmq_publish(self->pub, "nobody", large, MAX_MESSAGE, NULL));
	expect_text(_metadata, self->sub, "gone");
	expect_view(_metadata, &view, SUBJECT, "kept", 4);
	EXPECT_EQ(2, view.header->seq);
	EXPECT_EQ(1, stats_of(self->sub, BLIPMQ_STATS_RING, 0).kept);
	EXPECT_EQ(0, blipmq_drop(self->sub, id));
	EXPECT_EQ(0, stats_of(self->sub, BLIPMQ_STATS_RING, 0).kept);
	EXPECT_REFUSED(-ENOENT, BLIPMQ_REASON_KEPT, 0, blipmq_drop(self->sub, id));
	/* Released: too late. */
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_INDEX, 0, blipmq_keep(self->sub, &view, &again));
	free(large);
}

/* ---- Copies ---- */

/* The same of both kinds of ring. */
static void copies(struct __test_metadata *_metadata, struct blipmq *pub, struct blipmq *b)
{
	struct blipmq_received message;
	struct blipmq_result result;
	char buf[16];

	EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0,
		       copy(b, buf, sizeof(buf), &message, BLIPMQ_MSEC));
	ASSERT_EQ(0, say(pub, SUBJECT, "copied", &result));
	ASSERT_EQ(0, say(pub, SUBJECT, "", &result));
	EXPECT_EQ(0, blipmq_wait(b, 1, 0, BLIPMQ_FOREVER));
	EXPECT_REFUSED(-EMSGSIZE, BLIPMQ_REASON_BUFFER, 6, copy(b, buf, 5, &message, 0));
	EXPECT_SAID("the buffer is too short for the message, which needs 6 bytes");
	EXPECT_EQ(6, message.length);
	EXPECT_EQ((char)POISON, buf[0]);
	/* It is still there. */
	ASSERT_EQ(6, copy(b, buf, sizeof(buf), &message, BLIPMQ_FOREVER));
	EXPECT_EQ(0, memcmp("copied", buf, 6));
	EXPECT_EQ((char)POISON, buf[6]);
	EXPECT_EQ(6, message.length);
	EXPECT_EQ(0, message.flags);
	EXPECT_EQ(COOKIE, message.cookie);
	EXPECT_STREQ(SUBJECT, message.subject);
	EXPECT_EQ(strlen(SUBJECT), message.subject_len);
	EXPECT_EQ(1, message.header.seq);
	EXPECT_EQ(getpid(), message.header.pid);
	EXPECT_EQ(0, blipmq_recv(b, NULL, 0, NULL, 0));
	EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0, copy(b, buf, sizeof(buf), &message, 0));
}

TEST_F(client, copies_of_a_mapped_ring)
{
	listen_to(self->sub, NULL);
	copies(_metadata, self->pub, self->sub);
}

TEST_F(client, copying_ring)
{
	struct blipmq_view view = { };
	uint64_t id;

	listen_to(self->sub, RING(.flags = BLIPMQ_RING_COPY, .entries = 4));
	EXPECT_EQ(0, blipmq_held(self->sub));
	EXPECT_REFUSED(-EACCES, BLIPMQ_REASON_COPYING, 0, blipmq_next(self->sub, &view, 0));
	EXPECT_SAID("the ring is not mapped: receive with blipmq_recv()");
	EXPECT_REFUSED(-EACCES, BLIPMQ_REASON_COPYING, 0, blipmq_keep(self->sub, &view, &id));
	EXPECT_REFUSED(-EACCES, BLIPMQ_REASON_COPYING, 0, blipmq_wait(self->sub, 2, 0, 0));
	EXPECT_REFUSED(-EACCES, BLIPMQ_REASON_COPYING, 0, blipmq_low_water(self->sub, 2));
	copies(_metadata, self->pub, self->sub);
}

/* ---- Batches ---- */

static struct blipmq_message message_of(const struct blipmq_handle *topic, const char *text)
{
	return blipmq_message_topic(topic, text, strlen(text));
}

static struct blipmq_message message_to(const char *subject, const char *text)
{
	return blipmq_message_subject(subject, strlen(subject), text, strlen(text));
}

/* The first bad one ends it; those before it are published, those behind it not looked at. */
TEST_F(client, batch_stops)
{
	const struct blipmq_message messages[] = {
		message_of(&self->topic, "first"), message_to("client.other", "second"),
		message_of(&self->topic, "third"), message_to("bad subject", "fourth"),
		message_of(&self->topic, "fifth"),
	};
	struct blipmq_result results[5];

	listen_to(self->sub, NULL);
	memset(results, POISON, sizeof(results));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_SUBJECT_CHAR, 3,
		       blipmq_publish_batch(self->pub, &messages[3], 2, results));
	EXPECT_RESULT(0, 0, -EINVAL, BLIPMQ_REASON_SUBJECT_CHAR, &results[0]);
	EXPECT_UNTOUCHED(&results[1]);

	memset(results, POISON, sizeof(results));
	EXPECT_EQ(3, blipmq_publish_batch(self->pub, messages, 5, results));
	EXPECT_EQ(BLIPMQ_REASON_SUBJECT_CHAR, blipmq_last_error()->reason);
	EXPECT_SAID("the subject has white space or a control character at offset 3");
	EXPECT_RESULT(1, 1, 0, BLIPMQ_REASON_NONE, &results[0]);
	EXPECT_RESULT(1, 0, 0, BLIPMQ_REASON_NONE, &results[1]);
	EXPECT_RESULT(2, 1, 0, BLIPMQ_REASON_NONE, &results[2]);
	EXPECT_RESULT(0, 0, -EINVAL, BLIPMQ_REASON_SUBJECT_CHAR, &results[3]);
	EXPECT_UNTOUCHED(&results[4]);
	expect_text(_metadata, self->sub, "first");
	expect_text(_metadata, self->sub, "third");
	expect_nothing(_metadata, self->sub);
}

#define LONG_BATCH	(2 * BLIPMQ_BATCH_MAX + 100)

TEST_F(client, batch_of_several_calls)
{
	static struct blipmq_message messages[LONG_BATCH];
	static struct blipmq_result results[LONG_BATCH];
	struct blipmq_view views[64];
	static int numbers[LONG_BATCH];
	int i, n, at = 0;

	listen_to(self->sub, RING(.entries = 4096));
	for (i = 0; i < LONG_BATCH; i++) {
		numbers[i] = i;
		messages[i] = blipmq_message_topic(&self->topic, &numbers[i], sizeof(int));
	}
	memset(results, POISON, sizeof(results));
	ASSERT_EQ(LONG_BATCH, blipmq_publish_batch(self->pub, messages, LONG_BATCH, results));
	for (i = 0; i < LONG_BATCH; i++)
		EXPECT_RESULT(i + 1, 1, 0, BLIPMQ_REASON_NONE, &results[i]);
	while ((n = take_batch(self->sub, views, 64, 0)) > 0) {
		for (i = 0; i < n; i++, at++)
			expect_view(_metadata, &views[i], SUBJECT, &at, sizeof(at));
		EXPECT_EQ(0, blipmq_release(self->sub, views, n));
	}
	EXPECT_EQ(-EAGAIN, n);
	EXPECT_EQ(LONG_BATCH, at);
}

TEST_HARNESS_MAIN
