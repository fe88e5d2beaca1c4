// SPDX-License-Identifier: GPL-2.0
/*
 * Closing what others are about to use: endpoints while the bus's idle worker looks at them,
 * and topic handles while there is publishing by them. What several would put is put once, and
 * what is gone is not used. The kernel log, and the counts of the bus, tell.
 */
#include "hostile.h"

/* ---- Endpoints ---- */

#define BUSES		16	/* each of them crosses its worker once */
#define ENDPOINTS	512
#define IDLE_MS		5000	/* after which the worker comes, at the next ... */
#define TICK_MS		512	/* ... of a coarse timer: of 256 or 512 ms */
#define BEFORE_MS	100	/* it that is armed */
#define EARLY		(4 * MSEC)	/* before it comes we begin to close */

/* When the worker of a fresh bus came: all workers come a multiple of TICK_MS later. */
static __u64 worker_came(void)
{
	int fd = bus_open(O_RDWR), watch = bus_open(O_RDWR);
	struct blipmq_stats stats = { };

	if (publish(fd, "watch", "x", 1))
		return 0;
	while (!stats.idle) {
		sleep_ms(1);
		if (bus_stats(watch, &stats))
			return 0;
	}
	close(fd);
	close(watch);
	return now_ns();
}

static void sleep_until(__u64 ns)
{
	while (now_ns() < ns)
		usleep(500);
}

/* Publish through each endpoint once, rest, and close while the worker passes by. */
static int cross_worker(void *arg)
{
	__u64 due = *(__u64 *)arg;
	int fd[ENDPOINTS], i;

	if (fresh_bus(NULL))
		return 1;
	for (i = 0; i < ENDPOINTS; i++)
		fd[i] = bus_open(O_RDWR);
	sleep_until(due - (IDLE_MS + BEFORE_MS) * MSEC);
	for (i = 0; i < ENDPOINTS; i++) {
		if (publish(fd[i], "cross", "x", 1))
			return 2;
	}
	sleep_until(due - EARLY);
	/* It comes from below, we from above. */
	for (i = ENDPOINTS; i--;)
		close(fd[i]);
	return 0;
}

TEST(while_worker_passes)
{
	__u64 due;
	pid_t pid[BUSES];
	int i;

	ASSERT_EQ(0, fresh_bus(NULL));
	due = worker_came();
	ASSERT_NE(0, due);
	due += 12 * TICK_MS * MSEC;
	for (i = 0; i < BUSES; i++) {
		pid[i] = spawn(cross_worker, &due);
		due += TICK_MS * MSEC;
	}
	for (i = 0; i < BUSES; i++)
		EXPECT_EQ(0, reap(pid[i]));
	expect_bus_empty(_metadata);
}

/* ---- Topic handles ---- */

struct by_handle {
	int fd;
	bool stop;
	__u64 published;
	__u64 closed;	/* tries that found no handle */
	__u64 late;	/* found one whose topic went, and no place for it to come back */
	__u64 other;
};

static void *publish_by_handle(void *arg)
{
	struct by_handle *p = arg;

	while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
		int ret = publish_on(p->fd, 1, "x", 1);

		p->published += !ret;
		p->closed += ret == -ENOENT;
		p->late += ret == -ENOSPC;
		p->other += ret && ret != -ENOENT && ret != -ENOSPC;
	}
	return NULL;
}

/*
 * Of one topic that a user may have each next one takes the place: with its handle, which is
 * always the first, it is gone.
 */
TEST(handle_while_publishing)
{
	const struct param params[] = { { "max_user_topics", "1" }, { } };
	static const char * const subjects[] = { "even", "odd" };
	struct by_handle p = { };
	pthread_t thread;
	unsigned int n = 0;
	__u64 end;

	ASSERT_EQ(0, fresh_bus(params));
	p.fd = bus_open(O_RDWR);
	ASSERT_EQ(0, pthread_create(&thread, NULL, publish_by_handle, &p));
	end = deadline_in(test_seconds());
	do {
		struct blipmq_topic_close shut = { .handle = 1 };

		ASSERT_EQ(1, topic(p.fd, subjects[n++ % 2]));
		ASSERT_EQ(0, do_topic_close(p.fd, &shut));
	} while (now_ns() < end);
	__atomic_store_n(&p.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, p.other);
	EXPECT_LT(0, p.published);
	EXPECT_LT(0, p.closed);
	TH_LOG("%u handles, %llu published, %llu not, %llu too late", n, p.published, p.closed,
	       p.late);
	close(p.fd);
	expect_bus_empty(_metadata);
}

TEST_HARNESS_MAIN
