// SPDX-License-Identifier: GPL-2.0
/*
 * PUBLISH of messages: what is refused and how far a batch came, exactly; payloads of all
 * sizes; order and numbers.
 */
#include <fcntl.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"publish.one"

FIXTURE(pair) {
	struct consumer c;	/* subscribed to publish.> */
	int fd;
	int handle;		/* of SUBJECT */
};

FIXTURE_SETUP(pair)
{
	ASSERT_EQ(0, consumer_open(&self->c, 2048, 2048, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, "publish.>", 7));
	self->fd = bus_open(O_RDWR);
	ASSERT_LE(0, self->fd);
	self->handle = topic(self->fd, SUBJECT);
	ASSERT_LT(0, self->handle);
}

FIXTURE_TEARDOWN(pair)
{
	consumer_close(&self->c);
	close(self->fd);
}

static struct blipmq_message by_name(const char *subject, const void *data, __u32 len)
{
	return (struct blipmq_message){
		.data = ptr_u64(data),
		.length = len,
		.subject = ptr_u64(subject),
		.subject_len = strlen(subject),
	};
}

static struct blipmq_message by_handle(__u32 handle, const void *data, __u32 len)
{
	return (struct blipmq_message){
		.data = ptr_u64(data), .length = len, .handle = handle,
	};
}

/* ---- Batches that are refused whole ---- */

TEST_F(pair, batch_size)
{
	static const __u32 bad[] = { 0, BLIPMQ_BATCH_MAX + 1, 65536, 1u << 31, ~0u };
	static struct blipmq_message many[BLIPMQ_BATCH_MAX + 1];
	struct blipmq_publish pub;

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = by_handle(self->handle, "m", 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		pub = (struct blipmq_publish){ .messages = ptr_u64(many), .nr = bad[i] };
		EXPECT_EQ(-EINVAL, do_publish(self->fd, &pub)) { TH_LOG("%u", bad[i]); }
		EXPECT_EQ(BLIPMQ_REASON_BATCH, pub.head.reason);
		EXPECT_EQ(BLIPMQ_BATCH_MAX, pub.head.detail);
		EXPECT_EQ(0, pub.done);
		EXPECT_EQ(0, pub.delivered);
	}
	EXPECT_EQ(0, consumer_prod(&self->c));
	pub = (struct blipmq_publish){ .messages = ptr_u64(many), .nr = BLIPMQ_BATCH_MAX };
	EXPECT_EQ(0, do_publish(self->fd, &pub));
	EXPECT_EQ(BLIPMQ_BATCH_MAX, pub.done);
	EXPECT_EQ(BLIPMQ_BATCH_MAX, pub.delivered);
	EXPECT_EQ(0, pub.error);
	EXPECT_EQ(BLIPMQ_BATCH_MAX, consumer_prod(&self->c));
}

TEST_F(pair, messages_nowhere)
{
	const __u64 nowhere[] = { 0, 8, NOWHERE, ptr_u64(before_hole(8) + 8), 1ULL << 63 };
	struct blipmq_publish pub;

	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
		pub = (struct blipmq_publish){ .messages = nowhere[i], .nr = 3 };
		EXPECT_EQ(-EFAULT, do_publish(self->fd, &pub));
		EXPECT_NE(BLIPMQ_REASON_NONE, pub.head.reason);
		EXPECT_EQ(0, pub.done);
		EXPECT_EQ(-EFAULT, pub.error);
	}
	EXPECT_EQ(0, consumer_prod(&self->c));
}

/* The array ends in a hole: what is said to be done is what arrived, and no more. */
TEST_F(pair, messages_across_a_hole)
{
	for (unsigned int whole = 0; whole < 200; whole += 33) {
		size_t size = whole * sizeof(struct blipmq_message) + 16;
		struct blipmq_message *m = (void *)before_hole(size);
		__u64 before = consumer_prod(&self->c);
		struct blipmq_publish pub = { .messages = ptr_u64(m), .nr = 1000 };
		int ret;

		for (unsigned int i = 0; i < whole; i++)
			m[i] = by_handle(self->handle, "m", 1);
		memset(m + whole, 0, 16);
		ret = do_publish(self->fd, &pub);
		EXPECT_EQ(pub.done ? 0 : -EFAULT, ret);
		EXPECT_EQ(-EFAULT, pub.error);
		EXPECT_GE(whole, pub.done);
		EXPECT_EQ(pub.done, pub.delivered);
		EXPECT_EQ(before + pub.done, consumer_prod(&self->c));
	}
}

/* ---- One bad message among good ones ---- */

struct bad {
	const char *what;
	struct blipmq_message m;
	int error;
	__u32 reason;
};

struct all_bad {
	struct bad bad[32];
	unsigned int nr;
	struct blipmq_message good;
};

/* One more, good as yet. */
static struct blipmq_message *add_bad(struct all_bad *all, const char *what, int error,
				      __u32 reason)
{
	struct bad *bad = &all->bad[all->nr++];

	*bad = (struct bad){ .what = what, .m = all->good, .error = error, .reason = reason };
	return &bad->m;
}

static void all_bad(struct all_bad *all, int handle)
{
	static char text[BLIPMQ_SUBJECT_MAX + 1];
	char *end = before_hole(64) + 64;
	struct blipmq_message *m;

	memset(text, 'a', sizeof(text));
	*all = (struct all_bad){ .good = by_handle(handle, "m", 1) };
	add_bad(all, "handle", -ENOENT, BLIPMQ_REASON_HANDLE)->handle = 9999;
	add_bad(all, "data nowhere", -EFAULT, BLIPMQ_REASON_FAULT)->data = NOWHERE;
	m = add_bad(all, "data in a hole", -EFAULT, BLIPMQ_REASON_FAULT);
	m->data = ptr_u64(end - 1);
	m->length = 2;
	m = add_bad(all, "large data in a hole", -EFAULT, BLIPMQ_REASON_FAULT);
	m->data = ptr_u64(end - 64);
	m->length = 100000;
	m = add_bad(all, "length", -EMSGSIZE, BLIPMQ_REASON_MESSAGE_SIZE);
	m->length = BLIPMQ_MESSAGE_MAX + 1;
	add_bad(all, "length 2^32 - 1", -EMSGSIZE, BLIPMQ_REASON_MESSAGE_SIZE)->length = ~0u;
	add_bad(all, "ttl", -EINVAL, BLIPMQ_REASON_RESERVED)->ttl = 1;
	add_bad(all, "headers nowhere", -EFAULT, BLIPMQ_REASON_FAULT)->headers_len = 1;
	m = add_bad(all, "headers_len", -EMSGSIZE, BLIPMQ_REASON_HEADERS_SIZE);
	m->headers_len = BLIPMQ_HEADERS_MAX + 1;
	add_bad(all, "reply", -EINVAL, BLIPMQ_REASON_RESERVED)->reply = 1ULL << 63;
	add_bad(all, "correlation", -EINVAL, BLIPMQ_REASON_RESERVED)->correlation = 1;
	m = add_bad(all, "handle and subject", -EINVAL, BLIPMQ_REASON_RESERVED);
	m->subject = ptr_u64(text);
	add_bad(all, "handle and length", -EINVAL, BLIPMQ_REASON_RESERVED)->subject_len = 1;
	add_bad(all, "no subject", -EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH)->handle = 0;
	m = add_bad(all, "empty token", -EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN);
	*m = by_name("publish..x", "m", 1);
	m = add_bad(all, "long subject", -EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH);
	m->handle = 0;
	m->subject = ptr_u64(text);
	m->subject_len = sizeof(text);
}

/* Five messages, the one at `at` is bad: those before are done, it is named, none follows. */
static void check_batch(struct __test_metadata *_metadata, struct _test_data_pair *self,
			const struct bad *bad, unsigned int at)
{
	struct blipmq_result results[5], untouched;
	__u64 before = consumer_prod(&self->c), first_seq = 0;
	struct blipmq_message m[5];
	struct blipmq_publish pub = {
		.messages = ptr_u64(m), .nr = 5, .results = ptr_u64(results),
	};
	int ret;

	for (unsigned int i = 0; i < 5; i++)
		m[i] = by_handle(self->handle, "m", 1);
	m[at] = bad->m;
	memset(results, POISON, sizeof(results));
	memset(&untouched, POISON, sizeof(untouched));
	ret = do_publish(self->fd, &pub);
	EXPECT_EQ(at ? 0 : bad->error, ret);
	if (!at)
		EXPECT_EQ(bad->reason, pub.head.reason);
	EXPECT_EQ(at, pub.done);
	EXPECT_EQ(at, pub.delivered);
	EXPECT_EQ(bad->error, pub.error);
	EXPECT_EQ(before + at, consumer_prod(&self->c));
	for (unsigned int i = 0; i < at; i++) {
		if (!i)
			first_seq = results[0].seq;
		EXPECT_EQ(first_seq + i, results[i].seq);
		EXPECT_EQ(1, results[i].delivered);
		EXPECT_EQ(0, results[i].error);
		EXPECT_EQ(BLIPMQ_REASON_NONE, results[i].reason);
	}
	EXPECT_EQ(0, results[at].seq);
	EXPECT_EQ(0, results[at].delivered);
	EXPECT_EQ(bad->error, results[at].error);
	EXPECT_EQ(bad->reason, results[at].reason);
	for (unsigned int i = at + 1; i < 5; i++)
		EXPECT_EQ(0, memcmp(&untouched, &results[i], sizeof(untouched)));
}

TEST_F(pair, batch_with_a_bad_message)
{
	struct all_bad all;

	all_bad(&all, self->handle);
	for (unsigned int i = 0; i < all.nr; i++)
		for (unsigned int at = 0; at < 5; at++) {
			int failed = _metadata->results->failed;

			check_batch(_metadata, self, &all.bad[i], at);
			if (_metadata->results->failed > failed)
				TH_LOG("^ %s, at %u", all.bad[i].what, at);
		}
}

/* A message that could not be copied has taken no number. */
TEST_F(pair, numbers_without_gaps)
{
	struct blipmq_result result = { };
	struct blipmq_message m;
	struct all_bad all;
	__u64 seq = 0;

	all_bad(&all, self->handle);
	for (unsigned int i = 0; i < all.nr; i++) {
		struct blipmq_publish pub = {
			.messages = ptr_u64(&m), .nr = 1, .results = ptr_u64(&result),
		};

		m = all.bad[i].m;
		EXPECT_EQ(all.bad[i].error, do_publish(self->fd, &pub)) {
			TH_LOG("%s", all.bad[i].what);
		}
		m = by_handle(self->handle, "m", 1);
		ASSERT_EQ(0, do_publish(self->fd, &pub));
		if (seq)
			EXPECT_EQ(seq + 1, result.seq);
		seq = result.seq;
	}
}

/* ---- Results ---- */

TEST_F(pair, results_that_cannot_be_written)
{
	const __u64 bad[] = { 8, NOWHERE, 1ULL << 63, ptr_u64(read_only_page()),
			      ptr_u64(before_hole(64) + 64) };
	struct blipmq_message m[3];
	__u64 total = 0;

	for (unsigned int i = 0; i < 3; i++)
		m[i] = by_handle(self->handle, "m", 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct blipmq_publish pub = {
			.messages = ptr_u64(m), .nr = 3, .results = bad[i],
		};

		/* What is published stays so, and the count says it. */
		EXPECT_EQ(0, do_publish(self->fd, &pub));
		EXPECT_EQ(3, pub.done);
		EXPECT_EQ(3, pub.delivered);
		total += 3;
		EXPECT_EQ(total, consumer_prod(&self->c));
	}
}

TEST_F(pair, results_across_a_hole)
{
	struct blipmq_result *results = (void *)before_hole(2 * sizeof(*results));
	struct blipmq_message m[4];
	struct blipmq_publish pub = {
		.messages = ptr_u64(m), .nr = 4, .results = ptr_u64(results),
	};

	for (unsigned int i = 0; i < 4; i++)
		m[i] = by_handle(self->handle, "m", 1);
	memset(results, POISON, 2 * sizeof(*results));
	EXPECT_EQ(0, do_publish(self->fd, &pub));
	EXPECT_EQ(4, pub.done);
	EXPECT_EQ(4, consumer_prod(&self->c));
}

TEST_F(pair, results_of_the_lonely)
{
	struct blipmq_result results[2];
	struct blipmq_message m[2] = { by_name("nobody.hears", "m", 1),
				       by_name(SUBJECT, "m", 1) };
	struct blipmq_publish pub = {
		.messages = ptr_u64(m), .nr = 2, .results = ptr_u64(results),
	};

	memset(results, POISON, sizeof(results));
	ASSERT_EQ(0, do_publish(self->fd, &pub));
	EXPECT_EQ(2, pub.done);
	EXPECT_EQ(1, pub.delivered);
	EXPECT_EQ(0, results[0].delivered);
	EXPECT_NE(0, results[0].seq);
	EXPECT_EQ(1, results[1].delivered);
	EXPECT_EQ(0, results[0].error);
	EXPECT_EQ(BLIPMQ_REASON_NONE, results[0].reason);
}

/* ---- Payloads ---- */

static char *pattern_of(size_t len, unsigned int seed)
{
	char *data = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		data[i] = (i * 2654435761u + seed) >> 13;
	return data;
}

TEST_F(pair, payloads_of_all_sizes)
{
	static const __u32 sizes[] = { 0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 3900, 3967, 3968, 3969,
				       4031, 4032, 4033, 4095, 4096, 4097, 8191, 8192, 16320,
				       16384, 65535, 65536, 65537, 1000003 };
	struct blipmq_desc desc;
	__u64 index;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct blipmq_header *h;
		char *data = pattern_of(sizes[i], i);

		ASSERT_EQ(1, publish(self->fd, SUBJECT, data, sizes[i]));
		ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
		ASSERT_EQ(sizes[i], desc_length(&desc));
		EXPECT_EQ(0, memcmp(data, consumer_payload(&self->c, &desc), sizes[i]));
		h = consumer_header(&self->c, &desc);
		EXPECT_EQ(sizes[i], h->length);
		EXPECT_STREQ(SUBJECT, consumer_subject(&self->c, &desc));
		consumer_release(&self->c, index + 1);
		free(data);
	}
}

TEST_F(pair, payload_of_the_largest_size)
{
	struct blipmq_info info = { };
	struct blipmq_desc desc;
	struct blipmq_message m;
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	__u64 index;
	char *data;

	ASSERT_EQ(0, do_info(self->fd, &info));
	/* The default budget allows the contract's limit. */
	ASSERT_EQ(BLIPMQ_MESSAGE_MAX, info.max_message);
	data = pattern_of(info.max_message, 1);
	ASSERT_EQ(1, publish(self->fd, SUBJECT, data, info.max_message));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	ASSERT_EQ(info.max_message, desc_length(&desc));
	EXPECT_EQ(0, memcmp(data, consumer_payload(&self->c, &desc), info.max_message));
	EXPECT_STREQ(SUBJECT, consumer_subject(&self->c, &desc));
	consumer_release(&self->c, index + 1);
	m = by_name(SUBJECT, data, info.max_message + 1);
	EXPECT_EQ(-EMSGSIZE, do_publish(self->fd, &pub));
	EXPECT_EQ(BLIPMQ_REASON_MESSAGE_SIZE, pub.head.reason);
	EXPECT_EQ(info.max_message, pub.head.detail);
	free(data);
}

/* A bus may allow less. */
TEST(payload_limit_of_the_bus)
{
	const struct param params[] = { { "max_message", "5000" }, { } };
	struct blipmq_info info = { };
	char data[5001] = "";
	struct blipmq_message m = by_name("limit", data, sizeof(data));
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	int fd;

	ASSERT_EQ(0, fresh_bus(params));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(fd, "default"));
	ASSERT_EQ(0, do_info(fd, &info));
	EXPECT_EQ(5000, info.max_message);
	EXPECT_EQ(-EMSGSIZE, do_publish(fd, &pub));
	EXPECT_EQ(BLIPMQ_REASON_MESSAGE_SIZE, pub.head.reason);
	EXPECT_EQ(5000, pub.head.detail);
	EXPECT_EQ(0, publish(fd, "limit", data, 5000));
}

/* The source may begin anywhere, and end where its page does. */
TEST_F(pair, payload_alignment)
{
	struct blipmq_desc desc;
	__u64 index;

	for (unsigned int len = 1; len < 200; len += 13) {
		char *p = before_hole(len);

		for (unsigned int i = 0; i < len; i++)
			p[i] = i ^ len;
		ASSERT_EQ(1, publish_on(self->fd, self->handle, p, len));
		ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
		EXPECT_EQ(0, memcmp(p, consumer_payload(&self->c, &desc), len));
		EXPECT_EQ(0, (uintptr_t)consumer_payload(&self->c, &desc) % BLIPMQ_ALIGN);
		consumer_release(&self->c, index + 1);
	}
}

/* An empty payload needs no address. */
TEST_F(pair, payload_empty)
{
	EXPECT_EQ(1, publish_on(self->fd, self->handle, NULL, 0));
	EXPECT_EQ(1, publish_on(self->fd, self->handle, before_hole(8) + 8, 0));
	EXPECT_EQ(2, consumer_prod(&self->c));
}

/* What the publisher does to its memory afterwards is its own affair. */
TEST_F(pair, payload_is_a_copy)
{
	char text[] = "before";
	struct blipmq_desc desc;
	__u64 index;

	ASSERT_EQ(1, publish_on(self->fd, self->handle, text, sizeof(text)));
	strcpy(text, "after!");
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	EXPECT_STREQ("before", consumer_payload(&self->c, &desc));
}

/* ---- Order and numbers ---- */

/* One publisher's messages keep their order across topics, whichever way they are named. */
TEST_F(pair, order_across_topics)
{
	static struct blipmq_message m[600];
	static struct blipmq_result results[600];
	static struct blipmq_desc descs[600];
	struct blipmq_publish pub = {
		.messages = ptr_u64(m), .nr = 600, .results = ptr_u64(results),
	};
	static __u32 numbers[600];
	__u64 index, seq[3] = { };
	static const char *const names[] = { SUBJECT, "publish.two", "publish.three" };

	for (__u32 i = 0; i < 600; i++) {
		int t = i / 7 % 3;

		numbers[i] = i;
		m[i] = t || i % 2 ? by_name(names[t], &numbers[i], 4) :
		       by_handle(self->handle, &numbers[i], 4);
	}
	memset(results, POISON, sizeof(results));
	ASSERT_EQ(0, do_publish(self->fd, &pub));
	ASSERT_EQ(600, pub.done);
	ASSERT_EQ(600, consumer_claim(&self->c, descs, 600, &index));
	for (__u32 i = 0; i < 600; i++) {
		const struct blipmq_header *h = consumer_header(&self->c, &descs[i]);
		int t = i / 7 % 3;

		ASSERT_EQ(i, *(const __u32 *)consumer_payload(&self->c, &descs[i]));
		EXPECT_STREQ(names[t], consumer_subject(&self->c, &descs[i]));
		EXPECT_EQ(results[i].seq, h->seq);
		if (seq[t])
			EXPECT_EQ(seq[t] + 1, h->seq);
		seq[t] = h->seq;
	}
}

TEST_F(pair, numbers_of_two_publishers)
{
	int other = bus_open(O_RDWR);
	struct blipmq_desc descs[64];
	__u64 index, seq = 0;

	for (int i = 0; i < 64; i++)
		ASSERT_EQ(1, publish(i % 3 ? other : self->fd, "publish.shared", "m", 1));
	ASSERT_EQ(64, consumer_claim(&self->c, descs, 64, &index));
	for (int i = 0; i < 64; i++) {
		const struct blipmq_header *h = consumer_header(&self->c, &descs[i]);

		if (i)
			EXPECT_EQ(seq + 1, h->seq);
		seq = h->seq;
	}
	close(other);
}

TEST(numbers_start_at_one)
{
	struct blipmq_result result = { };
	struct blipmq_message m = by_name("born", "m", 1);
	struct blipmq_publish pub = {
		.messages = ptr_u64(&m), .nr = 1, .results = ptr_u64(&result),
	};
	int fd;

	ASSERT_EQ(0, fresh_bus(NULL));
	fd = bus_open(O_RDWR);
	for (__u64 seq = 1; seq <= 3; seq++) {
		ASSERT_EQ(0, do_publish(fd, &pub));
		EXPECT_EQ(seq, result.seq);
	}
}

TEST_HARNESS_MAIN
