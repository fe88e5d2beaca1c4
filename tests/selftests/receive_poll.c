// SPDX-License-Identifier: GPL-2.0
/*
 * poll and epoll: what is readable, what is writable, and who is woken.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"poll.subject"

FIXTURE(reader) {
	int fd;		/* consumed by read(2) */
	int pub;
};

FIXTURE_SETUP(reader)
{
	self->fd = bus_open(O_RDWR | O_NONBLOCK);
	ASSERT_EQ(0, make_ring(self->fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->fd, SUBJECT, 0));
	self->pub = bus_open(O_RDWR);
	ASSERT_LE(0, self->pub);
}

FIXTURE_TEARDOWN(reader)
{
	close(self->fd);
	close(self->pub);
}

/* What poll says of it now. */
static int polled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI };

	return poll(&p, 1, 0) < 0 ? -errno : p.revents;
}

/* Exits with what poll says once it says anything. */
static int poller(void *arg)
{
	struct pollfd *p = arg;

	return poll(p, 1, -1) == 1 ? p->revents : 255;
}

TEST_F(reader, poll_levels)
{
	char buf[8];

	EXPECT_EQ(POLLOUT, polled(self->fd));
	EXPECT_EQ(POLLOUT, polled(self->pub));
	ASSERT_EQ(1, publish(self->pub, SUBJECT, "1", 1));
	ASSERT_EQ(1, publish(self->pub, SUBJECT, "2", 1));
	EXPECT_EQ(POLLIN | POLLOUT, polled(self->fd));
	EXPECT_EQ(POLLOUT, polled(self->pub));
	EXPECT_EQ(1, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(POLLIN | POLLOUT, polled(self->fd));
	EXPECT_EQ(1, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(POLLOUT, polled(self->fd));
}

/* Before anything decided how the ring is consumed, and before there is one. */
TEST(poll_undecided)
{
	int fd = bus_open(O_RDWR);

	EXPECT_EQ(POLLOUT, polled(fd));
	ASSERT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_EQ(POLLOUT, polled(fd));
	ASSERT_LT(0, subscribe(fd, SUBJECT, 0));
	ASSERT_EQ(1, publish(fd, SUBJECT, "1", 1));
	EXPECT_EQ(POLLIN | POLLOUT, polled(fd));
}

TEST_F(reader, poll_sleeps)
{
	struct pollfd p = { .fd = self->fd, .events = POLLIN };
	pid_t pid = spawn(poller, &p);

	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(1, publish(self->pub, SUBJECT, "1", 1));
	EXPECT_EQ(POLLIN, reap(pid));
}

/* A mapped consumer's low-water mark holds for poll too. */
TEST(poll_low_water)
{
	struct pollfd p;
	struct consumer c;
	pid_t pid;

	ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, SUBJECT, 0));
	consumer_arm(&c, 3);
	p = (struct pollfd){ .fd = c.fd, .events = POLLIN };
	pid = spawn(poller, &p);
	ASSERT_TRUE(wait_asleep(pid));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(1, publish(c.fd, SUBJECT, "1", 1));
		EXPECT_EQ(POLLOUT, polled(c.fd));
	}
	sleep_ms(50);
	EXPECT_EQ(-ETIME, reap_within(pid, 0));
	ASSERT_EQ(1, publish(c.fd, SUBJECT, "1", 1));
	EXPECT_EQ(POLLIN, reap(pid));
	EXPECT_EQ(3, consumer_drain(&c));
	EXPECT_EQ(POLLOUT, polled(c.fd));
	/* Awake, 0, is as 1 for who asks. */
	consumer_arm(&c, 0);
	ASSERT_EQ(1, publish(c.fd, SUBJECT, "1", 1));
	EXPECT_EQ(POLLIN | POLLOUT, polled(c.fd));
	consumer_close(&c);
}

static int epoll_on(int fd, __u32 events)
{
	struct epoll_event ev = { .events = events };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) ? -errno : ep;
}

/* Events within ms, or 0. */
static __u32 epolled(int ep, int ms)
{
	struct epoll_event ev;

	return epoll_wait(ep, &ev, 1, ms) == 1 ? ev.events : 0;
}

TEST_F(reader, epoll_level)
{
	int ep = epoll_on(self->fd, EPOLLIN);
	char buf[8];

	ASSERT_LE(0, ep);
	EXPECT_EQ(0, epolled(ep, 0));
	ASSERT_EQ(1, publish(self->pub, SUBJECT, "1", 1));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(EPOLLIN, epolled(ep, 0));
	EXPECT_EQ(1, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(0, epolled(ep, 0));
}

/* Edge-triggered: one event for what came, the next when more comes, none without. */
TEST_F(reader, epoll_edge)
{
	int ep = epoll_on(self->fd, EPOLLIN | EPOLLET);
	char buf[8];

	ASSERT_LE(0, ep);
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(1, publish(self->pub, SUBJECT, "1", 1));
		EXPECT_EQ(EPOLLIN, epolled(ep, 0));
		EXPECT_EQ(0, epolled(ep, 0));
		if (i % 3 == 2)
			while (read(self->fd, buf, sizeof(buf)) == 1)
				;
	}
}

/*
 * Another reader takes the message, and leaves it when its copy fails: who was told that
 * there is none hears of it.
 */
TEST_F(reader, epoll_edge_after_a_copy_that_failed)
{
	int ep = epoll_on(self->fd, EPOLLIN | EPOLLET);
	char buf[8];
	pid_t pid;

	ASSERT_LE(0, ep);
	ASSERT_EQ(1, publish(self->pub, SUBJECT, "1", 1));
	EXPECT_EQ(EPOLLIN, epolled(ep, 0));
	pid = spawn(read_stalling, &self->fd);
	ASSERT_TRUE(wait_asleep(pid));
	EXPECT_EQ(-1, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, epolled(ep, 0));
	slay(pid);
	EXPECT_EQ(EPOLLIN, epolled(ep, 0));
	EXPECT_EQ(1, read(self->fd, buf, sizeof(buf)));
}

/* Likewise with the mappings, where the consumer arms before it sleeps. */
TEST(epoll_edge_mapped)
{
	struct consumer c;
	int ep;

	ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, SUBJECT, 0));
	ep = epoll_on(c.fd, EPOLLIN | EPOLLET);
	ASSERT_LE(0, ep);
	EXPECT_EQ(0, epolled(ep, 0));
	for (int i = 0; i < 10; i++) {
		consumer_arm(&c, 1);
		ASSERT_EQ(0, consumer_drain(&c));
		ASSERT_EQ(1, publish(c.fd, SUBJECT, "1", 1));
		EXPECT_EQ(EPOLLIN, epolled(ep, 0));
		EXPECT_EQ(0, epolled(ep, 0));
		consumer_arm(&c, 0);
		EXPECT_EQ(1, consumer_drain(&c));
	}
	consumer_close(&c);
}

/* ---- EPOLLOUT ---- */

/* A block ring of two, full; a publisher that may not wait. */
FIXTURE(full) {
	int fd;
	int pub;
};

FIXTURE_SETUP(full)
{
	self->fd = bus_open(O_RDWR | O_NONBLOCK);
	ASSERT_EQ(0, make_ring(self->fd, 2, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(self->fd, "poll.full", 0));
	self->pub = bus_open(O_RDWR | O_NONBLOCK);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(1, publish(self->pub, "poll.full", "m", 1));
		/* Full, but nobody was turned away. */
		EXPECT_EQ(POLLOUT, polled(self->pub));
	}
}

FIXTURE_TEARDOWN(full)
{
	close(self->fd);
	close(self->pub);
}

static int turned_away(int pub)
{
	struct blipmq_message m = { .subject = ptr_u64("poll.full"), .subject_len = 9 };
	struct blipmq_publish p = { .messages = ptr_u64(&m), .nr = 1 };
	int ret = do_publish(pub, &p);

	return ret == -EAGAIN && p.head.reason == BLIPMQ_REASON_ROOM && !p.done;
}

TEST_F(full, out_after_eagain)
{
	char byte;

	ASSERT_TRUE(turned_away(self->pub));
	EXPECT_EQ(0, polled(self->pub));
	ASSERT_TRUE(turned_away(self->pub));
	EXPECT_EQ(0, polled(self->pub));
	/* Its own affair: others are as writable as before. */
	EXPECT_EQ(POLLIN | POLLOUT, polled(self->fd));
	ASSERT_EQ(1, read(self->fd, &byte, 1));
	EXPECT_EQ(POLLOUT, polled(self->pub));
	EXPECT_EQ(1, publish(self->pub, "poll.full", "m", 1));
}

TEST_F(full, out_wakes)
{
	struct pollfd p = { .fd = self->pub, .events = POLLOUT };
	char byte;
	pid_t pid;

	ASSERT_TRUE(turned_away(self->pub));
	pid = spawn(poller, &p);
	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(1, read(self->fd, &byte, 1));
	EXPECT_EQ(POLLOUT, reap(pid));
}

static int poller_without_the_ring(void *arg)
{
	struct _test_data_full *self = arg;
	struct pollfd p = { .fd = self->pub, .events = POLLOUT };

	close(self->fd);
	return poller(&p);
}

/* A ring that closes is in nobody's way. */
TEST_F(full, out_when_the_ring_goes)
{
	pid_t pid;

	ASSERT_TRUE(turned_away(self->pub));
	pid = spawn(poller_without_the_ring, self);
	ASSERT_TRUE(wait_asleep(pid));
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(POLLOUT, reap(pid));
	EXPECT_EQ(POLLOUT, polled(self->pub));
	EXPECT_EQ(0, publish(self->pub, "poll.full", "m", 1));
}

/* A mapped consumer releases without a call: the publisher is told by its kick. */
TEST(out_after_a_kick)
{
	struct blipmq_desc descs[2];
	struct pollfd p;
	struct consumer c;
	__u64 index;
	pid_t pid;
	int pub = bus_open(O_RDWR | O_NONBLOCK);

	ASSERT_EQ(0, consumer_open(&c, 2, 0, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(c.fd, "poll.full", 0));
	ASSERT_EQ(1, publish(pub, "poll.full", "m", 1));
	ASSERT_EQ(1, publish(pub, "poll.full", "m", 1));
	ASSERT_TRUE(turned_away(pub));
	EXPECT_EQ(0, polled(pub));
	EXPECT_NE(0, consumer_blocked(&c));
	p = (struct pollfd){ .fd = pub, .events = POLLOUT };
	pid = spawn(poller, &p);
	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(2, consumer_claim(&c, descs, 2, &index));
	consumer_release(&c, 2);
	EXPECT_EQ(POLLOUT, reap(pid));
	EXPECT_EQ(1, publish(pub, "poll.full", "m", 1));
	consumer_close(&c);
}

TEST_HARNESS_MAIN
