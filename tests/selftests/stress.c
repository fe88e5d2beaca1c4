// SPDX-License-Identifier: GPL-2.0
/*
 * Many messages from several publishers to eight subscribers: all of them, in order, or
 * exact losses; and nobody sleeps while there is something to do.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "hostile.h"

#define SUBSCRIBERS	8
#define PUBLISHERS	2
#define LENGTH		256
#define BATCH		256

/* What the long run, and no slow kernel, must have seen. */
#define MANY		1000000

static const struct param patient[] = { PATIENT, { } };

static const struct witness strict = {
	.pattern = "load.*",
	.entries = 1024,
	.policy = BLIPMQ_POLICY_BLOCK,
};

static const struct witness loose = {
	.pattern = "load.*",
	.entries = 256,
	.policy = BLIPMQ_POLICY_DROP_OLDEST,
};

static bool enough(__u64 published, __u64 end)
{
	return now_ns() >= end && (!soaking() || published >= MANY);
}

/* ---- Several publishers ---- */

struct feed {
	double seconds;
	__u64 published;
};

/* Each message goes to the other of two topics. */
static int feed(void *arg)
{
	struct feed *f = arg;
	struct source s;
	int other, ret;
	unsigned int i;
	__u64 end;

	if (source_open(&s, "load.a", LENGTH, 32))
		return 1;
	other = topic(s.fd, "load.b");
	if (other < 0)
		return 1;
	for (i = 1; i < s.batch; i += 2)
		s.messages[i].handle = other;
	end = deadline_in(f->seconds);
	do {
		ret = source_send(&s);
	} while (ret > 0 && now_ns() < end);
	f->published = s.published;
	return ret < 0;
}

TEST(order_of_two_publishers)
{
	struct feed *feeds = shared(PUBLISHERS * sizeof(*feeds));
	struct witness *w[SUBSCRIBERS];
	pid_t pids[PUBLISHERS];
	__u64 published = 0;
	int i;

	ASSERT_EQ(0, fresh_bus(patient));
	for (i = 0; i < SUBSCRIBERS; i++)
		w[i] = witness_start(i % 2 ? &strict : &loose);
	for (i = 0; i < PUBLISHERS; i++) {
		feeds[i].seconds = test_seconds() / 2;
		pids[i] = spawn(feed, &feeds[i]);
	}
	for (i = 0; i < PUBLISHERS; i++) {
		EXPECT_EQ(0, reap(pids[i]));
		EXPECT_LT(0, feeds[i].published);
		published += feeds[i].published;
	}
	for (i = 0; i < SUBSCRIBERS; i++)
		witness_settle(_metadata, w[i], published);
	expect_bus_empty(_metadata);
}

/* ---- One publisher, eight subscribers ---- */

static void one_to_eight(struct __test_metadata *_metadata, const struct witness *what)
{
	struct witness *w[SUBSCRIBERS];
	struct source s;
	__u64 end;
	int i;

	for (i = 0; i < SUBSCRIBERS; i++)
		w[i] = witness_start(what);
	ASSERT_EQ(0, source_open(&s, "load.one", LENGTH, BATCH));
	end = deadline_in(test_seconds());
	do {
		ASSERT_EQ(BATCH, source_send(&s));
	} while (!enough(s.published, end));
	for (i = 0; i < SUBSCRIBERS; i++)
		witness_settle(_metadata, w[i], s.published);
	TH_LOG("%llu messages", s.published);
	source_close(&s);
}

TEST(block_gets_all)
{
	ASSERT_EQ(0, fresh_bus(patient));
	one_to_eight(_metadata, &strict);
	expect_bus_empty(_metadata);
}

/* The ninth stops with one message in its hands, and finds the newest afterwards. */
TEST(drop_oldest_counts_all)
{
	struct blipmq_desc first, descs[64];
	struct blipmq_stats stats;
	struct consumer c;
	struct source one;
	__u64 index, number, newest;
	unsigned int i;
	int id;

	ASSERT_EQ(0, fresh_bus(patient));
	ASSERT_EQ(0, consumer_open(&c, 64, 0, BLIPMQ_POLICY_DROP_OLDEST));
	id = subscribe(c.fd, "load.*", 0);
	ASSERT_LT(0, id);
	ASSERT_EQ(0, source_open(&one, "load.first", LENGTH, 1));
	ASSERT_EQ(1, source_send(&one));
	ASSERT_EQ(1, consumer_claim(&c, &first, 1, &index));

	one_to_eight(_metadata, &loose);

	EXPECT_TRUE(stamp_holds(consumer_payload(&c, &first), LENGTH, &number));
	EXPECT_EQ(1, number);
	ASSERT_EQ(0, sub_stats(c.fd, id, &stats));
	newest = stats.delivered - 1;
	ASSERT_EQ(64, consumer_claim(&c, descs, 64, &index));
	for (i = 0; i < 64; i++) {
		EXPECT_TRUE(stamp_holds(consumer_payload(&c, &descs[i]), LENGTH, &number));
		EXPECT_EQ(newest - 63 + i, number);
	}
	EXPECT_EQ(stats.delivered, 65 + stats.drops[BLIPMQ_DROP_OLDEST]);
	EXPECT_EQ(stats.delivered, 65 + sum_drops(stats.drops));
	consumer_close(&c);
	source_close(&one);
	expect_bus_empty(_metadata);
}

/* ---- No wakeup is lost ---- */

/* Long against any scheduling; only a lost wakeup takes it. */
#define LOST_MS		20000

enum sleep_kind { BY_WAIT, BY_POLL, BY_EPOLLET, NR_SLEEPS };

struct pong {
	enum sleep_kind kind;
	__u32 min;
	bool ready;
	bool lost;		/* a wakeup */
	int ack;		/* an eventfd: something was seen, or lost */
	__u64 seen;
	__u64 slept;
};

/* Sleep as the contract says: arm, look again, sleep. False if it was for ever. */
static bool pong_sleep(struct pong *p, struct consumer *c, int ep)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	struct epoll_event event;
	bool woken = true;

	consumer_arm(c, p->min);
	if (consumer_prod(c) - consumer_load(consumer_claim_word(c)) < p->min) {
		p->slept++;
		if (p->kind == BY_WAIT)
			woken = !wait_for(c->fd, p->min, LOST_MS);
		else if (p->kind == BY_POLL)
			woken = poll(&pfd, 1, LOST_MS) == 1;
		else
			woken = epoll_wait(ep, &event, 1, LOST_MS) == 1;
	}
	consumer_arm(c, 0);
	return woken;
}

static int pong(void *arg)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct pong *p = arg;
	struct consumer c;

	if (consumer_open(&c, 64, 64, BLIPMQ_POLICY_DROP_NEWEST) ||
	    subscribe(c.fd, "ping", 0) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, c.fd, &event))
		return 1;
	__atomic_store_n(&p->ready, true, __ATOMIC_RELEASE);
	/* What came before the first sleep is counted by it as well: all of a mark are there. */
	while (pong_sleep(p, &c, ep)) {
		__atomic_add_fetch(&p->seen, consumer_drain(&c), __ATOMIC_RELEASE);
		eventfd_write(p->ack, 1);
	}
	p->lost = true;
	eventfd_write(p->ack, 1);
	return 2;
}

/* Send `min` messages, see that they arrived, send again; so every sleep is a race. */
static void ping(struct __test_metadata *_metadata, struct pong *p, double seconds)
{
	__u64 state = 1181783497276652981ULL, end;
	struct source s;
	unsigned int i;
	eventfd_t acks;
	pid_t pid;

	p->ack = eventfd(0, EFD_CLOEXEC);
	ASSERT_EQ(0, source_open(&s, "ping", sizeof(__u64), 1));
	pid = spawn(pong, p);
	while (!__atomic_load_n(&p->ready, __ATOMIC_ACQUIRE) && reap_within(pid, 1) == -ETIME)
		;
	ASSERT_TRUE(p->ready);
	end = deadline_in(seconds);
	do {
		for (i = 0; i < p->min; i++) {
			unsigned int pause = random_next(&state) % 2000;

			ASSERT_EQ(1, source_send(&s));
			while (pause--)
				__atomic_signal_fence(__ATOMIC_SEQ_CST);
		}
		while (__atomic_load_n(&p->seen, __ATOMIC_ACQUIRE) < s.published) {
			ASSERT_EQ(0, eventfd_read(p->ack, &acks));
			ASSERT_FALSE(p->lost) {
				TH_LOG("kind %d, mark %u, message %llu, seen %llu", p->kind,
				       p->min, s.published, p->seen);
			}
		}
	} while (now_ns() < end);
	slay(pid);
	EXPECT_EQ(s.published, p->seen);
	EXPECT_LT(0, p->slept);
	TH_LOG("kind %d, mark %u: %llu messages, %llu sleeps", p->kind, p->min, s.published,
	       p->slept);
	source_close(&s);
	close(p->ack);
}

TEST(no_lost_wakeup)
{
	static const __u32 marks[] = { 1, 4 };
	unsigned int kind, m;

	ASSERT_EQ(0, fresh_bus(patient));
	for (kind = 0; kind < NR_SLEEPS; kind++) {
		for (m = 0; m < ARRAY_SIZE(marks); m++) {
			struct pong *p = shared(sizeof(*p));

			p->kind = kind;
			p->min = marks[m];
			ping(_metadata, p, test_seconds() / 6);
		}
	}
	expect_bus_empty(_metadata);
}

TEST_HARNESS_MAIN
