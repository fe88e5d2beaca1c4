// SPDX-License-Identifier: GPL-2.0
/*
 * A right that is taken away is gone for the next operation of every file that is open; and
 * with x what comes later, whatever of a page somebody kept.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>

#include "common_netlink.h"
#include "harness.h"

#define USER	3001
#define GROUP	3002
#define SUBJECT	"rights.subject"

/* A bus that root administers, and what a user who is nobody there has open on it. */
FIXTURE(taken) {
	struct nl nl;
	struct consumer c;	/* mapped, one message claimed, one waiting */
	int reader;		/* consumed by read(2), one message waiting */
	int pub;		/* root's */
	int others;		/* the user's, for publishing */
	__u64 index;
	struct blipmq_desc desc;
};

static int user_open(void)
{
	int fd = bus_open_as(USER, USER, O_RDWR | O_NONBLOCK);
	int err = fd < 0 ? fd : bind_bus(fd, "plant");

	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

FIXTURE_SETUP(taken)
{
	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&self->nl));
	ASSERT_EQ(0, nl_bus_new(&self->nl, "plant"));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_MODE, 0777));
	self->pub = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(self->pub, "plant"));
	ASSERT_EQ(0, consumer_attach(&self->c, user_open(), 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, SUBJECT, 0));
	self->reader = user_open();
	ASSERT_EQ(0, make_ring(self->reader, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->reader, SUBJECT, 0));
	self->others = user_open();
	ASSERT_EQ(2, publish(self->pub, SUBJECT, "m", 1));
	ASSERT_EQ(2, publish(self->pub, SUBJECT, "n", 1));
	ASSERT_EQ(1, consumer_claim(&self->c, &self->desc, 1, &self->index));
	ASSERT_EQ('m', *consumer_payload(&self->c, &self->desc));
}

FIXTURE_TEARDOWN(taken)
{
	consumer_close(&self->c);
	close(self->reader);
	close(self->pub);
	close(self->others);
	nl_close(&self->nl);
}

static int set_mode(struct _test_data_taken *self, __u32 mode)
{
	return nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_MODE, mode);
}

static __u32 rights_of(int fd)
{
	struct blipmq_info info = { };

	return do_info(fd, &info) ? ~0u : info.rights;
}

static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* ---- Which class ---- */

TEST_F(taken, classes)
{
	static const struct {
		__u32 mode, owner, group, rights;
	} want[] = {
		{ 0700, USER, 0, 7 }, { 0070, USER, USER, 0 }, { 0007, USER, 0, 0 },
		{ 0070, 0, USER, 7 }, { 0707, 0, USER, 0 }, { 0007, 0, 0, 7 },
		{ 0770, 0, 0, 0 }, { 0421, USER, 0, 4 }, { 0421, 0, USER, 2 }, { 0421, 0, 0, 1 },
		{ 0770, 0, ~0u, 0 },
	};

	for (unsigned int i = 0; i < sizeof(want) / sizeof(*want); i++) {
		nl_begin_bus(&self->nl, BLIPMQ_CMD_BUS_SET, "plant");
		nl_put_u32(&self->nl, BLIPMQ_A_BUS_MODE, want[i].mode);
		nl_put_u32(&self->nl, BLIPMQ_A_BUS_OWNER, want[i].owner);
		nl_put_u32(&self->nl, BLIPMQ_A_BUS_GROUP, want[i].group);
		ASSERT_EQ(0, nl_ask(&self->nl, NULL, NULL));
		EXPECT_EQ(want[i].rights, rights_of(self->others)) { TH_LOG("%u", i); }
		/* One that is opened now finds the same. */
		if (want[i].rights) {
			int fd = user_open();

			EXPECT_EQ(want[i].rights, rights_of(fd));
			close(fd);
		} else {
			EXPECT_EQ(-EACCES, user_open());
		}
	}
}

/* The owner may change and end it, and nobody else's. */
TEST_F(taken, owner)
{
	struct nl_bus bus;
	struct nl nl;

	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_OWNER, USER));
	ASSERT_EQ(0, nl_bus_new(&self->nl, "other"));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "other", BLIPMQ_A_BUS_MODE, 0777));
	ASSERT_EQ(0, nl_open_as(&nl, USER, USER));
	/* The socket alone does not make one the owner. */
	EXPECT_EQ(-EPERM, nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_SHARE, 5));
	ASSERT_EQ(0, seteuid(USER));
	EXPECT_EQ(-EPERM, nl_bus_set(&nl, "other", BLIPMQ_A_BUS_SHARE, 5));
	EXPECT_EQ(-EPERM, nl_bus_del(&nl, "other"));
	EXPECT_EQ(0, nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_SHARE, 5));
	EXPECT_EQ(0, nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_MODE, 0));
	ASSERT_EQ(0, nl_bus_get(&nl, "plant", &bus));
	EXPECT_EQ(5, bus.share);
	EXPECT_EQ(0, bus.mode);
	EXPECT_EQ(0, nl_bus_del(&nl, "plant"));
	ASSERT_EQ(0, seteuid(0));
}

/* ---- w ---- */

TEST_F(taken, publish)
{
	struct blipmq_topic topic = {
		.head.flags = BLIPMQ_TOPIC_WRITE, .subject = ptr_u64("t"), .subject_len = 1,
	};
	struct blipmq_message m = { .subject = ptr_u64("t"), .subject_len = 1 };
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	struct blipmq_type type = { };

	ASSERT_EQ(0, do_topic(self->others, &topic));
	ASSERT_EQ(1, write(self->others, "m", 1));
	type.topic = topic.topic;
	ASSERT_EQ(0, do_type(self->others, &type));
	ASSERT_EQ(0, set_mode(self, 0775));
	EXPECT_EQ(-EACCES, do_publish(self->others, &pub));
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_PUBLISH, pub.head.reason);
	EXPECT_EQ(-EACCES, result(write(self->others, "m", 1)));
	EXPECT_EQ(-EACCES, do_topic(self->others, &topic));
	/* Its handle tells it nothing any more. */
	EXPECT_EQ(-ENOENT, do_type(self->others, &type));
	EXPECT_EQ(BLIPMQ_REASON_TOPIC, type.head.reason);
	EXPECT_EQ(1, write(self->pub, "m", 1) < 0 && errno == EDESTADDRREQ);
	ASSERT_EQ(0, set_mode(self, 0777));
	EXPECT_EQ(1, write(self->others, "m", 1));
	EXPECT_EQ(0, do_type(self->others, &type));
}

/* ---- r ---- */

#define EXPECT_NO_READ(call, head) do { \
	EXPECT_EQ(-EACCES, call); \
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_SUBSCRIBE, (head).reason); \
} while (0)

TEST_F(taken, receive)
{
	struct blipmq_subscribe sub = { .pattern = ptr_u64("a"), .pattern_len = 1 };
	struct blipmq_wait wait = { .deadline = 0, .min = 1 };
	struct blipmq_ring ring = { .entries = 8 };
	struct blipmq_recv recv = { };
	char byte = 'x';

	ASSERT_EQ(0, set_mode(self, 0773));
	EXPECT_NO_READ(do_recv(self->reader, &recv), recv.head);
	EXPECT_EQ(-EACCES, result(read(self->reader, &byte, 1)));
	EXPECT_EQ('x', byte);
	EXPECT_NO_READ(do_wait(self->c.fd, &wait), wait.head);
	EXPECT_NO_READ(do_subscribe(self->reader, &sub), sub.head);
	EXPECT_NO_READ(do_ring(self->others, &ring), ring.head);
	/* Nothing more comes; root, who publishes, did not lose anything. */
	EXPECT_EQ(0, publish(self->pub, SUBJECT, "o", 1));
	ASSERT_EQ(0, set_mode(self, 0777));
	/* The subscription is gone; what was in the ring is there. */
	EXPECT_EQ(0, publish(self->pub, SUBJECT, "p", 1));
	EXPECT_EQ(1, read(self->reader, &byte, 1));
	EXPECT_EQ('m', byte);
	EXPECT_EQ(1, read(self->reader, &byte, 1));
	EXPECT_EQ('n', byte);
	EXPECT_EQ(-EAGAIN, result(read(self->reader, &byte, 1)));
	ASSERT_LT(0, subscribe(self->reader, SUBJECT, 0));
	EXPECT_EQ(1, publish(self->pub, SUBJECT, "q", 1));
	EXPECT_EQ(1, read(self->reader, &byte, 1));
	EXPECT_EQ('q', byte);
}

/* A user who keeps the right keeps what it subscribed to. */
TEST_F(taken, receive_of_others)
{
	int fd = bus_open(O_RDWR);

	ASSERT_EQ(0, bind_bus(fd, "plant"));
	ASSERT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(fd, ">", 0));
	ASSERT_EQ(0, set_mode(self, 0770));
	EXPECT_EQ(1, publish(self->pub, SUBJECT, "m", 1));
}

enum sleep { IN_WAIT, IN_READ, IN_RECV, IN_POLL, NR_SLEEPS };

struct sleeper {
	int fd;
	enum sleep how;
};

static int sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	struct blipmq_wait wait = { .deadline = BLIPMQ_WAIT_FOREVER, .min = 8 };
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	struct blipmq_recv r = { };
	char byte;

	switch (s->how) {
	case IN_WAIT:
		return -do_wait(s->fd, &wait);
	case IN_READ:
		return -result(read(s->fd, &byte, 1));
	case IN_RECV:
		return -do_recv(s->fd, &r);
	default:
		return poll(&p, 1, -1) == 1 && p.revents == POLLERR ? EACCES : 0;
	}
}

/* Who sleeps for a message that will not come is told. */
TEST_F(taken, receive_asleep)
{
	struct sleeper s[NR_SLEEPS];
	pid_t pids[NR_SLEEPS];
	int fd;

	consumer_arm(&self->c, 8);
	fd = bus_open_as(USER, USER, O_RDWR);
	ASSERT_EQ(0, bind_bus(fd, "plant"));
	ASSERT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(fd, "nothing", 0));
	for (int i = 0; i < NR_SLEEPS; i++) {
		s[i] = (struct sleeper){ i == IN_WAIT ? self->c.fd : fd, i };
		pids[i] = spawn(sleeper_main, &s[i]);
		ASSERT_TRUE(wait_asleep(pids[i]));
	}
	sleep_ms(50);
	for (int i = 0; i < NR_SLEEPS; i++)
		ASSERT_EQ(-ETIME, reap_within(pids[i], 0)) { TH_LOG("%d", i); }
	ASSERT_EQ(0, set_mode(self, 0773));
	for (int i = 0; i < NR_SLEEPS; i++)
		EXPECT_EQ(EACCES, reap_within(pids[i], 20000)) { TH_LOG("%d", i); }
}

/* ---- x ---- */

TEST_F(taken, map)
{
	struct consumer root;
	int fd;

	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(fd, "plant"));
	ASSERT_EQ(0, consumer_attach(&root, fd, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(fd, SUBJECT, 0));
	ASSERT_EQ(0, set_mode(self, 0776));
	EXPECT_EQ(SIGBUS, probe(consumer_payload(&self->c, &self->desc)));
	EXPECT_EQ(SIGBUS, probe(self->c.store));
	EXPECT_EQ(SIGBUS, probe(self->c.store + self->c.store_size - 1));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->c.store_size, PROT_READ, MAP_SHARED, self->others,
				   BLIPMQ_OFF_STORE));
	EXPECT_EQ(EACCES, errno);
	/* Its ring and control page hold no messages, and stay. */
	EXPECT_EQ(0, probe(self->c.ring));
	EXPECT_EQ(0, probe(self->c.control));
	/* root's mapping is the same as before. */
	ASSERT_EQ(3, publish(self->pub, SUBJECT, "o", 1));
	ASSERT_EQ(1, consumer_claim(&root, &self->desc, 1, &self->index));
	EXPECT_EQ('o', *consumer_payload(&root, &self->desc));
	/* The same mapping works when it comes back. */
	ASSERT_EQ(0, set_mode(self, 0777));
	EXPECT_EQ(0, probe(consumer_payload(&self->c, &self->desc)));
	EXPECT_EQ('o', *consumer_payload(&self->c, &self->desc));
	consumer_close(&root);
}

/* A reader that changes to another class, by owner or by group, loses it as well. */
TEST_F(taken, map_by_class)
{
	ASSERT_EQ(0, set_mode(self, 0661));
	EXPECT_EQ(0, probe(consumer_payload(&self->c, &self->desc)));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_OWNER, USER));
	EXPECT_EQ(SIGBUS, probe(consumer_payload(&self->c, &self->desc)));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_OWNER, 0));
	EXPECT_EQ(0, probe(consumer_payload(&self->c, &self->desc)));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_GROUP, USER));
	EXPECT_EQ(SIGBUS, probe(consumer_payload(&self->c, &self->desc)));
}

/* Publishers that go on all the while, with messages that share runs and with large ones. */
static int publish_some(int fd, unsigned int nr, char fill)
{
	static char data[20000];
	int ret = 0;

	memset(data, fill, sizeof(data));
	for (unsigned int i = 0; ret >= 0 && i < nr; i++)
		ret = publish(fd, "later", data, i % 16 ? 100 : sizeof(data));
	return ret;
}

/* The page of the store at p, in a pipe: whose end for reading is returned. */
static int pin(const char *p)
{
	struct iovec page = {
		.iov_base = (void *)((uintptr_t)p & ~(page_size() - 1)), .iov_len = page_size(),
	};
	int fds[2];

	if (pipe(fds) || vmsplice(fds[1], &page, 1, 0) != (ssize_t)page.iov_len)
		return -errno;
	close(fds[1]);
	return fds[0];
}

static int count(const char *p, size_t len, char c)
{
	int n = 0;

	while (len--)
		n += *p++ == c;
	return n;
}

/*
 * Who pinned pages while it had x sees no byte that came after it lost it: neither in the run
 * that publishers were filling, nor in one that was free, nor in one that is freed then.
 */
TEST_F(taken, map_pinned)
{
	const char *free_page;
	struct blipmq_desc desc;
	char page[65536];
	int pins[3];
	__u64 index;

	/* The current run of the publisher, with room for more. */
	pins[0] = pin(consumer_payload(&self->c, &self->desc));
	ASSERT_LE(0, pins[0]);
	/* Runs of a large message: one that is free when x goes, one that is not yet. */
	for (int i = 1; i < 3; i++) {
		char large[20000];

		memset(large, 'L', sizeof(large));
		ASSERT_LT(0, publish(self->pub, SUBJECT, large, sizeof(large)));
		do {
			ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
		} while (desc_length(&desc) != sizeof(large));
		free_page = consumer_payload(&self->c, &desc);
		pins[i] = pin(free_page + page_size());
		ASSERT_LE(0, pins[i]);
		if (i == 1) {
			consumer_drain(&self->c);
			close(self->reader);
			ASSERT_EQ(0, do_stats(self->c.fd, &(struct blipmq_stats){ }));
		}
	}
	/* Before: what is free is taken again as it is, so the pin shows it. */
	ASSERT_LE(0, publish_some(self->pub, 64, 'b'));
	ASSERT_EQ(0, set_mode(self, 0776));
	consumer_drain(&self->c);
	ASSERT_EQ(0, do_stats(self->c.fd, &(struct blipmq_stats){ }));
	ASSERT_LE(0, publish_some(self->pub, 4000, 'X'));
	ASSERT_LE(0, publish_some(self->others, 400, 'X'));
	for (int i = 0; i < 3; i++) {
		ssize_t n = read(pins[i], page, page_size());

		ASSERT_EQ((ssize_t)page_size(), n);
		EXPECT_EQ(0, count(page, n, 'X')) { TH_LOG("pin %d", i); }
		close(pins[i]);
	}
}

/* The test above can fail: with x, what is free is taken again, and the pins show it. */
TEST_F(taken, map_pinned_with_x)
{
	char page[65536];
	ssize_t n;
	int fd;

	fd = pin(consumer_payload(&self->c, &self->desc));
	ASSERT_LE(0, fd);
	ASSERT_LE(0, publish_some(self->pub, 400, 'X'));
	n = read(fd, page, page_size());
	ASSERT_EQ((ssize_t)page_size(), n);
	EXPECT_LT(0, count(page, n, 'X'));
}

/* ---- Under way ---- */

struct busy {
	struct _test_data_taken *self;
	__u64 end;
};

static int busy_publisher(void *arg)
{
	struct busy *b = arg;
	int fd = user_open(), ret;
	static char data[9000];

	if (fd < 0)
		return 1;
	while (now_ns() < b->end) {
		ret = publish(fd, SUBJECT, data, rand() % sizeof(data));
		if (ret < 0 && ret != -EACCES && ret != -ENOBUFS)
			return -ret;
	}
	return 0;
}

static int busy_reader(void *arg)
{
	struct busy *b = arg;
	char data[9000];
	int fd, ret;

	while (now_ns() < b->end) {
		fd = user_open();
		if (fd == -EACCES)
			continue;
		if (fd < 0)
			return -fd;
		ret = make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST);
		if (!ret)
			ret = subscribe(fd, "rights.>", 0);
		for (int i = 0; ret >= 0 && i < 100; i++) {
			ret = result(read(fd, data, sizeof(data)));
			if (ret == -EAGAIN)
				ret = 0;
		}
		if (ret < 0 && ret != -EACCES)
			return -ret;
		close(fd);
	}
	return 0;
}

/* It maps what it may, and touches it: SIGBUS is its own affair. */
static int busy_mapper(void *arg)
{
	struct busy *b = arg;
	struct consumer c;
	int fd, ret;

	while (now_ns() < b->end) {
		fd = user_open();
		if (fd < 0)
			continue;
		ret = consumer_attach(&c, fd, 64, 0, BLIPMQ_POLICY_DROP_OLDEST);
		if (ret && ret != -EACCES)
			return -ret;
		if (ret) {
			close(fd);
			continue;
		}
		subscribe(fd, SUBJECT, 0);
		for (int i = 0; i < 1000; i++)
			probe(c.store + rand() % c.store_size);
		consumer_close(&c);
	}
	return 0;
}

static int busy_admin(void *arg)
{
	static const __u32 modes[] = { 0777, 0776, 0773, 0775, 0770, 0707 };
	struct busy *b = arg;
	struct nl nl;
	int ret = nl_open(&nl);

	while (!ret && now_ns() < b->end) {
		ret = nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_MODE, modes[rand() % 6]);
		if (!ret)
			ret = nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_GROUP, rand() % 2 ? USER : 0);
	}
	return -ret;
}

TEST_F(taken, busy)
{
	static int (*const roles[])(void *arg) = {
		busy_publisher, busy_publisher, busy_reader, busy_reader, busy_mapper, busy_admin,
	};
	struct busy b = { self, now_ns() + test_seconds() * SEC };
	pid_t pids[6];

	for (int i = 0; i < 6; i++) {
		srand(i);
		pids[i] = spawn(roles[i], &b);
	}
	for (int i = 0; i < 6; i++)
		EXPECT_EQ(0, reap(pids[i])) { TH_LOG("%d", i); }
	ASSERT_EQ(0, set_mode(self, 0777));
	EXPECT_EQ(0, publish_some(self->pub, 10, 'z'));
}

TEST_HARNESS_MAIN
