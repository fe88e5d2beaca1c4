// SPDX-License-Identifier: GPL-2.0
/*
 * Where pages are charged, and when they go: memory cgroups pay for what their tasks publish,
 * users for all their buses; a bus at rest holds next to nothing.
 */
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "memory.h"

/* ---- Memory cgroups ---- */

#define CGROUPS		"/sys/fs/cgroup"

static int cg_write(const char *group, const char *file, const char *value)
{
	char path[256];
	int fd, ret;

	snprintf(path, sizeof(path), CGROUPS "/%s/%s", group, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* The number in a file; after a key if there is one. */
static __u64 cg_read(const char *group, const char *file, const char *key)
{
	char path[256], text[4096], *p;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), CGROUPS "/%s/%s", group, file);
	f = fopen(path, "re");
	if (!f)
		abort();
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	p = key ? strstr(text, key) : text;
	return p ? strtoull(p + (key ? strlen(key) : 0), NULL, 10) : ~0ULL;
}

FIXTURE(cgroup)
{
	struct consumer c[3];	/* each holds a message of LENGTH */
	int fd;			/* the one publisher, in whoever's hands */
};

#define GROUP_A		"blipmq-a"
#define GROUP_B		"blipmq-b"
#define LENGTH		(4u << 20)

static void leave_groups(void)
{
	rmdir(CGROUPS "/" GROUP_A);
	rmdir(CGROUPS "/" GROUP_B);
}

FIXTURE_SETUP(cgroup)
{
	const struct param params[] = {
		OPEN_TO_ALL, { "budget", "16777216" }, { "share", "100" }, { }
	};
	char subject[16];
	int i;

	leave_groups();
	if (mkdir(CGROUPS "/" GROUP_A, 0755) || mkdir(CGROUPS "/" GROUP_B, 0755) ||
	    access(CGROUPS "/" GROUP_A "/memory.max", F_OK))
		SKIP(return, "no memory cgroups");
	ASSERT_EQ(0, fresh_bus(params));
	self->fd = bus_open(O_RDWR);
	for (i = 0; i < 3; i++) {
		snprintf(subject, sizeof(subject), "cgroup.%d", i);
		/* Each of another user, for one of them could not pin as much. */
		ASSERT_EQ(0, consumer_attach(&self->c[i], open_as(HOLDER_UID + i), 4, 1,
					     BLIPMQ_POLICY_DROP_NEWEST));
		ASSERT_LT(0, subscribe(self->c[i].fd, subject, 0));
	}
}

FIXTURE_TEARDOWN(cgroup)
{
	int i;

	if (_metadata->results->skipped)
		return;
	for (i = 0; i < 3; i++)
		consumer_close(&self->c[i]);
	close(self->fd);
	expect_bus_empty(_metadata);
	leave_groups();
}

struct publish_in {
	const char *group;
	int fd;
	size_t length;
	unsigned int nr;
	/* What became of it; shared. */
	unsigned int done;
	int error;
	__u32 reason;
};

/* A child that goes to the group and publishes there. */
static int publish_in(void *arg)
{
	struct publish_in *in = arg;
	char subject[16], pid[16], *buf = malloc(in->length);
	struct blipmq_message m = { .subject = ptr_u64(subject), .length = in->length };
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };

	/* Its own memory is there before, and paid for by others. */
	memset(buf, 1, in->length);
	m.data = ptr_u64(buf);
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (cg_write(in->group, "cgroup.procs", pid))
		return 1;
	for (in->done = 0; in->done < in->nr; in->done++) {
		snprintf(subject, sizeof(subject), "cgroup.%u", in->done % 3);
		m.subject_len = strlen(subject);
		in->error = do_publish(in->fd, &pub);
		in->reason = pub.head.reason;
		if (in->error || pub.delivered != 1)
			break;
	}
	return 0;
}

static struct publish_in *publish_from(struct __test_metadata *_metadata, int fd,
				       const char *group, size_t length, unsigned int nr)
{
	struct publish_in *in = shared(sizeof(*in));

	*in = (struct publish_in){ .group = group, .fd = fd, .length = length, .nr = nr };
	EXPECT_EQ(0, reap(spawn(publish_in, in)));
	return in;
}

/* What a group uses beside messages, and what the kernel charges in advance. */
#define SLACK		(3u << 20)

TEST_F(cgroup, charges_follow)
{
	__u64 messages = 3 * LENGTH;
	struct publish_in *in;
	int i;

	in = publish_from(_metadata, self->fd, GROUP_A, LENGTH - 4096, 3);
	EXPECT_EQ(3, in->done);
	EXPECT_LE(messages - SLACK, cg_read(GROUP_A, "memory.current", NULL));
	EXPECT_GT(SLACK, cg_read(GROUP_B, "memory.current", NULL));

	/* What A filled is idle; B needs it, and pays for it, through the same endpoint. */
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(1, consumer_drain(&self->c[i]));
		EXPECT_EQ(-ETIME, wait_for(self->c[i].fd, 1, 0));
	}
	in = publish_from(_metadata, self->fd, GROUP_B, LENGTH - 4096, 3);
	EXPECT_EQ(3, in->done);
	EXPECT_LE(messages - SLACK, cg_read(GROUP_B, "memory.current", NULL));
	EXPECT_GT(messages - LENGTH, cg_read(GROUP_A, "memory.current", NULL));
}

/* A group at its limit: the publisher is told; nobody is killed; others go on. */
TEST_F(cgroup, memory_max)
{
	struct publish_in *in;
	char small[64] = "";

	ASSERT_EQ(0, cg_write(GROUP_A, "memory.max", "8388608"));
	in = publish_from(_metadata, self->fd, GROUP_A, LENGTH - 4096, 3);
	EXPECT_EQ(1, in->done);
	EXPECT_EQ(-ENOMEM, in->error);
	EXPECT_EQ(BLIPMQ_REASON_MEMORY, in->reason);
	EXPECT_EQ(0, cg_read(GROUP_A, "memory.events", "oom_kill "));
	EXPECT_EQ(1, publish(self->fd, "cgroup.1", small, sizeof(small)));
	EXPECT_EQ(1, consumer_drain(&self->c[0]));
	in = publish_from(_metadata, self->fd, GROUP_B, 1 << 20, 3);
	EXPECT_EQ(3, in->done);
}

/* ---- Topics and patterns of a group that has no memory ---- */

#define WARM		64	/* topics before the group is entered */

struct topics_in {
	int fd;
	/* What became of it; shared. */
	unsigned int done;
	int error;
	__u32 reason;
	bool ready;
	bool go;
};

/* A child that makes topics until there is no memory. */
static int topics_in(void *arg)
{
	struct topics_in *in = arg;
	char subject[32], pid[16];
	struct blipmq_message m = { .subject = ptr_u64(subject) };
	struct blipmq_publish pub = { .messages = ptr_u64(&m), .nr = 1 };

	snprintf(pid, sizeof(pid), "%d", getpid());
	while (!in->error && in->done < 100000) {
		if (in->done == WARM && cg_write(GROUP_A, "cgroup.procs", pid))
			return 1;
		m.subject_len = snprintf(subject, sizeof(subject), "made.%u", in->done);
		in->error = do_publish(in->fd, &pub);
		in->reason = pub.head.reason;
		in->done += !in->error;
	}
	/* Whatever it did now would take memory. */
	__atomic_store_n(&in->ready, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&in->go, __ATOMIC_ACQUIRE))
		sched_yield();
	return 0;
}

/* Who makes topics is told, and not killed. */
TEST_F(cgroup, topics_at_memory_max)
{
	struct topics_in *in = shared(sizeof(*in));
	pid_t pid;

	in->fd = self->fd;
	ASSERT_EQ(0, cg_write(GROUP_A, "memory.max", "4194304"));
	pid = spawn(topics_in, in);
	while (!__atomic_load_n(&in->ready, __ATOMIC_ACQUIRE))
		ASSERT_EQ(-ETIME, reap_within(pid, 1));
	ASSERT_EQ(0, cg_write(GROUP_A, "memory.max", "max"));
	__atomic_store_n(&in->go, true, __ATOMIC_RELEASE);
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(-ENOMEM, in->error);
	EXPECT_EQ(BLIPMQ_REASON_MEMORY, in->reason);
	EXPECT_LT(WARM + 1000, in->done);
	EXPECT_EQ(0, cg_read(GROUP_A, "memory.events", "oom_kill "));
	EXPECT_EQ(0, publish(self->fd, "made.by.another", "x", 1));
	EXPECT_EQ(1, publish(self->fd, "cgroup.1", "x", 1));
}

#define WIDE_TOPICS	16000	/* one pattern more takes memory of each of them */
#define BALLAST		(4u << 20)

struct join_in {
	int fd;
	bool ready;		/* shared, as the following */
	bool go;
	bool done;
};

/* A child that goes to the group, fills it, and joins the topics. */
static int join_in(void *arg)
{
	struct join_in *in = arg;
	void *ballast;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	if (cg_write(GROUP_A, "cgroup.procs", pid))
		return 1;
	ballast = mmap(NULL, BALLAST, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ballast == MAP_FAILED)
		return 1;
	__atomic_store_n(&in->ready, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&in->go, __ATOMIC_ACQUIRE))
		sched_yield();
	if (subscribe(in->fd, "*.*", 0) < 0)
		return 2;
	__atomic_store_n(&in->done, true, __ATOMIC_RELEASE);
	pause();
	return 0;
}

/* Where in the kernel a task sleeps. */
static bool stack_of(pid_t pid, char *text, size_t size)
{
	char path[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	text[n > 0 ? n : 0] = 0;
	close(fd);
	return n >= 0;
}

/* A group above memory.high sleeps; not while it holds what everybody needs. */
TEST_F(cgroup, throttled_without_lock)
{
	struct join_in *in = shared(sizeof(*in));
	__u64 end = deadline_in(10);
	bool seen = false;
	char text[4096], subject[32];
	int i, wide;
	pid_t pid;

	wide = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(wide, 16, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(wide, ">", 0));
	ASSERT_LT(0, subscribe(wide, "wide.*", 0));
	for (i = 0; i < WIDE_TOPICS; i++) {
		snprintf(subject, sizeof(subject), "wide.%d", i);
		ASSERT_EQ(2, publish(self->fd, subject, "", 0));
	}
	in->fd = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(in->fd, 16, BLIPMQ_POLICY_DROP_OLDEST));
	pid = spawn(join_in, in);
	while (!__atomic_load_n(&in->ready, __ATOMIC_ACQUIRE))
		ASSERT_EQ(-ETIME, reap_within(pid, 1));
	ASSERT_EQ(0, cg_write(GROUP_A, "memory.high", "65536"));
	if (!stack_of(pid, text, sizeof(text)))
		SKIP(goto out, "no stacks of tasks");
	__atomic_store_n(&in->go, true, __ATOMIC_RELEASE);
	while (!seen && now_ns() < end) {
		ASSERT_TRUE(stack_of(pid, text, sizeof(text)));
		seen = strstr(text, "handle_over_high");
	}
	EXPECT_TRUE(seen);
	EXPECT_EQ(NULL, strstr(text, "bmq_pattern_subscribe")) {
		TH_LOG("it sleeps in\n%s", text);
	}
	EXPECT_LT(0, subscribe(wide, "*.1", 0));
out:
	slay(pid);
	close(in->fd);
	close(wide);
}

/* ---- One user, many buses ---- */

#define BUSES		12
#define BUSES_SOAK	100
#define BUSES_PAGES	4096	/* of the host; half of them for one user */

struct bus_of_user {
	int status;		/* 0, or what publishing gave */
	__u32 reason;
	__u32 detail;
	bool done;
};

static bool map_user(void)
{
	char map[32];
	int fd, len;

	len = snprintf(map, sizeof(map), "0 %d 1", BAD_UID);
	fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, map, len) == len;
}

/* As unshare -Urn has it: a bus of one's own, and a large message that stays in a ring. */
static int bus_of_user(void *arg)
{
	struct bus_of_user *b = arg;
	struct blipmq_publish pub;
	int fd;

	/* Who changes its user id does not own its files in /proc, unless it says so. */
	if (setgid(BAD_UID) || setuid(BAD_UID) || prctl(PR_SET_DUMPABLE, 1) ||
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) || !map_user())
		return 1;
	fd = bus_open(O_RDWR);
	if (make_ring(fd, 1, BLIPMQ_POLICY_BLOCK) || subscribe(fd, "nobody", 0) < 0)
		return 2;
	b->status = try_large(fd, &pub);
	b->reason = pub.head.reason;
	b->detail = pub.head.detail;
	__atomic_store_n(&b->done, true, __ATOMIC_RELEASE);
	pause();
	return 0;
}

FIXTURE(users)
{
	int fd;
};

FIXTURE_SETUP(users)
{
	ASSERT_EQ(0, fresh_bus(NULL));
	host_pages_set(BUSES_PAGES);
	host_settle();
	self->fd = bus_open(O_RDWR);
}

FIXTURE_TEARDOWN(users)
{
	close(self->fd);
	expect_bus_empty(_metadata);
}

TEST_F(users, buses_of_one_user)
{
	unsigned int nr = soaking() ? BUSES_SOAK : BUSES, i;
	unsigned int fit = BUSES_PAGES / 2 / LARGE_PAGES;
	struct bus_of_user *b = shared(nr * sizeof(*b));
	int status = -ETIME;
	pid_t pids[BUSES_SOAK];

	for (i = 0; i < nr; i++) {
		pids[i] = spawn(bus_of_user, &b[i]);
		while (!__atomic_load_n(&b[i].done, __ATOMIC_ACQUIRE)) {
			status = reap_within(pids[i], 1);
			if (status == 1)
				SKIP(return, "no user namespaces");
			ASSERT_EQ(-ETIME, status);
		}
		EXPECT_EQ(i < fit ? 0 : -ENOBUFS, b[i].status);
		EXPECT_EQ(i < fit ? BLIPMQ_REASON_NONE : BLIPMQ_REASON_HOST_USER, b[i].reason);
		EXPECT_EQ(i < fit ? 0 : BUSES_PAGES / 2, b[i].detail);
	}
	/* There are pages for others. */
	EXPECT_EQ(0, publish_large(self->fd, "nobody"));
	for (i = 0; i < nr; i++)
		EXPECT_EQ(128 + SIGKILL, slay(pids[i]));
}

/* ---- Idle pages ---- */

#define IDLE_MARK	16	/* pages that may stay */
#define IDLE_S		5	/* after which the others go, and a while for the look */

/*
 * A reader that released and does nothing more, a publisher that rests, and others that are
 * gone: nobody of them has to do anything for it.
 */
TEST(idle_given_back)
{
	__u64 end = deadline_in(10 * IDLE_S);
	struct source s, gone;
	struct blipmq_stats stats;
	struct consumer c;
	int watch, i;

	ASSERT_EQ(0, fresh_bus(NULL));
	watch = bus_open(O_RDWR);
	ASSERT_EQ(0, consumer_open(&c, 256, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, "idle", 0));
	ASSERT_EQ(0, source_open(&s, "idle", 20000, 1));
	ASSERT_EQ(0, source_open(&gone, "idle", 64, 1));
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(1, source_send(&s));
		ASSERT_EQ(1, source_send(&gone));
	}
	ASSERT_EQ(1, publish(s.fd, "idle", "small", 5));
	ASSERT_EQ(0, bus_stats(watch, &stats));
	ASSERT_LE(100 * 5, stats.pages);
	EXPECT_EQ(0, stats.idle);
	EXPECT_EQ(201, consumer_drain(&c));
	source_close(&gone);

	do {
		sleep_ms(50);
		ASSERT_EQ(0, bus_stats(watch, &stats));
	} while (stats.pages > IDLE_MARK && now_ns() < end);
	EXPECT_GE(IDLE_MARK, stats.pages);
	EXPECT_EQ(stats.pages, stats.idle);
	source_close(&s);
	consumer_close(&c);
	close(watch);
	expect_bus_empty(_metadata);
}

/* ---- Random sizes ---- */

#define KEPT		32
#define MANY		1000000	/* messages of the long run */

struct churn {
	struct consumer c;
	struct source s;
	__u64 state;
	__u64 kept[KEPT];
	__u64 refused;
};

/* Any size up to the largest, small ones far more often: the least of three numbers of bits. */
static size_t random_size(__u64 *state, size_t max)
{
	unsigned int bits = 24, i, roll;
	size_t size;

	for (i = 0; i < 3; i++) {
		roll = random_next(state) % 25;
		bits = roll < bits ? roll : bits;
	}
	size = random_next(state) & ((1ULL << bits) - 1);
	return size < max ? size : max;
}

/* Publish one, look at it, keep it in place of another, or let it go. */
static void churn_once(struct __test_metadata *_metadata, struct churn *m, char *buf, size_t max)
{
	size_t size = random_size(&m->state, max);
	struct blipmq_drop_kept drop = { };
	struct blipmq_keep keep = { };
	__u64 number, *kept = &m->kept[random_next(&m->state) % KEPT];
	struct blipmq_desc d;
	int ret;

	stamp(buf, size, size);
	ret = publish(m->s.fd, "churn", buf, size);
	if (ret == -ENOBUFS) {
		/* Kept messages may leave no room for a large one. */
		ASSERT_LT(1 << 20, size);
		m->refused++;
		return;
	}
	ASSERT_LE(0, ret);
	if (!consumer_claim(&m->c, &d, 1, &keep.index))
		return;
	ASSERT_EQ(size, desc_length(&d));
	ASSERT_TRUE(stamp_holds(consumer_payload(&m->c, &d), size, &number));
	if (*kept) {
		drop.id = *kept;
		ASSERT_EQ(0, do_drop(m->c.fd, &drop));
	}
	ret = do_keep(m->c.fd, &keep);
	ASSERT_TRUE(!ret || ret == -ENOSPC);
	*kept = ret ? 0 : keep.id;
	consumer_release(&m->c, consumer_load(consumer_claim_word(&m->c)));
}

TEST(random_sizes)
{
	struct blipmq_drop_kept drop = { };
	struct blipmq_info info = { };
	static struct churn m;
	__u64 end, n = 0;
	char *buf;
	int i;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, consumer_open(&m.c, 16, 4, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(m.c.fd, "churn", 0));
	ASSERT_EQ(0, source_open(&m.s, "churn", 0, 1));
	ASSERT_EQ(0, do_info(m.s.fd, &info));
	EXPECT_EQ(BLIPMQ_MESSAGE_MAX, info.max_message);
	buf = malloc(info.max_message);
	m.state = 0x2545f4914f6cdd1dULL;
	end = deadline_in(test_seconds() / 2);
	do {
		churn_once(_metadata, &m, buf, info.max_message);
		n++;
	} while (now_ns() < end || (soaking() && n < MANY));

	/* All is released: the largest has room again, wherever the others were. */
	for (i = 0; i < KEPT; i++) {
		drop.id = m.kept[i];
		if (drop.id)
			ASSERT_EQ(0, do_drop(m.c.fd, &drop));
	}
	consumer_drain(&m.c);
	EXPECT_EQ(-ETIME, wait_for(m.c.fd, 1, 0));
	stamp(buf, info.max_message, 1);
	EXPECT_EQ(1, publish(m.s.fd, "churn", buf, info.max_message));
	TH_LOG("%llu messages, %llu refused", n, m.refused);
	consumer_close(&m.c);
	source_close(&m.s);
	expect_bus_empty(_metadata);
	free(buf);
}

TEST_HARNESS_MAIN
