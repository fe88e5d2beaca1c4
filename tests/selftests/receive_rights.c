// SPDX-License-Identifier: GPL-2.0
/*
 * Who may do what: the bus's owner, group and mode, asked of the file's opener.
 */
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"rights.subject"
#define STRANGER	1001
#define MEMBER		1002	/* of the bus's group */
#define GROUP		2001
#define OTHER_GROUP	2002

static int new_bus(const char *mode, const char *gid)
{
	const struct param params[] = { { "mode", mode }, { "gid", gid }, { } };

	return fresh_bus(params);
}

static __u32 rights_of(int fd)
{
	struct blipmq_info info = { };

	return do_info(fd, &info) ? ~0u : info.rights;
}

/* Each thing that takes a right, tried on a file of its own: 0, or the error; reason too. */
struct tries {
	int bind, topic, publish, ring, ring_block, subscribe, store, stats;
	__u32 bind_reason, topic_reason, publish_reason, ring_reason, ring_block_reason;
};

static struct tries try_all(uid_t uid, gid_t gid)
{
	struct blipmq_topic topic = { .subject = ptr_u64(SUBJECT), .subject_len = strlen(SUBJECT) };
	struct blipmq_message m = { .subject = ptr_u64(SUBJECT), .subject_len = strlen(SUBJECT) };
	struct blipmq_publish publish = { .messages = ptr_u64(&m), .nr = 1 };
	struct blipmq_ring blocking = { .entries = 4, .policy = BLIPMQ_POLICY_BLOCK };
	struct blipmq_ring ring = { .entries = 4 };
	struct blipmq_bind bind = { .bus = "default" };
	struct blipmq_info info = { };
	struct blipmq_stats stats;
	int fd = bus_open_as(uid, gid, O_RDWR);
	struct tries t;
	void *store;

	t.bind = do_bind(fd, &bind);
	t.bind_reason = bind.head.reason;
	t.topic = do_topic(fd, &topic);
	t.topic_reason = topic.head.reason;
	t.publish = do_publish(fd, &publish);
	t.publish_reason = publish.head.reason;
	t.ring_block = do_ring(fd, &blocking);
	t.ring_block_reason = blocking.head.reason;
	close(fd);
	fd = bus_open_as(uid, gid, O_RDWR);
	t.ring = do_ring(fd, &ring);
	t.ring_reason = ring.head.reason;
	t.subscribe = subscribe(fd, SUBJECT, 0);
	t.stats = bus_stats(fd, &stats);
	do_info(fd, &info);
	store = mmap(NULL, info.store_size ?: page_size(), PROT_READ, MAP_SHARED, fd,
		     BLIPMQ_OFF_STORE);
	t.store = store == MAP_FAILED ? -errno : 0;
	close(fd);
	return t;
}

#define EXPECT_ALL_REFUSED(of) do { \
	const struct tries __t = (of); \
	EXPECT_EQ(-EACCES, __t.bind); \
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_NONE, __t.bind_reason); \
	EXPECT_EQ(-EACCES, __t.topic); \
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_NONE, __t.topic_reason); \
	EXPECT_EQ(-EACCES, __t.publish); \
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_NONE, __t.publish_reason); \
	EXPECT_EQ(-EACCES, __t.ring); \
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_NONE, __t.ring_reason); \
	EXPECT_EQ(-EACCES, __t.ring_block); \
	EXPECT_EQ(-EACCES, __t.subscribe); \
	EXPECT_EQ(-EACCES, __t.stats); \
} while (0)

TEST(mode_0770_strangers)
{
	struct tries t;

	ASSERT_EQ(0, new_bus("0770", "-1"));
	t = try_all(STRANGER, STRANGER);
	EXPECT_ALL_REFUSED(t);
	EXPECT_GT(0, t.store);
	t = try_all(0, 0);
	EXPECT_EQ(0, t.bind);
	EXPECT_EQ(0, t.store);
}

/* No call of a stranger's file gets anywhere, and poll says so too. */
TEST(mode_0770_reads_and_writes)
{
	char byte = 0;
	int fd;

	ASSERT_EQ(0, new_bus("0770", "-1"));
	fd = bus_open_as(STRANGER, STRANGER, O_RDWR | O_NONBLOCK);
	EXPECT_EQ(-1, read(fd, &byte, 1));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, write(fd, &byte, 1));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(0, rights_of(fd));
}

TEST(mode_0772_publishes_only)
{
	struct tries t;

	ASSERT_EQ(0, new_bus("0772", "-1"));
	t = try_all(STRANGER, STRANGER);
	EXPECT_EQ(0, t.bind);
	EXPECT_EQ(0, t.topic);
	EXPECT_EQ(0, t.publish);
	EXPECT_EQ(-EACCES, t.ring);
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_SUBSCRIBE, t.ring_reason);
	EXPECT_EQ(-EACCES, t.ring_block);
	EXPECT_GT(0, t.subscribe);
	EXPECT_EQ(-EACCES, t.store);
	EXPECT_EQ(0, t.stats);
}

TEST(mode_0774_subscribes_only)
{
	struct tries t;

	ASSERT_EQ(0, new_bus("0774", "-1"));
	t = try_all(STRANGER, STRANGER);
	EXPECT_EQ(0, t.bind);
	EXPECT_EQ(-EACCES, t.topic);
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_PUBLISH, t.topic_reason);
	EXPECT_EQ(-EACCES, t.publish);
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_PUBLISH, t.publish_reason);
	/* A block ring makes publishers wait: that takes the right to publish. */
	EXPECT_EQ(-EACCES, t.ring_block);
	EXPECT_EQ(BLIPMQ_REASON_RIGHT_PUBLISH, t.ring_block_reason);
	EXPECT_EQ(0, t.ring);
	EXPECT_LT(0, t.subscribe);
	EXPECT_EQ(-EACCES, t.store);
	EXPECT_EQ(0, t.stats);
}

/* The right to map alone is good for nothing but looking at the store. */
TEST(mode_0771_maps_only)
{
	struct tries t;

	ASSERT_EQ(0, new_bus("0771", "-1"));
	t = try_all(STRANGER, STRANGER);
	EXPECT_EQ(0, t.bind);
	EXPECT_EQ(-EACCES, t.publish);
	EXPECT_EQ(-EACCES, t.ring);
	EXPECT_EQ(0, t.store);
}

TEST(mode_of_others)
{
	static const struct { const char *mode; __u32 rights; } modes[] = {
		{ "0771", BLIPMQ_RIGHT_MAP },
		{ "0772", BLIPMQ_RIGHT_PUBLISH },
		{ "0774", BLIPMQ_RIGHT_SUBSCRIBE },
		{ "0776", BLIPMQ_RIGHT_SUBSCRIBE | BLIPMQ_RIGHT_PUBLISH },
		{ "0777", BLIPMQ_RIGHT_SUBSCRIBE | BLIPMQ_RIGHT_PUBLISH | BLIPMQ_RIGHT_MAP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		int fd;

		ASSERT_EQ(0, new_bus(modes[i].mode, "-1"));
		fd = bus_open_as(STRANGER, STRANGER, O_RDWR);
		ASSERT_EQ(0, bind_bus(fd, "default"));
		EXPECT_EQ(modes[i].rights, rights_of(fd)) { TH_LOG("%s", modes[i].mode); }
		close(fd);
	}
}

/* As with files: the first class that fits decides. Root is no exception. */
TEST(owner_without_rights)
{
	struct tries t;

	ASSERT_EQ(0, new_bus("0077", "-1"));
	t = try_all(0, 0);
	EXPECT_ALL_REFUSED(t);
	t = try_all(STRANGER, STRANGER);
	EXPECT_EQ(0, t.bind);
	EXPECT_EQ(0, t.publish);
}

TEST(group_by_effective_gid)
{
	struct tries t;

	ASSERT_EQ(0, new_bus("0770", "2001"));
	t = try_all(MEMBER, GROUP);
	EXPECT_EQ(0, t.bind);
	EXPECT_EQ(0, t.publish);
	EXPECT_EQ(0, t.ring);
	EXPECT_EQ(0, t.store);
	t = try_all(MEMBER, OTHER_GROUP);
	EXPECT_ALL_REFUSED(t);
	/* A group that has less than others has less. */
	ASSERT_EQ(0, new_bus("0707", "2001"));
	t = try_all(MEMBER, GROUP);
	EXPECT_ALL_REFUSED(t);
	t = try_all(MEMBER, OTHER_GROUP);
	EXPECT_EQ(0, t.bind);
}

TEST(group_by_supplementary_gid)
{
	const gid_t groups[] = { 5, GROUP, 7 };
	int fd;

	ASSERT_EQ(0, new_bus("0740", "2001"));
	ASSERT_EQ(0, setgroups(3, groups));
	ASSERT_EQ(0, setresgid(OTHER_GROUP, OTHER_GROUP, OTHER_GROUP));
	ASSERT_EQ(0, setresuid(MEMBER, MEMBER, MEMBER));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, bind_bus(fd, "default"));
	EXPECT_EQ(BLIPMQ_RIGHT_SUBSCRIBE, rights_of(fd));
}

/* No group: that gid -1 is nobody's. */
TEST(group_none)
{
	struct tries t;

	ASSERT_EQ(0, new_bus("0070", "-1"));
	t = try_all(STRANGER, 0);
	EXPECT_ALL_REFUSED(t);
}

/* ---- The opener's, not the caller's ---- */

static int publish_as_stranger(void *arg)
{
	int fd = *(int *)arg;

	if (setresgid(STRANGER, STRANGER, STRANGER) || setresuid(STRANGER, STRANGER, STRANGER))
		return 2;
	return publish(fd, SUBJECT, "m", 1) < 0;
}

TEST(rights_of_the_opener)
{
	int fd, stranger;

	ASSERT_EQ(0, new_bus("0770", "-1"));
	fd = bus_open(O_RDWR);
	EXPECT_EQ(0, reap(spawn(publish_as_stranger, &fd)));
	/* Root gains nothing from a stranger's file. */
	stranger = bus_open_as(STRANGER, STRANGER, O_RDWR);
	EXPECT_EQ(-EACCES, publish(stranger, SUBJECT, "m", 1));
	EXPECT_EQ(-EACCES, bind_bus(stranger, "default"));
}

static int pass_file(void *arg)
{
	int sock = *(int *)arg, fd = bus_open(O_RDWR);

	return bind_bus(fd, "default") || send_fd(sock, fd);
}

TEST(rights_travel_with_the_file)
{
	int socks[2], fd;
	pid_t pid;

	ASSERT_EQ(0, new_bus("0770", "-1"));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks));
	pid = spawn(pass_file, &socks[1]);
	ASSERT_EQ(0, setresuid(STRANGER, STRANGER, STRANGER));
	fd = recv_fd(socks[0]);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(0, publish(fd, SUBJECT, "m", 1));
	EXPECT_EQ(-EACCES, bind_bus(bus_open(O_RDWR), "default"));
}

/* ---- Reading without the right to map ---- */

TEST(without_map_by_copy)
{
	struct blipmq_recv r = { };
	struct blipmq_info info = { };
	char payload[16], trailer[32];
	int fd, root;

	ASSERT_EQ(0, new_bus("0774", "-1"));
	root = bus_open(O_RDWR);
	fd = bus_open_as(STRANGER, STRANGER, O_RDWR);
	ASSERT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(fd, SUBJECT, 0));
	ASSERT_EQ(1, publish(root, SUBJECT, "one", 3));
	ASSERT_EQ(1, publish(root, SUBJECT, "two", 3));
	EXPECT_EQ(3, read(fd, payload, sizeof(payload)));
	EXPECT_EQ(0, memcmp(payload, "one", 3));
	r = (struct blipmq_recv){
		.payload = ptr_u64(payload), .payload_size = sizeof(payload),
		.trailer = ptr_u64(trailer), .trailer_size = sizeof(trailer),
	};
	EXPECT_EQ(0, do_recv(fd, &r));
	EXPECT_EQ(0, memcmp(payload, "two", 3));
	EXPECT_EQ(0, memcmp(trailer, SUBJECT, strlen(SUBJECT)));
	ASSERT_EQ(0, do_info(fd, &info));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, info.store_size, PROT_READ, MAP_SHARED, fd,
				   BLIPMQ_OFF_STORE));
	EXPECT_EQ(EACCES, errno);
}

/* The ring shows no message: it may be mapped all the same. */
TEST(without_map_the_ring)
{
	struct blipmq_ring ring = { .entries = 8 };
	int fd;

	ASSERT_EQ(0, new_bus("0774", "-1"));
	fd = bus_open_as(STRANGER, STRANGER, O_RDWR);
	ASSERT_EQ(0, do_ring(fd, &ring));
	EXPECT_NE(MAP_FAILED, mmap(NULL, ring.ring_size, PROT_READ, MAP_SHARED, fd,
				   BLIPMQ_OFF_RING));
}

/* Each refusal for lack of a right is counted. */
TEST(denied_is_counted)
{
	struct blipmq_stats stats;
	__u64 before;
	int root, fd;

	ASSERT_EQ(0, new_bus("0774", "-1"));
	root = bus_open(O_RDWR);
	ASSERT_EQ(0, bus_stats(root, &stats));
	before = stats.events[BLIPMQ_EVENT_DENIED];
	fd = bus_open_as(STRANGER, STRANGER, O_RDWR);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EACCES, publish(fd, SUBJECT, "m", 1));
	ASSERT_EQ(0, bus_stats(root, &stats));
	EXPECT_EQ(before + 3, stats.events[BLIPMQ_EVENT_DENIED]);
}

TEST_HARNESS_MAIN
