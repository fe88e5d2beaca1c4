// SPDX-License-Identifier: GPL-2.0
/*
 * One endpoint in several hands: threads and processes that receive from it, a descriptor
 * that is passed on; and publishers and subscribers that are killed at any time, while the
 * others' counts stay exact.
 */
#include <sys/socket.h>

#include "hostile.h"

#define LENGTH		128

static const struct param patient[] = { PATIENT, { } };

/* ---- Killed at any time ---- */

#define VICTIMS		6

static const struct witness victims[] = {
	{ .pattern = "busy", .entries = 16, .policy = BLIPMQ_POLICY_DROP_OLDEST, .nap_us = 200 },
	{ .pattern = "*", .entries = 64, .policy = BLIPMQ_POLICY_BLOCK },
	{ .pattern = ">", .entries = 256, .policy = BLIPMQ_POLICY_DROP_NEWEST },
};

static int publish_for_ever(void *arg)
{
	struct source s;

	if (source_open(&s, arg, LENGTH, 64))
		return 1;
	return source_send_until(&s, ~0ULL);
}

/* The victim of a place, again and again: three subscribe, the others publish. */
static pid_t spawn_victim(unsigned int place)
{
	static struct witness w[VICTIMS];

	if (place % 5 >= ARRAY_SIZE(victims))
		return spawn(publish_for_ever, "busy");
	/* Not waited for: it may be killed before it is ready. */
	w[place] = victims[place % 5];
	w[place].topics = 4096;
	return spawn(witness_main, &w[place]);
}

/* Number of the newest message of a topic, after one more. */
static __u64 topic_end(struct __test_metadata *_metadata, struct source *s)
{
	struct blipmq_result result;
	struct blipmq_publish pub = {
		.messages = ptr_u64(s->messages),
		.nr = 1,
		.results = ptr_u64(&result),
	};

	stamp(s->buf, s->length, ++s->published);
	ASSERT_EQ(0, do_publish(s->fd, &pub));
	return result.seq;
}

TEST(killed_anyone)
{
	struct witness strict = {
		.pattern = "busy",
		.entries = 512,
		.policy = BLIPMQ_POLICY_BLOCK,
		.topics = 65536,
	};
	struct witness loose = {
		.pattern = "*",
		.entries = 64,
		.policy = BLIPMQ_POLICY_DROP_OLDEST,
		.topics = 65536,
	};
	__u64 state = 2685821657736338717ULL, end, kills = 0, total;
	struct witness *w[2];
	pid_t pids[VICTIMS];
	struct source s;
	unsigned int i;

	ASSERT_EQ(0, fresh_bus(patient));
	w[0] = witness_start(&strict);
	w[1] = witness_start(&loose);
	ASSERT_EQ(0, source_open(&s, "busy", LENGTH, 16));
	for (i = 0; i < VICTIMS; i++)
		pids[i] = spawn_victim(i);
	end = deadline_in(test_seconds());
	while (now_ns() < end) {
		i = random_next(&state) % VICTIMS;
		ASSERT_LT(0, source_send(&s));
		usleep(random_next(&state) % 5000);
		EXPECT_EQ(128 + SIGKILL, slay(pids[i]));
		pids[i] = spawn_victim(i);
		kills++;
	}
	for (i = 0; i < VICTIMS; i++)
		EXPECT_EQ(128 + SIGKILL, slay(pids[i]));
	total = topic_end(_metadata, &s);
	EXPECT_LT(s.published, total);
	witness_settle(_metadata, w[0], total);
	witness_settle(_metadata, w[1], total);
	TH_LOG("%llu killed, %llu messages", kills, total);
	source_close(&s);
	expect_bus_empty(_metadata);
}

/* ---- Several threads ---- */

#define THREADS		4
#define NUMBERS		(1u << 20)

struct team {
	struct consumer c;
	pthread_mutex_t lock;
	bool stop;
	__u64 received;
	unsigned char times[NUMBERS];	/* that a number was seen */
	/* Outstanding claims, in order; release goes up to the first that is not finished. */
	struct claim {
		__u64 end;
		bool done;
	} claims[THREADS];
	unsigned int first, nr;
};

static void team_saw(struct team *t, const char *payload)
{
	__u64 number;

	if (!stamp_holds(payload, LENGTH, &number) || number >= NUMBERS)
		abort();
	__atomic_add_fetch(&t->times[number], 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&t->received, 1, __ATOMIC_RELAXED);
}

/*
 * The claim and its place in the list are one critical section. A full list is one of as many
 * messages as may be held: no more is claimed then.
 */
static struct claim *team_claim(struct team *t, struct blipmq_desc *descs, unsigned int *n)
{
	struct claim *claim = NULL;
	__u64 index;

	pthread_mutex_lock(&t->lock);
	*n = t->nr < THREADS ? consumer_claim(&t->c, descs, 4, &index) : 0;
	if (*n) {
		claim = &t->claims[(t->first + t->nr++) % THREADS];
		*claim = (struct claim){ .end = index + *n };
	}
	pthread_mutex_unlock(&t->lock);
	return claim;
}

static void team_release(struct team *t, struct claim *claim)
{
	pthread_mutex_lock(&t->lock);
	claim->done = true;
	while (t->nr && t->claims[t->first].done) {
		consumer_release(&t->c, t->claims[t->first].end);
		t->first = (t->first + 1) % THREADS;
		t->nr--;
	}
	pthread_mutex_unlock(&t->lock);
}

static void *team_mapped(void *arg)
{
	struct blipmq_desc descs[4];
	struct team *t = arg;
	struct claim *claim;
	unsigned int i, n;
	bool stop;

	for (;;) {
		stop = __atomic_load_n(&t->stop, __ATOMIC_ACQUIRE);
		claim = team_claim(t, descs, &n);
		for (i = 0; i < n; i++)
			team_saw(t, consumer_payload(&t->c, &descs[i]));
		if (claim) {
			team_release(t, claim);
			continue;
		}
		if (stop)
			return NULL;
		wait_for(t->c.fd, 1, 50);
	}
}

static void *team_copied(void *arg)
{
	char payload[LENGTH];
	struct team *t = arg;

	for (;;) {
		struct blipmq_recv recv = {
			.payload = ptr_u64(payload),
			.payload_size = sizeof(payload),
		};
		int ret = do_recv(t->c.fd, &recv);

		if (ret == -EINTR || ret == -EAGAIN)
			return NULL;
		if (ret || recv.header.length != LENGTH)
			abort();
		team_saw(t, payload);
	}
}

static void nothing(int sig)
{
	(void)sig;
}

/* Publish beside the team; then every message was seen by exactly one of its threads. */
static void team_case(struct __test_metadata *_metadata, struct team *t, void *(*fn)(void *))
{
	struct sigaction action = { .sa_handler = nothing };
	pthread_t threads[THREADS];
	struct source s;
	unsigned int i;
	__u64 end;

	pthread_mutex_init(&t->lock, NULL);
	sigaction(SIGUSR1, &action, NULL);
	ASSERT_LT(0, subscribe(t->c.fd, "team", 0));
	ASSERT_EQ(0, source_open(&s, "team", LENGTH, 8));
	for (i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, fn, t);
	end = deadline_in(test_seconds() / 4);
	while (now_ns() < end && s.published + s.batch < NUMBERS)
		ASSERT_LT(0, source_send(&s));
	while (__atomic_load_n(&t->received, __ATOMIC_RELAXED) < s.published)
		sleep_ms(1);
	__atomic_store_n(&t->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < THREADS; i++) {
		while (pthread_tryjoin_np(threads[i], NULL)) {
			pthread_kill(threads[i], SIGUSR1);
			sleep_ms(1);
		}
	}
	EXPECT_EQ(s.published, t->received);
	for (i = 1; i <= s.published; i++)
		ASSERT_EQ(1, t->times[i]);
	source_close(&s);
}

TEST(threads_share_a_mapping)
{
	static struct team t;
	struct blipmq_stats stats;

	ASSERT_EQ(0, fresh_bus(patient));
	/* Room in the held list for all that four threads have in their hands. */
	ASSERT_EQ(0, consumer_open(&t.c, 64, 16, BLIPMQ_POLICY_BLOCK));
	team_case(_metadata, &t, team_mapped);
	EXPECT_EQ(-ETIME, wait_for(t.c.fd, 1, 0));
	ASSERT_EQ(0, ring_stats(t.c.fd, &stats));
	EXPECT_EQ(t.received, stats.delivered);
	EXPECT_EQ(0, sum_drops(stats.drops));
	EXPECT_EQ(0, stats.pinned);
	consumer_close(&t.c);
	expect_bus_empty(_metadata);
}

TEST(threads_share_recv)
{
	static struct team t;

	ASSERT_EQ(0, fresh_bus(patient));
	t.c.fd = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(t.c.fd, 64, BLIPMQ_POLICY_BLOCK));
	team_case(_metadata, &t, team_copied);
	close(t.c.fd);
	expect_bus_empty(_metadata);
}

/* Threads that publish through one endpoint: nothing is torn, every number comes once. */

#define WRITERS		4

struct writers {
	int fd;
	__u32 handle;
	bool stop;
	bool failed;
	__u64 number;
};

static void *writer(void *arg)
{
	struct writers *w = arg;
	char payload[LENGTH];

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		__u64 number = __atomic_add_fetch(&w->number, 1, __ATOMIC_RELAXED);

		stamp(payload, sizeof(payload), number);
		if (publish_on(w->fd, w->handle, payload, sizeof(payload)) != 1)
			__atomic_store_n(&w->failed, true, __ATOMIC_RELAXED);
	}
	return NULL;
}

TEST(threads_share_a_publisher)
{
	static struct team t;
	struct writers w = { };
	pthread_t threads[WRITERS];
	struct blipmq_desc d;
	__u64 index, end, i;
	int n;

	ASSERT_EQ(0, fresh_bus(patient));
	ASSERT_EQ(0, consumer_open(&t.c, 256, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(t.c.fd, "team", 0));
	w.fd = bus_open(O_RDWR);
	w.handle = topic(w.fd, "team");
	for (n = 0; n < WRITERS; n++)
		pthread_create(&threads[n], NULL, writer, &w);
	end = deadline_in(test_seconds() / 4);
	for (n = 0; n < WRITERS; ) {
		if (now_ns() > end)
			__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
		if (consumer_claim(&t.c, &d, 1, &index)) {
			team_saw(&t, consumer_payload(&t.c, &d));
			consumer_release(&t.c, index + 1);
		} else if (w.stop && !pthread_tryjoin_np(threads[n], NULL)) {
			n++;
		}
	}
	while (consumer_claim(&t.c, &d, 1, &index))
		team_saw(&t, consumer_payload(&t.c, &d));
	EXPECT_FALSE(w.failed);
	EXPECT_EQ(w.number, t.received);
	for (i = 1; i <= w.number; i++)
		ASSERT_EQ(1, t.times[i]);
	close(w.fd);
	consumer_close(&t.c);
	expect_bus_empty(_metadata);
}

/* ---- A descriptor passed on ---- */

struct passed {
	int sock;
	uid_t uid;
};

/* Another user gets a subscriber's and a publisher's file, and uses both. */
static int receiver_of_fds(void *arg)
{
	struct passed *p = arg;
	struct blipmq_recv recv = { };
	char payload[LENGTH];
	int sub, pub, i;
	__u64 number;

	if (setgid(p->uid) || setuid(p->uid))
		return 1;
	sub = recv_fd(p->sock);
	pub = recv_fd(p->sock);
	for (i = 2; i <= 3; i++) {
		recv = (struct blipmq_recv){
			.payload = ptr_u64(payload),
			.payload_size = sizeof(payload),
		};
		if (do_recv(sub, &recv) || !stamp_holds(payload, LENGTH, &number) || number != i)
			return 2;
	}
	stamp(payload, sizeof(payload), 4);
	return publish(pub, "passed", payload, sizeof(payload)) == 1 ? 0 : 3;
}

TEST(passed_on)
{
	struct passed p = { .uid = BAD_UID };
	char payload[LENGTH];
	struct blipmq_recv recv = {
		.payload = ptr_u64(payload),
		.payload_size = sizeof(payload),
	};
	int socks[2], sub, i;
	struct source s;
	pid_t pid;

	/* Nobody but root may do anything on this bus: rights are the opener's. */
	ASSERT_EQ(0, fresh_bus(patient));
	sub = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(sub, 16, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(sub, "passed", 0));
	ASSERT_EQ(0, source_open(&s, "passed", LENGTH, 1));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(1, source_send(&s));
	ASSERT_EQ(0, do_recv(sub, &recv));

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks));
	p.sock = socks[1];
	pid = spawn(receiver_of_fds, &p);
	ASSERT_EQ(0, send_fd(socks[0], sub));
	ASSERT_EQ(0, send_fd(socks[0], s.fd));
	EXPECT_EQ(0, reap(pid));

	/* What it published came from the one who opened; and the ring goes on here. */
	ASSERT_EQ(0, do_recv(sub, &recv));
	EXPECT_EQ(4, recv.header.seq);
	EXPECT_EQ(0, recv.header.uid);
	EXPECT_EQ(getpid(), recv.header.pid);
	close(sub);
	source_close(&s);
	expect_bus_empty(_metadata);
}

TEST_HARNESS_MAIN
