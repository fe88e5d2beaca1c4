// SPDX-License-Identifier: GPL-2.0
/*
 * libblipmq on the real kernel: publishing in place, by writers.
 */
#include <blipmq/headers.h>

#include "client.h"

#define SMALL_BLOCKS	(&(const struct blipmq_writer_opts){ \
				.sz = sizeof(struct blipmq_writer_opts), \
				.block_size = BLIPMQ_BLOCK_UNIT, .blocks = 4 })

/* What fits SMALL_BLOCKS of messages with LENGTH bytes: five a block. */
#define LENGTH		600
#define STAGED_MAX	20

static int open_writer(struct blipmq *b, const struct blipmq_writer_opts *opts,
		       struct blipmq_writer **w)
{
	memset(w, POISON, sizeof(*w));
	return blipmq_writer_open(b, opts, w);
}

static int reserve(struct blipmq_writer *w, const struct blipmq_handle *topic, size_t length,
		   void **data)
{
	memset(data, POISON, sizeof(*data));
	return blipmq_reserve(w, topic, length, data);
}

/* One more message of length bytes that carries a number: 0, or why it has no room. */
static int stage(struct blipmq_writer *w, const struct blipmq_handle *topic, size_t length,
		 __u64 number)
{
	void *data;
	int ret = reserve(w, topic, length, &data);

	if (ret)
		return ret;
	stamp(data, length, number);
	return blipmq_commit(w, length);
}

/* The next message carries this number; it is released. */
static void expect_number(struct __test_metadata *_metadata, struct blipmq *b, __u64 number,
			  size_t length)
{
	struct blipmq_view view;
	__u64 found;

	ASSERT_EQ(1, take(b, &view, 0));
	ASSERT_EQ(length, view.length);
	EXPECT_TRUE(stamp_holds(view.data, length, &found));
	EXPECT_EQ(number, found);
	EXPECT_EQ(0, blipmq_release(b, &view, 1));
}

TEST_F(client, refusals)
{
	struct blipmq_writer_opts opts = { .sz = sizeof(opts), .block_size = 1000 };
	struct blipmq_result result;
	struct blipmq_writer *w;
	void *data, *other;

	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_BLOCK_SIZE, 0, open_writer(self->pub, &opts, &w));
	EXPECT_NULL(w);
	listen_to(self->sub, NULL);
	ASSERT_EQ(0, open_writer(self->pub, SMALL_BLOCKS, &w));
	EXPECT_REFUSED(-EMSGSIZE, BLIPMQ_REASON_STAGE_SIZE, 4016,
		       reserve(w, &self->topic, BLIPMQ_BLOCK_UNIT, &data));
	EXPECT_SAID("the message does not fit a staging block, which takes 4016 bytes");
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_STAGE_NONE, 0, blipmq_commit(w, 1));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_STAGE_NONE, 0, blipmq_abort(w));
	EXPECT_EQ(0, flush(w, &result));

	ASSERT_EQ(0, reserve(w, &self->topic, 8, &data));
	EXPECT_EQ(0, (uintptr_t)data % BLIPMQ_ALIGN);
	EXPECT_REFUSED(-EBUSY, BLIPMQ_REASON_STAGE_OPEN, 0,
		       reserve(w, &self->topic, 8, &other));
	EXPECT_REFUSED(-EBUSY, BLIPMQ_REASON_STAGE_OPEN, 0, flush(w, &result));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_REASON_STAGE_GREW, 8, blipmq_commit(w, 9));
	memcpy(data, "aborted", 8);
	EXPECT_EQ(0, blipmq_abort(w));
	EXPECT_EQ(0, flush(w, &result));
	expect_nothing(_metadata, self->sub);
	EXPECT_EQ(0, blipmq_writer_close(w));
}

/* Less than was reserved, and nothing of what was there before. */
TEST_F(client, commits_less)
{
	struct blipmq_result result;
	struct blipmq_writer *w;
	void *data;

	listen_to(self->sub, NULL);
	ASSERT_EQ(0, open_writer(self->pub, NULL, &w));
	ASSERT_EQ(0, reserve(w, &self->topic, 100, &data));
	memcpy(data, "shorter and more", 16);
	ASSERT_EQ(0, blipmq_commit(w, 7));
	EXPECT_EQ(1, blipmq_staged(w));
	expect_nothing(_metadata, self->sub);
	EXPECT_EQ(1, flush(w, &result));
	EXPECT_RESULT(1, 1, 0, BLIPMQ_REASON_NONE, &result);
	expect_text(_metadata, self->sub, "shorter");
	/* What is committed goes when it closes. */
	ASSERT_EQ(0, reserve(w, &self->topic, 4, &data));
	memcpy(data, "last", 4);
	ASSERT_EQ(0, blipmq_commit(w, 4));
	EXPECT_EQ(0, blipmq_writer_close(w));
	expect_text(_metadata, self->sub, "last");
}

TEST_F(client, several_blocks)
{
	struct blipmq_result results[STAGED_MAX];
	struct blipmq_writer *w;
	__u64 number = 0;
	unsigned int round, i;

	listen_to(self->sub, NULL);
	ASSERT_EQ(0, open_writer(self->pub, SMALL_BLOCKS, &w));
	for (round = 0; round < 3; round++) {
		for (i = 0; i < STAGED_MAX; i++)
			ASSERT_EQ(0, stage(w, &self->topic, LENGTH - round * 8, ++number));
		EXPECT_REFUSED(-ENOBUFS, BLIPMQ_REASON_STAGE_FULL, 0,
			       stage(w, &self->topic, LENGTH, 0));
		EXPECT_EQ(STAGED_MAX, blipmq_staged(w));
		EXPECT_EQ(STAGED_MAX, flush(w, results));
		EXPECT_EQ(0, blipmq_staged(w));
		for (i = 0; i < STAGED_MAX; i++) {
			__u64 seq = round * STAGED_MAX + i + 1;

			EXPECT_RESULT(seq, 1, 0, BLIPMQ_REASON_NONE, &results[i]);
			expect_number(_metadata, self->sub, seq, LENGTH - round * 8);
		}
		expect_nothing(_metadata, self->sub);
	}
	EXPECT_EQ(0, blipmq_writer_close(w));
}

/* With user headers and without, shorter than reserved: in place and copied. */
TEST_F(client, headers)
{
	char trailer[BLIPMQ_TRAILER_MAX], room[64], text[LENGTH];
	struct blipmq_headers made = { .data = room, .size = sizeof(room) }, got;
	struct blipmq_extras extras = { .sz = sizeof(extras), .headers = &made };
	struct blipmq_received message;
	struct blipmq_field field;
	struct blipmq_view view;
	struct blipmq_writer *w;
	struct blipmq *copying;
	const void *headers;
	size_t len;
	void *data;

	listen_to(self->sub, NULL);
	ASSERT_EQ(0, open_bus(NULL, 0, &copying));
	listen_to(copying, RING(.flags = BLIPMQ_RING_COPY));
	ASSERT_EQ(0, open_writer(self->pub, NULL, &w));
	for (size_t i = 0; i < LENGTH; i++) {
		made.len = 0;
		sprintf(text, "%zu", i);
		if (i % 3)
			ASSERT_EQ(0, blipmq_headers_add(&made, "number", text, strlen(text)));
		memset(&data, POISON, sizeof(data));
		ASSERT_EQ(0, blipmq_reserve_with(w, &self->topic, LENGTH, &extras, &data));
		memset(data, 'p', LENGTH);
		ASSERT_EQ(0, blipmq_commit(w, i));
	}
	ASSERT_EQ(LENGTH, blipmq_flush(w, NULL));
	memset(room, 'p', sizeof(room));
	for (size_t i = 0; i < LENGTH; i++) {
		sprintf(text, "%zu", i);
		ASSERT_EQ(1, take(self->sub, &view, 0));
		EXPECT_EQ(i, view.length);
		headers = blipmq_view_headers(&view, &len);
		ASSERT_EQ(!!(i % 3), blipmq_headers_find(headers, len, "number", &field));
		EXPECT_TRUE(!len || (field.length == strlen(text) &&
				     !memcmp(field.value, text, field.length)));
		EXPECT_EQ(0, blipmq_release(self->sub, &view, 1));

		memset(trailer, POISON, sizeof(trailer));
		got = (struct blipmq_headers){ .data = trailer, .size = sizeof(trailer), .len = 1 };
		EXPECT_EQ(i, blipmq_recv_headers(copying, text, sizeof(text), &message, &got, 0));
		EXPECT_STREQ(SUBJECT, message.subject);
		sprintf(text, "%zu", i);
		ASSERT_EQ(!!(i % 3), blipmq_headers_find(trailer, got.len, "number", &field));
		EXPECT_TRUE(!got.len || (field.length == strlen(text) &&
					 !memcmp(field.value, text, field.length)));
	}
	EXPECT_EQ(0, blipmq_writer_close(w));
	blipmq_close(copying);
}

/* A block ring of four, and a publisher that does not wait: a flush gets four through. */
TEST_F(client, partial_flush)
{
	struct blipmq_result results[STAGED_MAX];
	struct blipmq_handle topic;
	struct blipmq_writer *w;
	struct blipmq *hasty;
	unsigned int i;

	listen_to(self->sub, RING(.entries = 4, .policy = BLIPMQ_POLICY_BLOCK));
	ASSERT_EQ(0, open_bus(NULL, BLIPMQ_OPEN_NONBLOCK, &hasty));
	ASSERT_EQ(0, open_topic(hasty, SUBJECT, 0, &topic));
	ASSERT_EQ(0, open_writer(hasty, SMALL_BLOCKS, &w));
	for (i = 1; i <= STAGED_MAX; i++)
		ASSERT_EQ(0, stage(w, &topic, LENGTH, i));
	for (i = 0; i < STAGED_MAX; i += 4) {
		ASSERT_EQ(STAGED_MAX - i, blipmq_staged(w));
		forget_error();
		ASSERT_EQ(4, flush(w, results));
		EXPECT_RESULT(i + 1, 1, 0, BLIPMQ_REASON_NONE, &results[0]);
		EXPECT_RESULT(i + 4, 1, 0, BLIPMQ_REASON_NONE, &results[3]);
		if (i + 4 < STAGED_MAX) {
			EXPECT_EQ(BLIPMQ_REASON_ROOM, blipmq_last_error()->reason);
			EXPECT_RESULT(0, 0, -EAGAIN, BLIPMQ_REASON_ROOM, &results[4]);
			EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_ROOM, 0, flush(w, results));
			EXPECT_RESULT(0, 0, -EAGAIN, BLIPMQ_REASON_ROOM, &results[0]);
			EXPECT_UNTOUCHED(&results[1]);
		}
		expect_number(_metadata, self->sub, i + 1, LENGTH);
		expect_number(_metadata, self->sub, i + 2, LENGTH);
		expect_number(_metadata, self->sub, i + 3, LENGTH);
		expect_number(_metadata, self->sub, i + 4, LENGTH);
	}
	expect_nothing(_metadata, self->sub);
	EXPECT_EQ(0, blipmq_writer_close(w));
	blipmq_close(hasty);
}

/* One that the kernel refuses for good keeps those behind it, until it is thrown away. */
TEST_F(client, discard)
{
	struct blipmq_result results[5];
	struct blipmq_handle closed;
	struct blipmq_writer *w;

	listen_to(self->sub, NULL);
	ASSERT_EQ(0, open_topic(self->pub, SUBJECT, 0, &closed));
	ASSERT_EQ(0, open_writer(self->pub, NULL, &w));
	ASSERT_EQ(0, stage(w, &self->topic, LENGTH, 1));
	ASSERT_EQ(0, stage(w, &self->topic, LENGTH, 2));
	ASSERT_EQ(0, stage(w, &closed, LENGTH, 3));
	ASSERT_EQ(0, stage(w, &self->topic, LENGTH, 4));
	ASSERT_EQ(0, stage(w, &closed, LENGTH, 5));
	ASSERT_EQ(0, blipmq_topic_close(self->pub, &closed));

	forget_error();
	EXPECT_EQ(2, flush(w, results));
	EXPECT_EQ(BLIPMQ_REASON_HANDLE, blipmq_last_error()->reason);
	EXPECT_EQ(closed.handle, blipmq_last_error()->detail);
	EXPECT_RESULT(0, 0, -ENOENT, BLIPMQ_REASON_HANDLE, &results[2]);
	EXPECT_UNTOUCHED(&results[3]);
	EXPECT_EQ(3, blipmq_staged(w));
	EXPECT_REFUSED(-ENOENT, BLIPMQ_REASON_HANDLE, closed.handle, flush(w, results));
	EXPECT_EQ(1, blipmq_discard(w, 1));
	EXPECT_EQ(1, flush(w, results));
	EXPECT_RESULT(3, 1, 0, BLIPMQ_REASON_NONE, &results[0]);
	EXPECT_EQ(1, blipmq_staged(w));
	/* It is lost with the writer, which says so. */
	EXPECT_EQ(1, blipmq_writer_close(w));
	expect_number(_metadata, self->sub, 1, LENGTH);
	expect_number(_metadata, self->sub, 2, LENGTH);
	expect_number(_metadata, self->sub, 4, LENGTH);
	expect_nothing(_metadata, self->sub);
}

TEST_HARNESS_MAIN
