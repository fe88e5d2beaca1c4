// SPDX-License-Identifier: GPL-2.0
/*
 * The library's receiving side against the simulated kernel: first what each call
 * promises, one at a time; then threads that take, keep and finish messages in any
 * order, under every policy.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim.h"
#include "test.h"

/* A lost wakeup would be for ever: the run is given up after so many seconds. */
#define WATCHDOG	240

#define ENTRIES		8
#define HELD		4

static bool reason_is(uint32_t reason)
{
	return blipmq_last_error()->reason == reason;
}

static void publish_many(struct sim *sim, uint64_t first, unsigned int n)
{
	while (n--)
		sim_publish(sim, first++);
}

static void poison(void *out, size_t size)
{
	memset(out, 0xcc, size);
}

static void test_refusals(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	struct blipmq_view view[2];
	struct blipmq_received message;
	uint64_t id;
	char data[SIM_PAYLOAD];

	EXPECT(blipmq_next(&sim->b, view, 0) == -EAGAIN && reason_is(BLIPMQ_REASON_TIMEOUT));
	EXPECT(blipmq_next(&sim->b, view, BLIPMQ_MSEC) == -EAGAIN);
	EXPECT(blipmq_recv(&sim->b, data, sizeof(data), NULL, BLIPMQ_MSEC) == -EAGAIN);
	EXPECT(blipmq_wait(&sim->b, ENTRIES + 1, 0, 0) == -EINVAL);
	EXPECT(reason_is(BLIPMQ_REASON_WAIT_MIN) && blipmq_last_error()->detail == ENTRIES);
	EXPECT(blipmq_wait(&sim->b, ENTRIES, 0, 0) == -EAGAIN);
	EXPECT(blipmq_low_water(&sim->b, ENTRIES + 1) == -EINVAL);

	publish_many(sim, 50, 2);
	poison(&message, sizeof(message));
	EXPECT(blipmq_recv(&sim->b, data, 49, &message, 0) == -EMSGSIZE);
	EXPECT(reason_is(BLIPMQ_REASON_BUFFER) && blipmq_last_error()->detail == 50);
	EXPECT(message.length == 50 && message.cookie == SIM_COOKIE + 50);
	EXPECT(blipmq_next(&sim->b, view, 0) == 1 && view[0].index == 0);
	view[1] = view[0];
	view[1].index++;
	EXPECT(blipmq_release(&sim->b, &view[1], 1) == -EINVAL);
	view[1] = view[0];
	view[1].index--;
	EXPECT(blipmq_release(&sim->b, &view[1], 1) == -EINVAL);
	view[1] = view[0];
	EXPECT(blipmq_release(&sim->b, view, 2) == -EINVAL);
	EXPECT(reason_is(BLIPMQ_REASON_VIEW) && blipmq_last_error()->detail == 1);
	EXPECT(blipmq_release(&sim->b, view, 1) == -EINVAL);
	EXPECT(blipmq_keep(&sim->b, view, &id) == -EINVAL);
	EXPECT(blipmq_drop(&sim->b, 1) == -ENOENT);
	EXPECT(__atomic_load_n(&sim->control->release, __ATOMIC_RELAXED) == 1);

	sim->page->broken = 1;
	EXPECT(blipmq_next(&sim->b, view, 0) == -EIO && reason_is(BLIPMQ_REASON_RING_BROKEN));
	sim_hang_up(sim);
	sim->page->broken = 0;
	EXPECT(blipmq_next(&sim->b, view, 0) == 1);
	EXPECT(blipmq_next(&sim->b, view, -1) == -ENODEV && reason_is(BLIPMQ_REASON_DELETED));
	sim_free(sim);
	test_done("receive: what is refused, and why");
}

static void test_unmapped(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	struct blipmq_view view = { .index = 0 };
	uint64_t id;
	char data[1];

	sim->b.consume = CONSUME_NOT;
	EXPECT(blipmq_next(&sim->b, &view, 0) == -ENXIO && reason_is(BLIPMQ_REASON_RING_NONE));
	EXPECT(blipmq_recv(&sim->b, data, 1, NULL, 0) == -ENXIO);
	EXPECT(blipmq_wait(&sim->b, 1, 0, 0) == -ENXIO);
	EXPECT(blipmq_low_water(&sim->b, 1) == -ENXIO);
	EXPECT(!blipmq_held(&sim->b) && !blipmq_reader(&sim->b));
	sim->b.consume = CONSUME_COPYING;
	EXPECT(blipmq_next(&sim->b, &view, 0) == -EACCES && reason_is(BLIPMQ_REASON_COPYING));
	EXPECT(blipmq_release(&sim->b, &view, 1) == -EINVAL);
	EXPECT(blipmq_keep(&sim->b, &view, &id) == -EACCES);
	EXPECT(blipmq_wait(&sim->b, 2, 0, 0) == -EACCES && reason_is(BLIPMQ_REASON_COPYING));
	EXPECT(blipmq_low_water(&sim->b, 2) == -EACCES && !blipmq_low_water(&sim->b, 1));
	EXPECT(!blipmq_held(&sim->b) && !blipmq_reader(&sim->b));
	sim_free(sim);
	test_done("receive: without a ring, and without a mapping");
}

static void test_in_order(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	struct blipmq_view view[ENTRIES];
	const uint64_t *release = (const uint64_t *)&sim->control->release;

	publish_many(sim, 1, 6);
	EXPECT(blipmq_next_batch(&sim->b, view, ENTRIES, 0) == HELD);
	EXPECT(blipmq_next(&sim->b, &view[HELD], BLIPMQ_FOREVER) == -ENOBUFS);
	EXPECT(reason_is(BLIPMQ_REASON_CLAIMS) && blipmq_last_error()->detail == HELD);
	EXPECT(sim_check(&view[0]) == 1 && sim_check(&view[3]) == 4);
	EXPECT(!blipmq_release(&sim->b, &view[1], 1) && *release == 0);
	EXPECT(!blipmq_release(&sim->b, &view[3], 1) && *release == 0);
	EXPECT(!blipmq_release(&sim->b, &view[0], 1) && *release == 2);
	EXPECT(blipmq_next_batch(&sim->b, view + HELD, 2, 0) == 2);
	EXPECT(blipmq_next(&sim->b, &view[6], 0) == -ENOBUFS);
	EXPECT(!blipmq_release(&sim->b, &view[4], 2) && *release == 2);
	EXPECT(!blipmq_release(&sim->b, &view[2], 1) && *release == 6);
	/* Up to what is not out, in each of what was taken at once. */
	publish_many(sim, 7, 4);
	EXPECT(blipmq_next_batch(&sim->b, view, 2, 0) == 2);
	EXPECT(blipmq_next_batch(&sim->b, view + 2, 2, 0) == 2);
	view[2].index--;
	EXPECT(blipmq_release(&sim->b, view, 4) == -EINVAL && *release == 8);
	EXPECT(blipmq_last_error()->detail == 2);
	view[2].index += 2;
	EXPECT(blipmq_release(&sim->b, view + 2, 2) == -EINVAL && *release == 8);
	EXPECT(blipmq_last_error()->detail == 1);
	view[2].index--;
	EXPECT(blipmq_release(&sim->b, &view[3], 1) == -EINVAL && *release == 8);
	EXPECT(!blipmq_release(&sim->b, &view[2], 1) && *release == 10);
	EXPECT(sim_empty(sim));
	sim_free(sim);
	test_done("release: passes the finished beginning, whatever the order");
}

static void test_gaps(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	struct blipmq_view first, last[HELD];

	publish_many(sim, 1, 3);
	EXPECT(blipmq_next(&sim->b, &first, 0) == 1);
	publish_many(sim, 4, 3 * ENTRIES);
	/* Still whole, though the ring went round; and the newest are there. */
	EXPECT(sim_check(&first) == 1);
	EXPECT(sim->drops[BLIPMQ_DROP_OLDEST] == 3 + 3 * ENTRIES - 1 - ENTRIES);
	EXPECT(blipmq_next_batch(&sim->b, last, HELD, 0) == HELD - 1);
	EXPECT(sim_check(&last[0]) == 3 + 3 * ENTRIES - ENTRIES + 1);
	EXPECT(last[0].index != first.index + 1);
	EXPECT(!blipmq_release(&sim->b, last, HELD - 1));
	EXPECT(sim_check(&first) == 1 && sim->control->release == 0);
	EXPECT(!blipmq_release(&sim->b, &first, 1));
	EXPECT(sim->control->release == last[HELD - 2].index + 1);
	sim_free(sim);
	test_done("release: across the gaps that drops leave");
}

static void test_keep(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	struct blipmq_view view;
	uint64_t id = 0, other;

	publish_many(sim, 7, 2);
	EXPECT(blipmq_next(&sim->b, &view, 0) == 1);
	EXPECT(!blipmq_keep(&sim->b, &view, &id));
	EXPECT(blipmq_keep(&sim->b, &view, &other) == -EINVAL);
	EXPECT(!blipmq_release(&sim->b, &view, 1));
	publish_many(sim, 9, 4 * ENTRIES);
	EXPECT(sim_check(&view) == 7);
	EXPECT(!blipmq_drop(&sim->b, id) && blipmq_drop(&sim->b, id) == -ENOENT);
	sim_free(sim);
	test_done("keep: a message stays beyond its release, until it is dropped");
}

static void test_recv(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	struct blipmq_received message;
	char data[SIM_PAYLOAD], expected[SIM_PAYLOAD];
	int i;

	publish_many(sim, 60, 3);
	for (i = 60; i < 63; i++) {
		poison(&message, sizeof(message));
		poison(data, sizeof(data));
		poison(expected, sizeof(expected));
		memset(expected, i, i);
		EXPECT(blipmq_recv(&sim->b, data, i, &message, 0) == i);
		EXPECT(!memcmp(data, expected, sizeof(data)));
		EXPECT(message.length == (uint32_t)i && message.header.seq == (uint64_t)i);
		EXPECT(!strcmp(message.subject, SIM_SUBJECT) && !message.flags);
		EXPECT(message.subject_len == strlen(SIM_SUBJECT));
	}
	EXPECT(sim_empty(sim));
	sim_free(sim);
	test_done("recv: copies from a mapped ring and gives the message back");
}

/* need_wakeup after each step; nobody sleeps. */
static void test_mark(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	const uint32_t *mark = &sim->control->need_wakeup;

	EXPECT(*mark == 1);
	EXPECT(blipmq_wait(&sim->b, 5, 0, BLIPMQ_MSEC) == -EAGAIN && *mark == 5);
	EXPECT(blipmq_wait(&sim->b, 2, 0, BLIPMQ_MSEC) == -EAGAIN && *mark == 2);
	blipmq_fd(&sim->b);
	EXPECT(*mark == 1);
	EXPECT(blipmq_wait(&sim->b, 5, 0, BLIPMQ_MSEC) == -EAGAIN && *mark == 1);
	EXPECT(!blipmq_low_water(&sim->b, 6) && *mark == 6);
	EXPECT(blipmq_wait(&sim->b, 5, 0, BLIPMQ_MSEC) == -EAGAIN && *mark == 6);
	EXPECT(!blipmq_low_water(&sim->b, 0) && *mark == 1);
	publish_many(sim, 1, 5);
	EXPECT(!blipmq_wait(&sim->b, 5, 0, 0) && *mark == 1);
	sim_free(sim);
	test_done("wait: need_wakeup is what whoever sleeps or polls wants");
}

/* ---- A thread that sleeps ---- */

struct sleeper {
	struct sim *sim;
	uint32_t min;
	int result;
	pthread_t thread;
};

static void *sleep_thread(void *arg)
{
	struct sleeper *s = arg;

	s->result = blipmq_wait(&s->sim->b, s->min, 0, BLIPMQ_FOREVER);
	return NULL;
}

static void sleeper_start(struct sleeper *s, struct sim *sim, uint32_t min, uint32_t sleepers)
{
	struct blipmq_reader *r = &sim->b.reader;
	uint32_t now;

	s->sim = sim;
	s->min = min;
	EXPECT(!pthread_create(&s->thread, NULL, sleep_thread, s));
	do {
		sched_yield();
		pthread_mutex_lock(&r->lock);
		now = r->sleepers;
		pthread_mutex_unlock(&r->lock);
	} while (now != sleepers);
}

static uint32_t mark_of(struct sim *sim)
{
	return __atomic_load_n(&sim->control->need_wakeup, __ATOMIC_RELAXED);
}

static void test_sleepers(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	struct sleeper many, few;

	sleeper_start(&many, sim, 6, 1);
	EXPECT(mark_of(sim) == 6);
	sleeper_start(&few, sim, 2, 2);
	EXPECT(mark_of(sim) == 2);
	publish_many(sim, 1, 2);
	pthread_join(few.thread, NULL);
	EXPECT(!few.result && mark_of(sim) == 2);
	sleeper_start(&few, sim, 4, 2);
	EXPECT(mark_of(sim) == 2);
	publish_many(sim, 3, 4);
	pthread_join(few.thread, NULL);
	pthread_join(many.thread, NULL);
	EXPECT(!few.result && !many.result);
	sim_free(sim);
	test_done("wait: two sleepers, the smaller wish holds for both");
}

/* What others do while the caller gives way: instead of the C library's. */
static struct sim *gives_way;

int sched_yield(void)
{
	if (!gives_way)
		return syscall(SYS_sched_yield);
	sim_publish(gives_way, 7);
	return 0;
}

/* A message that comes while the call gives way is taken without a sleep. */
static void test_yield(void)
{
	struct sim *sim = sim_new(ENTRIES, HELD, BLIPMQ_POLICY_DROP_OLDEST);
	struct blipmq_view view;
	int yield;

	for (yield = 0; yield <= 1; yield++) {
		sim->b.yield = yield;
		gives_way = sim;
		poison(&view, sizeof(view));
		EXPECT(blipmq_next(&sim->b, &view, BLIPMQ_MSEC) == (yield ? 1 : -EAGAIN));
		gives_way = NULL;
	}
	EXPECT(sim_check(&view) == 7);
	EXPECT(sim->waits == 1);
	EXPECT(!blipmq_release(&sim->b, &view, 1));
	sim_free(sim);
	test_done("yield: what comes meanwhile is taken without a sleep");
}

/* ---- Threads ---- */

#define THREADS_MAX	4
#define OUT_MAX		6	/* views in a thread's hands */
#define KEEP_ONE_IN	64

struct stress {
	const char *name;
	uint32_t entries;
	uint32_t held;
	uint32_t policy;
	unsigned int threads;
	uint32_t spin_us;
};

static unsigned int messages = 100000;

struct crew {
	const struct stress *stress;
	struct sim *sim;
	atomic_uchar *seen;		/* by number: how often it was received */
	atomic_ulong received;
	pthread_mutex_t lock;
	struct blipmq_view handed;	/* from one thread to another; data is NULL if none */
};

struct worker {
	struct crew *crew;
	unsigned int random;
	uint64_t last;			/* number taken last, plus 1 */
	struct blipmq_view out[OUT_MAX];
	unsigned int nr_out;
	struct blipmq_view kept;
	uint64_t kept_id;
	pthread_t thread;
};

static unsigned int roll(struct worker *w, unsigned int sides)
{
	return (unsigned int)rand_r(&w->random) % sides;
}

/* Right before its release: DROP ends a message even if its view is still out. */
static void keep_sometimes(struct worker *w, const struct blipmq_view *view)
{
	struct blipmq *b = &w->crew->sim->b;

	if (roll(w, KEEP_ONE_IN))
		return;
	if (w->kept_id) {
		sim_check(&w->kept);
		EXPECT(!blipmq_drop(b, w->kept_id));
	}
	w->kept = *view;
	EXPECT(!blipmq_keep(b, view, &w->kept_id));
}

static void receive(struct worker *w, const struct blipmq_view *views, int n)
{
	uint64_t number;
	int i;

	for (i = 0; i < n; i++) {
		number = sim_check(&views[i]);
		if (!EXPECT(number < messages))
			continue;
		EXPECT(number >= w->last);
		w->last = number + 1;
		EXPECT(!atomic_fetch_add(&w->crew->seen[number], 1));
		atomic_fetch_add(&w->crew->received, 1);
		w->out[w->nr_out++] = views[i];
	}
}

/* Some view of ours goes to whoever comes, who gives us his. */
static void exchange(struct worker *w)
{
	struct crew *crew = w->crew;
	struct blipmq_view mine = w->out[--w->nr_out];

	pthread_mutex_lock(&crew->lock);
	if (crew->handed.data)
		w->out[w->nr_out++] = crew->handed;
	crew->handed = mine;
	pthread_mutex_unlock(&crew->lock);
}

/* Any @n of ours, in any order. */
static void finish(struct worker *w, unsigned int n)
{
	struct blipmq_view views[OUT_MAX];
	unsigned int i, which;

	for (i = 0; i < n; i++) {
		which = roll(w, w->nr_out);
		views[i] = w->out[which];
		sim_check(&views[i]);
		keep_sometimes(w, &views[i]);
		w->out[which] = w->out[--w->nr_out];
	}
	EXPECT(!blipmq_release(&w->crew->sim->b, views, n));
}

/* All out: finish what is in hand, or let the others finish theirs. */
static void make_way(struct worker *w)
{
	struct crew *crew = w->crew;

	pthread_mutex_lock(&crew->lock);
	if (!w->nr_out && crew->handed.data) {
		w->out[w->nr_out++] = crew->handed;
		crew->handed.data = NULL;
	}
	pthread_mutex_unlock(&crew->lock);
	if (w->nr_out)
		finish(w, w->nr_out);
	else
		sched_yield();
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct blipmq *b = &w->crew->sim->b;
	struct blipmq_view views[OUT_MAX];
	int n;

	for (;;) {
		n = blipmq_next_batch(b, views, 1 + roll(w, OUT_MAX - w->nr_out),
				      roll(w, 4) ? BLIPMQ_FOREVER : 0);
		if (n == -ENODEV)
			break;
		EXPECT(n > 0 || n == -EAGAIN || n == -ENOBUFS);
		if (n > 0)
			receive(w, views, n);
		else if (n == -ENOBUFS)
			make_way(w);
		if (w->nr_out && !roll(w, 8))
			exchange(w);
		if (w->nr_out == OUT_MAX || (w->nr_out && !roll(w, 2)))
			finish(w, 1 + roll(w, w->nr_out));
	}
	/* Which may keep one more. */
	finish(w, w->nr_out);
	if (w->kept_id) {
		sim_check(&w->kept);
		EXPECT(!blipmq_drop(b, w->kept_id));
	}
	return NULL;
}

static uint64_t dropped(const struct sim *sim)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		sum += sim->drops[i];
	return sum;
}

static void crew_check(struct crew *crew)
{
	struct sim *sim = crew->sim;
	const struct stress *s = crew->stress;

	if (crew->handed.data)
		EXPECT(!blipmq_release(&sim->b, &crew->handed, 1));
	EXPECT(crew->received + dropped(sim) == sim->published);
	/* The library never claims more than the bound. */
	EXPECT(!sim->drops[BLIPMQ_DROP_HELD]);
	EXPECT(sim_empty(sim));
	EXPECT(sim->control->claim == sim->control->release);
	if (s->policy == BLIPMQ_POLICY_BLOCK) {
		EXPECT(crew->received == messages);
		EXPECT(sim->kicks);
	}
}

static void test_stress(const struct stress *s)
{
	struct sim *sim = sim_new(s->entries, s->held, s->policy);
	struct crew crew = { .stress = s, .sim = sim };
	struct worker workers[THREADS_MAX] = {};
	unsigned int i;

	sim->b.spin = s->spin_us * BLIPMQ_USEC;
	crew.seen = calloc(messages, sizeof(*crew.seen));
	pthread_mutex_init(&crew.lock, NULL);
	for (i = 0; i < s->threads; i++) {
		workers[i].crew = &crew;
		workers[i].random = i + 1;
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	for (i = 0; i < messages; i++) {
		sim_publish(sim, i);
		/* Let them fall asleep now and then. */
		if (!(i % 1024))
			usleep(100);
	}
	/* With a wakeup lost, this never ends. */
	while (!sim_drained(sim))
		sched_yield();
	sim_hang_up(sim);
	for (i = 0; i < s->threads; i++)
		pthread_join(workers[i].thread, NULL);
	crew_check(&crew);
	pthread_mutex_destroy(&crew.lock);
	free(crew.seen);
	sim_free(sim);
	test_done("%s: %u of %u entries held, %u threads, spin %u us", s->name, s->held,
		  s->entries, s->threads, s->spin_us);
}

static const struct stress stresses[] = {
	{ "drop-oldest", 1, 1, BLIPMQ_POLICY_DROP_OLDEST, 2, 0 },
	{ "drop-oldest", 4, 2, BLIPMQ_POLICY_DROP_OLDEST, 1, 0 },
	{ "drop-oldest", 8, 8, BLIPMQ_POLICY_DROP_OLDEST, 3, 0 },
	{ "drop-oldest", 64, 16, BLIPMQ_POLICY_DROP_OLDEST, 4, 20 },
	{ "drop-newest", 4, 1, BLIPMQ_POLICY_DROP_NEWEST, 2, 0 },
	{ "drop-newest", 64, 16, BLIPMQ_POLICY_DROP_NEWEST, 3, 20 },
	{ "block", 1, 1, BLIPMQ_POLICY_BLOCK, 1, 0 },
	{ "block", 16, 4, BLIPMQ_POLICY_BLOCK, 2, 0 },
	{ "block", 64, 64, BLIPMQ_POLICY_BLOCK, 4, 20 },
};

int main(int argc, char **argv)
{
	unsigned int i;

	if (argc > 1)
		messages = strtoul(argv[1], NULL, 0);
	alarm(WATCHDOG);
	test_refusals();
	test_unmapped();
	test_in_order();
	test_gaps();
	test_keep();
	test_recv();
	test_mark();
	test_sleepers();
	test_yield();
	for (i = 0; i < ARRAY_SIZE(stresses); i++)
		test_stress(&stresses[i]);
	return test_end();
}
