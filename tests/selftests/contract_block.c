// SPDX-License-Identifier: GPL-2.0
/*
 * PUBLISH of blocks: every malformed layout, and what well-formed ones become.
 */
#include <fcntl.h>
#include <stddef.h>

#include "common.h"
#include "harness.h"

#define SUBJECT		"block.one"
#define OTHER		"block.two.is.longer"
#define NR_MESSAGES	3
#define PAYLOAD		100
/* Of one of these messages in a block: header, payload, subject, rounded up. */
#define STRIDE		192

FIXTURE(pair) {
	struct consumer c;	/* subscribed to block.> */
	int fd;
	__u32 handle;		/* of SUBJECT */
	__u32 other;		/* of OTHER */
	char data[2 * BLIPMQ_BLOCK_MAX];
	size_t length;		/* of the good block of NR_MESSAGES in data */
};

static void good_block(struct _test_data_pair *self)
{
	char payload[PAYLOAD];

	self->length = 0;
	for (int i = 0; i < NR_MESSAGES; i++) {
		memset(payload, 'a' + i, sizeof(payload));
		self->length = block_add(self->data, self->length, self->handle, payload, PAYLOAD,
					 strlen(SUBJECT));
	}
}

FIXTURE_SETUP(pair)
{
	int ret;

	ASSERT_EQ(0, consumer_open(&self->c, 2048, 2048, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, "block.>", 7));
	self->fd = bus_open(O_RDWR);
	ret = topic(self->fd, SUBJECT);
	ASSERT_LT(0, ret);
	self->handle = ret;
	ret = topic(self->fd, OTHER);
	ASSERT_LT(0, ret);
	self->other = ret;
	good_block(self);
	ASSERT_EQ(NR_MESSAGES * STRIDE, self->length);
}

FIXTURE_TEARDOWN(pair)
{
	consumer_close(&self->c);
	close(self->fd);
}

static struct blipmq_header *header_at(struct _test_data_pair *self, int i)
{
	return (struct blipmq_header *)(self->data + i * STRIDE);
}

/* One block, which is bad from message `at` on; the messages before may or may not be done. */
static void check_bad(struct __test_metadata *_metadata, struct _test_data_pair *self,
		      struct blipmq_block block, unsigned int at, int error, __u32 reason,
		      const char *what)
{
	struct blipmq_result results[NR_MESSAGES + 1];
	__u64 before = consumer_prod(&self->c);
	struct blipmq_publish pub = {
		.head.flags = BLIPMQ_PUBLISH_BLOCKS,
		.messages = ptr_u64(&block),
		.nr = 1,
		.results = block.nr <= NR_MESSAGES ? ptr_u64(results) : 0,
	};
	int ret;

	memset(results, POISON, sizeof(results));
	ret = do_publish(self->fd, &pub);
	EXPECT_EQ(pub.done ? 0 : error, ret) { TH_LOG("%s", what); }
	EXPECT_EQ(error, pub.error) { TH_LOG("%s", what); }
	EXPECT_GE(at, pub.done) { TH_LOG("%s", what); }
	EXPECT_EQ(pub.done, pub.delivered);
	EXPECT_EQ(before + pub.done, consumer_prod(&self->c));
	if (!pub.done)
		EXPECT_EQ(reason, pub.head.reason) { TH_LOG("%s", what); }
	if (pub.results && block.nr && pub.done <= at) {
		EXPECT_EQ(error, results[pub.done].error) { TH_LOG("%s", what); }
		EXPECT_EQ(reason, results[pub.done].reason) { TH_LOG("%s", what); }
		EXPECT_EQ(0, results[pub.done].seq);
	}
}

static struct blipmq_block block_of(struct _test_data_pair *self)
{
	return (struct blipmq_block){
		.data = ptr_u64(self->data), .length = self->length, .nr = NR_MESSAGES,
	};
}

TEST_F(pair, block_length)
{
	const __u32 bad[] = { 0, 1, 63, 65, STRIDE - 1, self->length - 1, self->length + 1,
			      self->length + 8, BLIPMQ_BLOCK_MAX + 1,
			      BLIPMQ_BLOCK_MAX + BLIPMQ_ALIGN, 1u << 31, ~0u, ~0u << 6 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct blipmq_block block = block_of(self);

		block.length = bad[i];
		check_bad(_metadata, self, block, NR_MESSAGES, -EINVAL, BLIPMQ_REASON_BLOCK,
			  "length");
	}
	EXPECT_EQ(0, consumer_prod(&self->c));
}

/* More messages than there is room for, or fewer than lie there. */
TEST_F(pair, block_number)
{
	static const __u32 bad[] = { 0, 1, 2, 4, 5, 100, BLIPMQ_BATCH_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct blipmq_block block = block_of(self);

		block.nr = bad[i];
		check_bad(_metadata, self, block, bad[i] < 3 ? bad[i] : 3, -EINVAL,
			  BLIPMQ_REASON_BLOCK, "nr");
	}
}

TEST_F(pair, block_batch_limit)
{
	static const __u32 bad[] = { BLIPMQ_BATCH_MAX + 1, 65536, 1u << 31, ~0u };
	struct blipmq_publish pub;
	struct blipmq_block block;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		block = block_of(self);
		block.nr = bad[i];
		pub = (struct blipmq_publish){
			.head.flags = BLIPMQ_PUBLISH_BLOCKS, .messages = ptr_u64(&block), .nr = 1,
		};
		EXPECT_EQ(-EINVAL, do_publish(self->fd, &pub)) { TH_LOG("%u", bad[i]); }
		EXPECT_EQ(BLIPMQ_REASON_BATCH, pub.head.reason);
		EXPECT_EQ(BLIPMQ_BATCH_MAX, pub.head.detail);
		EXPECT_EQ(0, pub.done);
	}
	block = block_of(self);
	for (__u32 nr = BLIPMQ_BATCH_MAX + 1; nr; nr <<= 1) {
		pub = (struct blipmq_publish){
			.head.flags = BLIPMQ_PUBLISH_BLOCKS, .messages = ptr_u64(&block), .nr = nr,
		};
		EXPECT_EQ(-EINVAL, do_publish(self->fd, &pub)) { TH_LOG("%u blocks", nr); }
		EXPECT_EQ(BLIPMQ_REASON_BATCH, pub.head.reason);
	}
	EXPECT_EQ(0, consumer_prod(&self->c));
}

TEST_F(pair, payload_beyond_the_block)
{
	for (int at = 0; at < NR_MESSAGES; at++) {
		const __u32 left = self->length - (at + 1) * 64 - at * (STRIDE - 64);
		const __u32 bad[] = { left, left + 1, left - 8, 1u << 20, BLIPMQ_MESSAGE_MAX,
				      BLIPMQ_MESSAGE_MAX + 1, 0x7fffffff, 1u << 31, ~0u, ~0u - 7,
				      ~0u - 63, ~0u - 64 };

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			good_block(self);
			header_at(self, at)->length = bad[i];
			check_bad(_metadata, self, block_of(self), at, -EINVAL,
				  BLIPMQ_REASON_BLOCK, "payload length");
		}
	}
}

/* The subject must have room behind the payload, in each topic the room of its own subject. */
TEST_F(pair, trailer_beyond_the_block)
{
	struct blipmq_block block = { .data = ptr_u64(self->data), .length = 128, .nr = 1 };
	const __u32 fits = 64 - strlen(SUBJECT) - 7;

	memset(self->data, 0, 128);
	header_at(self, 0)->topic = self->handle;
	for (__u32 len = 0; len <= 64; len++) {
		header_at(self, 0)->length = len;
		if ((len + 7) / 8 * 8 + strlen(SUBJECT) > 64) {
			check_bad(_metadata, self, block, 0, -EINVAL, BLIPMQ_REASON_BLOCK, "room");
			continue;
		}
		struct blipmq_publish pub = {
			.head.flags = BLIPMQ_PUBLISH_BLOCKS, .messages = ptr_u64(&block), .nr = 1,
		};
		EXPECT_EQ(0, do_publish(self->fd, &pub)) { TH_LOG("%u bytes", len); }
	}
	header_at(self, 0)->length = fits;
	header_at(self, 0)->topic = self->other;
	check_bad(_metadata, self, block, 0, -EINVAL, BLIPMQ_REASON_BLOCK, "room of the other");
}

TEST_F(pair, handle_unknown)
{
	for (int at = 0; at < NR_MESSAGES; at++) {
		const __u64 bad[] = { 0, 9999, ~0u, ~0ULL, 1ULL << 32 | self->handle, 1ULL << 63 };

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			good_block(self);
			header_at(self, at)->topic = bad[i];
			check_bad(_metadata, self, block_of(self), at, -ENOENT,
				  BLIPMQ_REASON_HANDLE, "handle");
		}
	}
}

static bool is_input(size_t byte)
{
	const size_t length = offsetof(struct blipmq_header, length);
	const size_t topic = offsetof(struct blipmq_header, topic);
	const size_t headers = offsetof(struct blipmq_header, headers_len);

	return (byte >= length && byte < length + 4) || (byte >= topic && byte < topic + 8) ||
	       (byte >= headers && byte < headers + 2);
}

/* The kernel writes the header: what a publisher puts there is refused, byte by byte. */
TEST_F(pair, header_not_zero)
{
	for (int at = 0; at < NR_MESSAGES; at++)
		for (size_t byte = 0; byte < sizeof(struct blipmq_header); byte++) {
			if (is_input(byte))
				continue;
			good_block(self);
			((char *)header_at(self, at))[byte] = 1;
			check_bad(_metadata, self, block_of(self), at, -EINVAL,
				  BLIPMQ_REASON_BLOCK, "header");
		}
}

TEST_F(pair, memory)
{
	char *end = before_hole(self->length);
	const __u64 nowhere[] = { 0, 8, NOWHERE, 1ULL << 63, ptr_u64(end + 64), ptr_u64(end + 8),
				  ptr_u64(end + self->length) };

	memcpy(end, self->data, self->length);
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
		struct blipmq_block block = block_of(self);

		block.data = nowhere[i];
		check_bad(_metadata, self, block, 0, -EFAULT, BLIPMQ_REASON_FAULT, "memory");
	}
	EXPECT_EQ(0, consumer_prod(&self->c));
}

/* Blocks before a bad one are done, those behind it are not. */
TEST_F(pair, bad_block_among_good_ones)
{
	static char data[BLIPMQ_BLOCK_MAX];
	struct blipmq_result results[4 * NR_MESSAGES], untouched;
	struct blipmq_block blocks[4];

	memset(&untouched, POISON, sizeof(untouched));
	memcpy(data, self->data, self->length);
	((struct blipmq_header *)data)->seq = 1;
	for (unsigned int at = 0; at < 4; at++) {
		__u64 before = consumer_prod(&self->c);
		struct blipmq_publish pub = {
			.head.flags = BLIPMQ_PUBLISH_BLOCKS,
			.messages = ptr_u64(blocks),
			.nr = 4,
			.results = ptr_u64(results),
		};

		memset(results, POISON, sizeof(results));
		for (int i = 0; i < 4; i++)
			blocks[i] = block_of(self);
		blocks[at].data = ptr_u64(data);
		EXPECT_EQ(at ? 0 : -EINVAL, do_publish(self->fd, &pub));
		EXPECT_EQ(at * NR_MESSAGES, pub.done);
		EXPECT_EQ(-EINVAL, pub.error);
		EXPECT_EQ(before + pub.done, consumer_prod(&self->c));
		for (unsigned int i = 0; i < pub.done; i++) {
			EXPECT_EQ(0, results[i].error);
			EXPECT_EQ(results[0].seq + i, results[i].seq);
		}
		EXPECT_EQ(-EINVAL, results[pub.done].error);
		EXPECT_EQ(BLIPMQ_REASON_BLOCK, results[pub.done].reason);
		for (unsigned int i = pub.done + 1; i < ARRAY_SIZE(results); i++)
			EXPECT_EQ(0, memcmp(&untouched, &results[i], sizeof(untouched)));
	}
}

/* ---- Good ones ---- */

static int publish_block(int fd, const void *data, size_t length, __u32 nr,
			 struct blipmq_result *results)
{
	struct blipmq_block block = { .data = ptr_u64(data), .length = length, .nr = nr };
	struct blipmq_publish pub = {
		.head.flags = BLIPMQ_PUBLISH_BLOCKS,
		.messages = ptr_u64(&block),
		.nr = 1,
		.results = ptr_u64(results),
	};
	int ret = do_publish(fd, &pub);

	return ret < 0 ? ret : (int)pub.done;
}

/* Two topics, lengths of all kinds: they arrive as messages do, and the source is as it was. */
TEST_F(pair, what_arrives)
{
	static const __u32 lengths[] = { 0, 1, 8, 55, 56, 63, 64, 65, 200, 1000, 4096, 10000 };
	const unsigned int nr = ARRAY_SIZE(lengths);
	struct blipmq_result results[ARRAY_SIZE(lengths)];
	struct blipmq_desc descs[ARRAY_SIZE(lengths)];
	static char copy[BLIPMQ_BLOCK_MAX], payload[10000];
	struct blipmq_info info = { };
	__u64 index, seq[2] = { };
	size_t size = 0;

	ASSERT_EQ(0, do_info(self->fd, &info));
	for (unsigned int i = 0; i < nr; i++) {
		memset(payload, 'A' + i, lengths[i]);
		size = block_add(self->data, size, i % 2 ? self->other : self->handle, payload,
				 lengths[i], strlen(i % 2 ? OTHER : SUBJECT));
	}
	memcpy(copy, self->data, size);
	memset(results, POISON, sizeof(results));
	ASSERT_EQ(nr, publish_block(self->fd, self->data, size, nr, results));
	EXPECT_EQ(0, memcmp(copy, self->data, size));
	ASSERT_EQ(nr, consumer_claim(&self->c, descs, nr, &index));
	for (unsigned int i = 0; i < nr; i++) {
		const struct blipmq_header *h = consumer_header(&self->c, &descs[i]);
		const char *p = consumer_payload(&self->c, &descs[i]);

		ASSERT_EQ(lengths[i], desc_length(&descs[i]));
		EXPECT_EQ(lengths[i], h->length);
		EXPECT_EQ(results[i].seq, h->seq);
		EXPECT_EQ(1, results[i].delivered);
		EXPECT_EQ(info.endpoint, h->sender);
		EXPECT_EQ(getpid(), h->pid);
		EXPECT_STREQ(i % 2 ? OTHER : SUBJECT, consumer_subject(&self->c, &descs[i]));
		for (__u32 b = 0; b < lengths[i]; b++)
			ASSERT_EQ('A' + i, (__u8)p[b]);
		if (seq[i % 2])
			EXPECT_EQ(seq[i % 2] + 1, h->seq);
		seq[i % 2] = h->seq;
	}
}

TEST_F(pair, any_address)
{
	struct blipmq_desc desc;
	__u64 index;

	for (int shift = 0; shift < 64; shift += 7) {
		static char data[256];

		memset(data, 0, sizeof(data));
		block_add(data + shift, 0, self->handle, "where", 5, strlen(SUBJECT));
		ASSERT_EQ(1, publish_block(self->fd, data + shift, 128, 1, NULL));
		ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
		EXPECT_EQ(0, memcmp("where", consumer_payload(&self->c, &desc), 5));
	}
}

/* The largest block holds one message, or as many as there is room for. */
TEST_F(pair, largest)
{
	static char payload[BLIPMQ_BLOCK_MAX];
	struct blipmq_block blocks[3];
	struct blipmq_publish pub = {
		.head.flags = BLIPMQ_PUBLISH_BLOCKS, .messages = ptr_u64(blocks), .nr = 2,
	};
	const __u32 most = BLIPMQ_BLOCK_MAX - 64 - 16;
	static char few[BLIPMQ_BLOCK_MAX];
	size_t size = 0;

	ASSERT_EQ(BLIPMQ_BLOCK_MAX,
		  block_add(self->data, 0, self->handle, payload, most, strlen(SUBJECT)));
	EXPECT_EQ(1, publish_block(self->fd, self->data, BLIPMQ_BLOCK_MAX, 1, NULL));
	for (int i = 0; i < 512; i++)
		size = block_add(self->data, size, self->handle, "", 0, strlen(SUBJECT));
	ASSERT_EQ(BLIPMQ_BLOCK_MAX, size);
	blocks[0] = (struct blipmq_block){ ptr_u64(self->data), size, 512 };
	blocks[1] = blocks[0];
	EXPECT_EQ(0, do_publish(self->fd, &pub));
	EXPECT_EQ(BLIPMQ_BATCH_MAX, pub.done);
	EXPECT_EQ(1 + BLIPMQ_BATCH_MAX, consumer_prod(&self->c));
	/* One more would be too many. */
	size = block_add(few, 0, self->handle, "1", 1, strlen(SUBJECT));
	blocks[2] = (struct blipmq_block){ ptr_u64(few), size, 1 };
	pub.nr = 3;
	do_publish(self->fd, &pub);
	EXPECT_GE(BLIPMQ_BATCH_MAX, pub.done);
	EXPECT_EQ(-EINVAL, pub.error);
}

TEST_HARNESS_MAIN
