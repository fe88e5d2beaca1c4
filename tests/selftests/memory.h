/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of memory share: a small store, messages that take a quarter of it, rings
 * that hold one of them each, and the limit of the host, which is one for all buses.
 */
#ifndef SELFTESTS_MEMORY_H
#define SELFTESTS_MEMORY_H

#include "hostile.h"

#define STORE_PAGES	1024	/* of SMALL_BUDGET, 4,096 bytes each */
#define LARGE		(1u << 20)
#define LARGE_PAGES	(LARGE / 4096 + 1)	/* one more for header and subject */

static inline int publish_large(int fd, const char *subject)
{
	static char large[LARGE];

	return publish(fd, subject, large, sizeof(large));
}

/* Publishing a large message is refused: for this reason, by this limit. */
#define EXPECT_REFUSED(_fd, _err, _reason, _detail) do { \
	struct blipmq_publish __pub; \
	EXPECT_EQ(_err, try_large(_fd, &__pub)); \
	EXPECT_EQ(_reason, __pub.head.reason); \
	EXPECT_EQ(_detail, __pub.head.detail); \
	EXPECT_EQ(0, __pub.done); \
} while (0)

static inline int try_large(int fd, struct blipmq_publish *pub)
{
	static char large[LARGE];
	struct blipmq_message m = {
		.data = ptr_u64(large),
		.length = sizeof(large),
		.subject = ptr_u64("nobody"),
		.subject_len = 6,
	};

	*pub = (struct blipmq_publish){ .messages = ptr_u64(&m), .nr = 1 };
	return do_publish(fd, pub);
}

/*
 * ---- Rings that hold one large message each ----
 *
 * Each of another user: what rings of one user pin together is limited, but for one message.
 */

#define HOLDER_UID	5000

struct holder {
	struct consumer c;
	char subject[16];
	int id;
	struct blipmq_desc desc;
	__u64 index;
};

static inline int holder_open(struct holder *h, int nr, enum blipmq_policy policy)
{
	int ret = consumer_attach(&h->c, open_as(HOLDER_UID + nr), 1, 1, policy);

	if (ret)
		return ret;
	snprintf(h->subject, sizeof(h->subject), "hold.%d", nr);
	h->id = subscribe(h->c.fd, h->subject, 0);
	return h->id < 0 ? h->id : 0;
}

/* Publish a large message that the holder claims: 1, or a negative errno. */
static inline int hold_large(struct holder *h, int fd)
{
	int ret = publish_large(fd, h->subject);

	return ret == 1 ? (int)consumer_claim(&h->c, &h->desc, 1, &h->index) : ret;
}

/* ---- The limit of the host ---- */

/* It outlives whoever set it, so it is put back after each test, by who outlives that. */
static char host_pages[32];

static inline void __attribute__((constructor)) host_pages_save(void)
{
	const char *value = param_get("host_pages");

	if (!value)
		abort();
	snprintf(host_pages, sizeof(host_pages), "%s", value);
}

static inline void host_pages_restore(void)
{
	if (param_set("host_pages", host_pages))
		abort();
}

AFTER_EACH(host_pages_restore)

static inline void host_pages_set(unsigned int pages)
{
	char value[16];

	snprintf(value, sizeof(value), "%u", pages);
	if (param_set("host_pages", value))
		abort();
}

/*
 * Buses of tests that ended go a little later: until a large message is not refused for
 * the pages of all buses.
 */
static inline void host_settle(void)
{
	__u64 end = deadline_in(20);
	struct blipmq_publish pub;
	int fd = bus_open(O_RDWR);

	while (try_large(fd, &pub) == -ENOBUFS && pub.head.reason == BLIPMQ_REASON_HOST &&
	       now_ns() < end)
		sleep_ms(10);
	close(fd);
}

#endif /* SELFTESTS_MEMORY_H */
