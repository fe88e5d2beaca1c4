// SPDX-License-Identifier: GPL-2.0
/*
 * What holds for every ioctl alike: sizes, tails, flags, reserved fields, bad memory. Each
 * call is first prepared so that it would succeed, then refused in every way, and at last
 * made: a refusal must have left no trace. Also built as a 32-bit program.
 */
#include <fcntl.h>
#include <stddef.h>

#include "common.h"
#include "harness.h"

/* A call that would succeed, and what it stands on. */
struct scene {
	const struct call *call;
	struct consumer consumer;
	int fd;
	__u32 message_data;
	struct blipmq_message message;
	union {
		struct blipmq_head head;
		struct blipmq_info info;
		struct blipmq_bind bind;
		struct blipmq_ring ring;
		struct blipmq_subscribe subscribe;
		struct blipmq_unsubscribe unsubscribe;
		struct blipmq_topic topic;
		struct blipmq_topic_close topic_close;
		struct blipmq_publish publish;
		struct blipmq_wait wait;
		struct blipmq_keep keep;
		struct blipmq_drop_kept drop;
		struct blipmq_recv recv;
		struct blipmq_stats stats;
		struct blipmq_type type;
		char bytes[BLIPMQ_STRUCT_MAX + 64];
	};
};

struct call {
	const char *name;
	unsigned long cmd;
	__u32 size;
	__u32 flags;			/* known ones */
	int (*prepare)(struct scene *s);
	/* Bytes that must be zero: reserved, or of later features. */
	__u32 zero;
	__u32 zero_end;
};

static const char subject[] = "contract.call";

static int prepare_file(struct scene *s)
{
	s->fd = bus_open(O_RDWR);
	return s->fd < 0 ? s->fd : 0;
}

static int prepare_bind(struct scene *s)
{
	strcpy(s->bind.bus, "default");
	return prepare_file(s);
}

static int prepare_ring(struct scene *s)
{
	s->ring.entries = 8;
	return prepare_file(s);
}

static int prepare_subscriber(struct scene *s)
{
	int ret = prepare_file(s);

	if (!ret)
		ret = make_ring(s->fd, 8, BLIPMQ_POLICY_DROP_OLDEST);
	return ret;
}

static int prepare_subscribe(struct scene *s)
{
	s->subscribe.pattern = ptr_u64(subject);
	s->subscribe.pattern_len = strlen(subject);
	return prepare_subscriber(s);
}

static int prepare_unsubscribe(struct scene *s)
{
	int ret = prepare_subscriber(s);

	if (!ret)
		ret = subscribe(s->fd, subject, 0);
	s->unsubscribe.id = ret;
	return ret < 0 ? ret : 0;
}

static int prepare_topic(struct scene *s)
{
	s->topic.subject = ptr_u64(subject);
	s->topic.subject_len = strlen(subject);
	return prepare_file(s);
}

static int prepare_topic_close(struct scene *s)
{
	int ret = prepare_file(s);

	if (!ret)
		ret = topic(s->fd, subject);
	s->topic_close.handle = ret;
	return ret < 0 ? ret : 0;
}

static int prepare_publish(struct scene *s)
{
	s->message = (struct blipmq_message){
		.data = ptr_u64(&s->message_data),
		.length = sizeof(s->message_data),
		.subject = ptr_u64(subject),
		.subject_len = strlen(subject),
	};
	s->publish.messages = ptr_u64(&s->message);
	s->publish.nr = 1;
	return prepare_file(s);
}

/* A file with one message in its ring. */
static int prepare_message(struct scene *s)
{
	int ret = prepare_subscriber(s);

	if (!ret)
		ret = subscribe(s->fd, subject, 0);
	if (ret > 0)
		ret = publish(s->fd, subject, "m", 1);
	return ret < 0 ? ret : 0;
}

static int prepare_recv(struct scene *s)
{
	s->recv.payload = ptr_u64(&s->message_data);
	s->recv.payload_size = sizeof(s->message_data);
	return prepare_message(s);
}

static int prepare_stats(struct scene *s)
{
	s->stats.kind = BLIPMQ_STATS_RING;
	return prepare_message(s);
}

static int prepare_type(struct scene *s)
{
	struct blipmq_topic topic = {
		.subject = ptr_u64(subject),
		.subject_len = strlen(subject),
	};
	int ret = prepare_file(s);

	if (!ret)
		ret = do_topic(s->fd, &topic);
	s->type.topic = topic.topic;
	return ret;
}

static int prepare_keep(struct scene *s)
{
	struct blipmq_desc desc;
	__u64 index;
	int ret;

	ret = consumer_open(&s->consumer, 8, 0, BLIPMQ_POLICY_DROP_OLDEST);
	if (ret)
		return ret;
	s->fd = s->consumer.fd;
	ret = subscribe(s->fd, subject, 0);
	if (ret > 0)
		ret = publish(s->fd, subject, "m", 1);
	if (ret < 0)
		return ret;
	if (consumer_claim(&s->consumer, &desc, 1, &index) != 1)
		return -ENOMSG;
	s->keep.index = index;
	return 0;
}

static int prepare_drop(struct scene *s)
{
	int ret = prepare_keep(s);

	if (!ret)
		ret = do_keep(s->fd, &s->keep);
	s->drop = (struct blipmq_drop_kept){ .id = s->keep.id };
	s->keep.id = 0;
	return ret;
}

static const struct call calls[] = {
	{ "INFO", BLIPMQ_IOC_INFO, sizeof(struct blipmq_info), 0, prepare_file,
	  offsetof(struct blipmq_info, reserved), offsetof(struct blipmq_info, bus) },
	{ "BIND", BLIPMQ_IOC_BIND, sizeof(struct blipmq_bind), 0, prepare_bind,
	  offsetof(struct blipmq_bind, name), sizeof(struct blipmq_bind) },
	{ "RING", BLIPMQ_IOC_RING, sizeof(struct blipmq_ring), 0, prepare_ring,
	  offsetof(struct blipmq_ring, reserved), offsetof(struct blipmq_ring, ring_size) },
	{ "SUBSCRIBE", BLIPMQ_IOC_SUBSCRIBE, sizeof(struct blipmq_subscribe), 0,
	  prepare_subscribe,
	  offsetof(struct blipmq_subscribe, history), sizeof(struct blipmq_subscribe) },
	{ "UNSUBSCRIBE", BLIPMQ_IOC_UNSUBSCRIBE, sizeof(struct blipmq_unsubscribe), 0,
	  prepare_unsubscribe,
	  offsetof(struct blipmq_unsubscribe, reserved), sizeof(struct blipmq_unsubscribe) },
	{ "TOPIC", BLIPMQ_IOC_TOPIC, sizeof(struct blipmq_topic), BLIPMQ_TOPIC_WRITE,
	  prepare_topic,
	  offsetof(struct blipmq_topic, reserved), sizeof(struct blipmq_topic) },
	{ "TOPIC_CLOSE", BLIPMQ_IOC_TOPIC_CLOSE, sizeof(struct blipmq_topic_close), 0,
	  prepare_topic_close,
	  offsetof(struct blipmq_topic_close, reserved), sizeof(struct blipmq_topic_close) },
	{ "PUBLISH", BLIPMQ_IOC_PUBLISH, sizeof(struct blipmq_publish),
	  BLIPMQ_PUBLISH_BLOCKS | BLIPMQ_PUBLISH_NONBLOCK, prepare_publish,
	  offsetof(struct blipmq_publish, reserved), sizeof(struct blipmq_publish) },
	{ "WAIT", BLIPMQ_IOC_WAIT, sizeof(struct blipmq_wait), 0, prepare_message, 0, 0 },
	{ "KEEP", BLIPMQ_IOC_KEEP, sizeof(struct blipmq_keep), 0, prepare_keep, 0, 0 },
	{ "DROP", BLIPMQ_IOC_DROP, sizeof(struct blipmq_drop_kept), 0, prepare_drop, 0, 0 },
	{ "RECV", BLIPMQ_IOC_RECV, sizeof(struct blipmq_recv), BLIPMQ_RECV_NONBLOCK,
	  prepare_recv, 0, 0 },
	{ "STATS", BLIPMQ_IOC_STATS, sizeof(struct blipmq_stats), 0, prepare_stats, 0, 0 },
	{ "TYPE", BLIPMQ_IOC_TYPE, sizeof(struct blipmq_type), 0, prepare_type, 0, 0 },
};

static const struct call *const calls_end = calls + ARRAY_SIZE(calls);

/* Of its struct as first published. */
static __u32 first_size(const struct call *call)
{
	return call->cmd == BLIPMQ_IOC_TOPIC ? BLIPMQ_TOPIC_SIZE_VER0 : call->size;
}

static void scene_open(struct __test_metadata *_metadata, const struct call *call,
		       struct scene *s)
{
	int ret;

	*s = (struct scene){
		.call = call,
		.fd = -1,
		.consumer = { .fd = -1, .ring = MAP_FAILED, .control = MAP_FAILED,
			      .store = MAP_FAILED },
	};
	ret = call->prepare(s);
	ASSERT_EQ(0, ret) { TH_LOG("%s cannot be prepared", call->name); }
}

static void scene_close(struct scene *s)
{
	if (s->consumer.fd < 0)
		close(s->fd);
	consumer_close(&s->consumer);
}

/* Make the call with head as it is now but for the outputs. */
static int make_call(struct scene *s)
{
	s->head.reason = POISON32;
	s->head.detail = POISON32;
	return raw_ioctl(s->fd, s->call->cmd, s->bytes);
}

#define EXPECT_REFUSED(_errno, _reason, where) do { \
	struct scene *__s = (where); \
	EXPECT_EQ(-(_errno), make_call(__s)) { TH_LOG("%s", __s->call->name); } \
	EXPECT_EQ(_reason, __s->head.reason) { TH_LOG("%s", __s->call->name); } \
} while (0)

/* After all refusals the call still works: nothing was done before. */
#define EXPECT_DONE(where) do { \
	struct scene *__s = (where); \
	__s->head.size = __s->call->size; \
	__s->head.flags = 0; \
	EXPECT_EQ(0, make_call(__s)) { TH_LOG("%s", __s->call->name); } \
	EXPECT_EQ(BLIPMQ_REASON_NONE, __s->head.reason) { TH_LOG("%s", __s->call->name); } \
} while (0)

TEST(info_unbound)
{
	struct blipmq_info info = { };
	int fd = bus_open(O_RDWR);

	ASSERT_LE(0, fd);
	/* Twice: INFO binds nothing. */
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, do_info(fd, &info));
		EXPECT_EQ(BLIPMQ_VERSION, info.version);
		EXPECT_EQ(FEATURES, info.features);
		EXPECT_EQ(0, info.rights);
		EXPECT_EQ(0, info.endpoint);
		EXPECT_EQ(BLIPMQ_MESSAGE_MAX, info.max_message);
		EXPECT_EQ(0, info.store_size);
		EXPECT_EQ(0, info.budget);
		EXPECT_EQ(BLIPMQ_ENTRIES_MAX, info.max_entries);
		EXPECT_EQ(BLIPMQ_BATCH_MAX, info.max_batch);
		EXPECT_EQ(page_size(), info.page_size);
		EXPECT_STREQ("", info.bus);
	}
}

TEST(sizes_too_small)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		const __u32 first = first_size(call);
		const __u32 sizes[] = { 0, 1, 4, 15, sizeof(struct blipmq_head), first - 8,
					first - 1 };

		scene_open(_metadata, call, &s);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			s.head.size = sizes[i];
			EXPECT_REFUSED(EINVAL, BLIPMQ_REASON_SIZE, &s);
			EXPECT_EQ(call->size, s.head.detail);
		}
		EXPECT_DONE(&s);
		scene_close(&s);
	}
}

TEST(sizes_too_large)
{
	const __u32 sizes[] = { BLIPMQ_STRUCT_MAX + 1, 65536, 1u << 31, ~0u };
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		scene_open(_metadata, call, &s);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			s.head.size = sizes[i];
			EXPECT_REFUSED(E2BIG, BLIPMQ_REASON_SIZE, &s);
			EXPECT_EQ(call->size, s.head.detail);
		}
		EXPECT_DONE(&s);
		scene_close(&s);
	}
}

TEST(tail_not_zero)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		const __u32 places[] = { call->size, call->size + 1, call->size + 9, 1024,
					 BLIPMQ_STRUCT_MAX - 1 };

		scene_open(_metadata, call, &s);
		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			s.bytes[places[i]] = 1;
			s.head.size = places[i] + 1;
			EXPECT_REFUSED(E2BIG, BLIPMQ_REASON_TAIL, &s);
			s.head.size = BLIPMQ_STRUCT_MAX;
			EXPECT_REFUSED(E2BIG, BLIPMQ_REASON_TAIL, &s);
			s.bytes[places[i]] = 0;
		}
		EXPECT_DONE(&s);
		scene_close(&s);
	}
}

TEST(tail_of_zeros)
{
	const __u32 tails[] = { 1, 8, 100, BLIPMQ_STRUCT_MAX };
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
			int ret;

			scene_open(_metadata, call, &s);
			s.head.size = call->size + tails[i];
			if (tails[i] == BLIPMQ_STRUCT_MAX)
				s.head.size = BLIPMQ_STRUCT_MAX;
			/* What lies behind the size given is none of the kernel's business. */
			memset(s.bytes + s.head.size, POISON, sizeof(s.bytes) - s.head.size);
			ret = make_call(&s);
			EXPECT_EQ(0, ret) { TH_LOG("%s + %u", call->name, tails[i]); }
			EXPECT_EQ(BLIPMQ_REASON_NONE, s.head.reason);
			for (__u32 at = call->size; at < sizeof(s.bytes); at++)
				ASSERT_EQ(at < s.head.size ? 0 : POISON, (__u8)s.bytes[at]);
			scene_close(&s);
		}
	}
}

/* A program that was compiled with the first struct gets that much and no more. */
TEST(sizes_of_older_callers)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		for (__u32 size = first_size(call); size < call->size; size++) {
			scene_open(_metadata, call, &s);
			s.head.size = size;
			memset(s.bytes + size, POISON, sizeof(s.bytes) - size);
			EXPECT_EQ(0, make_call(&s)) { TH_LOG("%s, %u", call->name, size); }
			EXPECT_EQ(BLIPMQ_REASON_NONE, s.head.reason);
			for (__u32 at = size; at < sizeof(s.bytes); at++)
				ASSERT_EQ(POISON, (__u8)s.bytes[at]);
			scene_close(&s);
		}
	}
}

TEST(flags_unknown)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		scene_open(_metadata, call, &s);
		s.head.size = call->size;
		for (__u32 bit = 1; bit; bit <<= 1) {
			if (bit & call->flags)
				continue;
			s.head.flags = bit;
			EXPECT_REFUSED(EINVAL, BLIPMQ_REASON_FLAGS, &s);
			EXPECT_EQ(bit, s.head.detail);
		}
		s.head.flags = ~0u;
		EXPECT_REFUSED(EINVAL, BLIPMQ_REASON_FLAGS, &s);
		EXPECT_EQ(~call->flags, s.head.detail);
		EXPECT_DONE(&s);
		scene_close(&s);
	}
}

TEST(reserved_not_zero)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		scene_open(_metadata, call, &s);
		s.head.size = call->size;
		for (__u32 at = call->zero; at < call->zero_end; at++) {
			s.bytes[at] = 0x40;
			EXPECT_REFUSED(EINVAL, BLIPMQ_REASON_RESERVED, &s);
			s.bytes[at] = 0;
		}
		EXPECT_DONE(&s);
		scene_close(&s);
	}
}

/* Size, tail, flags, reserved: the first that is wrong is the one that is named. */
TEST(order_of_checks)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		scene_open(_metadata, call, &s);
		s.head.flags = 1u << 31;
		s.head.size = first_size(call) - 1;
		EXPECT_REFUSED(EINVAL, BLIPMQ_REASON_SIZE, &s);
		s.head.size = call->size + 8;
		s.bytes[call->size] = 1;
		EXPECT_REFUSED(E2BIG, BLIPMQ_REASON_TAIL, &s);
		s.bytes[call->size] = 0;
		s.head.size = call->size;
		if (call->zero)
			s.bytes[call->zero] = 1;
		EXPECT_REFUSED(EINVAL, BLIPMQ_REASON_FLAGS, &s);
		if (call->zero)
			s.bytes[call->zero] = 0;
		EXPECT_DONE(&s);
		scene_close(&s);
	}
}

/* They come before the state: a file that has no bus has none afterwards. */
TEST(refused_unbound)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		struct blipmq_info info = { };
		int prepared;

		scene_open(_metadata, call, &s);
		prepared = s.fd;
		s.fd = bus_open(O_RDWR);
		s.head.size = call->size;
		s.head.flags = 1u << 31;
		EXPECT_REFUSED(EINVAL, BLIPMQ_REASON_FLAGS, &s);
		s.head.flags = 0;
		if (call->zero) {
			s.bytes[call->zero] = 1;
			EXPECT_REFUSED(EINVAL, BLIPMQ_REASON_RESERVED, &s);
			s.bytes[call->zero] = 0;
		}
		ASSERT_EQ(0, do_info(s.fd, &info));
		EXPECT_EQ(0, info.endpoint) { TH_LOG("%s", call->name); }
		close(s.fd);
		s.fd = prepared;
		EXPECT_DONE(&s);
		scene_close(&s);
	}
}

TEST(pointer_to_nowhere)
{
	char *hole = before_hole(page_size()) + page_size();
	void *const nowhere[] = { NULL, (void *)8, (void *)(uintptr_t)NOWHERE, (void *)-1, hole };
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		scene_open(_metadata, call, &s);
		for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
			int ret = raw_ioctl(s.fd, call->cmd, nowhere[i]);

			EXPECT_EQ(-EFAULT, ret) { TH_LOG("%s %p", call->name, nowhere[i]); }
		}
		EXPECT_DONE(&s);
		scene_close(&s);
	}
}

TEST(pointer_across_a_hole)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		char *end = before_hole(page_size()) + page_size();
		const __u32 inside[] = { 1, 4, 8, sizeof(struct blipmq_head), call->size - 8,
					 call->size - 1 };
		int ret;

		scene_open(_metadata, call, &s);
		s.head.size = call->size;
		for (size_t i = 0; i < ARRAY_SIZE(inside); i++) {
			memcpy(end - inside[i], s.bytes, inside[i]);
			ret = raw_ioctl(s.fd, call->cmd, end - inside[i]);
			EXPECT_EQ(-EFAULT, ret) {
				TH_LOG("%s, %u bytes of it", call->name, inside[i]);
			}
		}
		/* Memory that ends where the struct does is enough. */
		memcpy(end - call->size, s.bytes, call->size);
		ret = raw_ioctl(s.fd, call->cmd, end - call->size);
		EXPECT_EQ(0, ret) { TH_LOG("%s", call->name); }
		scene_close(&s);
	}
}

TEST(pointer_to_read_only_memory)
{
	const struct call *call;
	struct scene s;

	for (call = calls; call < calls_end; call++) {
		char *page = before_hole(page_size());
		int ret;

		scene_open(_metadata, call, &s);
		s.head.size = call->size;
		memcpy(page, s.bytes, call->size);
		ASSERT_EQ(0, mprotect(page, page_size(), PROT_READ));
		ret = raw_ioctl(s.fd, call->cmd, page);
		EXPECT_EQ(-EFAULT, ret) { TH_LOG("%s", call->name); }
		EXPECT_EQ(0, memcmp(page, s.bytes, call->size));
		scene_close(&s);
	}
}

TEST(numbers_unknown)
{
	struct scene s = { .head.size = sizeof(struct blipmq_head) };
	int fd = bus_open(O_RDWR);

	ASSERT_LE(0, fd);
	for (unsigned int nr = 0; nr < 256; nr++) {
		if (nr > _IOC_NR(BLIPMQ_IOC_TYPE))
			EXPECT_EQ(-ENOTTY, raw_ioctl(fd, _IO(BLIPMQ_IOC_MAGIC, nr), &s.head));
		EXPECT_EQ(-ENOTTY, raw_ioctl(fd, _IO(BLIPMQ_IOC_MAGIC ^ 1, nr), &s.head));
		EXPECT_EQ(-ENOTTY, raw_ioctl(fd, _IOWR(BLIPMQ_IOC_MAGIC, nr, struct blipmq_head),
					     &s.head));
	}
}

/* The messages are the same for 32-bit programs too. */
TEST(message_through_the_mappings)
{
	struct blipmq_desc desc = { };
	struct consumer c;
	__u64 index;

	ASSERT_EQ(0, consumer_open(&c, 4, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "contract.>", 0x0123456789abcdefULL));
	for (__u64 i = 0; i < 100; i++) {
		char text[32];
		int len = sprintf(text, "message %llu", i);

		ASSERT_EQ(1, publish(c.fd, "contract.narrow.or.wide", text, len));
		ASSERT_EQ(1, consumer_claim(&c, &desc, 1, &index));
		EXPECT_EQ(i, index);
		EXPECT_EQ(0x0123456789abcdefULL, desc.cookie);
		ASSERT_EQ(len, desc_length(&desc));
		EXPECT_EQ(0, memcmp(text, consumer_payload(&c, &desc), len));
		EXPECT_EQ(len, consumer_header(&c, &desc)->length);
		EXPECT_STREQ("contract.narrow.or.wide", consumer_subject(&c, &desc));
		consumer_release(&c, index + 1);
	}
	consumer_close(&c);
}

/* A caller of either width sees the struct that the kernel was compiled with. */
TEST(struct_sizes)
{
	EXPECT_EQ(16, sizeof(struct blipmq_head));
	EXPECT_EQ(64, sizeof(struct blipmq_header));
	EXPECT_EQ(16, sizeof(struct blipmq_desc));
	EXPECT_EQ(56, sizeof(struct blipmq_message));
	EXPECT_EQ(16, sizeof(struct blipmq_block));
	EXPECT_EQ(16, sizeof(struct blipmq_result));
	EXPECT_EQ(144, sizeof(struct blipmq_info));
	EXPECT_EQ(96, sizeof(struct blipmq_bind));
	EXPECT_EQ(80, sizeof(struct blipmq_ring));
	EXPECT_EQ(64, sizeof(struct blipmq_subscribe));
	EXPECT_EQ(24, sizeof(struct blipmq_unsubscribe));
	EXPECT_EQ(64, sizeof(struct blipmq_topic));
	EXPECT_EQ(48, sizeof(struct blipmq_type));
	EXPECT_EQ(24, sizeof(struct blipmq_topic_close));
	EXPECT_EQ(56, sizeof(struct blipmq_publish));
	EXPECT_EQ(40, sizeof(struct blipmq_wait));
	EXPECT_EQ(32, sizeof(struct blipmq_keep));
	EXPECT_EQ(24, sizeof(struct blipmq_drop_kept));
	EXPECT_EQ(120, sizeof(struct blipmq_recv));
	EXPECT_EQ(192, offsetof(struct blipmq_ring_page, drops[16]));
	EXPECT_EQ(128, sizeof(struct blipmq_control));
}

TEST_HARNESS_MAIN
