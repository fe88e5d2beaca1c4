// SPDX-License-Identifier: GPL-2.0
/*
 * Administration of buses through netlink: what is refused, and in which words; what a bus
 * is then; what a dump shows.
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "common_netlink.h"
#include "harness.h"

#define USER	3001
#define MIB	(1ULL << 20)
#define NO_GROUP 4294967295u

/* A network namespace of its own, and a socket in it. */
FIXTURE(admin) {
	struct nl nl;
	struct nl_bus before;
};

FIXTURE_SETUP(admin)
{
	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&self->nl));
	ASSERT_EQ(0, nl_bus_new(&self->nl, "plant"));
	ASSERT_EQ(0, nl_bus_get(&self->nl, "plant", &self->before));
}

FIXTURE_TEARDOWN(admin)
{
	struct nl_bus after;

	/* Each of the tests here leaves it as it was. */
	EXPECT_EQ(0, nl_bus_get(&self->nl, "plant", &after));
	EXPECT_EQ(0, memcmp(&self->before, &after, sizeof(after)));
	nl_close(&self->nl);
}

/* Refused with that errno, about that attribute, in a sentence that has these words. */
#define EXPECT_REFUSED(error, attr, words, ...) do { \
	EXPECT_EQ(error, __VA_ARGS__); \
	EXPECT_EQ(attr, self->nl.bad); \
	EXPECT_TRUE(strstr(self->nl.text, words)) { TH_LOG("\"%s\"", self->nl.text); } \
} while (0)

static int ask_u32(struct nl *nl, int command, const char *name, int attr, __u32 value)
{
	nl_begin_bus(nl, command, name);
	nl_put_u32(nl, attr, value);
	return nl_ask(nl, NULL, NULL);
}

static int ask_u64(struct nl *nl, int command, const char *name, int attr, __u64 value)
{
	nl_begin_bus(nl, command, name);
	nl_put_u64(nl, attr, value);
	return nl_ask(nl, NULL, NULL);
}

/* ---- Refusals: form ---- */

TEST_F(admin, unknown_command)
{
	nl_begin(&self->nl, BLIPMQ_CMD_MAX + 1, 0);
	EXPECT_EQ(-EOPNOTSUPP, nl_ask(&self->nl, NULL, NULL));
	nl_begin(&self->nl, 0, 0);
	EXPECT_EQ(-EOPNOTSUPP, nl_ask(&self->nl, NULL, NULL));
}

TEST_F(admin, reserved_header)
{
	struct genlmsghdr *header = NLMSG_DATA(&self->nl.head);

	nl_begin_bus(&self->nl, BLIPMQ_CMD_BUS_GET, "plant");
	header->reserved = 1;
	EXPECT_EQ(-EINVAL, nl_ask(&self->nl, NULL, NULL));
}

static const int commands[] = { BLIPMQ_CMD_BUS_NEW, BLIPMQ_CMD_BUS_GET, BLIPMQ_CMD_BUS_SET,
				BLIPMQ_CMD_BUS_DEL };
#define NR_COMMANDS	(sizeof(commands) / sizeof(*commands))

TEST_F(admin, no_name)
{
	for (unsigned int i = 0; i < NR_COMMANDS; i++) {
		nl_begin(&self->nl, commands[i], 0);
		EXPECT_REFUSED(-EINVAL, 0, "name the bus", nl_ask(&self->nl, NULL, NULL));
	}
}

/* Numbers that no command has, and those that others have. */
TEST_F(admin, unknown_attributes)
{
	for (unsigned int i = 0; i < NR_COMMANDS; i++) {
		EXPECT_EQ(-EINVAL, ask_u32(&self->nl, commands[i], "plant", 0, 0));
		EXPECT_EQ(-EINVAL, ask_u64(&self->nl, commands[i], "plant", BLIPMQ_A_BUS_ID, 1));
		EXPECT_EQ(-EINVAL, ask_u32(&self->nl, commands[i], "plant",
					   BLIPMQ_A_BUS_MAX + 1, 0));
		EXPECT_EQ(-EINVAL, ask_u32(&self->nl, commands[i], "plant", NLA_TYPE_MASK, 0));
	}
	EXPECT_EQ(-EINVAL, ask_u32(&self->nl, BLIPMQ_CMD_BUS_GET, "plant", BLIPMQ_A_BUS_MODE, 0));
	EXPECT_EQ(-EINVAL, ask_u32(&self->nl, BLIPMQ_CMD_BUS_DEL, "plant", BLIPMQ_A_BUS_MODE, 0));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_MAX_BUDGET, "fixed when it is made",
		       ask_u64(&self->nl, BLIPMQ_CMD_BUS_SET, "plant", BLIPMQ_A_BUS_MAX_BUDGET,
			       64 * MIB));
}

TEST_F(admin, lengths_of_attributes)
{
	static const int four[] = { BLIPMQ_A_BUS_OWNER, BLIPMQ_A_BUS_GROUP, BLIPMQ_A_BUS_MODE,
				    BLIPMQ_A_BUS_SHARE, BLIPMQ_A_BUS_BLOCK_BUDGET };
	static const char zero[16];

	for (unsigned int i = 0; i < sizeof(four) / sizeof(*four); i++) {
		for (unsigned int len = 0; len <= sizeof(zero); len++) {
			if (len == 4)
				continue;
			nl_begin_bus(&self->nl, BLIPMQ_CMD_BUS_SET, "plant");
			nl_put(&self->nl, four[i], zero, len);
			EXPECT_GT(0, nl_ask(&self->nl, NULL, NULL));
			EXPECT_EQ(four[i], self->nl.bad);
		}
	}
	for (unsigned int len = 0; len <= sizeof(zero); len++) {
		if (len == 8)
			continue;
		nl_begin_bus(&self->nl, BLIPMQ_CMD_BUS_SET, "plant");
		nl_put(&self->nl, BLIPMQ_A_BUS_BUDGET, zero, len);
		EXPECT_GT(0, nl_ask(&self->nl, NULL, NULL));
	}
	/* Rubbish behind the last attribute. */
	nl_begin_bus(&self->nl, BLIPMQ_CMD_BUS_GET, "plant");
	self->nl.head.nlmsg_len += 2;
	EXPECT_EQ(-EINVAL, nl_ask(&self->nl, NULL, NULL));
}

TEST_F(admin, names)
{
	static const char *const bad[] = { "", "-a", ".a", ".", "..", "a b", "a/b", "a\nb", "\x7f",
					   "\xc3\xa9", "blipmq:a", "a\\" };
	char name[BLIPMQ_NAME_MAX + 1];

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_NAME, "a bus name has letters, digits",
			       nl_bus_new(&self->nl, bad[i]));
	memset(name, 'a', sizeof(name));
	name[BLIPMQ_NAME_MAX] = 0;
	EXPECT_GT(0, nl_bus_new(&self->nl, name));
	EXPECT_EQ(BLIPMQ_A_BUS_NAME, self->nl.bad);
	/* Not terminated. */
	nl_begin(&self->nl, BLIPMQ_CMD_BUS_NEW, 0);
	nl_put(&self->nl, BLIPMQ_A_BUS_NAME, name, 8);
	EXPECT_EQ(-EINVAL, nl_ask(&self->nl, NULL, NULL));
	/* What is fine. */
	name[BLIPMQ_NAME_MAX - 1] = 0;
	EXPECT_EQ(0, nl_bus_new(&self->nl, name));
	EXPECT_EQ(0, nl_bus_new(&self->nl, "_"));
	EXPECT_EQ(0, nl_bus_new(&self->nl, "9a-Z_.x"));
	EXPECT_REFUSED(-EEXIST, BLIPMQ_A_BUS_NAME, "there is a bus of that name",
		       nl_bus_new(&self->nl, name));
	EXPECT_REFUSED(-EEXIST, BLIPMQ_A_BUS_NAME, "there is a bus of that name",
		       nl_bus_new(&self->nl, "default"));
}

TEST_F(admin, values_out_of_range)
{
	static const struct {
		int attr;
		__u32 value;
	} bad[] = {
		{ BLIPMQ_A_BUS_MODE, 01000 }, { BLIPMQ_A_BUS_MODE, ~0u },
		{ BLIPMQ_A_BUS_SHARE, 0 }, { BLIPMQ_A_BUS_SHARE, 101 },
		{ BLIPMQ_A_BUS_BLOCK_BUDGET, 60001 }, { BLIPMQ_A_BUS_BLOCK_BUDGET, ~0u },
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		EXPECT_EQ(-ERANGE, nl_bus_set(&self->nl, "plant", bad[i].attr, bad[i].value));
		EXPECT_EQ(bad[i].attr, self->nl.bad);
		EXPECT_EQ(-ERANGE, ask_u32(&self->nl, BLIPMQ_CMD_BUS_NEW, "other", bad[i].attr,
					   bad[i].value));
	}
	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_OWNER, "no user of that number",
		       nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_OWNER, ~0u));
	EXPECT_EQ(-ENOENT, nl_bus_get(&self->nl, "other", &(struct nl_bus){ }));
}

TEST_F(admin, budgets)
{
	__u64 page = page_size(), max = self->before.max_budget;

	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_BUDGET, "at the least",
		       nl_bus_set_u64(&self->nl, "plant", BLIPMQ_A_BUS_BUDGET, 16 * page - 1));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_BUDGET, "more than the max budget",
		       nl_bus_set_u64(&self->nl, "plant", BLIPMQ_A_BUS_BUDGET, max + page));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_BUDGET, "more than the max budget",
		       nl_bus_set_u64(&self->nl, "plant", BLIPMQ_A_BUS_BUDGET, ~0ULL));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_MAX_BUDGET, "at the least",
		       ask_u64(&self->nl, BLIPMQ_CMD_BUS_NEW, "other", BLIPMQ_A_BUS_MAX_BUDGET,
			       16 * page - 1));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_MAX_BUDGET, "host_pages",
		       ask_u64(&self->nl, BLIPMQ_CMD_BUS_NEW, "other", BLIPMQ_A_BUS_MAX_BUDGET,
			       ~0ULL));
	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_BUDGET, "host_pages",
		       ask_u64(&self->nl, BLIPMQ_CMD_BUS_NEW, "other", BLIPMQ_A_BUS_BUDGET, ~0ULL));
	nl_begin_bus(&self->nl, BLIPMQ_CMD_BUS_NEW, "other");
	nl_put_u64(&self->nl, BLIPMQ_A_BUS_BUDGET, 3 * MIB);
	nl_put_u64(&self->nl, BLIPMQ_A_BUS_MAX_BUDGET, 2 * MIB);
	EXPECT_REFUSED(-EINVAL, BLIPMQ_A_BUS_BUDGET, "more than the max budget",
		       nl_ask(&self->nl, NULL, NULL));
	EXPECT_EQ(-ENOENT, nl_bus_get(&self->nl, "other", &(struct nl_bus){ }));
}

/* One value that is refused: none of the others counts. */
TEST_F(admin, all_or_nothing)
{
	nl_begin_bus(&self->nl, BLIPMQ_CMD_BUS_SET, "plant");
	nl_put_u32(&self->nl, BLIPMQ_A_BUS_MODE, 0777);
	nl_put_u32(&self->nl, BLIPMQ_A_BUS_OWNER, USER);
	nl_put_u32(&self->nl, BLIPMQ_A_BUS_SHARE, 10);
	nl_put_u64(&self->nl, BLIPMQ_A_BUS_BUDGET, ~0ULL);
	EXPECT_EQ(-EINVAL, nl_ask(&self->nl, NULL, NULL));
}

TEST_F(admin, no_such_bus)
{
	EXPECT_REFUSED(-ENOENT, BLIPMQ_A_BUS_NAME, "no such bus",
		       nl_bus_get(&self->nl, "nosuch", &(struct nl_bus){ }));
	EXPECT_REFUSED(-ENOENT, BLIPMQ_A_BUS_NAME, "no such bus",
		       nl_bus_set(&self->nl, "nosuch", BLIPMQ_A_BUS_MODE, 0));
	EXPECT_REFUSED(-ENOENT, BLIPMQ_A_BUS_NAME, "no such bus", nl_bus_del(&self->nl, "nosuch"));
	EXPECT_REFUSED(-EBUSY, BLIPMQ_A_BUS_NAME, "default is always there",
		       nl_bus_del(&self->nl, "default"));
}

TEST_F(admin, dump_takes_no_attributes)
{
	nl_begin_bus(&self->nl, BLIPMQ_CMD_BUS_GET, "plant");
	self->nl.head.nlmsg_flags |= NLM_F_DUMP;
	EXPECT_EQ(-EINVAL, nl_ask(&self->nl, NULL, NULL));
	EXPECT_TRUE(strstr(self->nl.text, "takes no attributes"));
	nl_begin(&self->nl, BLIPMQ_CMD_BUS_GET, NLM_F_DUMP);
	nl_put_u32(&self->nl, BLIPMQ_A_BUS_MODE, 0);
	EXPECT_EQ(-EINVAL, nl_ask(&self->nl, NULL, NULL));
	nl_begin(&self->nl, BLIPMQ_CMD_BUS_SET, NLM_F_DUMP);
	EXPECT_EQ(-EOPNOTSUPP, nl_ask(&self->nl, NULL, NULL));
}

/* ---- Refusals: rights ---- */

/* What it may not see is not there; what it may see it may not change. */
static void stranger(struct __test_metadata *_metadata, struct _test_data_admin *self,
		     struct nl *nl)
{
	struct nl_bus bus;

	EXPECT_EQ(-ENOENT, nl_bus_get(nl, "plant", &bus));
	EXPECT_EQ(-ENOENT, nl_bus_set(nl, "plant", BLIPMQ_A_BUS_MODE, 0777));
	EXPECT_EQ(-ENOENT, nl_bus_del(nl, "plant"));
	EXPECT_EQ(-EPERM, nl_bus_new(nl, "other"));
	EXPECT_TRUE(strstr(nl->text, "CAP_NET_ADMIN"));
	EXPECT_EQ(-EPERM, nl_bus_new(nl, "plant"));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_MODE, 0771));
	EXPECT_EQ(0, nl_bus_get(nl, "plant", &bus));
	EXPECT_EQ(0771, bus.mode);
	EXPECT_EQ(-EPERM, nl_bus_set(nl, "plant", BLIPMQ_A_BUS_MODE, 0777));
	EXPECT_TRUE(strstr(nl->text, "not the owner")) { TH_LOG("\"%s\"", nl->text); }
	EXPECT_EQ(-EPERM, nl_bus_del(nl, "plant"));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_MODE, self->before.mode));
}

TEST_F(admin, socket_of_another)
{
	struct nl nl;

	ASSERT_EQ(0, nl_open_as(&nl, USER, USER));
	stranger(_metadata, self, &nl);
	nl_close(&nl);
}

/* A socket of root's in a stranger's hands: it sees what root sees, and changes nothing. */
TEST_F(admin, socket_passed_on)
{
	struct nl_bus bus;

	ASSERT_EQ(0, seteuid(USER));
	EXPECT_EQ(0, nl_bus_get(&self->nl, "plant", &bus));
	EXPECT_EQ(-EPERM, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_MODE, 0777));
	EXPECT_EQ(-EPERM, nl_bus_del(&self->nl, "plant"));
	EXPECT_EQ(-EPERM, nl_bus_new(&self->nl, "other"));
	ASSERT_EQ(0, seteuid(0));
}

TEST_F(admin, denied_is_counted)
{
	struct blipmq_stats stats;
	int fd = bus_open(O_RDWR);
	struct nl nl;
	__u64 before;

	ASSERT_EQ(0, bind_bus(fd, "plant"));
	ASSERT_EQ(0, bus_stats(fd, &stats));
	before = stats.events[BLIPMQ_EVENT_DENIED];
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_MODE, 0771));
	ASSERT_EQ(0, nl_open_as(&nl, USER, USER));
	EXPECT_EQ(-EPERM, nl_bus_del(&nl, "plant"));
	ASSERT_EQ(0, bus_stats(fd, &stats));
	EXPECT_EQ(before + 1, stats.events[BLIPMQ_EVENT_DENIED]);
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_MODE, self->before.mode));
}

/* ---- What a bus is ---- */

TEST(made_as_the_parameters_say)
{
	const struct param params[] = {
		{ "mode", "0751" }, { "gid", "77" }, { "share", "33" }, { "block_budget", "1234" },
		{ "budget", "8388608" }, { "max_budget", "16777216" }, { }
	};
	struct nl_bus bus;
	struct nl nl;

	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, nl_open(&nl));
	ASSERT_EQ(0, nl_bus_get(&nl, "default", &bus));
	EXPECT_STREQ("default", bus.name);
	EXPECT_EQ(1, bus.id);
	EXPECT_EQ(0, bus.owner);
	EXPECT_EQ(77, bus.group);
	EXPECT_EQ(0751, bus.mode);
	EXPECT_EQ(33, bus.share);
	EXPECT_EQ(1234, bus.block_budget);
	EXPECT_EQ(8 * MIB, bus.budget);
	EXPECT_EQ(16 * MIB, bus.max_budget);
}

TEST(made_as_asked)
{
	struct blipmq_info info = { };
	struct nl_bus bus;
	struct nl nl;
	int fd;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&nl));
	nl_begin_bus(&nl, BLIPMQ_CMD_BUS_NEW, "plant");
	nl_put_u32(&nl, BLIPMQ_A_BUS_OWNER, USER);
	nl_put_u32(&nl, BLIPMQ_A_BUS_GROUP, NO_GROUP);
	nl_put_u32(&nl, BLIPMQ_A_BUS_MODE, 0707);
	nl_put_u32(&nl, BLIPMQ_A_BUS_SHARE, 100);
	nl_put_u32(&nl, BLIPMQ_A_BUS_BLOCK_BUDGET, 0);
	nl_put_u64(&nl, BLIPMQ_A_BUS_BUDGET, MIB + 1);
	nl_put_u64(&nl, BLIPMQ_A_BUS_MAX_BUDGET, 2 * MIB + 1);
	ASSERT_EQ(0, nl_ask(&nl, NULL, NULL)) { TH_LOG("%s", nl.text); }
	ASSERT_EQ(0, nl_bus_get(&nl, "plant", &bus));
	EXPECT_STREQ("plant", bus.name);
	EXPECT_EQ(2, bus.id);
	EXPECT_EQ(USER, bus.owner);
	EXPECT_EQ(NO_GROUP, bus.group);
	EXPECT_EQ(0707, bus.mode);
	EXPECT_EQ(100, bus.share);
	EXPECT_EQ(0, bus.block_budget);
	EXPECT_EQ(MIB, bus.budget);
	EXPECT_EQ(2 * MIB, bus.max_budget);

	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(fd, "plant"));
	ASSERT_EQ(0, do_info(fd, &info));
	EXPECT_STREQ("plant", info.bus);
	EXPECT_EQ(MIB, info.budget);
	EXPECT_EQ(2 * MIB, info.store_size);
	EXPECT_EQ(MIB / 4, info.max_message);
	EXPECT_TRUE(info.features & BLIPMQ_FEATURE_NETLINK);
}

/* A budget beyond the usual one brings its max budget along. */
TEST(budget_alone)
{
	struct nl_bus bus;
	struct nl nl;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, nl_open(&nl));
	ASSERT_EQ(0, param_set("budget", "1048576"));
	EXPECT_EQ(0, ask_u64(&nl, BLIPMQ_CMD_BUS_NEW, "more", BLIPMQ_A_BUS_BUDGET, 4 * MIB));
	EXPECT_EQ(0, ask_u64(&nl, BLIPMQ_CMD_BUS_NEW, "less", BLIPMQ_A_BUS_BUDGET, MIB / 4));
	ASSERT_EQ(0, param_set("budget", "67108864"));
	ASSERT_EQ(0, nl_bus_get(&nl, "more", &bus));
	EXPECT_EQ(4 * MIB, bus.budget);
	EXPECT_EQ(4 * MIB, bus.max_budget);
	ASSERT_EQ(0, nl_bus_get(&nl, "less", &bus));
	EXPECT_EQ(MIB / 4, bus.budget);
	EXPECT_EQ(MIB, bus.max_budget);
}

/* It counts from the next message on. */
TEST_F(admin, budget_set)
{
	const __u64 least = 16 * page_size();
	struct blipmq_info info = { };
	static char data[8192];
	struct consumer c;
	int fd, ret;

	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(fd, "plant"));
	ASSERT_EQ(0, consumer_attach(&c, fd, 64, 0, BLIPMQ_POLICY_DROP_NEWEST));
	ASSERT_LT(0, subscribe(c.fd, "a", 0));
	EXPECT_EQ(1, publish(fd, "a", data, least / 4));
	ASSERT_EQ(0, nl_bus_set_u64(&self->nl, "plant", BLIPMQ_A_BUS_BUDGET, least));
	ASSERT_EQ(0, do_info(fd, &info));
	EXPECT_EQ(least, info.budget);
	EXPECT_EQ(least / 4, info.max_message);
	EXPECT_EQ(c.store_size, info.store_size);
	EXPECT_EQ(-EMSGSIZE, publish(fd, "a", data, least / 4 + 1));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_SHARE, 1));
	ret = publish(fd, "a", data, sizeof(data));
	EXPECT_EQ(-ENOBUFS, ret);
	ASSERT_EQ(0, nl_bus_set(&self->nl, "plant", BLIPMQ_A_BUS_SHARE, self->before.share));
	ASSERT_EQ(0, nl_bus_set_u64(&self->nl, "plant", BLIPMQ_A_BUS_BUDGET,
				    self->before.budget));
	EXPECT_EQ(1, publish(fd, "a", data, sizeof(data)));
	consumer_close(&c);
}

/* ---- Dumps ---- */

struct seen {
	int nr;
	__u64 last;
	bool sorted;
	char names[128][BLIPMQ_NAME_MAX];
};

static void see(const struct nlattr *const *attrs, void *arg)
{
	struct seen *seen = arg;
	struct nl_bus bus;

	nl_take_bus(attrs, &bus);
	if (seen->nr == 128)
		abort();
	memcpy(seen->names[seen->nr++], bus.name, sizeof(bus.name));
	seen->sorted = (seen->nr == 1 || seen->sorted) && bus.id > seen->last;
	seen->last = bus.id;
}

static void begin_dump(struct nl *nl)
{
	nl_begin(nl, BLIPMQ_CMD_BUS_GET, NLM_F_DUMP);
}

#define MANY	60	/* buses: more than one part of a dump has room for */

static int make_many(struct nl *nl)
{
	char name[16];
	int err = 0;

	for (int i = 0; !err && i < MANY; i++) {
		sprintf(name, "bus%d", i);
		err = nl_bus_new(nl, name);
	}
	return err;
}

TEST_F(admin, dump)
{
	struct seen seen = { };

	begin_dump(&self->nl);
	ASSERT_EQ(0, nl_ask(&self->nl, see, &seen));
	ASSERT_EQ(2, seen.nr);
	EXPECT_STREQ("default", seen.names[0]);
	EXPECT_STREQ("plant", seen.names[1]);
	EXPECT_TRUE(seen.sorted);
}

TEST_F(admin, dump_in_parts)
{
	struct seen seen = { };
	int ret, parts = 0;

	ASSERT_EQ(0, make_many(&self->nl)) { TH_LOG("%s", self->nl.text); }
	begin_dump(&self->nl);
	ASSERT_EQ(0, nl_send(&self->nl));
	do {
		ret = nl_part(&self->nl, see, &seen);
		ASSERT_LT(0, ret);
		EXPECT_FALSE(ret & NLM_F_DUMP_INTR);
		parts++;
	} while (!(ret & NL_DONE));
	EXPECT_LT(2, parts);
	EXPECT_EQ(MANY + 2, seen.nr);
	EXPECT_TRUE(seen.sorted);
}

static int change_new(struct nl *nl)
{
	return nl_bus_new(nl, "new");
}

static int change_del(struct nl *nl)
{
	return nl_bus_del(nl, "bus3");
}

static int change_set(struct nl *nl)
{
	return nl_bus_set(nl, "bus4", BLIPMQ_A_BUS_MODE, 0777);
}

/* What changes under a dump marks it, and leaves nothing out that is there all the time. */
TEST_F(admin, dump_interrupted)
{
	static int (*const changes[])(struct nl *nl) = { change_new, change_del, change_set };
	struct nl other;
	int ret, flags;

	ASSERT_EQ(0, make_many(&self->nl));
	ASSERT_EQ(0, nl_open(&other));
	for (unsigned int i = 0; i < 3; i++) {
		struct seen seen = { };

		begin_dump(&self->nl);
		ASSERT_EQ(0, nl_send(&self->nl));
		flags = nl_part(&self->nl, see, &seen);
		ASSERT_LT(0, flags);
		ASSERT_FALSE(flags & (NL_DONE | NLM_F_DUMP_INTR));
		ASSERT_EQ(0, changes[i](&other));
		do {
			ret = nl_part(&self->nl, see, &seen);
			ASSERT_LT(0, ret);
			flags |= ret;
		} while (!(ret & NL_DONE));
		EXPECT_TRUE(flags & NLM_F_DUMP_INTR) { TH_LOG("change %u", i); }
		EXPECT_LE(MANY + 1, seen.nr);
		EXPECT_TRUE(seen.sorted);
	}
}

/* Only what its opener may see. */
TEST_F(admin, dump_of_another)
{
	struct seen seen = { };
	struct nl nl;

	ASSERT_EQ(0, nl_open_as(&nl, USER, USER));
	begin_dump(&nl);
	ASSERT_EQ(0, nl_ask(&nl, see, &seen));
	EXPECT_EQ(0, seen.nr);
	ASSERT_EQ(0, nl_bus_new(&self->nl, "open"));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "open", BLIPMQ_A_BUS_MODE, 0004));
	ASSERT_EQ(0, nl_bus_new(&self->nl, "owned"));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "owned", BLIPMQ_A_BUS_MODE, 0));
	ASSERT_EQ(0, nl_bus_set(&self->nl, "owned", BLIPMQ_A_BUS_OWNER, USER));
	begin_dump(&nl);
	ASSERT_EQ(0, nl_ask(&nl, see, &seen));
	ASSERT_EQ(2, seen.nr);
	EXPECT_STREQ("open", seen.names[0]);
	EXPECT_STREQ("owned", seen.names[1]);
}

/* A dump that nobody goes on reading keeps the module. */
TEST_F(admin, dump_keeps_the_module)
{
	struct seen seen = { };

	ASSERT_EQ(0, make_many(&self->nl));
	begin_dump(&self->nl);
	ASSERT_EQ(0, nl_send(&self->nl));
	ASSERT_LT(0, nl_part(&self->nl, see, &seen));
	EXPECT_EQ(-1, syscall(SYS_delete_module, "blipmq", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	while (!(nl_part(&self->nl, see, &seen) & NL_DONE))
		;
}

TEST_HARNESS_MAIN
