// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel writes before and behind a payload, and whose name it puts there: that of
 * the opener, whoever holds the file now.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"header.subject"
#define UID	4711
#define GID	4712

FIXTURE(reader) {
	struct consumer c;
};

/* A bus of its own on which all may do all. */
FIXTURE_SETUP(reader)
{
	static const struct param params[] = { { "mode", "0777" }, { } };

	ASSERT_EQ(0, fresh_bus(params));
	ASSERT_EQ(0, consumer_open(&self->c, 64, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, "header.>", 9));
}

FIXTURE_TEARDOWN(reader)
{
	consumer_close(&self->c);
}

/* The next message's header, or NULL. */
static const struct blipmq_header *next(struct consumer *c)
{
	static struct blipmq_header h;
	struct blipmq_desc desc;
	__u64 index;

	if (consumer_claim(c, &desc, 1, &index) != 1)
		return NULL;
	h = *consumer_header(c, &desc);
	consumer_release(c, index + 1);
	return &h;
}

#define EXPECT_SENDER(_uid, _gid, _pid, c) do { \
	const struct blipmq_header *__h = next(c); \
	ASSERT_NE(NULL, __h); \
	EXPECT_EQ(_uid, __h->uid); \
	EXPECT_EQ(_gid, __h->gid); \
	EXPECT_EQ(_pid, __h->pid); \
} while (0)

TEST_F(reader, all_fields)
{
	struct blipmq_topic topic = { .subject = ptr_u64(SUBJECT), .subject_len = strlen(SUBJECT) };
	struct blipmq_info info = { };
	__u64 before, last = 0;
	int fd = bus_open(O_RDWR);

	ASSERT_EQ(0, do_topic(fd, &topic));
	ASSERT_EQ(0, do_info(fd, &info));
	for (__u64 seq = 1; seq <= 10; seq++) {
		const struct blipmq_header *h;

		before = now_ns();
		ASSERT_EQ(1, publish_on(fd, topic.handle, "payload", seq % 8));
		h = next(&self->c);
		ASSERT_NE(NULL, h);
		EXPECT_EQ(seq, h->seq);
		EXPECT_LE(before, h->time);
		EXPECT_GE(now_ns(), h->time);
		EXPECT_LE(last, h->time);
		last = h->time;
		EXPECT_EQ(topic.topic, h->topic);
		EXPECT_EQ(info.endpoint, h->sender);
		EXPECT_EQ(seq % 8, h->length);
		EXPECT_EQ(0, h->uid);
		EXPECT_EQ(0, h->gid);
		EXPECT_EQ(getpid(), h->pid);
		EXPECT_EQ(0, h->ttl);
		EXPECT_EQ(0, h->headers_len);
		EXPECT_EQ(strlen(SUBJECT), h->trailer_len);
		EXPECT_EQ(BLIPMQ_HEADER_VERSION, h->version);
		EXPECT_EQ(strlen(SUBJECT), h->subject_len);
		EXPECT_EQ(0, h->flags);
		EXPECT_EQ(0, h->priority);
		EXPECT_EQ(0, h->fds);
		EXPECT_EQ(0, h->reserved);
	}
	close(fd);
}

/* The trailer begins at the next multiple of eight, for every length of the payload. */
TEST_F(reader, place_of_the_trailer)
{
	struct blipmq_desc desc;
	char payload[80];
	__u64 index;

	memset(payload, 'p', sizeof(payload));
	for (__u32 len = 0; len <= sizeof(payload); len++) {
		const char *p;

		ASSERT_EQ(1, publish(self->c.fd, SUBJECT, payload, len));
		ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
		p = consumer_payload(&self->c, &desc);
		EXPECT_EQ(0, (uintptr_t)p % BLIPMQ_ALIGN);
		EXPECT_EQ(0, memcmp(p, payload, len));
		EXPECT_EQ(0, memcmp(p + (len + 7) / 8 * 8, SUBJECT, strlen(SUBJECT)));
		consumer_release(&self->c, index + 1);
	}
}

TEST_F(reader, sender_is_the_effective_user)
{
	int fd = bus_open_as(UID, GID, O_RDWR);

	ASSERT_LE(0, fd);
	ASSERT_EQ(1, publish(fd, SUBJECT, "m", 1));
	EXPECT_SENDER(UID, GID, getpid(), &self->c);
	close(fd);
}

static int child_publish(void *arg)
{
	return publish(*(int *)arg, SUBJECT, "m", 1) != 1;
}

static int child_publish_as_another(void *arg)
{
	if (setresgid(GID, GID, GID) || setresuid(UID, UID, UID))
		return 2;
	return child_publish(arg);
}

TEST_F(reader, sender_after_fork)
{
	int fd = bus_open(O_RDWR);

	ASSERT_EQ(0, reap(spawn(child_publish, &fd)));
	EXPECT_SENDER(0, 0, getpid(), &self->c);
	ASSERT_EQ(0, reap(spawn(child_publish_as_another, &fd)));
	EXPECT_SENDER(0, 0, getpid(), &self->c);
	close(fd);
}

TEST_F(reader, sender_after_setuid)
{
	int fd = bus_open(O_RDWR);

	/* Bound after the change: what counts is the open. */
	ASSERT_EQ(0, setresgid(GID, GID, GID));
	ASSERT_EQ(0, setresuid(UID, UID, UID));
	ASSERT_EQ(1, publish(fd, SUBJECT, "m", 1));
	EXPECT_SENDER(0, 0, getpid(), &self->c);
	close(fd);
	fd = bus_open(O_RDWR);
	ASSERT_EQ(1, publish(fd, SUBJECT, "m", 1));
	EXPECT_SENDER(UID, GID, getpid(), &self->c);
}

static int child_opens_and_passes(void *arg)
{
	int sock = *(int *)arg, fd;

	if (setresgid(GID, GID, GID) || setresuid(UID, UID, UID))
		return 2;
	fd = bus_open(O_RDWR);
	return fd < 0 || send_fd(sock, fd);
}

/* A file that somebody handed over still speaks in the name of who opened it. */
TEST_F(reader, sender_after_passing)
{
	int socks[2], fd;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks));
	pid = spawn(child_opens_and_passes, &socks[1]);
	fd = recv_fd(socks[0]);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, reap(pid));
	ASSERT_EQ(1, publish(fd, SUBJECT, "m", 1));
	EXPECT_SENDER(UID, GID, pid, &self->c);
	close(fd);
}

static int child_opens_and_publishes(void *arg)
{
	int fd = bus_open(O_RDWR);

	(void)arg;
	return fd < 0 || publish(fd, SUBJECT, "m", 1) != 1;
}

/* The pid is what it is in the bus's pid namespace, not in the sender's. */
TEST_F(reader, sender_in_a_pid_namespace)
{
	pid_t pid;

	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	pid = spawn(child_opens_and_publishes, NULL);
	ASSERT_EQ(0, reap(pid));
	EXPECT_SENDER(0, 0, pid, &self->c);
}

struct inner {
	int ready[2];
	int done[2];
};

/* First process of a pid namespace, in a network namespace that it makes: a bus of both. */
static int inner_bus(void *arg)
{
	struct inner *inner = arg;
	struct consumer c;
	char byte = 0;

	if (fresh_bus(NULL) || consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST))
		return 2;
	if (subscribe(c.fd, SUBJECT, 0) < 0 || publish(c.fd, SUBJECT, "m", 1) != 1)
		return 3;
	if (next(&c)->pid != 1)
		return 4;
	if (write(inner->ready[1], &byte, 1) != 1 || read(inner->done[0], &byte, 1) != 1)
		return 5;
	return next(&c)->pid != 0;
}

/* A sender that the bus's pid namespace cannot see has no number there. */
TEST(sender_not_visible)
{
	struct inner inner;
	char path[64], byte;
	int ns, fd;
	pid_t pid;

	ASSERT_EQ(0, pipe(inner.ready));
	ASSERT_EQ(0, pipe(inner.done));
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	pid = spawn(inner_bus, &inner);
	close(inner.ready[1]);
	ASSERT_EQ(1, read(inner.ready[0], &byte, 1));
	sprintf(path, "/proc/%d/ns/net", pid);
	ns = open(path, O_RDONLY);
	ASSERT_EQ(0, setns(ns, CLONE_NEWNET));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(1, publish(fd, SUBJECT, "m", 1));
	ASSERT_EQ(1, write(inner.done[1], &byte, 1));
	EXPECT_EQ(0, reap(pid));
}

/* A loss shows in the next descriptor of the subscription, and in no other. */
TEST_F(reader, gap)
{
	struct blipmq_desc descs[4];
	struct consumer c;
	__u64 index;

	ASSERT_EQ(0, consumer_open(&c, 2, 0, BLIPMQ_POLICY_DROP_NEWEST));
	ASSERT_LT(0, subscribe(c.fd, "gap.a", 1));
	ASSERT_LT(0, subscribe(c.fd, "gap.b", 2));
	ASSERT_EQ(1, publish(c.fd, "gap.a", "1", 1));
	ASSERT_EQ(1, publish(c.fd, "gap.b", "1", 1));
	ASSERT_EQ(0, publish(c.fd, "gap.a", "2", 1));
	ASSERT_EQ(2, consumer_claim(&c, descs, 4, &index));
	EXPECT_EQ(1, descs[0].length);
	EXPECT_EQ(1, descs[1].length);
	consumer_release(&c, 2);
	ASSERT_EQ(1, publish(c.fd, "gap.b", "2", 1));
	ASSERT_EQ(1, publish(c.fd, "gap.a", "3", 1));
	ASSERT_EQ(2, consumer_claim(&c, descs, 4, &index));
	EXPECT_EQ(1, descs[0].length);
	EXPECT_EQ(1 | BLIPMQ_DESC_GAP, descs[1].length);
	consumer_release(&c, 4);
	ASSERT_EQ(1, publish(c.fd, "gap.a", "4", 1));
	ASSERT_EQ(1, consumer_claim(&c, descs, 4, &index));
	EXPECT_EQ(1, descs[0].length);
	EXPECT_EQ(1, consumer_drops(&c)[BLIPMQ_DROP_FULL]);
	consumer_close(&c);
}

TEST_HARNESS_MAIN
