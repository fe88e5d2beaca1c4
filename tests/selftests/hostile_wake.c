// SPDX-License-Identifier: GPL-2.0
/*
 * Bad company in what has to do with sleeping, with reading, with who has the ring, and with
 * how much a ring holds. Two witnesses of the same topics must not notice.
 */
#include <sys/epoll.h>

#include "hostile.h"

#define SUBJECT		"good.topic"
#define QUIET		"good.quiet"
#define PATTERN		"good.*"

FIXTURE(company)
{
	struct scene scene;
};

FIXTURE_SETUP(company)
{
	const struct param params[] = { OPEN_TO_ALL, PATIENT, { } };

	scene_begin(_metadata, &self->scene, params, PATTERN, SUBJECT);
}

FIXTURE_TEARDOWN(company)
{
	scene_end(_metadata, &self->scene);
}

/* ---- Who has the ring ---- */

static int touch(void *arg)
{
	return __atomic_load_n((char *)arg, __ATOMIC_RELAXED);
}

/* A child cannot scribble over its parent's ring: it does not have it. */
TEST_F(company, child_has_no_mapping)
{
	struct consumer c;

	ASSERT_EQ(0, consumer_attach(&c, open_as(BAD_UID), 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, SUBJECT, 0));
	ASSERT_LT(0, source_send(&self->scene.source));
	EXPECT_EQ(0, touch(c.control));
	EXPECT_EQ(128 + SIGSEGV, reap(spawn(touch, c.control)));
	EXPECT_EQ(128 + SIGSEGV, reap(spawn(touch, c.ring)));
	EXPECT_EQ(128 + SIGSEGV, reap(spawn(touch, (void *)c.store)));
	EXPECT_EQ(16, consumer_drain(&c));
	consumer_close(&c);
}

struct heir {
	struct consumer c;
	__u64 received;
	bool stop;
};

static void *map_again(struct heir *h, size_t size, int prot, __u64 offset)
{
	return mmap(NULL, size, prot, MAP_SHARED, h->c.fd, offset);
}

/* Takes the file over from the one who scribbles on; lives, whatever becomes of the ring. */
static int heir(void *arg)
{
	struct heir *h = arg;
	struct blipmq_desc descs[4];
	unsigned int n;
	int ret = 0;
	__u64 index;

	h->c.ring = map_again(h, h->c.info.ring_size, PROT_READ, BLIPMQ_OFF_RING);
	h->c.control = map_again(h, h->c.info.control_size, PROT_READ | PROT_WRITE,
				 BLIPMQ_OFF_CONTROL);
	h->c.store = map_again(h, h->c.store_size, PROT_READ, BLIPMQ_OFF_STORE);
	if (h->c.ring == MAP_FAILED || h->c.control == MAP_FAILED || h->c.store == MAP_FAILED)
		return 1;
	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		ret = wait_for(h->c.fd, 1, 10);
		if (ret && ret != -ETIME && ret != -EIO)
			return 2;
		n = consumer_claim(&h->c, descs, 4, &index);
		if (!n)
			continue;
		consumer_release(&h->c, index + n);
		__atomic_add_fetch(&h->received, n, __ATOMIC_RELAXED);
	}
	return ret == -EIO ? 3 : 0;
}

TEST_F(company, old_owner_scribbles)
{
	struct heir *h = shared(sizeof(*h));
	struct consumer *c = &h->c, old;
	__u64 state = 521288629, end;
	pid_t pid;

	ASSERT_EQ(0, consumer_attach(c, open_as(BAD_UID), 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c->fd, SUBJECT, 0));
	old = *c;
	/* A file has its store mapped once. */
	munmap((void *)old.store, old.store_size);
	pid = spawn(heir, h);
	while (!__atomic_load_n(&h->received, __ATOMIC_RELAXED)) {
		ASSERT_LT(0, source_send(&self->scene.source));
		ASSERT_EQ(-ETIME, reap_within(pid, 1));
	}
	end = deadline_in(test_seconds() / 4);
	do {
		ASSERT_LT(0, source_send(&self->scene.source));
		consumer_store(consumer_claim_word(&old), random_next(&state) % 1000);
		consumer_store(consumer_release_word(&old), random_next(&state) % 1000);
	} while (now_ns() < end);
	/* The heir's loss, which it is told. */
	__atomic_store_n(&h->stop, true, __ATOMIC_RELAXED);
	EXPECT_EQ(3, reap(pid));
	EXPECT_EQ(1, consumer_broken(&old));
	EXPECT_EQ(1, bus_event(BLIPMQ_EVENT_BROKEN));
	old.store = MAP_FAILED;
	consumer_close(&old);
}

/* ---- Readers that are killed ---- */

#define READERS		4
#define READ_MAX	(1u << 20)

struct readers {
	int fd;
	unsigned char times[READ_MAX];	/* that a message was seen, by its number */
};

static void read_seen(struct readers *r, const char *buf, ssize_t n)
{
	__u64 number;

	if (!stamp_holds(buf, n, &number) || number >= READ_MAX)
		abort();
	__atomic_add_fetch(&r->times[number], 1, __ATOMIC_RELAXED);
}

static int reader(void *arg)
{
	struct readers *r = arg;
	char buf[512];
	ssize_t n;

	while ((n = read(r->fd, buf, sizeof(buf))) > 0)
		read_seen(r, buf, n);
	return 1;
}

/* A message is read once; of what a killed reader had in its hands there is one at most. */
TEST_F(company, readers_killed)
{
	struct readers *r = shared(sizeof(*r));
	struct source *s = &self->scene.source;
	unsigned int i, kills = 0, unseen = 0;
	__u64 state = 362436069, end;
	struct blipmq_stats stats;
	pid_t pids[READERS];
	char buf[512];
	ssize_t n;

	r->fd = open_as(GOOD_UID);
	ASSERT_EQ(0, make_ring(r->fd, 64, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(r->fd, SUBJECT, 0));
	for (i = 0; i < READERS; i++)
		pids[i] = spawn(reader, r);
	end = deadline_in(test_seconds() / 2);
	while (now_ns() < end && s->published + s->batch < READ_MAX) {
		i = random_next(&state) % READERS;
		ASSERT_LT(0, source_send(s));
		if (random_next(&state) % 4)
			continue;
		EXPECT_EQ(128 + SIGKILL, slay(pids[i]));
		kills++;
		pids[i] = spawn(reader, r);
	}
	for (i = 0; i < READERS; i++, kills++)
		EXPECT_EQ(128 + SIGKILL, slay(pids[i]));
	ASSERT_EQ(0, fcntl(r->fd, F_SETFL, O_RDWR | O_NONBLOCK));
	while ((n = read(r->fd, buf, sizeof(buf))) > 0)
		read_seen(r, buf, n);
	EXPECT_EQ(-1, n);
	EXPECT_EQ(EAGAIN, errno);

	for (i = 1; i <= s->published; i++) {
		ASSERT_GE(1, r->times[i]);
		unseen += !r->times[i];
	}
	EXPECT_LE(unseen, kills);
	ASSERT_EQ(0, ring_stats(r->fd, &stats));
	EXPECT_EQ(s->published, stats.delivered);
	EXPECT_EQ(0, sum_drops(stats.drops));
	EXPECT_EQ(0, stats.queued);
	EXPECT_EQ(0, stats.pinned);
	TH_LOG("%llu messages, %u readers killed, %u unseen", s->published, kills, unseen);
	close(r->fd);
}

/* ---- need_wakeup flipped at random ---- */

struct flipper {
	struct consumer c;
	bool ready;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	__u64 state = 88675123;

	for (;;)
		consumer_arm(&f->c, random_next(&state) % 4 ? random_next(&state) % 3 :
			     random_next(&state));
	return NULL;
}

/* One thread flips, two sleep; whether they ever wake is their own business. */
static void *sleeper(void *arg)
{
	struct flipper *f = arg;
	struct pollfd pfd = { .fd = f->c.fd, .events = POLLIN };

	for (;;) {
		poll(&pfd, 1, -1);
		wait_for(f->c.fd, 1, 1000);
	}
	return NULL;
}

static int flipper(void *arg)
{
	struct flipper *f = arg;
	pthread_t thread;
	int i;

	if (consumer_attach(&f->c, open_as(BAD_UID), 16, 0, BLIPMQ_POLICY_DROP_OLDEST) ||
	    subscribe(f->c.fd, SUBJECT, 0) < 0)
		return 1;
	pthread_create(&thread, NULL, flip, f);
	for (i = 0; i < 2; i++)
		pthread_create(&thread, NULL, sleeper, f);
	__atomic_store_n(&f->ready, true, __ATOMIC_RELEASE);
	for (;;) {
		consumer_drain(&f->c);
		usleep(100);
	}
}

TEST_F(company, need_wakeup_flipped)
{
	struct flipper *f = shared(sizeof(*f));
	struct source *s = &self->scene.source;
	pid_t pid = spawn(flipper, f);
	__u64 state = 123456789, end;

	while (!__atomic_load_n(&f->ready, __ATOMIC_ACQUIRE) && reap_within(pid, 1) == -ETIME)
		;
	ASSERT_TRUE(f->ready);
	end = deadline_in(test_seconds() / 2);
	while (now_ns() < end) {
		ASSERT_LT(0, source_send_nr(s, 1 + random_next(&state) % s->batch));
		if (!(random_next(&state) % 4))
			usleep(random_next(&state) % 2000);
	}
	EXPECT_EQ(-ETIME, reap_within(pid, 0));
	slay(pid);
}

/* ---- A whole ring released at once ---- */

static __u64 publish_ns(struct __test_metadata *_metadata, struct source *s)
{
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	ASSERT_EQ(1, source_send_nr(s, 1));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return (b.tv_sec - a.tv_sec) * SEC + b.tv_nsec - a.tv_nsec;
}

#define WHOLE_ROUNDS	3
#define WHOLE_BATCHES	58	/* of BLIPMQ_BATCH_MAX: not so many that the oldest drop */
#define WHOLE_SAMPLES	32

/* The least of some rounds is compared: a publish that takes them all back is slow in each. */
TEST_F(company, whole_ring_released)
{
	static struct blipmq_desc descs[BLIPMQ_ENTRIES_MAX];
	__u64 least = ~0ULL, usual = 0, ns, index;
	struct consumer c;
	unsigned int n;
	struct source s;
	int round, i;

	ASSERT_EQ(0, consumer_attach(&c, open_as(BAD_UID), BLIPMQ_ENTRIES_MAX, 0,
				     BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "whole.ring", 0));
	ASSERT_EQ(0, source_open(&s, "whole.ring", sizeof(__u64), BLIPMQ_BATCH_MAX));
	for (round = 0; round < WHOLE_ROUNDS; round++) {
		for (i = 0; i < WHOLE_BATCHES; i++)
			ASSERT_EQ(BLIPMQ_BATCH_MAX, source_send(&s));
		for (i = 0; i < WHOLE_SAMPLES; i++)
			usual += publish_ns(_metadata, &s);
		n = consumer_claim(&c, descs, BLIPMQ_ENTRIES_MAX, &index);
		EXPECT_EQ(WHOLE_BATCHES * BLIPMQ_BATCH_MAX + WHOLE_SAMPLES + !!round, n);
		consumer_store(consumer_release_word(&c), index + n);
		ns = publish_ns(_metadata, &s);
		least = ns < least ? ns : least;
	}
	usual /= WHOLE_ROUNDS * WHOLE_SAMPLES;
	EXPECT_LT(least, 10 * usual);
	TH_LOG("%llu ns after the release, usually %llu", least, usual);
	EXPECT_EQ(0, sum_drops(consumer_drops(&c)));
	ASSERT_LT(0, source_send(&self->scene.source));
	source_close(&s);
	consumer_close(&c);
}

/* ---- A page pinned by each small message ---- */

FIXTURE(pins)
{
	struct scene scene;
};

/* A small store, so that pinning it would not take long. */
FIXTURE_SETUP(pins)
{
	const struct param params[] = { OPEN_TO_ALL, PATIENT, { "budget", "4194304" }, { } };

	scene_begin(_metadata, &self->scene, params, PATTERN, SUBJECT);
}

FIXTURE_TEARDOWN(pins)
{
	scene_end(_metadata, &self->scene);
}

#define HOLDERS		4
#define HOLD_BATCHES	600

/* The store is 1,024 pages; of half of it, half belongs to one of two users with rings. */
#define HOLD_PAGES	(1024 / 2 / 2 / HOLDERS)

static unsigned int count_pages(const struct blipmq_desc *descs, unsigned int nr)
{
	unsigned int i, pages = 0;
	__u32 page, last = ~0u;

	for (i = 0; i < nr; i++) {
		page = descs[i].offset / (page_size() / BLIPMQ_ALIGN);
		pages += page != last;
		last = page;
	}
	return pages;
}

static void expect_pinned(struct __test_metadata *_metadata, struct consumer *c,
			  const struct blipmq_desc *descs, unsigned int nr, __u64 addressed)
{
	struct blipmq_stats stats;

	ASSERT_EQ(0, ring_stats(c->fd, &stats));
	EXPECT_LE(count_pages(descs, nr), stats.pinned);
	EXPECT_GE(HOLD_PAGES, stats.pinned);
	EXPECT_EQ(addressed, stats.delivered);
	EXPECT_EQ(addressed, nr + stats.drops[BLIPMQ_DROP_PINS]);
	EXPECT_EQ(addressed, nr + sum_drops(stats.drops));
	EXPECT_LT(0, stats.drops[BLIPMQ_DROP_PINS]);
}

TEST_F(pins, one_small_message_a_page)
{
	static struct blipmq_desc descs[HOLDERS][1024];
	struct consumer c[HOLDERS];
	unsigned int n[HOLDERS] = { };
	struct source mix;
	__u64 index;
	int quiet, batch, i;

	for (i = 0; i < HOLDERS; i++) {
		ASSERT_EQ(0, consumer_attach(&c[i], open_as(BAD_UID), 1024, 1024,
					     BLIPMQ_POLICY_DROP_OLDEST));
		ASSERT_LT(0, subscribe(c[i].fd, QUIET, 0));
	}
	/* More than a page of busy messages behind each quiet one. */
	ASSERT_EQ(0, source_open(&mix, SUBJECT, 64, 40));
	quiet = topic(mix.fd, QUIET);
	ASSERT_LT(0, quiet);
	mix.messages[0].handle = quiet;
	for (batch = 0; batch < HOLD_BATCHES; batch++) {
		ASSERT_EQ(40, source_send(&mix));
		for (i = 0; i < HOLDERS; i++)
			n[i] += consumer_claim(&c[i], descs[i] + n[i], 1024 - n[i], &index);
	}
	for (i = 0; i < HOLDERS; i++)
		expect_pinned(_metadata, &c[i], descs[i], n[i], HOLD_BATCHES);
	/* A message as large as the bus allows has room still. */
	ASSERT_LE(0, source_send(&self->scene.source));
	EXPECT_EQ(0, publish(mix.fd, "large", calloc(1, 1 << 20), 1 << 20));

	self->scene.source.published += mix.published;
	source_close(&mix);
	for (i = 0; i < HOLDERS; i++)
		consumer_close(&c[i]);
}

TEST_HARNESS_MAIN
