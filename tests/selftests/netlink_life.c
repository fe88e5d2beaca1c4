// SPDX-License-Identifier: GPL-2.0
/*
 * How buses come, are bounded and end: what hangs on one that is deleted, names that come
 * again, limits, namespaces and their roots.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>

#include "common_netlink.h"
#include "harness.h"

#define USER	3001
#define MIB	(1ULL << 20)
#define SUBJECT	"life.subject"

/* Told at once, but for what a slow guest takes. */
#define TOLD_MS	20000

static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

static int open_on(const char *name)
{
	int fd = bus_open(O_RDWR);
	int err = fd < 0 ? fd : bind_bus(fd, name);

	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

/* ---- A bus that is deleted ---- */

FIXTURE(deleted) {
	struct nl nl;
	struct consumer c;	/* mapped, one message claimed, one waiting */
	int reader;		/* consumed by read(2) */
	int pub;
	int blocker;		/* a full block ring of one */
};

FIXTURE_SETUP(deleted)
{
	struct blipmq_desc desc;
	__u64 index;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&self->nl));
	ASSERT_EQ(0, nl_bus_new(&self->nl, "plant"));
	ASSERT_EQ(0, consumer_attach(&self->c, open_on("plant"), 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, SUBJECT, 0));
	self->pub = open_on("plant");
	ASSERT_EQ(1, publish(self->pub, SUBJECT, "m", 1));
	ASSERT_EQ(1, publish(self->pub, SUBJECT, "n", 1));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	ASSERT_EQ('m', *consumer_payload(&self->c, &desc));
	self->reader = open_on("plant");
	ASSERT_EQ(0, make_ring(self->reader, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->reader, "other", 0));
	self->blocker = open_on("plant");
	ASSERT_EQ(0, make_ring(self->blocker, 1, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(self->blocker, "blocked", 0));
	ASSERT_EQ(1, publish(self->pub, "blocked", "m", 1));
}

FIXTURE_TEARDOWN(deleted)
{
	consumer_close(&self->c);
	close(self->reader);
	close(self->pub);
	close(self->blocker);
	nl_close(&self->nl);
}

#define EXPECT_GONE(call, head) do { \
	EXPECT_EQ(-ENODEV, call); \
	EXPECT_EQ(BLIPMQ_REASON_DELETED, (head).reason); \
} while (0)

TEST_F(deleted, every_call)
{
	struct blipmq_info info = { };
	struct blipmq_ring ring = { .entries = 8 };
	struct blipmq_subscribe sub = { .pattern = ptr_u64("a"), .pattern_len = 1 };
	struct blipmq_topic topic = { .subject = ptr_u64("a"), .subject_len = 1 };
	struct blipmq_message m = { .handle = 1 };
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };
	struct blipmq_wait wait = { .deadline = BLIPMQ_WAIT_FOREVER };
	struct blipmq_keep keep = { };
	struct blipmq_recv recv = { };
	struct blipmq_stats stats = { .kind = BLIPMQ_STATS_BUS };
	struct pollfd p = { .fd = self->pub };
	char byte;

	ASSERT_EQ(0, nl_bus_del(&self->nl, "plant"));
	EXPECT_GONE(do_info(self->c.fd, &info), info.head);
	EXPECT_GONE(do_ring(self->pub, &ring), ring.head);
	EXPECT_GONE(do_subscribe(self->c.fd, &sub), sub.head);
	EXPECT_GONE(do_topic(self->pub, &topic), topic.head);
	EXPECT_GONE(do_publish(self->pub, &pub), pub.head);
	EXPECT_GONE(do_wait(self->c.fd, &wait), wait.head);
	EXPECT_GONE(do_keep(self->c.fd, &keep), keep.head);
	EXPECT_GONE(do_recv(self->reader, &recv), recv.head);
	EXPECT_GONE(do_stats(self->c.fd, &stats), stats.head);
	EXPECT_EQ(-ENODEV, result(read(self->reader, &byte, 1)));
	EXPECT_EQ(-ENODEV, result(write(self->pub, "m", 1)));
	EXPECT_EQ(1, poll(&p, 1, 0));
	EXPECT_EQ(POLLHUP | POLLERR, p.revents);
	EXPECT_EQ(-EBUSY, bind_bus(self->pub, "default"));
}

TEST_F(deleted, mappings)
{
	ASSERT_EQ(0, nl_bus_del(&self->nl, "plant"));
	EXPECT_EQ(SIGBUS, probe(self->c.ring));
	EXPECT_EQ(SIGBUS, probe(self->c.control));
	EXPECT_EQ(SIGBUS, probe(self->c.store));
	EXPECT_EQ(SIGBUS, probe(self->c.store + self->c.store_size - 1));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->c.store_size, PROT_READ, MAP_SHARED, self->pub,
				   BLIPMQ_OFF_STORE));
	EXPECT_EQ(ENODEV, errno);
}

TEST_F(deleted, sleepers)
{
	const struct ending e = {
		.c = &self->c, .reader = self->reader, .pub = self->pub, .leave = -1,
	};
	pid_t pids[NR_SLEEPERS];
	const char *who;

	who = sleepers_begin(&e, pids);
	ASSERT_EQ(NULL, who) { TH_LOG("%s", who); }
	ASSERT_EQ(0, nl_bus_del(&self->nl, "plant"));
	who = sleepers_told(pids, TOLD_MS);
	EXPECT_EQ(NULL, who) { TH_LOG("%s", who); }
}

/* The name is free at once, and what comes under it has nothing of the other. */
TEST_F(deleted, name_comes_again)
{
	struct nl_bus before, after;
	struct blipmq_stats stats;
	char byte;
	int fd;

	ASSERT_EQ(0, nl_bus_get(&self->nl, "plant", &before));
	ASSERT_EQ(0, nl_bus_del(&self->nl, "plant"));
	EXPECT_EQ(-ENOENT, open_on("plant"));
	ASSERT_EQ(0, nl_bus_new(&self->nl, "plant"));
	ASSERT_EQ(0, nl_bus_get(&self->nl, "plant", &after));
	EXPECT_LT(before.id, after.id);
	fd = open_on("plant");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, bus_stats(fd, &stats));
	EXPECT_EQ(1, stats.endpoints);
	EXPECT_EQ(0, stats.published);
	EXPECT_EQ(0, stats.topics);
	EXPECT_EQ(0, publish(fd, SUBJECT, "m", 1));
	EXPECT_EQ(-ENODEV, result(read(self->reader, &byte, 1)));
}

/* Others do not notice. */
TEST_F(deleted, other_buses)
{
	int pub = open_on("default"), reader = open_on("default");
	char byte;

	ASSERT_EQ(0, make_ring(reader, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(reader, SUBJECT, 0));
	/* Nor does a message go from one to the other. */
	EXPECT_EQ(1, publish(self->pub, SUBJECT, "x", 1));
	ASSERT_EQ(0, nl_bus_del(&self->nl, "plant"));
	EXPECT_EQ(1, publish(pub, SUBJECT, "m", 1));
	EXPECT_EQ(1, read(reader, &byte, 1));
	EXPECT_EQ('m', byte);
}

/* ---- How many ---- */

static int fill(struct nl *nl, int nr)
{
	char name[16];
	int err = 0;

	for (int i = 0; !err && i < nr; i++) {
		sprintf(name, "bus%d", i);
		err = nl_bus_new(nl, name);
	}
	return err;
}

TEST(limit)
{
	struct nl_bus bus;
	struct nl nl;
	int fd;

	/* default has its place beside them, whether it is there before ... */
	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&nl));
	ASSERT_EQ(0, fill(&nl, 64));
	EXPECT_EQ(-ENOSPC, nl_bus_new(&nl, "more"));
	nl_close(&nl);
	/* ... or not. */
	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	ASSERT_EQ(0, nl_open(&nl));
	ASSERT_EQ(0, fill(&nl, 64));
	EXPECT_EQ(-ENOSPC, nl_bus_new(&nl, "more"));
	EXPECT_TRUE(strstr(nl.text, "max_buses"));
	EXPECT_EQ(0, nl_bus_get(&nl, "default", &bus));
	fd = open_on("bus1");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, nl_bus_del(&nl, "bus1"));
	/* Deleted, but somebody's file has it still: it counts. */
	EXPECT_EQ(-ENOSPC, nl_bus_new(&nl, "more"));
	EXPECT_EQ(0, nl_bus_del(&nl, "bus2"));
	EXPECT_EQ(0, nl_bus_new(&nl, "more"));
	EXPECT_EQ(-ENOSPC, nl_bus_new(&nl, "even-more"));
	close(fd);
	/* Endpoints are freed by a worker. */
	for (int tries = 0; tries < 200 && nl_bus_new(&nl, "even-more"); tries++)
		sleep_ms(100);
	EXPECT_EQ(0, nl_bus_get(&nl, "even-more", &bus));
}

/* ---- Namespaces ---- */

TEST(namespaces_apart)
{
	struct nl_bus bus;
	struct nl nl, other;
	int fd;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&nl));
	ASSERT_EQ(0, nl_bus_new(&nl, "plant"));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&other));
	EXPECT_EQ(-ENOENT, nl_bus_get(&other, "plant", &bus));
	EXPECT_EQ(-ENOENT, nl_bus_del(&other, "plant"));
	EXPECT_EQ(-ENOENT, open_on("plant"));
	EXPECT_EQ(0, nl_bus_new(&other, "plant"));
	EXPECT_EQ(0, nl_bus_del(&other, "plant"));
	/* The socket and the file are of the namespace in which they were opened. */
	EXPECT_EQ(0, nl_bus_get(&nl, "plant", &bus));
	EXPECT_EQ(0, bind_bus(fd, "plant"));
}

static bool hung_up(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, TOLD_MS) == 1 && p.revents & POLLHUP;
}

/* A namespace with several buses goes: all hang up, with another reason than a deletion. */
TEST(namespace_goes)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct blipmq_info info = { };
	int fds[20];
	char name[16];
	struct nl nl;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&nl));
	ASSERT_EQ(0, fill(&nl, 20));
	for (int i = 0; i < 20; i++) {
		sprintf(name, "bus%d", i);
		fds[i] = open_on(name);
		ASSERT_LE(0, fds[i]);
	}
	ASSERT_EQ(0, nl_bus_del(&nl, "bus7"));
	ASSERT_EQ(0, setns(home, CLONE_NEWNET));
	nl_close(&nl);
	for (int i = 0; i < 20; i++) {
		EXPECT_TRUE(hung_up(fds[i]));
		EXPECT_EQ(-ENODEV, do_info(fds[i], &info));
		EXPECT_EQ(i == 7 ? BLIPMQ_REASON_DELETED : BLIPMQ_REASON_NAMESPACE,
			  info.head.reason);
	}
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int ask_budget(struct nl *nl, const char *name, int attr, __u64 bytes)
{
	nl_begin_bus(nl, BLIPMQ_CMD_BUS_NEW, name);
	nl_put_u64(nl, attr, bytes);
	return nl_ask(nl, NULL, NULL);
}

/* As `unshare -Urn` of an ordinary user: it administers, within what the module gives. */
static int root_of_namespace(void *arg)
{
	struct nl_bus bus;
	struct nl nl;

	(void)arg;
	if (setresgid(USER, USER, USER) || setresuid(USER, USER, USER) ||
	    unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return 2;
	prctl(PR_SET_DUMPABLE, 1);
	if (write_file("/proc/self/uid_map", "0 3001 1") ||
	    write_file("/proc/self/setgroups", "deny") ||
	    write_file("/proc/self/gid_map", "0 3001 1"))
		return 3;
	if (nl_open(&nl) || nl_bus_new(&nl, "plant") || nl_bus_get(&nl, "plant", &bus))
		return 4;
	if (bus.owner || bus.max_budget != MIB)
		return 5;
	if (ask_budget(&nl, "more", BLIPMQ_A_BUS_MAX_BUDGET, 2 * MIB) != -EPERM || !*nl.text)
		return 6;
	if (ask_budget(&nl, "more", BLIPMQ_A_BUS_BUDGET, 2 * MIB) != -EPERM)
		return 7;
	if (ask_budget(&nl, "less", BLIPMQ_A_BUS_MAX_BUDGET, MIB / 2) ||
	    nl_bus_get(&nl, "less", &bus) || bus.budget != MIB / 2)
		return 8;
	/* Ids that it does not have. */
	if (nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_OWNER, 1) != -EINVAL ||
	    nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_GROUP, 1) != -EINVAL ||
	    nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_OWNER, 0) ||
	    nl_bus_set(&nl, "plant", BLIPMQ_A_BUS_GROUP, 0))
		return 9;
	if (open_on("plant") < 0 || nl_bus_del(&nl, "plant"))
		return 10;
	return 0;
}

TEST(root_of_a_namespace)
{
	pid_t pid;

	ASSERT_EQ(0, param_set("budget", "1048576"));
	pid = spawn(root_of_namespace, NULL);
	EXPECT_EQ(0, reap(pid));
	ASSERT_EQ(0, param_set("budget", "67108864"));
}

/* ---- All at once ---- */

struct busy {
	__u64 end;
};

static void random_name(char *name)
{
	sprintf(name, "bus%d", rand() % 3);
}

/* Makes, changes, lists and deletes. */
static int busy_admin(void *arg)
{
	struct busy *b = arg;
	char name[16];
	struct nl nl;
	int ret = nl_open(&nl);

	while (!ret && now_ns() < b->end) {
		random_name(name);
		switch (rand() % 4) {
		case 0:
			ret = nl_bus_new(&nl, name);
			break;
		case 1:
			ret = nl_bus_del(&nl, name);
			break;
		case 2:
			ret = nl_bus_set(&nl, name, BLIPMQ_A_BUS_MODE, 0700 | rand() % 0100);
			break;
		default:
			nl_begin(&nl, BLIPMQ_CMD_BUS_GET, NLM_F_DUMP);
			ret = nl_ask(&nl, NULL, NULL);
		}
		if (ret == -EEXIST || ret == -ENOENT || ret == -ENOSPC)
			ret = 0;
	}
	return -ret;
}

/* Binds, maps, publishes, and closes or is told. */
static int busy_user(void *arg)
{
	struct busy *b = arg;
	struct consumer c;
	char name[16];
	int fd, ret;

	while (now_ns() < b->end) {
		random_name(name);
		fd = open_on(name);
		if (fd == -ENOENT || fd == -ENODEV)
			continue;
		if (fd < 0)
			return -fd;
		ret = consumer_attach(&c, fd, 16, 0, BLIPMQ_POLICY_DROP_OLDEST);
		if (ret == -ENODEV) {
			close(fd);
			continue;
		}
		if (ret)
			return -ret;
		ret = subscribe(fd, rand() % 2 ? ">" : SUBJECT, 0);
		for (int i = rand() % 50; ret >= 0 && i; i--)
			ret = publish(fd, SUBJECT, name, sizeof(name));
		if (ret < 0 && ret != -ENODEV)
			return -ret;
		probe(c.store);
		consumer_close(&c);
	}
	return 0;
}

TEST(busy)
{
	static int (*const roles[])(void *arg) = {
		busy_admin, busy_admin, busy_user, busy_user, busy_user, busy_user,
	};
	struct busy b;
	pid_t pids[6];

	ASSERT_EQ(0, fresh_bus(NULL));
	b.end = now_ns() + test_seconds() * SEC;
	for (int i = 0; i < 6; i++) {
		srand(i);
		pids[i] = spawn(roles[i], &b);
	}
	for (int i = 0; i < 6; i++)
		EXPECT_EQ(0, reap(pids[i])) { TH_LOG("%d", i); }
}

TEST_HARNESS_MAIN
