// SPDX-License-Identifier: GPL-2.0
/*
 * Administration through the library: what it refuses itself, the kernel's sentences, and
 * lists that are whole whatever changes meanwhile.
 */
#include <blipmq.h>
#include <blipmq/admin.h>

#include "common.h"
#include "harness.h"

#define MANY	60	/* buses: more than one message of a list has room for */
#define USER	3001

FIXTURE(admin) {
	struct blipmq_admin *c;
};

FIXTURE_SETUP(admin)
{
	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, blipmq_admin_open(&self->c));
}

FIXTURE_TEARDOWN(admin)
{
	blipmq_admin_close(self->c);
}

#define EXPECT_REASON(err, code, call) do { \
	const int __err = (err); \
\
	EXPECT_EQ(__err, call); \
	EXPECT_EQ(__err, blipmq_last_error()->error); \
	EXPECT_EQ(code, blipmq_last_error()->reason); \
} while (0)

/* ---- What is refused ---- */

TEST_F(admin, options)
{
	struct {
		struct blipmq_bus bus;
		char more;
	} later = { .bus.sz = sizeof(later), .more = 1 };
	struct blipmq_bus bus = { };
	char name[BLIPMQ_NAME_MAX + 1];

	EXPECT_REASON(-EINVAL, BLIPMQ_REASON_OPTIONS, blipmq_bus_add(self->c, "a", &bus));
	EXPECT_REASON(-EINVAL, BLIPMQ_REASON_OPTIONS, blipmq_bus_add(self->c, "a", &later.bus));
	bus.sz = sizeof(bus);
	bus.given = BLIPMQ_BUS_MAX_BUDGET << 1;
	EXPECT_REASON(-EINVAL, BLIPMQ_REASON_OPTIONS, blipmq_bus_add(self->c, "a", &bus));
	bus.given = 0;
	bus.reserved = 1;
	EXPECT_REASON(-EINVAL, BLIPMQ_REASON_OPTIONS, blipmq_bus_set(self->c, "default", &bus));
	memset(name, 'a', sizeof(name));
	name[BLIPMQ_NAME_MAX] = 0;
	EXPECT_REASON(-EINVAL, BLIPMQ_REASON_URL_NAME, blipmq_bus_add(self->c, name, NULL));
	EXPECT_REASON(-EINVAL, BLIPMQ_REASON_URL_NAME, blipmq_bus_del(self->c, ""));
	EXPECT_REASON(-EINVAL, BLIPMQ_REASON_URL_NAME,
		      blipmq_bus_get(self->c, name, &bus, sizeof(bus)));
	EXPECT_REASON(-ENOENT, BLIPMQ_REASON_KERNEL,
		      blipmq_bus_get(self->c, "a", &bus, sizeof(bus)));
	/* What a caller of an older library knows is enough. */
	later.more = 0;
	EXPECT_EQ(0, blipmq_bus_add(self->c, "a", &later.bus));
	memset(&bus, POISON, sizeof(bus));
	EXPECT_EQ(0, blipmq_bus_get(self->c, "a", &bus, offsetof(struct blipmq_bus, mode)));
	EXPECT_EQ(POISON32, bus.mode);
}

TEST_F(admin, sentences)
{
	struct blipmq_bus bus = {
		.sz = sizeof(bus), .given = BLIPMQ_BUS_BUDGET, .budget = 1,
	};

	EXPECT_REASON(-EINVAL, BLIPMQ_REASON_KERNEL, blipmq_bus_set(self->c, "default", &bus));
	EXPECT_STREQ("a budget is 16 pages at the least", blipmq_strerror());
	EXPECT_STREQ("kernel", blipmq_reason_name(blipmq_last_error()->reason));
	EXPECT_REASON(-EBUSY, BLIPMQ_REASON_KERNEL, blipmq_bus_del(self->c, "default"));
	EXPECT_TRUE(strstr(blipmq_strerror(), "default is always there"));
	/* The socket goes on working, and what it says later is about the later call. */
	EXPECT_EQ(0, blipmq_bus_add(self->c, "plant", NULL));
	EXPECT_REASON(-EEXIST, BLIPMQ_REASON_KERNEL, blipmq_bus_add(self->c, "plant", NULL));
	EXPECT_STREQ("there is a bus of that name", blipmq_strerror());
}

/* ---- What is done ---- */

TEST_F(admin, round_trip)
{
	struct blipmq_bus asked = {
		.sz = sizeof(asked),
		.given = BLIPMQ_BUS_OWNER | BLIPMQ_BUS_GROUP | BLIPMQ_BUS_MODE | BLIPMQ_BUS_SHARE |
			 BLIPMQ_BUS_BLOCK_BUDGET | BLIPMQ_BUS_BUDGET | BLIPMQ_BUS_MAX_BUDGET,
		.owner = 1, .group = 2, .mode = 0421, .share = 3, .block_budget = 4,
		.budget = 1 << 20, .max_budget = 1 << 21,
	};
	struct blipmq_bus bus;
	struct blipmq *b;

	ASSERT_EQ(0, blipmq_bus_add(self->c, "plant", &asked));
	ASSERT_EQ(0, blipmq_bus_get(self->c, "plant", &bus, sizeof(bus)));
	EXPECT_STREQ("plant", bus.name);
	EXPECT_LT(0, bus.id);
	asked.id = bus.id;
	strcpy(asked.name, "plant");
	EXPECT_EQ(0, memcmp(&asked, &bus, sizeof(bus)));
	/* One thing changes, the others stay. */
	bus = (struct blipmq_bus){ .sz = sizeof(bus), .given = BLIPMQ_BUS_MODE, .mode = 0777 };
	ASSERT_EQ(0, blipmq_bus_set(self->c, "plant", &bus));
	asked.mode = 0777;
	ASSERT_EQ(0, blipmq_bus_get(self->c, "plant", &bus, sizeof(bus)));
	EXPECT_EQ(0, memcmp(&asked, &bus, sizeof(bus)));
	ASSERT_EQ(0, blipmq_open("blipmq:plant", 0, &b));
	ASSERT_EQ(0, blipmq_bus_del(self->c, "plant"));
	EXPECT_REASON(-ENODEV, BLIPMQ_REASON_DELETED, blipmq_publish(b, "a", "m", 1, NULL));
	blipmq_close(b);
}

/* ---- Why a wait ends ---- */

struct waiter {
	struct blipmq *b;
	uint32_t reason;
};

static int wait_main(void *arg)
{
	struct waiter *w = arg;
	char data[16];
	int64_t ret = blipmq_recv(w->b, data, sizeof(data), NULL, BLIPMQ_FOREVER);

	return ret < 0 && blipmq_last_error()->reason == w->reason ? -ret : 1;
}

/* A reader that copies, asleep, is told of the right reason. (A mapping is not inherited.) */
TEST_F(admin, waits)
{
	const struct blipmq_ring_opts copying = {
		.sz = sizeof(copying), .flags = BLIPMQ_RING_COPY,
	};
	struct blipmq_bus bus = { .sz = sizeof(bus), .given = BLIPMQ_BUS_MODE, .mode = 0333 };
	struct waiter w = { .reason = BLIPMQ_REASON_RIGHT_SUBSCRIBE };
	pid_t pid;

	ASSERT_EQ(0, blipmq_bus_add(self->c, "plant", NULL));
	ASSERT_EQ(0, blipmq_open("blipmq:plant", 0, &w.b));
	ASSERT_EQ(0, blipmq_ring(w.b, &copying));
	ASSERT_EQ(0, blipmq_subscribe(w.b, "a", 0, NULL));
	pid = spawn(wait_main, &w);
	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(0, blipmq_bus_set(self->c, "plant", &bus));
	EXPECT_EQ(EACCES, reap_within(pid, 20000));

	bus.mode = 0777;
	ASSERT_EQ(0, blipmq_bus_set(self->c, "plant", &bus));
	w.reason = BLIPMQ_REASON_DELETED;
	pid = spawn(wait_main, &w);
	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(0, blipmq_bus_del(self->c, "plant"));
	EXPECT_EQ(ENODEV, reap_within(pid, 20000));
	blipmq_close(w.b);
}

struct mapped {
	int ready[2];
	uint32_t reason;
};

/* The same of a reader that maps. */
static int mapped_main(void *arg)
{
	struct mapped *m = arg;
	struct blipmq_view view;
	struct blipmq *b;
	int ret;

	if (blipmq_open("blipmq:plant", 0, &b) || blipmq_subscribe(b, "a", 0, NULL) ||
	    write(m->ready[1], "", 1) != 1)
		return 1;
	ret = blipmq_next(b, &view, BLIPMQ_FOREVER);
	return ret < 0 && blipmq_last_error()->reason == m->reason ? -ret : 2;
}

TEST_F(admin, waits_mapped)
{
	struct blipmq_bus bus = { .sz = sizeof(bus), .given = BLIPMQ_BUS_MODE, .mode = 0333 };
	struct mapped m = { .reason = BLIPMQ_REASON_RIGHT_SUBSCRIBE };
	char byte;
	pid_t pid;

	ASSERT_EQ(0, blipmq_bus_add(self->c, "plant", NULL));
	ASSERT_EQ(0, pipe(m.ready));
	pid = spawn(mapped_main, &m);
	ASSERT_EQ(1, read(m.ready[0], &byte, 1));
	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(0, blipmq_bus_set(self->c, "plant", &bus));
	EXPECT_EQ(EACCES, reap_within(pid, 20000));
}

/* ---- Lists ---- */

static int make_many(struct blipmq_admin *c)
{
	char name[16];
	int ret = 0;

	for (int i = 0; !ret && i < MANY; i++) {
		sprintf(name, "bus%d", i);
		ret = blipmq_bus_add(c, name, NULL);
	}
	return ret;
}

struct seen {
	int nr;
	uint32_t first;
	uint32_t last;
};

static int see(const struct blipmq_bus *bus, void *arg)
{
	struct seen *seen = arg;

	seen->nr++;
	if (!strcmp(bus->name, "bus0"))
		seen->first = bus->share;
	seen->last = bus->share;
	return 0;
}

static int stop_at_third(const struct blipmq_bus *bus, void *arg)
{
	(void)bus;
	return ++*(int *)arg == 3 ? 42 : 0;
}

/* Changes the first, then the last, again and again. */
static int change_both(void *arg)
{
	struct blipmq_bus bus = { .sz = sizeof(bus), .given = BLIPMQ_BUS_SHARE };
	struct blipmq_admin *c;

	(void)arg;
	if (blipmq_admin_open(&c))
		return 1;
	for (bus.share = 1;; bus.share = bus.share % 100 + 1) {
		if (blipmq_bus_set(c, "bus0", &bus) || blipmq_bus_set(c, "bus59", &bus))
			return 2;
		sleep_ms(debug_kernel() ? 50 : 10);
	}
}

TEST_F(admin, list)
{
	int calls = 0;

	ASSERT_EQ(0, make_many(self->c));
	EXPECT_EQ(42, blipmq_bus_list(self->c, stop_at_third, &calls));
	EXPECT_EQ(3, calls);
}

/* What is shown was there at one moment: the last never is ahead of the first. */
TEST_F(admin, list_of_one_moment)
{
	__u64 end = now_ns() + test_seconds() * SEC;
	int whole = 0, ret;
	pid_t pid;

	ASSERT_EQ(0, make_many(self->c));
	pid = spawn(change_both, NULL);
	while (now_ns() < end) {
		struct seen seen = { };

		ret = blipmq_bus_list(self->c, see, &seen);
		if (ret == -EAGAIN)
			continue;
		ASSERT_EQ(0, ret);
		EXPECT_EQ(MANY + 1, seen.nr);
		EXPECT_TRUE(seen.first == seen.last || seen.first == seen.last % 100 + 1 ||
			    seen.last == 75 || seen.first == 75) {
			TH_LOG("first %u, last %u", seen.first, seen.last);
		}
		whole++;
	}
	EXPECT_LT(0, whole);
	EXPECT_EQ(128 + SIGKILL, slay(pid));
}

TEST_HARNESS_MAIN
