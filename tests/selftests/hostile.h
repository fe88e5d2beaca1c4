/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests with bad company share: payloads that prove themselves, publishers that
 * count, and witnesses. A witness is a well-behaved subscriber in a process of its own; it
 * looks at every message that it gets, and at the end what it got and what its own policy
 * dropped must add up to what was published.
 *
 * A publisher numbers its messages from 1 across all its topics.
 */
#ifndef SELFTESTS_HOSTILE_H
#define SELFTESTS_HOSTILE_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>

#include "common.h"
#include "harness.h"

/* Users that own nothing on this machine; a bus of mode 0777 lets them in. */
#define GOOD_UID	4321
#define BAD_UID		4322
#define THIRD_UID	4323

/*
 * Parameters of a bus: for every user; whose block rings block, however slow the guest is;
 * for messages of a quarter of its memory at most, 1 MiB.
 */
#define OPEN_TO_ALL	{ "mode", "0777" }
#define PATIENT		{ "block_budget", "60000" }
#define SMALL_BUDGET	{ "budget", "4194304" }

/* Memory that children share with the test. */
static inline void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static inline __u64 deadline_in(double seconds)
{
	return now_ns() + (__u64)(seconds * SEC);
}

static inline int open_as(uid_t uid)
{
	return bus_open_as(uid, uid, O_RDWR);
}

/* A small generator, so that a failure can be seen again. */
static inline __u64 random_next(__u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- Payloads ---- */

/* Of each so many bytes of a payload one word is written and looked at. */
#define STAMP_STRIDE	512

static inline __u64 stamp_word(__u64 number, size_t at)
{
	__u64 x = (number + at) * 0x9e3779b97f4a7c15ULL;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ULL;
	return x ^ x >> 32;
}

/*
 * The place of the stamp after the one at @at: the last one ends the payload. What is
 * shorter than two words has the number only.
 */
static inline size_t stamp_next(size_t at, size_t len)
{
	size_t last = len - sizeof(__u64), next = at + STAMP_STRIDE;

	if (len < 2 * sizeof(__u64) || at == last)
		return len;
	return next + sizeof(__u64) > last ? last : next;
}

static inline void stamp(void *buf, size_t len, __u64 number)
{
	size_t at;
	__u64 word;

	if (len < sizeof(number)) {
		memset(buf, (int)number, len);
		return;
	}
	memcpy(buf, &number, sizeof(number));
	for (at = stamp_next(0, len); at < len; at = stamp_next(at, len)) {
		word = stamp_word(number, at);
		memcpy((char *)buf + at, &word, sizeof(word));
	}
}

/* Is the payload what stamp() made? The number of a short one is not known: 0. */
static inline bool stamp_holds(const void *buf, size_t len, __u64 *number)
{
	const char *p = buf;
	__u64 word;
	size_t at;

	*number = 0;
	if (len < sizeof(word)) {
		for (at = 1; at < len; at++)
			if (p[at] != p[0])
				return false;
		return true;
	}
	memcpy(number, p, sizeof(*number));
	for (at = stamp_next(0, len); at < len; at = stamp_next(at, len)) {
		memcpy(&word, p + at, sizeof(word));
		if (word != stamp_word(*number, at))
			return false;
	}
	return true;
}

/* ---- A publisher ---- */

struct source {
	int fd;
	__u32 handle;
	size_t length;
	unsigned int batch;
	__u64 published;	/* messages so far; the number of the last one */
	char *buf;
	struct blipmq_message *messages;
};

static inline int source_init(struct source *s, int fd, const char *subject, size_t length,
			      unsigned int batch)
{
	int handle = fd < 0 ? fd : topic(fd, subject);
	unsigned int i;

	if (handle < 0)
		return handle;
	*s = (struct source){ .fd = fd, .handle = handle, .length = length, .batch = batch };
	s->buf = calloc(batch, length);
	s->messages = calloc(batch, sizeof(*s->messages));
	if (!s->buf || !s->messages)
		abort();
	for (i = 0; i < batch; i++)
		s->messages[i] = (struct blipmq_message){
			.data = ptr_u64(s->buf + i * length),
			.length = length,
			.handle = handle,
		};
	return 0;
}

static inline int source_open(struct source *s, const char *subject, size_t length,
			      unsigned int batch)
{
	return source_init(s, bus_open(O_RDWR), subject, length, batch);
}

static inline void source_close(struct source *s)
{
	close(s->fd);
	free(s->buf);
	free(s->messages);
}

/* Publish nr messages, at most a batch: how many were, or a negative errno. */
static inline int source_send_nr(struct source *s, unsigned int nr)
{
	struct blipmq_publish pub = { .messages = ptr_u64(s->messages), .nr = nr };
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++)
		stamp(s->buf + i * s->length, s->length, s->published + 1 + i);
	ret = do_publish(s->fd, &pub);
	if (ret)
		return ret;
	s->published += pub.done;
	return pub.done;
}

static inline int source_send(struct source *s)
{
	return source_send_nr(s, s->batch);
}

/* Batches until the deadline, one at least: 0, or the first error. */
static inline int source_send_until(struct source *s, __u64 deadline)
{
	int ret;

	do {
		ret = source_send(s);
	} while (ret > 0 && now_ns() < deadline);
	return ret < 0 ? ret : 0;
}

/* ---- A witness ---- */

#define WITNESS_COOKIE	0x5eed5eed5eed5eedULL
#define WITNESS_LOOK_MS	100	/* how often it sees whether it is to stop */

struct witness {
	/* What it is to do; 0 stands for the usual. */
	const char *pattern;
	__u32 entries;
	__u32 held;
	enum blipmq_policy policy;
	unsigned int nap_us;	/* pause with messages in its hands */
	unsigned int topics;	/* most topics, and most senders, that it will meet */

	/* What became of it. */
	pid_t pid;
	bool ready;
	bool stop;
	__u64 received;
	__u64 missing;		/* holes in the topics' numbers */
	__u64 gaps;		/* descriptors that said so */
	__u64 last;		/* number of the last message */
	__u64 wakeups;
	struct blipmq_stats stats;
	char trouble[160];
};

/* The first trouble stays. */
static inline __attribute__((format(printf, 2, 3)))
void witness_trouble(struct witness *w, const char *fmt, ...)
{
	va_list args;

	if (w->trouble[0])
		return;
	va_start(args, fmt);
	vsnprintf(w->trouble, sizeof(w->trouble), fmt, args);
	va_end(args);
}

/* The highest number seen for each id, by open addressing. */
struct marks {
	unsigned int size;
	struct mark {
		__u64 id;
		__u64 number;
	} *mark;
};

static inline void marks_init(struct marks *marks, unsigned int ids)
{
	marks->size = 2 * ids;
	marks->mark = calloc(marks->size, sizeof(*marks->mark));
	if (!marks->mark)
		abort();
}

static inline __u64 *marks_at(struct marks *marks, __u64 id)
{
	unsigned int i = id % marks->size, tries;

	for (tries = 0; tries < marks->size; tries++) {
		struct mark *mark = &marks->mark[(i + tries) % marks->size];

		if (!mark->id || mark->id == id) {
			mark->id = id;
			return &mark->number;
		}
	}
	abort();
}

static inline void witness_look(struct witness *w, struct consumer *c, struct marks *topics,
				struct marks *senders, const struct blipmq_desc *d)
{
	const struct blipmq_header *h = consumer_header(c, d);
	__u64 *seq = marks_at(topics, h->topic);
	__u64 *sent = marks_at(senders, h->sender);
	__u64 number;

	if (h->version != BLIPMQ_HEADER_VERSION || h->length != desc_length(d) ||
	    d->cookie != WITNESS_COOKIE)
		witness_trouble(w, "header and descriptor differ: length %u and %u, cookie %llx",
				h->length, desc_length(d), d->cookie);
	if (!stamp_holds(consumer_payload(c, d), h->length, &number))
		witness_trouble(w, "payload of message %llu of topic %llu is not whole",
				h->seq, h->topic);
	if (h->seq <= *seq)
		witness_trouble(w, "message %llu after %llu of topic %llu", h->seq, *seq,
				h->topic);
	if (h->length >= sizeof(number) && number <= *sent)
		witness_trouble(w, "number %llu after %llu of sender %llu", number, *sent,
				h->sender);
	w->missing += h->seq - *seq - 1;
	w->gaps += !!(d->length & BLIPMQ_DESC_GAP);
	w->last = number;
	*seq = h->seq;
	*sent = number;
}

/* What waits, at most the held bound at once: how many it was. */
static inline unsigned int witness_take(struct witness *w, struct consumer *c,
					struct marks *topics, struct marks *senders)
{
	struct blipmq_desc descs[64];
	unsigned int max = c->info.held < 64 ? c->info.held : 64, i, n;
	__u64 index;

	n = consumer_claim(c, descs, max, &index);
	for (i = 0; i < n; i++)
		witness_look(w, c, topics, senders, &descs[i]);
	if (n && w->nap_us)
		usleep(w->nap_us);
	if (n)
		consumer_release(c, index + n);
	w->received += n;
	return n;
}

static inline void witness_sleep(struct witness *w, struct consumer *c)
{
	int ret;

	consumer_arm(c, 1);
	ret = wait_for(c->fd, 1, WITNESS_LOOK_MS);
	consumer_arm(c, 0);
	if (ret && ret != -ETIME)
		witness_trouble(w, "WAIT: %s", strerror(-ret));
}

static inline int witness_main(void *arg)
{
	struct marks topics, senders;
	struct witness *w = arg;
	struct blipmq_stats stats;
	struct consumer c;
	int ret, id;
	bool stop;

	marks_init(&topics, w->topics);
	marks_init(&senders, w->topics);
	ret = consumer_open(&c, w->entries, w->held, w->policy);
	id = ret ? ret : subscribe(c.fd, w->pattern, WITNESS_COOKIE);
	if (id < 0)
		witness_trouble(w, "cannot subscribe: %s", strerror(-id));
	__atomic_store_n(&w->ready, true, __ATOMIC_RELEASE);
	while (!w->trouble[0]) {
		stop = __atomic_load_n(&w->stop, __ATOMIC_ACQUIRE);
		if (witness_take(w, &c, &topics, &senders))
			continue;
		if (stop)
			break;
		witness_sleep(w, &c);
	}
	if (!w->trouble[0] && sub_stats(c.fd, id, &w->stats))
		witness_trouble(w, "no statistics");
	if (!w->trouble[0] && !ring_stats(c.fd, &stats))
		w->wakeups = stats.wakeups;
	return w->trouble[0] != 0;
}

/* Returns when it is subscribed. */
static inline struct witness *witness_start(const struct witness *what)
{
	struct witness *w = shared(sizeof(*w));

	*w = *what;
	if (!w->topics)
		w->topics = 64;
	w->pid = spawn(witness_main, w);
	while (!__atomic_load_n(&w->ready, __ATOMIC_ACQUIRE) && reap_within(w->pid, 0) == -ETIME)
		sleep_ms(1);
	return w;
}

/* Losses that the ring's own policy makes of an honest subscriber. */
static inline __u64 own_drops(const __u64 *drops)
{
	return drops[BLIPMQ_DROP_OLDEST] + drops[BLIPMQ_DROP_FULL] + drops[BLIPMQ_DROP_PINS] +
	       drops[BLIPMQ_DROP_CONTENDED];
}

/* Let it take what is left; then it must have lost nothing but by its own policy. */
static inline void witness_settle(struct __test_metadata *_metadata, struct witness *w,
				  __u64 published)
{
	__u64 own;

	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	EXPECT_EQ(0, reap(w->pid));
	EXPECT_STREQ("", w->trouble);
	own = w->policy == BLIPMQ_POLICY_BLOCK ? 0 : own_drops(w->stats.drops);
	EXPECT_EQ(published, w->stats.delivered);
	EXPECT_EQ(published, w->received + own);
	EXPECT_EQ(own, sum_drops(w->stats.drops));
	/* No storm: a message wakes a reader once at most. */
	EXPECT_LE(w->wakeups, published);
	/* The newest are not lost but to pins or contention: what is missing was followed. */
	EXPECT_LE(w->missing, own);
	if (own == w->stats.drops[BLIPMQ_DROP_OLDEST]) {
		EXPECT_EQ(own, w->missing);
		EXPECT_EQ(!own, !w->gaps);
	}
	munmap(w, sizeof(*w));
}

/* The two that stand beside each hostile program. */
struct witnesses {
	struct witness *strict;	/* block: it gets all */
	struct witness *loose;	/* drop-oldest */
};

static inline struct witnesses witnesses_start(const char *pattern)
{
	struct witness strict = {
		.pattern = pattern,
		.entries = 256,
		.policy = BLIPMQ_POLICY_BLOCK,
	};
	struct witness loose = {
		.pattern = pattern,
		.entries = 64,
		.policy = BLIPMQ_POLICY_DROP_OLDEST,
	};

	return (struct witnesses){ witness_start(&strict), witness_start(&loose) };
}

static inline void witnesses_settle(struct __test_metadata *_metadata, struct witnesses ws,
				    __u64 published)
{
	witness_settle(_metadata, ws.strict, published);
	witness_settle(_metadata, ws.loose, published);
}

/* ---- The bus afterwards ---- */

/* Everybody closed: no message is left, every page is idle, nobody is subscribed. */
static inline void expect_bus_empty(struct __test_metadata *_metadata)
{
	__u64 end = deadline_in(5);
	struct blipmq_stats stats;
	int fd = bus_open(O_RDWR);

	do {
		ASSERT_EQ(0, bus_stats(fd, &stats));
	} while (stats.pages != stats.idle && now_ns() < end);
	EXPECT_EQ(stats.pages, stats.idle);
	EXPECT_EQ(1, stats.endpoints);
	EXPECT_EQ(0, stats.subscriptions);
	EXPECT_EQ(0, stats.patterns);
	close(fd);
}

/* ---- What most cases begin and end with ---- */

/* Two witnesses of a pattern, and a publisher of small messages that they hear. */
struct scene {
	struct witnesses good;
	struct source source;
};

static inline void scene_begin(struct __test_metadata *_metadata, struct scene *scene,
			       const struct param *params, const char *pattern,
			       const char *subject)
{
	ASSERT_EQ(0, fresh_bus(params));
	scene->good = witnesses_start(pattern);
	ASSERT_EQ(0, source_open(&scene->source, subject, 256, 16));
}

/* Whatever the case did: the good ones lost nothing, and nothing is left. */
static inline void scene_end(struct __test_metadata *_metadata, struct scene *scene)
{
	EXPECT_LT(0, scene->source.published);
	witnesses_settle(_metadata, scene->good, scene->source.published);
	source_close(&scene->source);
	expect_bus_empty(_metadata);
}

static inline __u64 bus_event(enum blipmq_event event)
{
	struct blipmq_stats stats = { };
	int fd = bus_open(O_RDWR);

	if (bus_stats(fd, &stats))
		abort();
	close(fd);
	return stats.events[event];
}

#endif /* SELFTESTS_HOSTILE_H */
