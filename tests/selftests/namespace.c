// SPDX-License-Identifier: GPL-2.0
/*
 * Network namespaces: each has a bus of its own, and files and mappings outlive it in peace.
 * The module's removal is refused meanwhile.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"namespace.subject"

/* Namespaces are taken down by a worker, in its own time. */
#define GONE_MS	30000

static int here(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

static bool gone(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, GONE_MS) == 1 && p.revents & POLLHUP;
}

/* ---- Apart ---- */

TEST(two_buses)
{
	struct blipmq_stats stats;
	int a, b, reader;
	char byte;

	ASSERT_EQ(0, fresh_bus(NULL));
	a = bus_open(O_RDWR);
	reader = bus_open(O_RDWR | O_NONBLOCK);
	ASSERT_EQ(0, make_ring(reader, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(reader, ">", 0));
	ASSERT_EQ(0, fresh_bus(NULL));
	b = bus_open(O_RDWR);
	EXPECT_EQ(0, publish(b, SUBJECT, "m", 1));
	EXPECT_EQ(-1, read(reader, &byte, 1));
	EXPECT_EQ(EAGAIN, errno);
	ASSERT_EQ(0, bus_stats(b, &stats));
	EXPECT_EQ(1, stats.endpoints);
	EXPECT_EQ(1, stats.published);
	/* Where the caller is now does not matter. */
	EXPECT_EQ(1, publish(a, SUBJECT, "m", 1));
	EXPECT_EQ(1, read(reader, &byte, 1));
}

/* The bus is that of the namespace in which the file was opened, bound there or not. */
TEST(bus_of_the_open)
{
	int home = here(), fd, reader;

	ASSERT_EQ(0, fresh_bus(NULL));
	reader = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(reader, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(reader, SUBJECT, 0));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, setns(home, CLONE_NEWNET));
	EXPECT_EQ(1, publish(fd, SUBJECT, "m", 1));
	EXPECT_EQ(0, publish(bus_open(O_RDWR), SUBJECT, "m", 1));
}

/* Parameters are taken when a bus is made; a bus that is there does not change with them. */
TEST(parameters_of_a_bus)
{
	const struct param small[] = { { "max_message", "1000" }, { "mode", "0700" }, { } };
	struct blipmq_info before = { }, after = { };
	int fd, again;

	ASSERT_EQ(0, fresh_bus(NULL));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(fd, "default"));
	ASSERT_EQ(0, do_info(fd, &before));
	ASSERT_EQ(0, fresh_bus(small));
	ASSERT_EQ(0, do_info(fd, &after));
	EXPECT_EQ(before.max_message, after.max_message);
	again = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(again, "default"));
	ASSERT_EQ(0, do_info(again, &after));
	EXPECT_EQ(1000, after.max_message);
}

/* ---- Gone ---- */

/* A namespace with files in it, held by a descriptor alone; this process is outside. */
FIXTURE(doomed) {
	int ns;
	struct consumer c;	/* mapped, one message claimed, one waiting */
	int reader;		/* consumed by read(2) */
	int pub;		/* bound to SUBJECT */
	int unbound;
	int blocker;		/* a block ring of one, on another subject */
};

FIXTURE_SETUP(doomed)
{
	struct blipmq_topic topic = {
		.head.flags = BLIPMQ_TOPIC_WRITE,
		.subject = ptr_u64(SUBJECT),
		.subject_len = strlen(SUBJECT),
	};
	struct blipmq_desc desc;
	int home = here();
	__u64 index;

	ASSERT_EQ(0, fresh_bus(NULL));
	self->ns = here();
	ASSERT_EQ(0, consumer_open(&self->c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, SUBJECT, 0));
	self->pub = bus_open(O_RDWR);
	ASSERT_EQ(0, do_topic(self->pub, &topic));
	ASSERT_EQ(1, write(self->pub, "m", 1));
	ASSERT_EQ(1, write(self->pub, "m", 1));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	ASSERT_EQ('m', *consumer_payload(&self->c, &desc));
	self->reader = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(self->reader, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->reader, "other.*", 0));
	self->blocker = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(self->blocker, 1, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(self->blocker, "blocked", 0));
	ASSERT_EQ(1, publish(self->pub, "blocked", "m", 1));
	self->unbound = bus_open(O_RDWR);
	ASSERT_EQ(0, setns(home, CLONE_NEWNET));
	close(home);
}

FIXTURE_TEARDOWN(doomed)
{
	consumer_close(&self->c);
	close(self->pub);
	close(self->reader);
	close(self->blocker);
	close(self->unbound);
}

#define EXPECT_GONE(call, head) do { \
	EXPECT_EQ(-ENODEV, call); \
	EXPECT_EQ(BLIPMQ_REASON_NAMESPACE, (head).reason); \
} while (0)

TEST_F(doomed, every_ioctl)
{
	struct blipmq_info info = { };
	struct blipmq_bind bind = { .bus = "default" };
	struct blipmq_ring ring = { .entries = 8 };
	struct blipmq_subscribe sub = { .pattern = ptr_u64("a"), .pattern_len = 1 };
	struct blipmq_unsubscribe unsub = { .id = 1 };
	struct blipmq_topic topic = { .subject = ptr_u64("a"), .subject_len = 1 };
	struct blipmq_topic_close topic_close = { .handle = 1 };
	struct blipmq_message m = { .handle = 1 };
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	struct blipmq_wait wait = { .deadline = BLIPMQ_WAIT_FOREVER };
	struct blipmq_keep keep = { };
	struct blipmq_drop_kept drop = { };
	struct blipmq_recv recv = { };
	struct blipmq_stats stats = { .kind = BLIPMQ_STATS_BUS };

	close(self->ns);
	ASSERT_TRUE(gone(self->c.fd));
	EXPECT_GONE(do_info(self->c.fd, &info), info.head);
	EXPECT_GONE(do_bind(self->unbound, &bind), bind.head);
	EXPECT_GONE(do_ring(self->pub, &ring), ring.head);
	EXPECT_GONE(do_subscribe(self->c.fd, &sub), sub.head);
	EXPECT_GONE(do_unsubscribe(self->c.fd, &unsub), unsub.head);
	EXPECT_GONE(do_topic(self->pub, &topic), topic.head);
	EXPECT_GONE(do_topic_close(self->pub, &topic_close), topic_close.head);
	EXPECT_GONE(do_publish(self->pub, &pub), pub.head);
	EXPECT_GONE(do_wait(self->c.fd, &wait), wait.head);
	EXPECT_GONE(do_keep(self->c.fd, &keep), keep.head);
	EXPECT_GONE(do_drop(self->c.fd, &drop), drop.head);
	EXPECT_GONE(do_recv(self->reader, &recv), recv.head);
	EXPECT_GONE(do_stats(self->c.fd, &stats), stats.head);
}

static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

TEST_F(doomed, read_write_poll)
{
	char byte = 0;

	close(self->ns);
	EXPECT_TRUE(gone(self->reader));
	EXPECT_TRUE(gone(self->pub));
	EXPECT_TRUE(gone(self->blocker));
	EXPECT_TRUE(gone(self->c.fd));
	EXPECT_EQ(-ENODEV, result(read(self->reader, &byte, 1)));
	EXPECT_EQ(-ENODEV, result(write(self->pub, &byte, 1)));
	EXPECT_EQ(-ENODEV, result(read(self->unbound, &byte, 1)));
	EXPECT_TRUE(gone(self->unbound));
}

TEST_F(doomed, mappings)
{
	size_t store_size = self->c.store_size;

	EXPECT_EQ(0, probe(self->c.ring));
	EXPECT_EQ(0, probe(self->c.control));
	close(self->ns);
	ASSERT_TRUE(gone(self->c.fd));
	EXPECT_EQ(SIGBUS, probe(self->c.ring));
	EXPECT_EQ(SIGBUS, probe(self->c.ring + self->c.info.desc));
	EXPECT_EQ(SIGBUS, probe(self->c.control));
	for (size_t at = 0; at < store_size; at += store_size / 8)
		EXPECT_EQ(SIGBUS, probe(self->c.store + at));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, store_size, PROT_READ, MAP_SHARED, self->pub,
				   BLIPMQ_OFF_STORE));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->c.info.ring_size, PROT_READ, MAP_SHARED, self->c.fd,
				   BLIPMQ_OFF_RING));
	EXPECT_EQ(ENODEV, errno);
}

/* The files are closed while their mappings stay: these are SIGBUS, and go last. */
TEST_F(doomed, mappings_without_files)
{
	close(self->c.fd);
	self->c.fd = -1;
	close(self->ns);
	ASSERT_TRUE(gone(self->pub));
	EXPECT_EQ(SIGBUS, probe(self->c.control));
	EXPECT_EQ(SIGBUS, probe(self->c.store));
}

/* All is closed before the worker comes: nobody is left to be told. */
TEST_F(doomed, closed_before)
{
	consumer_close(&self->c);
	close(self->pub);
	close(self->reader);
	close(self->blocker);
	close(self->ns);
	ASSERT_TRUE(gone(self->unbound));
}

TEST_F(doomed, sleepers)
{
	const struct ending e = {
		.c = &self->c, .reader = self->reader, .pub = self->pub, .leave = self->ns,
	};
	pid_t pids[NR_SLEEPERS];
	const char *who;

	who = sleepers_begin(&e, pids);
	ASSERT_EQ(NULL, who) { TH_LOG("%s", who); }
	close(self->ns);
	who = sleepers_told(pids, GONE_MS);
	EXPECT_EQ(NULL, who) { TH_LOG("%s", who); }
}

/* Who publishes and reads at full speed is told as well, and no harm done. */
static int busy_publisher(void *arg)
{
	struct _test_data_doomed *self = arg;
	static char data[20000];
	int ret;

	close(self->ns);
	do {
		ret = publish(self->pub, SUBJECT, data, rand() % sizeof(data));
	} while (ret >= 0);
	return -ret;
}

static int busy_subscriber(void *arg)
{
	struct _test_data_doomed *self = arg;
	struct blipmq_unsubscribe unsub;
	int ret;

	close(self->ns);
	for (;;) {
		ret = subscribe(self->reader, "other.*", 0);
		if (ret < 0)
			return -ret;
		unsub = (struct blipmq_unsubscribe){ .id = ret };
		ret = do_unsubscribe(self->reader, &unsub);
		if (ret)
			return -ret;
	}
}

TEST_F(doomed, busy)
{
	pid_t pids[3];

	pids[0] = spawn(busy_publisher, self);
	pids[1] = spawn(busy_publisher, self);
	pids[2] = spawn(busy_subscriber, self);
	sleep_ms(200);
	close(self->ns);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(ENODEV, reap_within(pids[i], GONE_MS));
}

/* ---- User namespaces ---- */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

struct user {
	int ready[2];
	int done[2];
};

#define USER	3001

/* As `unshare -Urn` of an ordinary user: root in there, and there alone. */
static int user_main(void *arg)
{
	struct user *u = arg;
	struct blipmq_info info = { };
	struct blipmq_desc desc;
	struct consumer c;
	char byte = 0;
	__u64 index;

	if (setresgid(USER, USER, USER) || setresuid(USER, USER, USER) ||
	    unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return 2;
	/* Or /proc/self is root's. */
	prctl(PR_SET_DUMPABLE, 1);
	if (write_file("/proc/self/uid_map", "0 3001 1") ||
	    write_file("/proc/self/setgroups", "deny") ||
	    write_file("/proc/self/gid_map", "0 3001 1"))
		return 3;
	/* It owns the default bus of its namespace, and is root in the header there. */
	if (consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST) || do_info(c.fd, &info))
		return 4;
	if (info.rights != (BLIPMQ_RIGHT_MAP | BLIPMQ_RIGHT_PUBLISH | BLIPMQ_RIGHT_SUBSCRIBE))
		return 5;
	if (subscribe(c.fd, SUBJECT, 0) < 0 || publish(c.fd, SUBJECT, "m", 1) != 1 ||
	    consumer_claim(&c, &desc, 1, &index) != 1)
		return 6;
	if (consumer_header(&c, &desc)->uid || consumer_header(&c, &desc)->gid)
		return 7;
	if (write(u->ready[1], &byte, 1) != 1 || read(u->done[0], &byte, 1) != 1)
		return 8;
	return 0;
}

TEST(user_namespace)
{
	struct user u;
	char path[64], byte;
	pid_t pid;
	int ns, fd;

	ASSERT_EQ(0, pipe(u.ready));
	ASSERT_EQ(0, pipe(u.done));
	pid = spawn(user_main, &u);
	close(u.ready[1]);
	ASSERT_EQ(1, read(u.ready[0], &byte, 1)) { TH_LOG("status %d", reap(pid)); }
	sprintf(path, "/proc/%d/ns/net", pid);
	ns = open(path, O_RDONLY);
	ASSERT_EQ(0, setns(ns, CLONE_NEWNET));
	/* The root of outside is nobody in there. */
	fd = bus_open(O_RDWR);
	EXPECT_EQ(-EACCES, bind_bus(fd, "default"));
	ASSERT_EQ(1, write(u.done[1], &byte, 1));
	EXPECT_EQ(0, reap(pid));
}

/* ---- The module ---- */

static int try_unload(void)
{
	return syscall(SYS_delete_module, "blipmq", O_NONBLOCK) ? -errno : 0;
}

TEST(module_stays_while_a_file_is_open)
{
	int fd = bus_open(O_RDWR);

	ASSERT_LE(0, fd);
	ASSERT_EQ(-EWOULDBLOCK, try_unload());
	ASSERT_EQ(0, bind_bus(fd, "default"));
	ASSERT_EQ(-EWOULDBLOCK, try_unload());
	EXPECT_EQ(0, publish(fd, SUBJECT, "m", 1));
}

TEST(module_stays_while_a_page_is_mapped)
{
	struct consumer c;

	ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_EQ(0, close(c.fd));
	munmap(c.ring, c.info.ring_size);
	munmap(c.control, c.info.control_size);
	ASSERT_EQ(-EWOULDBLOCK, try_unload());
	EXPECT_EQ(SIGBUS, probe(c.store + c.store_size - 1));
}

TEST_F(doomed, module_stays)
{
	close(self->ns);
	ASSERT_TRUE(gone(self->pub));
	ASSERT_EQ(-EWOULDBLOCK, try_unload());
}

TEST_HARNESS_MAIN
