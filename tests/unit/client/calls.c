// SPDX-License-Identifier: GPL-2.0
/*
 * What the library asks of the kernel: a kernel that notes each call stands in for it.
 * Publishing in place is compared, message by message, with a model of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <blipmq/headers.h>

#include "endpoint.h"
#include "test.h"

#define WATCHDOG	120
#define MESSAGES_MAX	4096

/* One message as it arrived, from an array or from a block. */
struct arrived {
	uint32_t handle;
	uint32_t length;
	uint32_t sum;		/* of the payload */
	uint32_t headers_len;
	uint32_t headers_sum;	/* of the user headers */
	char subject[BLIPMQ_SUBJECT_MAX + 1];
};

/* The kernel: what it got, and what it is to answer. */
static struct {
	unsigned long request;		/* of the last call */
	unsigned int calls;
	struct arrived arrived[MESSAGES_MAX];
	unsigned int nr;
	unsigned int accept;		/* messages from now on; then @error */
	int error;
	uint32_t reason;
	uint32_t detail;
	uint32_t flags;			/* of the last publish */
	unsigned int nr_handles;	/* these have subjects of so many bytes */
	uint8_t subject_len[256];
	uint64_t type;			/* of the topic that was opened last */
	char type_name[BLIPMQ_TYPE_NAME_MAX + 1];
	struct blipmq_recv recv;	/* the message that waits */
	bool waits;
} kernel;

static uint32_t sum_of(const void *data, size_t length)
{
	const uint8_t *byte = data;
	uint32_t sum = 0;

	while (length--)
		sum = sum * 31 + *byte++;
	return sum;
}

static bool accept(void)
{
	if (!kernel.accept)
		return false;
	kernel.accept--;
	return EXPECT(kernel.nr < MESSAGES_MAX);
}

static unsigned int take_messages(const struct blipmq_message *m, unsigned int nr)
{
	struct arrived *a;
	unsigned int i;

	for (i = 0; i < nr && accept(); i++) {
		a = &kernel.arrived[kernel.nr++];
		memset(a, 0, sizeof(*a));
		a->handle = m[i].handle;
		a->length = m[i].length;
		a->sum = sum_of((void *)(uintptr_t)m[i].data, a->length);
		EXPECT(!m[i].handle || (!m[i].subject && !m[i].subject_len));
		EXPECT(!m[i].ttl && !m[i].reply);
		a->headers_len = m[i].headers_len;
		a->headers_sum = sum_of((void *)(uintptr_t)m[i].headers, a->headers_len);
		if (m[i].subject)
			memcpy(a->subject, (void *)(uintptr_t)m[i].subject, m[i].subject_len);
	}
	return i;
}

static bool is_zero(const uint8_t *byte, const uint8_t *end)
{
	while (byte < end)
		if (*byte++)
			return false;
	return true;
}

/* Takes the message of a block. Returns its bytes, 0 if there is something wrong. */
static size_t block_message(const uint8_t *data, size_t left, struct arrived *a)
{
	struct blipmq_header header, expected = {};
	const uint8_t *headers;
	size_t size;

	if (!EXPECT(left >= sizeof(header)))
		return 0;
	memcpy(&header, data, sizeof(header));
	expected.length = header.length;
	expected.topic = header.topic;
	expected.headers_len = header.headers_len;
	EXPECT(!memcmp(&header, &expected, sizeof(header)));
	if (!EXPECT(header.topic && header.topic <= kernel.nr_handles))
		return 0;
	size = sizeof(header) + (header.length + 7) / 8 * 8 + kernel.subject_len[header.topic];
	if (header.headers_len)
		size = (size + 7) / 8 * 8;
	headers = data + size;
	size += header.headers_len;
	size = (size + BLIPMQ_ALIGN - 1) / BLIPMQ_ALIGN * BLIPMQ_ALIGN;
	if (!EXPECT(size <= left))
		return 0;
	/* Nothing that was not meant to be published goes along. */
	EXPECT(is_zero(data + sizeof(header) + header.length, headers));
	EXPECT(is_zero(headers + header.headers_len, data + size));
	memset(a, 0, sizeof(*a));
	a->handle = header.topic;
	a->length = header.length;
	a->sum = sum_of(data + sizeof(header), a->length);
	a->headers_len = header.headers_len;
	a->headers_sum = sum_of(headers, a->headers_len);
	return size;
}

static unsigned int take_blocks(const struct blipmq_block *block, unsigned int nr)
{
	unsigned int done = 0, messages, i;
	const uint8_t *data, *end;
	struct arrived *a;
	size_t size;

	for (i = 0; i < nr; i++) {
		EXPECT(block[i].length && !(block[i].length % BLIPMQ_ALIGN));
		EXPECT(block[i].length <= BLIPMQ_BLOCK_MAX && block[i].nr);
		data = (const uint8_t *)(uintptr_t)block[i].data;
		end = data + block[i].length;
		for (messages = 0; data < end && accept(); messages++, data += size) {
			a = &kernel.arrived[kernel.nr++];
			size = block_message(data, end - data, a);
			if (!size)
				return done;
		}
		done += messages;
		if (data < end)
			return done;
		EXPECT(messages == block[i].nr);
	}
	return done;
}

static int call_publish(struct blipmq_publish *p)
{
	struct blipmq_result *results = (void *)(uintptr_t)p->results;
	const void *elements = (void *)(uintptr_t)p->messages;
	unsigned int i;

	EXPECT(p->nr && p->nr <= BLIPMQ_BATCH_MAX);
	kernel.flags = p->head.flags;
	if (p->head.flags & BLIPMQ_PUBLISH_BLOCKS)
		p->done = take_blocks(elements, p->nr);
	else
		p->done = take_messages(elements, p->nr);
	EXPECT(p->done <= BLIPMQ_BATCH_MAX);
	for (i = 0; results && i < p->done; i++)
		results[i] = (struct blipmq_result){ .seq = kernel.nr - p->done + i + 1,
						     .delivered = 3 };
	if (kernel.accept)
		return 0;
	p->error = kernel.error;
	p->head.reason = kernel.reason;
	p->head.detail = kernel.detail;
	return p->done ? 0 : kernel.error;
}

static int call_topic(struct blipmq_topic *topic)
{
	kernel.type = topic->type;
	EXPECT(topic->type_name_len < sizeof(kernel.type_name));
	if (topic->type_name_len)
		memcpy(kernel.type_name, (void *)(uintptr_t)topic->type_name,
		       topic->type_name_len);
	kernel.type_name[topic->type_name_len] = '\0';
	topic->handle = ++kernel.nr_handles;
	topic->topic = 1000 + topic->handle;
	kernel.subject_len[topic->handle] = topic->subject_len;
	return 0;
}

static int call_type(struct blipmq_type *type)
{
	uint32_t len = strlen(kernel.type_name);

	EXPECT(!type->head.flags && type->topic == 1001);
	EXPECT(type->name || !type->name_size);
	type->type = kernel.type;
	type->name_len = len;
	if (type->name_size)
		memcpy((void *)(uintptr_t)type->name, kernel.type_name,
		       len < type->name_size ? len : type->name_size);
	return 0;
}

static int call_recv(struct blipmq_recv *recv)
{
	static const char subject[] = "some.subject";
	uint32_t length = kernel.recv.desc.length & BLIPMQ_DESC_LENGTH;
	static char trailer[BLIPMQ_TRAILER_MAX];

	EXPECT(recv->head.flags == BLIPMQ_RECV_NONBLOCK);
	if (!kernel.waits)
		return -EAGAIN;
	recv->desc = kernel.recv.desc;
	recv->header = kernel.recv.header;
	if (recv->payload_size < length) {
		recv->head.reason = BLIPMQ_REASON_BUFFER;
		recv->head.detail = length;
		return -EMSGSIZE;
	}
	memset((void *)(uintptr_t)recv->payload, 'p', length);
	EXPECT(!recv->trailer || recv->trailer_size >= recv->header.subject_len);
	memset(trailer, 0, sizeof(trailer));
	memcpy(trailer, subject, recv->header.subject_len);
	memset(trailer + 16, 'h', recv->header.headers_len);
	if (recv->trailer)
		memcpy((void *)(uintptr_t)recv->trailer, trailer,
		       recv->header.trailer_len < recv->trailer_size ?
		       recv->header.trailer_len : recv->trailer_size);
	kernel.waits = false;
	return 0;
}

static int call_subscribe(struct blipmq_subscribe *sub)
{
	EXPECT(sub->pattern_len == strlen("a.*.>"));
	EXPECT(!memcmp((void *)(uintptr_t)sub->pattern, "a.*.>", sub->pattern_len));
	EXPECT(sub->cookie == 77);
	sub->id = 5;
	return 0;
}

/* Instead of the library's own. */
int blipmq__ioctl(int fd, unsigned long request, struct blipmq_head *head)
{
	(void)fd;
	kernel.request = request;
	kernel.calls++;
	switch (request) {
	case BLIPMQ_IOC_PUBLISH:
		return call_publish((void *)head);
	case BLIPMQ_IOC_TOPIC:
		return call_topic((void *)head);
	case BLIPMQ_IOC_TYPE:
		return call_type((void *)head);
	case BLIPMQ_IOC_RECV:
		return call_recv((void *)head);
	case BLIPMQ_IOC_SUBSCRIBE:
		return call_subscribe((void *)head);
	default:
		head->reason = kernel.reason;
		head->detail = kernel.detail;
		return kernel.error;
	}
}

static void kernel_reset(void)
{
	memset(&kernel, 0, sizeof(kernel));
	kernel.accept = MESSAGES_MAX;
}

static void endpoint_make(struct blipmq *b, unsigned int flags)
{
	kernel_reset();
	memset(b, 0, sizeof(*b));
	b->fd = -1;
	b->flags = flags;
	pthread_mutex_init(&b->lock, NULL);
}

static bool error_is(int error, uint32_t reason, uint32_t detail)
{
	const struct blipmq_error *last = blipmq_last_error();

	return last->error == error && last->reason == reason && last->detail == detail;
}

static void test_open(void)
{
	char url[BLIPMQ_NAME_MAX + 16] = "blipmq:";
	struct blipmq *b = (void *)1;

	EXPECT(blipmq_open("tcp://127.0.0.1:4222", 0, &b) == -EPROTONOSUPPORT && !b);
	EXPECT(error_is(-EPROTONOSUPPORT, BLIPMQ_REASON_TRANSPORT, 0));
	EXPECT(blipmq_open("default", 0, &b) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_URL, 0));
	EXPECT(blipmq_open("blipmq:", 0, &b) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_URL_NAME, BLIPMQ_NAME_MAX - 1));
	memset(url + strlen(url), 'n', BLIPMQ_NAME_MAX);
	EXPECT(blipmq_open(url, 0, &b) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_URL_NAME, BLIPMQ_NAME_MAX - 1));
	EXPECT(blipmq_open(NULL, 1u << 31, &b) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_OPTIONS, 0));
	blipmq_close(NULL);
	test_done("open: addresses and flags that are refused");
}

static void test_ring_opts(void)
{
	struct {
		struct blipmq_ring_opts opts;
		uint32_t later;
	} newer = { .opts = { .sz = sizeof(newer), .flags = BLIPMQ_RING_COPY }, .later = 1 };
	struct blipmq_ring_opts opts = { .sz = sizeof(opts), .flags = BLIPMQ_RING_YIELD << 1 };
	struct blipmq b;
	uint32_t id;

	endpoint_make(&b, 0);
	EXPECT(blipmq_ring(&b, &opts) == -EINVAL && error_is(-EINVAL, BLIPMQ_REASON_OPTIONS, 0));
	opts.flags = BLIPMQ_RING_COPY;
	opts.spin_us = BLIPMQ_SPIN_US_MAX + 1;
	EXPECT(blipmq_ring(&b, &opts) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_SPIN, BLIPMQ_SPIN_US_MAX));
	opts.spin_us = 0;
	opts.sz = 0;
	EXPECT(blipmq_ring(&b, &opts) == -EINVAL && error_is(-EINVAL, BLIPMQ_REASON_OPTIONS, 0));
	EXPECT(blipmq_ring(&b, &newer.opts) == -EINVAL);
	EXPECT(!kernel.calls);

	opts.sz = offsetof(struct blipmq_ring_opts, held);
	opts.held = 12345;	/* beyond sz: not looked at */
	EXPECT(!blipmq_ring(&b, &opts) && kernel.calls == 1);
	EXPECT(b.consume == CONSUME_COPYING && b.entries == BLIPMQ_ENTRIES_DEFAULT);
	b.consume = CONSUME_NOT;
	newer.later = 0;
	EXPECT(!blipmq_ring(&b, &newer.opts) && b.consume == CONSUME_COPYING);
	EXPECT(!blipmq_subscribe(&b, "a.*.>", 77, &id) && id == 5 && kernel.calls == 3);
	test_done("ring: options of other versions, and what is wrong with them");
}

static void test_errors(void)
{
	struct blipmq_info info;
	struct blipmq_stats stats;
	struct blipmq b;

	endpoint_make(&b, 0);
	memset(&info, 0xcc, sizeof(info));
	EXPECT(!blipmq_info(&b, &info, sizeof(info)) && kernel.request == BLIPMQ_IOC_INFO);
	EXPECT(info.head.size == sizeof(info) && !info.head.flags && !info.budget);
	memset(&stats, 0xcc, sizeof(stats));
	EXPECT(!blipmq_stats(&b, BLIPMQ_STATS_SUBSCRIPTION, 9, &stats, sizeof(stats)));
	EXPECT(stats.head.size == sizeof(stats) && stats.id == 9 && !stats.delivered);
	EXPECT(stats.kind == BLIPMQ_STATS_SUBSCRIPTION);
	kernel.error = -ENOENT;
	kernel.reason = BLIPMQ_REASON_SUBSCRIPTION;
	kernel.detail = 9;
	EXPECT(blipmq_unsubscribe(&b, 9) == -ENOENT);
	EXPECT(error_is(-ENOENT, BLIPMQ_REASON_SUBSCRIPTION, 9));
	EXPECT(blipmq_topic_close(&b, &(struct blipmq_handle){ .handle = 1 }) == -ENOENT);
	test_done("errors of the kernel come with their reason");
}

/* ---- Publishing ---- */

static void test_publish(void)
{
	struct blipmq_result result;
	struct blipmq_handle topic;
	struct blipmq b;

	endpoint_make(&b, BLIPMQ_OPEN_NONBLOCK);
	memset(&result, 0xcc, sizeof(result));
	EXPECT(!blipmq_publish(&b, "some.subject", "12345", 5, &result));
	EXPECT(kernel.flags == BLIPMQ_PUBLISH_NONBLOCK && kernel.nr == 1);
	EXPECT(!strcmp(kernel.arrived[0].subject, "some.subject"));
	EXPECT(kernel.arrived[0].length == 5 && kernel.arrived[0].sum == sum_of("12345", 5));
	EXPECT(result.seq == 1 && result.delivered == 3 && !result.error);
	EXPECT(!blipmq_topic_open(&b, "some.subject", 0, &topic));
	EXPECT(topic.handle == 1 && topic.subject_len == 12 && topic.topic == 1001);
	EXPECT(!blipmq_publish_topic(&b, &topic, NULL, 0, NULL));
	EXPECT(kernel.arrived[1].handle == 1 && !kernel.arrived[1].length);

	kernel.accept = 0;
	kernel.error = -EMSGSIZE;
	kernel.reason = BLIPMQ_REASON_MESSAGE_SIZE;
	kernel.detail = 4096;
	EXPECT(blipmq_publish_topic(&b, &topic, "1", 1, &result) == -EMSGSIZE);
	EXPECT(error_is(-EMSGSIZE, BLIPMQ_REASON_MESSAGE_SIZE, 4096));
	EXPECT(!result.seq && !result.delivered && result.error == -EMSGSIZE);
	EXPECT(result.reason == BLIPMQ_REASON_MESSAGE_SIZE);
	test_done("publish: by name, by handle, and refused");
}

static void test_headers(void)
{
	char room[] = "any bytes";
	const struct blipmq_headers headers = { room, sizeof(room), 9 };
	const struct blipmq_headers many = { NULL, 1 << 17, UINT16_MAX + 10 };
	struct blipmq_message message = blipmq_message_subject("a", 1, "12345", 5);
	struct blipmq b;

	endpoint_make(&b, 0);
	blipmq_message_headers(&message, &headers);
	EXPECT(blipmq_publish_batch(&b, &message, 1, NULL) == 1);
	EXPECT(kernel.arrived[0].length == 5 && kernel.arrived[0].sum == sum_of("12345", 5));
	EXPECT(kernel.arrived[0].headers_len == 9);
	EXPECT(kernel.arrived[0].headers_sum == sum_of(room, 9));
	/* Not cut to some that would pass. */
	blipmq_message_headers(&message, &many);
	EXPECT(message.headers_len > BLIPMQ_HEADERS_MAX);
	test_done("publish: user headers go as they are");
}

static void test_types(void)
{
	struct blipmq_handle topic;
	struct blipmq b;
	uint64_t type;
	char name[8];

	/* As the algorithm's authors give them. */
	EXPECT(blipmq_type_id("") == 0xcbf29ce484222325ULL);
	EXPECT(blipmq_type_id("a") == 0xaf63dc4c8601ec8cULL);
	EXPECT(blipmq_type_id("foobar") == 0x85944171f73967e8ULL);
	endpoint_make(&b, 0);
	EXPECT(blipmq_topic_open_typed(&b, "a.*", 0, 1, NULL, &topic) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_WILDCARD, 2) && !kernel.calls);
	EXPECT(!blipmq_topic_open_typed(&b, "a.b", 0, 77, "sample/2", &topic));
	EXPECT(topic.topic == 1001 && kernel.type == 77 && !strcmp(kernel.type_name, "sample/2"));
	EXPECT(!blipmq_topic_type(&b, topic.topic, &type, NULL, 0) && type == 77);
	memset(name, 'x', sizeof(name));
	EXPECT(!blipmq_topic_type(&b, topic.topic, &type, name, 6) && !strcmp(name, "sampl"));
	EXPECT(name[6] == 'x' && name[7] == 'x');
	EXPECT(!blipmq_topic_type(&b, topic.topic, &type, name, 1) && !name[0]);
	EXPECT(!blipmq_topic_open_typed(&b, "a.b", 0, 78, NULL, &topic) && kernel.type == 78);
	EXPECT(!blipmq_topic_open(&b, "a.b", 0, &topic) && !kernel.type);
	test_done("topics: types are stated and asked for");
}

static void test_wildcards(void)
{
	static const struct {
		const char *subject;
		uint32_t token;
	} cases[] = {
		{ "*", 1 }, { ">", 1 }, { "a.*", 2 }, { "a.>", 2 }, { "a.*.c", 2 }, { "a.b*.>", 3 },
		{ "a.b*", 0 }, { "*a.b", 0 }, { "a.>>", 0 }, { "a.**.c", 0 }, { "a.b", 0 },
	};
	struct blipmq_handle topic;
	struct blipmq b;
	unsigned int i;
	int expected;

	endpoint_make(&b, 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		expected = 0;
		if (cases[i].token)
			expected = -EINVAL;
		EXPECT(blipmq_publish(&b, cases[i].subject, NULL, 0, NULL) == expected);
		EXPECT(!expected || error_is(-EINVAL, BLIPMQ_REASON_WILDCARD, cases[i].token));
		EXPECT(blipmq_topic_open(&b, cases[i].subject, 0, &topic) == expected);
	}
	EXPECT(kernel.nr == 5 && kernel.nr_handles == 5);
	b.flags = BLIPMQ_OPEN_LITERAL;
	EXPECT(!blipmq_publish(&b, "a.*", NULL, 0, NULL) && kernel.nr == 6);
	test_done("publish: wildcards are refused, unless they are letters");
}

static void test_batch(void)
{
	enum { N = 2 * BLIPMQ_BATCH_MAX + 100 };
	static struct blipmq_message messages[N];
	static struct blipmq_result results[N];
	static uint32_t numbers[N];
	struct blipmq_handle topic = { .handle = 7 };
	struct blipmq b;
	unsigned int i;

	endpoint_make(&b, 0);
	for (i = 0; i < N; i++) {
		numbers[i] = i;
		messages[i] = blipmq_message_topic(&topic, &numbers[i], sizeof(numbers[i]));
	}
	EXPECT(blipmq_publish_batch(&b, messages, N, results) == N && kernel.calls == 3);
	for (i = 0; i < N; i++)
		EXPECT(kernel.arrived[i].sum == sum_of(&i, sizeof(i)) && results[i].seq == i + 1);

	kernel_reset();
	kernel.accept = BLIPMQ_BATCH_MAX + 5;
	kernel.error = -EAGAIN;
	kernel.reason = BLIPMQ_REASON_ROOM;
	EXPECT(blipmq_publish_batch(&b, messages, N, results) == BLIPMQ_BATCH_MAX + 5);
	EXPECT(error_is(-EAGAIN, BLIPMQ_REASON_ROOM, 0) && kernel.calls == 2);
	EXPECT(results[BLIPMQ_BATCH_MAX + 5].error == -EAGAIN);
	EXPECT(results[BLIPMQ_BATCH_MAX + 5].reason == BLIPMQ_REASON_ROOM);
	EXPECT(blipmq_publish_batch(&b, messages, N, NULL) == -EAGAIN);

	kernel_reset();
	messages[BLIPMQ_BATCH_MAX + 3] = blipmq_message_subject("x.*", 3, NULL, 0);
	EXPECT(blipmq_publish_batch(&b, messages, N, results) == BLIPMQ_BATCH_MAX + 3);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_WILDCARD, 2));
	EXPECT(results[BLIPMQ_BATCH_MAX + 3].reason == BLIPMQ_REASON_WILDCARD);
	EXPECT(blipmq_publish_batch(&b, messages + BLIPMQ_BATCH_MAX + 3, 2, NULL) == -EINVAL);
	EXPECT(kernel.nr == BLIPMQ_BATCH_MAX + 3);
	test_done("publish: a batch of any length, and where it stops");
}

/* ---- Publishing in place ---- */

static void test_writer_refusals(void)
{
	struct blipmq_writer_opts opts = { .sz = sizeof(opts), .block_size = 4096, .blocks = 2 };
	struct blipmq_handle topic;
	struct blipmq_writer *w = (void *)1;
	unsigned int most = 4096 - 64 - 8;
	void *data;
	struct blipmq b;

	endpoint_make(&b, 0);
	EXPECT(!blipmq_topic_open(&b, "eight.by", 0, &topic));
	opts.block_size = 4095;
	EXPECT(blipmq_writer_open(&b, &opts, &w) == -EINVAL && !w);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_BLOCK_SIZE, 0));
	opts.block_size = BLIPMQ_BLOCK_MAX + 4096;
	EXPECT(blipmq_writer_open(&b, &opts, &w) == -EINVAL);
	opts.block_size = 4096;
	opts.blocks = BLIPMQ_BATCH_MAX + 1;
	EXPECT(blipmq_writer_open(&b, &opts, &w) == -EINVAL);
	opts.blocks = 2;
	EXPECT(!blipmq_writer_open(&b, &opts, &w));

	EXPECT(blipmq_commit(w, 0) == -EINVAL && blipmq_abort(w) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_STAGE_NONE, 0));
	EXPECT(!blipmq_flush(w, NULL) && kernel.calls == 1);
	EXPECT(blipmq_reserve(w, &topic, most + 1, &data) == -EMSGSIZE);
	EXPECT(error_is(-EMSGSIZE, BLIPMQ_REASON_STAGE_SIZE, most));
	EXPECT(!blipmq_reserve(w, &topic, most, &data) && !((uintptr_t)data % BLIPMQ_ALIGN));
	EXPECT(blipmq_reserve(w, &topic, 1, &data) == -EBUSY && blipmq_flush(w, NULL) == -EBUSY);
	EXPECT(blipmq_commit(w, most + 1) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_STAGE_GREW, most));
	memset(data, 1, most);
	EXPECT(!blipmq_commit(w, most) && blipmq_staged(w) == 1);
	EXPECT(!blipmq_reserve(w, &topic, most, &data) && !blipmq_commit(w, 0));
	EXPECT(!blipmq_reserve(w, &topic, most - 128, &data) && !blipmq_commit(w, most - 128));
	EXPECT(blipmq_reserve(w, &topic, 1, &data) == -ENOBUFS);
	EXPECT(error_is(-ENOBUFS, BLIPMQ_REASON_STAGE_FULL, 0));
	EXPECT(blipmq_flush(w, NULL) == 3 && !blipmq_staged(w) && kernel.nr == 3);
	kernel.accept = 0;
	kernel.error = -ENOBUFS;
	EXPECT(!blipmq_reserve(w, &topic, 1, &data) && !blipmq_commit(w, 1));
	EXPECT(!blipmq_reserve(w, &topic, 1, &data));
	EXPECT(blipmq_writer_close(w) == 1);
	test_done("writer: what is refused, and the exact limits");
}

static void test_writer_headers(void)
{
	struct blipmq_writer_opts opts = { .sz = sizeof(opts), .block_size = 4096, .blocks = 1 };
	static char room[BLIPMQ_HEADERS_MAX + 1];
	struct blipmq_headers headers = { room, sizeof(room), sizeof(room) };
	struct blipmq_extras extras = { .sz = sizeof(extras), .headers = &headers };
	struct {
		struct blipmq_extras extras;
		uint64_t later;
	} newer = { { .sz = sizeof(newer) }, .later = 1 };
	struct blipmq_handle topic;
	struct blipmq_writer *w;
	unsigned int most = 4096 - 64 - 16;
	struct blipmq b;
	void *data;

	endpoint_make(&b, 0);
	memset(room, 'h', sizeof(room));
	EXPECT(!blipmq_topic_open(&b, "nine.byte", 0, &topic));
	EXPECT(!blipmq_writer_open(&b, &opts, &w));
	EXPECT(blipmq_reserve_with(w, &topic, 1, &newer.extras, &data) == -EINVAL);
	EXPECT(error_is(-EINVAL, BLIPMQ_REASON_OPTIONS, 0));
	EXPECT(blipmq_reserve_with(w, &topic, 1, &extras, &data) == -EMSGSIZE);
	EXPECT(error_is(-EMSGSIZE, BLIPMQ_REASON_HEADERS_SIZE, BLIPMQ_HEADERS_MAX));
	headers.len = BLIPMQ_HEADERS_MAX;
	EXPECT(blipmq_reserve_with(w, &topic, 0, &extras, &data) == -EMSGSIZE);
	EXPECT(error_is(-EMSGSIZE, BLIPMQ_REASON_STAGE_SIZE, 0));
	headers.len = most + 1;
	EXPECT(blipmq_reserve_with(w, &topic, 0, &extras, &data) == -EMSGSIZE);
	headers.len = most - 80;
	EXPECT(blipmq_reserve_with(w, &topic, 81, &extras, &data) == -EMSGSIZE);
	EXPECT(error_is(-EMSGSIZE, BLIPMQ_REASON_STAGE_SIZE, 80));
	EXPECT(blipmq_reserve_with(w, &topic, SIZE_MAX, &extras, &data) == -EMSGSIZE);
	EXPECT(blipmq_reserve(w, &topic, SIZE_MAX - 64, &data) == -EMSGSIZE);
	EXPECT(!blipmq_reserve_with(w, &topic, 80, &extras, &data));
	memset(data, 'p', 80);
	EXPECT(!blipmq_commit(w, 80) && blipmq_flush(w, NULL) == 1);
	headers.len = most;
	EXPECT(!blipmq_reserve_with(w, &topic, 0, &extras, &data));
	EXPECT(!blipmq_commit(w, 0) && blipmq_flush(w, NULL) == 1);
	EXPECT(kernel.nr == 2 && kernel.arrived[1].headers_len == most);
	EXPECT(kernel.arrived[1].headers_sum == sum_of(room, most));
	newer.later = 0;
	EXPECT(!blipmq_reserve_with(w, &topic, 1, &newer.extras, &data) && !blipmq_abort(w));
	EXPECT(!blipmq_reserve_with(w, &topic, 1, NULL, &data) && !blipmq_abort(w));
	EXPECT(!blipmq_writer_close(w));
	test_done("writer: user headers, and the exact limits");
}

#define TOPICS	3

/* What is committed and not published, in order. */
struct model {
	struct arrived queue[BLIPMQ_BATCH_MAX + 1];
	unsigned int nr;
};

static void model_remove(struct model *model, unsigned int n)
{
	memmove(model->queue, model->queue + n, (model->nr - n) * sizeof(model->queue[0]));
	model->nr -= n;
}

static void random_reserve(struct blipmq_writer *w, struct model *model,
			   const struct blipmq_handle *topics)
{
	const struct blipmq_handle *topic = &topics[rand() % TOPICS];
	size_t length = rand() % (rand() % 8 ? 100 : 3000);
	size_t used = rand() % 2 ? length : rand() % (length + 1);
	struct blipmq_headers headers = { NULL, 0, rand() % 4 ? 0 : rand() % 200 };
	struct blipmq_extras extras = { .sz = sizeof(extras), .headers = &headers };
	uint8_t *data;
	size_t i;
	int error;

	headers.data = malloc(headers.len);
	for (i = 0; i < headers.len; i++)
		((uint8_t *)headers.data)[i] = rand() | 1;
	model->queue[model->nr].headers_len = headers.len;
	model->queue[model->nr].headers_sum = sum_of(headers.data, headers.len);
	error = blipmq_reserve_with(w, topic, length, &extras, (void **)&data);
	free(headers.data);
	EXPECT(!error || error == -ENOBUFS);
	if (error)
		return;
	for (i = 0; i < length; i++)
		data[i] = rand() | 1;
	if (!(rand() % 8)) {
		EXPECT(!blipmq_abort(w));
		return;
	}
	model->queue[model->nr].handle = topic->handle;
	model->queue[model->nr].length = used;
	model->queue[model->nr++].sum = sum_of(data, used);
	EXPECT(!blipmq_commit(w, used));
}

static void random_flush(struct blipmq_writer *w, struct model *model)
{
	static struct blipmq_result results[BLIPMQ_BATCH_MAX];
	unsigned int accepted = model->nr, i;
	int done;

	kernel.nr = 0;
	kernel.accept = MESSAGES_MAX;
	kernel.error = -EAGAIN;
	if (model->nr && rand() % 2) {
		accepted = rand() % model->nr;
		kernel.accept = accepted;
	}
	done = blipmq_flush(w, results);
	EXPECT(done == (accepted || !model->nr ? (int)accepted : -EAGAIN));
	EXPECT(kernel.nr == accepted);
	for (i = 0; i < accepted && i < kernel.nr; i++) {
		EXPECT(!memcmp(&kernel.arrived[i], &model->queue[i], sizeof(model->queue[i])));
		EXPECT(results[i].seq == i + 1);
	}
	model_remove(model, accepted);
	EXPECT(!model->nr || results[accepted].error == -EAGAIN);
}

static void test_writer_model(void)
{
	static const char *const subjects[TOPICS] = {
		"a", "a.subject.of.40.bytes.to.be.padded.to.64", "topic.3"
	};
	static struct model model;
	struct blipmq_writer_opts opts = { .sz = sizeof(opts), .block_size = 4096, .blocks = 5 };
	struct blipmq_handle topics[TOPICS];
	struct blipmq_writer *w;
	struct blipmq b;
	unsigned int i;

	endpoint_make(&b, 0);
	for (i = 0; i < TOPICS; i++)
		EXPECT(!blipmq_topic_open(&b, subjects[i], 0, &topics[i]));
	EXPECT(!blipmq_writer_open(&b, &opts, &w));
	srand(1);
	for (i = 0; i < 20000; i++) {
		if (rand() % 32) {
			random_reserve(w, &model, topics);
		} else if (rand() % 8) {
			random_flush(w, &model);
		} else {
			unsigned int n = rand() % 20;

			EXPECT(blipmq_discard(w, n) == (n < model.nr ? n : model.nr));
			model_remove(&model, n < model.nr ? n : model.nr);
		}
		EXPECT(blipmq_staged(w) == model.nr);
	}
	kernel.nr = 0;
	kernel.accept = MESSAGES_MAX;
	EXPECT(!blipmq_writer_close(w) && kernel.nr == model.nr);
	test_done("writer: as a model of it, with flushes that stop anywhere");
}

static void test_writer_full(void)
{
	const struct blipmq_writer_opts opts = { .sz = sizeof(opts), .block_size = 65536,
						 .blocks = 4 };
	struct blipmq_handle topic;
	struct blipmq_writer *w;
	struct blipmq b;
	unsigned int n = 0;
	void *data;

	endpoint_make(&b, 0);
	EXPECT(!blipmq_topic_open(&b, "a", 0, &topic));
	EXPECT(!blipmq_writer_open(&b, &opts, &w));
	while (!blipmq_reserve(w, &topic, 0, &data) && !blipmq_commit(w, 0))
		n++;
	EXPECT(n == BLIPMQ_BATCH_MAX && error_is(-ENOBUFS, BLIPMQ_REASON_STAGE_FULL, 0));
	kernel.calls = 0;
	EXPECT(blipmq_flush(w, NULL) == BLIPMQ_BATCH_MAX && kernel.calls == 1);
	EXPECT(!blipmq_writer_close(w));
	test_done("writer: never more messages than one call takes");
}

/* ---- Receiving by copying ---- */

static void test_recv(void)
{
	struct blipmq_received message;
	struct blipmq b;
	char data[32];

	endpoint_make(&b, 0);
	b.consume = CONSUME_COPYING;
	b.entries = 8;
	b.fd = eventfd(0, 0);
	EXPECT(blipmq_recv(&b, data, sizeof(data), NULL, 0) == -EAGAIN && kernel.calls == 1);
	EXPECT(blipmq_recv(&b, data, sizeof(data), NULL, BLIPMQ_MSEC) == -EAGAIN);
	EXPECT(blipmq_wait(&b, 1, 0, BLIPMQ_MSEC) == -EAGAIN);
	EXPECT(error_is(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0));

	kernel.recv.desc.length = 20 | BLIPMQ_DESC_GAP;
	kernel.recv.desc.cookie = 99;
	kernel.recv.header.length = 20;
	kernel.recv.header.seq = 4;
	kernel.recv.header.subject_len = 12;
	kernel.recv.header.trailer_len = 12;
	kernel.waits = true;
	EXPECT(!eventfd_write(b.fd, 1) && !blipmq_wait(&b, 1, 0, BLIPMQ_FOREVER));
	memset(&message, 0xcc, sizeof(message));
	EXPECT(blipmq_recv(&b, data, 19, &message, BLIPMQ_FOREVER) == -EMSGSIZE);
	EXPECT(error_is(-EMSGSIZE, BLIPMQ_REASON_BUFFER, 20) && message.length == 20);
	memset(data, 0xcc, sizeof(data));
	EXPECT(blipmq_recv(&b, data, sizeof(data), &message, BLIPMQ_FOREVER) == 20);
	EXPECT(!memcmp(data, "pppppppppppppppppppp\xcc", 21));
	EXPECT(!strcmp(message.subject, "some.subject") && message.subject_len == 12);
	EXPECT(message.cookie == 99 && message.flags == BLIPMQ_DESC_GAP);
	EXPECT(message.length == 20 && message.header.seq == 4);
	close(b.fd);
	test_done("recv: without a mapping");
}

static void test_recv_headers(void)
{
	static char room[BLIPMQ_TRAILER_MAX];
	struct blipmq_headers headers = { .data = room };
	struct blipmq_received message;
	char data[32], subject[255];
	struct blipmq b;

	endpoint_make(&b, 0);
	b.consume = CONSUME_COPYING;
	headers.len = 77;
	EXPECT(blipmq_recv_headers(&b, data, sizeof(data), NULL, &headers, 0) == -EAGAIN);
	EXPECT(!headers.len);
	kernel.recv.header.subject_len = 12;
	kernel.recv.header.headers_len = 300;
	kernel.recv.header.trailer_len = 316;
	for (headers.size = 0; headers.size <= 400; headers.size++) {
		kernel.waits = true;
		memset(room, 'x', sizeof(room));
		memset(&message, 0xcc, sizeof(message));
		EXPECT(!blipmq_recv_headers(&b, data, sizeof(data), &message, &headers, 0));
		EXPECT(!strcmp(message.subject, "some.subject"));
		EXPECT(message.header.headers_len == 300);
		EXPECT(headers.len == (headers.size >= 316 ? 300 : 0));
		EXPECT(!headers.len || (room[0] == 'h' && room[299] == 'h'));
		EXPECT(room[headers.size] == 'x');
		kernel.waits = true;
		EXPECT(!blipmq_recv_headers(&b, data, sizeof(data), NULL, &headers, 0));
		EXPECT(headers.len == (headers.size >= 316 ? 300 : 0));
	}
	kernel.recv.header.headers_len = 0;
	kernel.recv.header.trailer_len = 12;
	kernel.waits = true;
	headers = (struct blipmq_headers){ .data = subject, .size = sizeof(subject), .len = 1 };
	EXPECT(!blipmq_recv_headers(&b, data, sizeof(data), &message, &headers, 0));
	EXPECT(!headers.len && !strcmp(message.subject, "some.subject"));
	test_done("recv: user headers, all of them or none");
}

int main(void)
{
	alarm(WATCHDOG);
	test_open();
	test_ring_opts();
	test_errors();
	test_publish();
	test_headers();
	test_types();
	test_wildcards();
	test_batch();
	test_writer_refusals();
	test_writer_headers();
	test_writer_model();
	test_writer_full();
	test_recv();
	test_recv_headers();
	return test_end();
}
