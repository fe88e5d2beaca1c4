// SPDX-License-Identifier: GPL-2.0
/*
 * User headers: what of them is refused, and that they arrive as they were, in messages one
 * by one and in blocks, read in place and copied.
 */
#include <fcntl.h>
#include <stddef.h>

#include "common.h"
#include "harness.h"

#define SUBJECT		"headers.one"
#define MAX_MESSAGE	100000
/* Where user headers begin behind the payload's end, rounded up: SUBJECT, rounded up. */
#define OFFSET		16

static char bytes[BLIPMQ_HEADERS_MAX + 1];

FIXTURE(bus) {
	struct consumer c;	/* subscribed to headers.> */
	int copying;		/* likewise, by RECV */
	int fd;
	__u32 handle;		/* of SUBJECT */
};

FIXTURE_SETUP(bus)
{
	static const struct param params[] = { { "max_message", "100000" }, { } };
	int ret;

	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, consumer_open(&self->c, 256, 256, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, "headers.>", 0));
	self->copying = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(self->copying, 256, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->copying, "headers.>", 0));
	self->fd = bus_open(O_RDWR);
	ret = topic(self->fd, SUBJECT);
	ASSERT_LT(0, ret);
	self->handle = ret;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i % 251 + 1;
}

FIXTURE_TEARDOWN(bus)
{
	close(self->copying);
	close(self->fd);
	consumer_close(&self->c);
}

static struct blipmq_message message(struct _test_data_bus *self, __u32 length, __u32 headers_len)
{
	return (struct blipmq_message){
		.data = ptr_u64(bytes), .length = length, .handle = self->handle,
		.headers = ptr_u64(bytes), .headers_len = headers_len,
	};
}

/* One message, refused: nothing arrives. */
static void refused(struct __test_metadata *_metadata, struct _test_data_bus *self,
		    struct blipmq_message m, int error, __u32 reason, __u32 detail)
{
	__u64 before = consumer_prod(&self->c);
	struct blipmq_result result;
	struct blipmq_publish pub = {
		.messages = ptr_u64(&m), .nr = 1, .results = ptr_u64(&result),
	};

	memset(&result, POISON, sizeof(result));
	EXPECT_EQ(error, do_publish(self->fd, &pub));
	EXPECT_EQ(reason, pub.head.reason);
	EXPECT_EQ(detail, pub.head.detail);
	EXPECT_EQ(0, result.seq);
	EXPECT_EQ(error, result.error);
	EXPECT_EQ(reason, result.reason);
	EXPECT_EQ(before, consumer_prod(&self->c));
}

/* The next message has this payload and these headers, both in place and copied. */
static void arrives(struct __test_metadata *_metadata, struct _test_data_bus *self,
		    __u32 length, __u32 headers_len)
{
	const __u32 whole = headers_len ? OFFSET + headers_len : strlen(SUBJECT);
	static char payload[MAX_MESSAGE], trailer[BLIPMQ_TRAILER_MAX + 1];
	struct blipmq_recv recv = {
		.payload = ptr_u64(payload), .payload_size = sizeof(payload),
		.trailer = ptr_u64(trailer), .trailer_size = BLIPMQ_TRAILER_MAX,
	};
	const struct blipmq_header *h;
	struct blipmq_desc desc;
	const char *p;
	__u64 index;

	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	h = consumer_header(&self->c, &desc);
	EXPECT_EQ(length, h->length);
	EXPECT_EQ(headers_len, h->headers_len);
	EXPECT_EQ(whole, h->trailer_len);
	EXPECT_EQ(strlen(SUBJECT), h->subject_len);
	EXPECT_EQ(0, h->flags);
	p = consumer_payload(&self->c, &desc);
	EXPECT_EQ(0, memcmp(p, bytes, length));
	p += (length + 7) / 8 * 8;
	EXPECT_EQ(0, memcmp(p, SUBJECT, strlen(SUBJECT)));
	EXPECT_EQ(0, memcmp(p + OFFSET, bytes, headers_len)) {
		TH_LOG("%u bytes behind %u", headers_len, length);
	}
	consumer_release(&self->c, index + 1);

	memset(trailer, POISON, sizeof(trailer));
	ASSERT_EQ(0, do_recv(self->copying, &recv));
	EXPECT_EQ(headers_len, recv.header.headers_len);
	EXPECT_EQ(0, memcmp(payload, bytes, length));
	EXPECT_EQ(0, memcmp(trailer, SUBJECT, strlen(SUBJECT)));
	EXPECT_EQ(0, memcmp(trailer + OFFSET, bytes, headers_len));
	EXPECT_EQ(POISON, (__u8)trailer[whole]);
}

/* ---- Refusals ---- */

TEST_F(bus, size)
{
	refused(_metadata, self, message(self, 0, BLIPMQ_HEADERS_MAX + 1), -EMSGSIZE,
		BLIPMQ_REASON_HEADERS_SIZE, BLIPMQ_HEADERS_MAX);
	refused(_metadata, self, message(self, 0, 65535), -EMSGSIZE,
		BLIPMQ_REASON_HEADERS_SIZE, BLIPMQ_HEADERS_MAX);
	/* Payload and user headers share the bus's limit. */
	refused(_metadata, self, message(self, MAX_MESSAGE, 1), -EMSGSIZE,
		BLIPMQ_REASON_MESSAGE_SIZE, MAX_MESSAGE);
	refused(_metadata, self, message(self, MAX_MESSAGE - 999, 1000), -EMSGSIZE,
		BLIPMQ_REASON_MESSAGE_SIZE, MAX_MESSAGE);
	refused(_metadata, self, message(self, ~0u, 1000), -EMSGSIZE,
		BLIPMQ_REASON_MESSAGE_SIZE, MAX_MESSAGE);
	refused(_metadata, self, message(self, MAX_MESSAGE - BLIPMQ_HEADERS_MAX + 1,
					 BLIPMQ_HEADERS_MAX),
		-EMSGSIZE, BLIPMQ_REASON_MESSAGE_SIZE, MAX_MESSAGE);
}

TEST_F(bus, memory)
{
	char *end = before_hole(64) + 64;
	struct blipmq_message m = message(self, 10, 100);
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	struct blipmq_stats before, after;

	ASSERT_EQ(0, bus_stats(self->fd, &before));
	for (int i = 0; i < 200; i++) {
		m.headers = i % 2 ? NOWHERE : ptr_u64(end - 99);
		refused(_metadata, self, m, -EFAULT, BLIPMQ_REASON_FAULT, 0);
		m.headers_len = 100 + i * 300;
	}
	/* What has no bytes has no address. */
	m.headers_len = 0;
	m.length = 0;
	ASSERT_EQ(0, do_publish(self->fd, &pub));
	arrives(_metadata, self, 0, 0);
	/* A failed copy costs nothing for long. */
	ASSERT_EQ(0, bus_stats(self->fd, &after));
	EXPECT_GE(before.pages - before.idle + 2, after.pages - after.idle);
}

/* ---- One by one ---- */

static const __u32 lengths[] = { 0, 1, 7, 8, 9, 55, 56, 64, 100, 4000, 4032, 4096, 10000 };
static const __u32 sizes[] = { 1, 0, 2, 7, 8, 9, 63, 0, 64, 65, 1000, 4090, 4096, 0, 20000,
			       BLIPMQ_HEADERS_MAX };

TEST_F(bus, one_by_one)
{
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
			struct blipmq_message m = message(self, lengths[i], sizes[j]);
			struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };

			ASSERT_EQ(0, do_publish(self->fd, &pub));
			EXPECT_EQ(2, pub.delivered);
			arrives(_metadata, self, lengths[i], sizes[j]);
		}
}

/* In a batch they lie side by side: none reaches into another. */
TEST_F(bus, batch)
{
	struct blipmq_message m[ARRAY_SIZE(lengths) * ARRAY_SIZE(sizes)];
	const unsigned int nr = ARRAY_SIZE(m);
	struct blipmq_publish pub = { .messages = ptr_u64(m), .nr = nr };

	for (unsigned int i = 0; i < nr; i++)
		m[i] = message(self, lengths[i % ARRAY_SIZE(lengths)],
			       sizes[i % ARRAY_SIZE(sizes)]);
	ASSERT_EQ(0, do_publish(self->fd, &pub));
	ASSERT_EQ(nr, pub.done);
	for (unsigned int i = 0; i < nr; i++)
		arrives(_metadata, self, m[i].length, m[i].headers_len);
}

TEST_F(bus, largest)
{
	struct blipmq_message m = message(self, MAX_MESSAGE - BLIPMQ_HEADERS_MAX,
					  BLIPMQ_HEADERS_MAX);
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };

	ASSERT_EQ(0, do_publish(self->fd, &pub));
	arrives(_metadata, self, m.length, m.headers_len);
}

/* ---- Copied with too little room ---- */

TEST_F(bus, trailer_is_cut)
{
	struct blipmq_message m = message(self, 5, 50);
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	char payload[8], trailer[OFFSET + 50 + 8];

	for (__u32 size = strlen(SUBJECT); size < sizeof(trailer); size++) {
		const __u32 came = size < OFFSET + 50 ? size : OFFSET + 50;
		struct blipmq_recv recv = {
			.payload = ptr_u64(payload), .payload_size = sizeof(payload),
			.trailer = ptr_u64(trailer), .trailer_size = size,
		};

		ASSERT_EQ(0, do_publish(self->fd, &pub));
		memset(trailer, POISON, sizeof(trailer));
		ASSERT_EQ(0, do_recv(self->copying, &recv)) { TH_LOG("%u bytes", size); }
		EXPECT_EQ(50, recv.header.headers_len);
		EXPECT_EQ(OFFSET + 50, recv.header.trailer_len);
		EXPECT_EQ(0, memcmp(trailer, SUBJECT, strlen(SUBJECT)));
		if (came > OFFSET)
			EXPECT_EQ(0, memcmp(trailer + OFFSET, bytes, came - OFFSET));
		EXPECT_EQ(POISON, (__u8)trailer[came]);
	}
	/* The subject is not cut; the message stays. */
	ASSERT_EQ(0, do_publish(self->fd, &pub));
	for (__u32 size = 1; size < strlen(SUBJECT); size++) {
		struct blipmq_recv recv = {
			.payload = ptr_u64(payload), .payload_size = sizeof(payload),
			.trailer = ptr_u64(trailer), .trailer_size = size,
		};

		EXPECT_EQ(-EMSGSIZE, do_recv(self->copying, &recv));
		EXPECT_EQ(strlen(SUBJECT), recv.head.detail);
	}
	/* Who reads gets the payload. */
	EXPECT_EQ(5, read(self->copying, payload, sizeof(payload)));
	EXPECT_EQ(0, memcmp(payload, bytes, 5));
}

/* ---- Blocks ---- */

static char block[2 * BLIPMQ_BLOCK_MAX];

/* One more message in the block, which has size bytes; the new size. */
static size_t add(struct _test_data_bus *self, size_t size, __u32 length, __u32 headers_len)
{
	struct blipmq_header h = {
		.length = length, .topic = self->handle, .headers_len = headers_len,
	};
	size_t headers = size + sizeof(h) + (length + 7) / 8 * 8 + OFFSET;
	size_t end = headers + headers_len;

	if (!headers_len)
		end -= OFFSET - strlen(SUBJECT);
	end = (end + BLIPMQ_ALIGN - 1) / BLIPMQ_ALIGN * BLIPMQ_ALIGN;
	memset(block + size, 'x', end - size);
	memcpy(block + size, &h, sizeof(h));
	memcpy(block + size + sizeof(h), bytes, length);
	memcpy(block + headers, bytes, headers_len);
	return end;
}

static int publish_block(int fd, size_t length, __u32 nr, struct blipmq_publish *pub)
{
	struct blipmq_block one = { .data = ptr_u64(block), .length = length, .nr = nr };

	*pub = (struct blipmq_publish){
		.head.flags = BLIPMQ_PUBLISH_BLOCKS, .messages = ptr_u64(&one), .nr = 1,
	};
	return do_publish(fd, pub);
}

static void block_refused(struct __test_metadata *_metadata, struct _test_data_bus *self,
			  size_t length, __u32 nr, int error, __u32 reason)
{
	__u64 before = consumer_prod(&self->c);
	struct blipmq_publish pub;

	EXPECT_EQ(error, publish_block(self->fd, length, nr, &pub));
	EXPECT_EQ(reason, pub.head.reason);
	EXPECT_EQ(before, consumer_prod(&self->c));
}

TEST_F(bus, block_refusals)
{
	struct blipmq_header *h = (struct blipmq_header *)block;
	size_t size = add(self, 0, 10, 30);

	/* More than there is, by one, by much, and what goes round. */
	for (__u32 len = 41; len <= 65535; len = len * 2 + 1) {
		h->headers_len = len;
		block_refused(_metadata, self, size, 1, len > BLIPMQ_HEADERS_MAX ? -EMSGSIZE :
			      -EINVAL, len > BLIPMQ_HEADERS_MAX ? BLIPMQ_REASON_HEADERS_SIZE :
			      BLIPMQ_REASON_BLOCK);
	}
	h->headers_len = 30;
	h->trailer_len = OFFSET + 30;
	block_refused(_metadata, self, size, 1, -EINVAL, BLIPMQ_REASON_BLOCK);
	h->trailer_len = 0;
	h->length = 11 + 64;
	block_refused(_metadata, self, size, 1, -EINVAL, BLIPMQ_REASON_BLOCK);
	/* A message less, and the block does not end where it does. */
	size = add(self, 0, 10, 100);
	h->headers_len = 1;
	block_refused(_metadata, self, size, 1, -EINVAL, BLIPMQ_REASON_BLOCK);
}

TEST_F(bus, block_over_the_limit)
{
	static const struct param params[] = { { "max_message", "1000" }, { } };
	struct blipmq_publish pub;
	int fd, handle;

	ASSERT_EQ(0, fresh_bus(params));
	fd = bus_open(O_RDWR);
	handle = topic(fd, SUBJECT);
	ASSERT_LT(0, handle);
	self->handle = handle;
	EXPECT_EQ(-EMSGSIZE, publish_block(fd, add(self, 0, 500, 501), 1, &pub));
	EXPECT_EQ(BLIPMQ_REASON_MESSAGE_SIZE, pub.head.reason);
	EXPECT_EQ(1000, pub.head.detail);
	EXPECT_EQ(0, publish_block(fd, add(self, 0, 500, 500), 1, &pub));
	close(fd);
}

/* A run that its messages fill to the last byte, and one more that is not there. */
TEST_F(bus, block_ends_with_its_run)
{
	const __u32 headers_len = page_size() - sizeof(struct blipmq_header) - OFFSET;
	size_t size = add(self, 0, 0, headers_len);
	struct blipmq_publish pub;

	ASSERT_EQ(page_size(), size);
	for (__u32 nr = 1; nr < 5; nr++) {
		EXPECT_EQ(0, publish_block(self->fd, size, nr, &pub));
		EXPECT_EQ(1, pub.done);
		EXPECT_EQ(nr == 1 ? 0 : -EINVAL, pub.error);
		EXPECT_EQ(nr == 1 ? BLIPMQ_REASON_NONE : BLIPMQ_REASON_BLOCK, pub.head.reason);
		arrives(_metadata, self, 0, headers_len);
	}
}

TEST_F(bus, block)
{
	struct blipmq_publish pub;
	size_t size, at = 0;
	__u32 nr = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
			size = add(self, 0, lengths[i], sizes[j]);
			if (size > BLIPMQ_BLOCK_MAX)
				continue;
			ASSERT_EQ(0, publish_block(self->fd, size, 1, &pub));
			arrives(_metadata, self, lengths[i], sizes[j]);
		}
	for (__u32 i = 0; i < 60; i++, nr++)
		at = add(self, at, i * 13, i % 3 * (i + 1));
	ASSERT_EQ(0, publish_block(self->fd, at, nr, &pub));
	ASSERT_EQ(nr, pub.done);
	for (__u32 i = 0; i < nr; i++)
		arrives(_metadata, self, i * 13, i % 3 * (i + 1));
}

/* ---- Memory ---- */

/* They are paid for like payloads, and given back. */
TEST_F(bus, accounts)
{
	struct blipmq_message m = message(self, 0, BLIPMQ_HEADERS_MAX);
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	struct blipmq_stats before, after;

	ASSERT_EQ(0, bus_stats(self->fd, &before));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, do_publish(self->fd, &pub));
	ASSERT_EQ(0, bus_stats(self->fd, &after));
	EXPECT_LE(before.pages - before.idle + 4 * BLIPMQ_HEADERS_MAX / page_size(),
		  after.pages - after.idle);
	for (int i = 0; i < 4; i++)
		arrives(_metadata, self, 0, BLIPMQ_HEADERS_MAX);
	consumer_arm(&self->c, 1);
	EXPECT_EQ(-ETIME, wait_for(self->c.fd, 1, 1));
	ASSERT_EQ(0, bus_stats(self->fd, &after));
	EXPECT_EQ(before.pages - before.idle, after.pages - after.idle);
}

TEST_HARNESS_MAIN
