/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of libblipmq share: a bus with a publisher and a subscriber, the library's
 * calls with poisoned outputs, and what they say when they refuse.
 */
#ifndef SELFTESTS_CLIENT_H
#define SELFTESTS_CLIENT_H

#include <blipmq.h>

#include "hostile.h"

#define SUBJECT		"client.subject"
#define COOKIE		0x0123456789abcdefULL
#define OTHER_COOKIE	0xfedcba9876543210ULL
#define MAX_MESSAGE	(1u << 20)	/* of a bus with SMALL_BUDGET */

FIXTURE(client)
{
	struct blipmq *pub;
	struct blipmq *sub;		/* no ring yet */
	struct blipmq_handle topic;	/* SUBJECT, of pub */
};

FIXTURE_SETUP(client)
{
	const struct param params[] = { PATIENT, SMALL_BUDGET, { } };

	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, blipmq_open(NULL, 0, &self->pub));
	ASSERT_EQ(0, blipmq_open("blipmq:default", 0, &self->sub));
	memset(&self->topic, POISON, sizeof(self->topic));
	ASSERT_EQ(0, blipmq_topic_open(self->pub, SUBJECT, 0, &self->topic));
}

FIXTURE_TEARDOWN(client)
{
	blipmq_close(self->pub);
	blipmq_close(self->sub);
	expect_bus_empty(_metadata);
}

/* ---- The calls, what they are to write poisoned ---- */

static inline int open_bus(const char *url, unsigned int flags, struct blipmq **b)
{
	memset(b, POISON, sizeof(*b));
	return blipmq_open(url, flags, b);
}

static inline int open_topic(struct blipmq *b, const char *subject, unsigned int flags,
			     struct blipmq_handle *topic)
{
	memset(topic, POISON, sizeof(*topic));
	return blipmq_topic_open(b, subject, flags, topic);
}

static inline int take_batch(struct blipmq *b, struct blipmq_view *views, unsigned int n,
			     int64_t timeout)
{
	memset(views, POISON, n * sizeof(*views));
	return blipmq_next_batch(b, views, n, timeout);
}

static inline int take(struct blipmq *b, struct blipmq_view *view, int64_t timeout)
{
	memset(view, POISON, sizeof(*view));
	return blipmq_next(b, view, timeout);
}

static inline int64_t copy(struct blipmq *b, void *data, size_t size,
			   struct blipmq_received *message, int64_t timeout)
{
	memset(data, POISON, size);
	memset(message, POISON, sizeof(*message));
	return blipmq_recv(b, data, size, message, timeout);
}

static inline int say(struct blipmq *b, const char *subject, const char *text,
		      struct blipmq_result *result)
{
	memset(result, POISON, sizeof(*result));
	return blipmq_publish(b, subject, text, strlen(text), result);
}

static inline int flush(struct blipmq_writer *w, struct blipmq_result *results)
{
	memset(results, POISON, blipmq_staged(w) * sizeof(*results));
	return blipmq_flush(w, results);
}

static inline struct blipmq_stats stats_of(struct blipmq *b, unsigned int kind, uint32_t id)
{
	struct blipmq_stats stats;

	memset(&stats, POISON, sizeof(stats));
	if (blipmq_stats(b, kind, id, &stats, sizeof(stats)))
		abort();
	return stats;
}

/* A ring and a subscription to SUBJECT, whose id it returns. */
static inline uint32_t listen_to(struct blipmq *b, const struct blipmq_ring_opts *opts)
{
	uint32_t id = POISON32;

	if (blipmq_ring(b, opts) || blipmq_subscribe(b, SUBJECT, COOKIE, &id))
		abort();
	return id;
}

#define RING(...)	(&(const struct blipmq_ring_opts){ \
				.sz = sizeof(struct blipmq_ring_opts), __VA_ARGS__ })

/* ---- What they say ---- */

/* The last error is none of those that are expected: a stale one would be noticed. */
static inline void forget_error(void)
{
	struct blipmq *none;

	blipmq_open("nowhere", 0, &none);
}

#define EXPECT_REFUSED(_error, _reason, _detail, _call) do { \
	int __error = (_error); \
	forget_error(); \
	EXPECT_EQ(__error, _call); \
	EXPECT_EQ(__error, blipmq_last_error()->error); \
	EXPECT_EQ(_reason, blipmq_last_error()->reason); \
	EXPECT_EQ(_detail, blipmq_last_error()->detail); \
} while (0)

/* The sentence for the last error begins with these words. */
#define EXPECT_SAID(_words) do { \
	const char *__words = (_words); \
	EXPECT_STREQ(__words, said(strlen(__words))); \
} while (0)

static inline const char *said(int length)
{
	static char text[256];

	snprintf(text, sizeof(text), "%.*s", length, blipmq_strerror());
	return text;
}

#define EXPECT_RESULT(_seq, _delivered, _error, _reason, _result) do { \
	const struct blipmq_result *__result = (_result); \
	EXPECT_EQ(_seq, __result->seq); \
	EXPECT_EQ(_delivered, __result->delivered); \
	EXPECT_EQ(_error, __result->error); \
	EXPECT_EQ(_reason, __result->reason); \
} while (0)

#define EXPECT_UNTOUCHED(_result) \
	EXPECT_RESULT(POISON64, POISON32, (__s16)0xcccc, 0xcccc, _result)

static inline void expect_view(struct __test_metadata *_metadata, const struct blipmq_view *view,
			       const char *subject, const void *data, size_t length)
{
	const char *found;
	size_t len;

	ASSERT_EQ(length, view->length);
	EXPECT_EQ(length, view->header->length);
	EXPECT_EQ(0, (uintptr_t)view->data % BLIPMQ_ALIGN);
	EXPECT_EQ(0, memcmp(data, view->data, length));
	found = blipmq_view_subject(view, &len);
	ASSERT_EQ(strlen(subject), len);
	EXPECT_EQ(0, memcmp(subject, found, len));
}

/* The next message is this text; it is released. */
static inline void expect_text(struct __test_metadata *_metadata, struct blipmq *b,
			       const char *text)
{
	struct blipmq_view view;

	ASSERT_EQ(1, take(b, &view, 0));
	expect_view(_metadata, &view, SUBJECT, text, strlen(text));
	EXPECT_EQ(COOKIE, view.cookie);
	EXPECT_EQ(0, blipmq_release(b, &view, 1));
}

static inline void expect_nothing(struct __test_metadata *_metadata, struct blipmq *b)
{
	struct blipmq_view view;

	EXPECT_REFUSED(-EAGAIN, BLIPMQ_REASON_TIMEOUT, 0, take(b, &view, 0));
}

#endif /* SELFTESTS_CLIENT_H */
