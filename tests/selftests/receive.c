// SPDX-License-Identifier: GPL-2.0
/*
 * The copying ways: read, readv, RECV, write, writev, and what keeps them from the mappings.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/uio.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"receive.subject"

FIXTURE(reader) {
	int fd;		/* with a ring, subscribed, does not block */
	int pub;	/* bound to SUBJECT */
	__u32 handle;
};

FIXTURE_SETUP(reader)
{
	struct blipmq_topic topic = {
		.head.flags = BLIPMQ_TOPIC_WRITE,
		.subject = ptr_u64(SUBJECT),
		.subject_len = strlen(SUBJECT),
	};

	self->fd = bus_open(O_RDWR | O_NONBLOCK);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, make_ring(self->fd, 64, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->fd, SUBJECT, 0x77));
	self->pub = bus_open(O_RDWR);
	ASSERT_EQ(0, do_topic(self->pub, &topic));
	self->handle = topic.handle;
}

FIXTURE_TEARDOWN(reader)
{
	close(self->fd);
	close(self->pub);
}

/* ret and errno of a call that goes by errno, in one number. */
static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

static int block(int fd)
{
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

/* ---- read ---- */

TEST_F(reader, read_empty)
{
	char byte;

	EXPECT_EQ(-EAGAIN, result(read(self->fd, &byte, 1)));
	ASSERT_EQ(4, write(self->pub, "four", 4));
	EXPECT_EQ(-EMSGSIZE, result(read(self->fd, &byte, 1)));
}

/* Too short a buffer takes nothing: the message stays first. */
TEST_F(reader, read_too_short)
{
	char buf[64];

	ASSERT_EQ(5, write(self->pub, "first", 5));
	ASSERT_EQ(6, write(self->pub, "second", 6));
	for (size_t size = 0; size < 5; size++) {
		memset(buf, POISON, sizeof(buf));
		EXPECT_EQ(-EMSGSIZE, result(read(self->fd, buf, size)));
	}
	EXPECT_EQ(5, read(self->fd, buf, 5));
	EXPECT_EQ(0, memcmp(buf, "first", 5));
	memset(buf, POISON, sizeof(buf));
	EXPECT_EQ(6, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(0, memcmp(buf, "second", 6));
	EXPECT_EQ(POISON, (__u8)buf[6]);
	EXPECT_EQ(-EAGAIN, result(read(self->fd, buf, sizeof(buf))));
}

TEST_F(reader, read_nothing)
{
	char byte = 'x';

	ASSERT_EQ(0, publish_on(self->pub, self->handle, NULL, 0) - 1);
	ASSERT_EQ(1, write(self->pub, "1", 1));
	EXPECT_EQ(0, read(self->fd, &byte, 1));
	EXPECT_EQ('x', byte);
	EXPECT_EQ(1, read(self->fd, &byte, 1));
	EXPECT_EQ('1', byte);
}

TEST_F(reader, readv_scatters)
{
	char a[3], b[1], c[10];
	struct iovec iov[] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };

	ASSERT_EQ(9, write(self->pub, "abcdefghi", 9));
	EXPECT_EQ(-EMSGSIZE, result(readv(self->fd, iov, 2)));
	EXPECT_EQ(9, readv(self->fd, iov, 3));
	EXPECT_EQ(0, memcmp(a, "abc", 3));
	EXPECT_EQ('d', b[0]);
	EXPECT_EQ(0, memcmp(c, "efghi", 5));
}

TEST_F(reader, read_large)
{
	const size_t size = 3000001;
	char *data = malloc(size), *buf = malloc(size);

	for (size_t i = 0; i < size; i++)
		data[i] = i * 2654435761u >> 20;
	ASSERT_EQ(size, write(self->pub, data, size));
	ASSERT_EQ(size, read(self->fd, buf, size));
	EXPECT_EQ(0, memcmp(data, buf, size));
}

/* A fault in the middle of the copy: nothing is consumed, nothing is skipped. */
TEST_F(reader, read_into_a_hole)
{
	static char data[20000], buf[20000];
	char *end = before_hole(10000);
	struct iovec iov[] = { { buf, 100 }, { (void *)8, 19900 } };

	memset(data, 'd', sizeof(data));
	ASSERT_EQ(sizeof(data), write(self->pub, data, sizeof(data)));
	ASSERT_EQ(4, write(self->pub, "next", 4));
	EXPECT_EQ(-EFAULT, result(read(self->fd, end, sizeof(data))));
	EXPECT_EQ(-EFAULT, result(read(self->fd, read_only_page(), sizeof(data))));
	EXPECT_EQ(-EFAULT, result(readv(self->fd, iov, 2)));
	EXPECT_EQ(sizeof(data), read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(0, memcmp(data, buf, sizeof(data)));
	EXPECT_EQ(4, read(self->fd, buf, sizeof(buf)));
}

static void nothing(int sig)
{
	(void)sig;
}

static int read_one(void *arg)
{
	struct sigaction sa = { .sa_handler = nothing };
	char buf[64];
	ssize_t n;

	sigaction(SIGUSR1, &sa, NULL);
	n = read(*(int *)arg, buf, sizeof(buf));
	return n < 0 ? errno : 100 + n;
}

TEST_F(reader, read_sleeps)
{
	pid_t pid;

	block(self->fd);
	pid = spawn(read_one, &self->fd);
	ASSERT_TRUE(wait_asleep(pid));
	kill(pid, SIGUSR1);
	EXPECT_EQ(EINTR, reap(pid));
	pid = spawn(read_one, &self->fd);
	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(5, write(self->pub, "hello", 5));
	EXPECT_EQ(105, reap(pid));
}

TEST_F(reader, read_nowait)
{
	char buf[16];
	struct iovec iov = { buf, sizeof(buf) };

	block(self->fd);
	EXPECT_EQ(-EAGAIN, result(preadv2(self->fd, &iov, 1, -1, RWF_NOWAIT)));
	ASSERT_EQ(5, write(self->pub, "hello", 5));
	EXPECT_EQ(5, preadv2(self->fd, &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(0, memcmp(buf, "hello", 5));
}

TEST_F(reader, no_position)
{
	char buf[16];

	ASSERT_EQ(5, write(self->pub, "hello", 5));
	EXPECT_EQ(-ESPIPE, result(lseek(self->fd, 0, SEEK_SET)));
	EXPECT_EQ(-ESPIPE, result(pread(self->fd, buf, sizeof(buf), 0)));
	EXPECT_EQ(-ESPIPE, result(pwrite(self->pub, buf, 1, 0)));
	EXPECT_EQ(5, read(self->fd, buf, sizeof(buf)));
}

/* Four processes read one endpoint: each message goes to one of them, whole. */
struct readers {
	int fd;
	unsigned char seen[1000];	/* by how many readers */
};

static int reader_main(void *arg)
{
	struct readers *r = arg;
	int numbers[25];

	for (;;) {
		ssize_t n = read(r->fd, numbers, sizeof(numbers));

		if (n == sizeof(int))
			return 0;	/* the end, one for each */
		if (n != sizeof(numbers))
			return 1;
		for (int i = 1; i < 25; i++)
			if (numbers[i] != numbers[0])
				return 2;
		__atomic_add_fetch(&r->seen[numbers[0]], 1, __ATOMIC_RELAXED);
	}
}

TEST(four_readers)
{
	struct readers *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct blipmq_stats stats;
	int pub = bus_open(O_RDWR), numbers[25];
	pid_t pids[4];

	r->fd = bus_open(O_RDWR);
	ASSERT_EQ(0, make_ring(r->fd, 16, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(r->fd, "receive.four", 0));
	for (int i = 0; i < 4; i++)
		pids[i] = spawn(reader_main, r);
	for (int i = 0; i < 1000; i++) {
		for (int k = 0; k < 25; k++)
			numbers[k] = i;
		ASSERT_EQ(1, publish(pub, "receive.four", numbers, sizeof(numbers)));
	}
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(1, publish(pub, "receive.four", numbers, sizeof(int)));
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(0, reap(pids[i]));
	for (int i = 0; i < 1000; i++)
		ASSERT_EQ(1, r->seen[i]) { TH_LOG("message %d", i); }
	ASSERT_EQ(0, ring_stats(r->fd, &stats));
	EXPECT_EQ(1004, stats.delivered);
	EXPECT_EQ(0, sum_drops(stats.drops));
	EXPECT_EQ(0, stats.queued);
}

/* ---- RECV ---- */

static void recv_into(struct blipmq_recv *r, void *payload, __u32 size, void *trailer, __u32 tsize)
{
	*r = (struct blipmq_recv){
		.payload = ptr_u64(payload), .payload_size = size,
		.trailer = ptr_u64(trailer), .trailer_size = tsize,
	};
}

TEST_F(reader, recv_all)
{
	struct blipmq_info info = { };
	char payload[16], trailer[64];
	struct blipmq_recv r;

	ASSERT_EQ(0, do_info(self->pub, &info));
	ASSERT_EQ(5, write(self->pub, "hello", 5));
	memset(payload, POISON, sizeof(payload));
	memset(trailer, POISON, sizeof(trailer));
	recv_into(&r, payload, sizeof(payload), trailer, sizeof(trailer));
	ASSERT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ(BLIPMQ_REASON_NONE, r.head.reason);
	EXPECT_EQ(5, r.desc.length);
	EXPECT_EQ(0x77, r.desc.cookie);
	EXPECT_EQ(5, r.header.length);
	EXPECT_EQ(info.endpoint, r.header.sender);
	EXPECT_EQ(getpid(), r.header.pid);
	EXPECT_EQ(strlen(SUBJECT), r.header.subject_len);
	EXPECT_EQ(strlen(SUBJECT), r.header.trailer_len);
	EXPECT_EQ(0, memcmp(payload, "hello", 5));
	EXPECT_EQ(POISON, (__u8)payload[5]);
	EXPECT_EQ(0, memcmp(trailer, SUBJECT, strlen(SUBJECT)));
	EXPECT_EQ(POISON, (__u8)trailer[strlen(SUBJECT)]);
	recv_into(&r, payload, sizeof(payload), NULL, 0);
	EXPECT_EQ(-EAGAIN, do_recv(self->fd, &r));
}

TEST_F(reader, recv_too_short)
{
	const __u32 whole = strlen(SUBJECT);
	char payload[16], trailer[64];
	struct blipmq_recv r;

	ASSERT_EQ(5, write(self->pub, "hello", 5));
	for (__u32 size = 0; size < 5; size++) {
		memset(payload, POISON, sizeof(payload));
		recv_into(&r, payload, size, trailer, sizeof(trailer));
		EXPECT_EQ(-EMSGSIZE, do_recv(self->fd, &r));
		EXPECT_EQ(BLIPMQ_REASON_BUFFER, r.head.reason);
		EXPECT_EQ(5, r.head.detail);
		EXPECT_EQ(5, r.desc.length);
		EXPECT_EQ(0x77, r.desc.cookie);
		EXPECT_EQ(whole, r.header.trailer_len);
		EXPECT_EQ(POISON, (__u8)payload[size]);
	}
	for (__u32 size = 1; size < whole; size += 3) {
		recv_into(&r, payload, sizeof(payload), trailer, size);
		EXPECT_EQ(-EMSGSIZE, do_recv(self->fd, &r));
		EXPECT_EQ(BLIPMQ_REASON_BUFFER, r.head.reason);
		EXPECT_EQ(whole, r.head.detail);
		EXPECT_EQ(5, r.header.length);
	}
	recv_into(&r, payload, 5, trailer, whole);
	EXPECT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ(0, memcmp(payload, "hello", 5));
}

/* The room that the contract calls enough is enough: no subject is longer. */
TEST_F(reader, recv_longest_subject)
{
	char subject[BLIPMQ_SUBJECT_MAX + 1] = { }, trailer[BLIPMQ_SUBJECT_MAX + 1];
	struct blipmq_recv r;

	memset(subject, 's', BLIPMQ_SUBJECT_MAX);
	ASSERT_LT(0, subscribe(self->fd, subject, 0));
	ASSERT_EQ(1, publish(self->pub, subject, NULL, 0));
	memset(trailer, POISON, sizeof(trailer));
	recv_into(&r, NULL, 0, trailer, BLIPMQ_SUBJECT_MAX - 1);
	EXPECT_EQ(-EMSGSIZE, do_recv(self->fd, &r));
	EXPECT_EQ(BLIPMQ_SUBJECT_MAX, r.head.detail);
	EXPECT_EQ(POISON, (__u8)trailer[0]);
	recv_into(&r, NULL, 0, trailer, BLIPMQ_SUBJECT_MAX);
	EXPECT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ(0, memcmp(trailer, subject, BLIPMQ_SUBJECT_MAX));
	EXPECT_EQ(POISON, (__u8)trailer[BLIPMQ_SUBJECT_MAX]);
}

TEST_F(reader, recv_without_trailer)
{
	char payload[16];
	struct blipmq_recv r;

	ASSERT_EQ(5, write(self->pub, "hello", 5));
	recv_into(&r, payload, 5, NULL, 0);
	EXPECT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ(0, memcmp(payload, "hello", 5));
	/* A payload of nothing needs no buffer. */
	ASSERT_EQ(1, publish_on(self->pub, self->handle, NULL, 0));
	recv_into(&r, NULL, 0, NULL, 0);
	EXPECT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ(0, r.desc.length);
	EXPECT_EQ(strlen(SUBJECT), r.header.trailer_len);
}

TEST_F(reader, recv_into_a_hole)
{
	char payload[16], trailer[64];
	struct blipmq_recv r;

	ASSERT_EQ(5, write(self->pub, "hello", 5));
	recv_into(&r, before_hole(3), 5, trailer, sizeof(trailer));
	EXPECT_EQ(-EFAULT, do_recv(self->fd, &r));
	recv_into(&r, read_only_page(), 5, trailer, sizeof(trailer));
	EXPECT_EQ(-EFAULT, do_recv(self->fd, &r));
	recv_into(&r, NULL, 5, trailer, sizeof(trailer));
	EXPECT_EQ(-EFAULT, do_recv(self->fd, &r));
	recv_into(&r, payload, 5, before_hole(3), sizeof(trailer));
	EXPECT_EQ(-EFAULT, do_recv(self->fd, &r));
	recv_into(&r, payload, 5, read_only_page(), sizeof(trailer));
	EXPECT_EQ(-EFAULT, do_recv(self->fd, &r));
	recv_into(&r, payload, 5, trailer, sizeof(trailer));
	EXPECT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ(0, memcmp(payload, "hello", 5));
}

/* What the caller cannot be told of stays as well. */
TEST_F(reader, recv_args_cannot_be_written)
{
	struct blipmq_recv *args = (void *)before_hole(page_size()), r;
	char payload[16];
	int i;

	ASSERT_EQ(5, write(self->pub, "hello", 5));
	recv_into(args, payload, sizeof(payload), NULL, 0);
	args->head.size = sizeof(*args);
	ASSERT_EQ(0, mprotect(args, page_size(), PROT_READ));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, raw_ioctl(self->fd, BLIPMQ_IOC_RECV, args));
	recv_into(&r, payload, sizeof(payload), NULL, 0);
	EXPECT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ(0, memcmp(payload, "hello", 5));
	recv_into(&r, payload, sizeof(payload), NULL, 0);
	EXPECT_EQ(-EAGAIN, do_recv(self->fd, &r));
}

static int recv_one(void *arg)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct blipmq_recv r;
	char payload[16];
	int ret;

	sigaction(SIGUSR1, &sa, NULL);
	recv_into(&r, payload, sizeof(payload), NULL, 0);
	ret = do_recv(*(int *)arg, &r);
	return ret ? -ret : 100 + (int)r.desc.length;
}

TEST_F(reader, recv_sleeps)
{
	struct blipmq_recv r;
	pid_t pid;

	block(self->fd);
	recv_into(&r, NULL, 0, NULL, 0);
	r.head.flags = BLIPMQ_RECV_NONBLOCK;
	EXPECT_EQ(-EAGAIN, do_recv(self->fd, &r));
	pid = spawn(recv_one, &self->fd);
	ASSERT_TRUE(wait_asleep(pid));
	kill(pid, SIGUSR1);
	EXPECT_EQ(EINTR, reap(pid));
	pid = spawn(recv_one, &self->fd);
	ASSERT_TRUE(wait_asleep(pid));
	ASSERT_EQ(5, write(self->pub, "hello", 5));
	EXPECT_EQ(105, reap(pid));
}

/* ---- Several readers, of whom some do not wait ---- */

static int read_nowait(void *fd)
{
	char buf[64];
	struct iovec iov = { buf, sizeof(buf) };
	ssize_t n = preadv2(*(int *)fd, &iov, 1, -1, RWF_NOWAIT);

	return n < 0 ? errno : 100 + n;
}

static int recv_nonblock(void *fd)
{
	struct blipmq_recv r;
	char payload[64];
	int ret;

	recv_into(&r, payload, sizeof(payload), NULL, 0);
	r.head.flags = BLIPMQ_RECV_NONBLOCK;
	ret = do_recv(*(int *)fd, &r);
	return ret ? -ret : 100 + (int)r.desc.length;
}

/* With O_NONBLOCK, which the others do not need; those who sleep already go on sleeping. */
static int read_nonblock(void *fd)
{
	return fcntl(*(int *)fd, F_SETFL, O_NONBLOCK) ? 1 : read_one(fd);
}

static int (*const no_wait[])(void *fd) = { read_nowait, recv_nonblock, read_nonblock };

#define HANGS_MS	20000	/* no call that is to return takes so long */

/* Who sleeps for a message is in nobody's way. */
TEST_F(reader, no_wait_beside_a_sleeper)
{
	struct blipmq_message m[] = {
		{ .data = ptr_u64("a"), .length = 1, .handle = self->handle },
		{ .data = ptr_u64("bb"), .length = 2, .handle = self->handle },
	};
	struct blipmq_publish two = { .messages = ptr_u64(m), .nr = 2 };
	char buf[16];
	pid_t pid;
	ssize_t n;

	block(self->fd);
	pid = spawn(read_one, &self->fd);
	ASSERT_TRUE(wait_asleep(pid));
	for (size_t i = 0; i < ARRAY_SIZE(no_wait); i++) {
		EXPECT_EQ(EAGAIN, reap_within(spawn(no_wait[i], &self->fd), HANGS_MS)) {
			TH_LOG("way %zu", i);
		}
	}
	/* Whoever is first, there is one for each. */
	ASSERT_EQ(0, do_publish(self->pub, &two));
	n = read(self->fd, buf, sizeof(buf));
	EXPECT_EQ(100 + 1 + 2, n + reap(pid));
}

/* Nor is a copy that does not end, as long as nothing waits behind its message. */
TEST_F(reader, no_wait_beside_a_copy)
{
	pid_t copier, behind;

	block(self->fd);
	ASSERT_EQ(5, write(self->pub, "first", 5));
	copier = spawn(read_stalling, &self->fd);
	ASSERT_TRUE(wait_asleep(copier));
	for (size_t i = 0; i < ARRAY_SIZE(no_wait); i++) {
		EXPECT_EQ(EAGAIN, reap_within(spawn(no_wait[i], &self->fd), HANGS_MS)) {
			TH_LOG("way %zu", i);
		}
	}
	/* Something does: its turn comes after the copy, which fails and leaves its own. */
	ASSERT_EQ(6, write(self->pub, "second", 6));
	EXPECT_EQ(EAGAIN, reap_within(spawn(read_nowait, &self->fd), HANGS_MS));
	behind = spawn(read_nonblock, &self->fd);
	ASSERT_TRUE(wait_asleep(behind));
	EXPECT_EQ(128 + SIGKILL, slay(copier));
	EXPECT_EQ(105, reap_within(behind, HANGS_MS));
	EXPECT_EQ(106, read_one(&self->fd));
	EXPECT_EQ(EAGAIN, read_one(&self->fd));
}

/* A reader that sleeps behind a copy has its message when the copy fails. */
TEST_F(reader, sleeps_behind_a_copy)
{
	pid_t copier, behind;

	block(self->fd);
	ASSERT_EQ(5, write(self->pub, "first", 5));
	copier = spawn(read_stalling, &self->fd);
	ASSERT_TRUE(wait_asleep(copier));
	behind = spawn(recv_one, &self->fd);
	ASSERT_TRUE(wait_asleep(behind));
	EXPECT_EQ(-ETIME, reap_within(behind, 0));
	slay(copier);
	EXPECT_EQ(105, reap_within(behind, HANGS_MS));
}

/* Of two that sleep either may be told to go; the other has the message. */
TEST_F(reader, one_sleeper_goes)
{
	pid_t pids[2];

	block(self->fd);
	for (int goes = 0; goes < 2; goes++) {
		for (int i = 0; i < 2; i++) {
			pids[i] = spawn(i == goes ? read_one : recv_one, &self->fd);
			ASSERT_TRUE(wait_asleep(pids[i]));
		}
		kill(pids[goes], SIGUSR1);
		EXPECT_EQ(EINTR, reap_within(pids[goes], HANGS_MS));
		ASSERT_TRUE(wait_asleep(pids[!goes]));
		EXPECT_EQ(-ETIME, reap_within(pids[!goes], 0));
		ASSERT_EQ(5, write(self->pub, "hello", 5));
		EXPECT_EQ(105, reap_within(pids[!goes], HANGS_MS));
	}
}

/* ---- write ---- */

TEST(write_unbound)
{
	int fd = bus_open(O_RDWR);

	EXPECT_EQ(-EDESTADDRREQ, result(write(fd, "m", 1)));
	ASSERT_LT(0, topic(fd, SUBJECT));
	/* A handle alone does not say what write publishes to. */
	EXPECT_EQ(-EDESTADDRREQ, result(write(fd, "m", 1)));
}

TEST_F(reader, write_goes_to_the_last_bound)
{
	struct blipmq_topic topic = {
		.head.flags = BLIPMQ_TOPIC_WRITE, .subject = ptr_u64("receive.2"), .subject_len = 9,
	};
	struct blipmq_topic_close close_it;
	char byte;

	ASSERT_EQ(0, do_topic(self->pub, &topic));
	ASSERT_EQ(1, write(self->pub, "2", 1));
	EXPECT_EQ(-EAGAIN, result(read(self->fd, &byte, 1)));
	ASSERT_LT(0, subscribe(self->fd, "receive.2", 0));
	ASSERT_EQ(1, write(self->pub, "3", 1));
	EXPECT_EQ(1, read(self->fd, &byte, 1));
	EXPECT_EQ('3', byte);
	close_it = (struct blipmq_topic_close){ .handle = topic.handle };
	ASSERT_EQ(0, do_topic_close(self->pub, &close_it));
	EXPECT_EQ(-EDESTADDRREQ, result(write(self->pub, "4", 1)));
	EXPECT_EQ(-EAGAIN, result(read(self->fd, &byte, 1)));
	/* The handle of the one before is as good as ever. */
	EXPECT_EQ(1, publish_on(self->pub, self->handle, "5", 1));
}

TEST_F(reader, writev_gathers)
{
	struct iovec iov[] = { { "ab", 2 }, { "", 0 }, { "c", 1 }, { "defg", 4 } };
	char buf[16];

	EXPECT_EQ(7, writev(self->pub, iov, 4));
	EXPECT_EQ(7, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(0, memcmp(buf, "abcdefg", 7));
}

TEST_F(reader, write_too_large)
{
	const size_t size = BLIPMQ_MESSAGE_MAX + 1;
	void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char byte;

	EXPECT_EQ(-EMSGSIZE, result(write(self->pub, data, size)));
	EXPECT_EQ(-EAGAIN, result(read(self->fd, &byte, 1)));
}

TEST_F(reader, write_from_a_hole)
{
	struct iovec iov[] = { { "ab", 2 }, { (void *)8, 1 } };
	char *end = before_hole(6000), byte;
	struct blipmq_recv r;

	memset(end, 'x', 6000);
	EXPECT_EQ(-EFAULT, result(write(self->pub, end, 6001)));
	EXPECT_EQ(-EFAULT, result(writev(self->pub, iov, 2)));
	EXPECT_EQ(-EAGAIN, result(read(self->fd, &byte, 1)));
	ASSERT_EQ(1, write(self->pub, "y", 1));
	recv_into(&r, &byte, 1, NULL, 0);
	ASSERT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ('y', byte);
	ASSERT_EQ(1, write(self->pub, "z", 1));
	__u64 seq = r.header.seq;

	ASSERT_EQ(0, do_recv(self->fd, &r));
	EXPECT_EQ(seq + 1, r.header.seq);
}

/* Where a publisher would have to wait, NOWAIT and O_NONBLOCK do not. */
TEST_F(reader, write_nowait)
{
	struct iovec iov = { "m", 1 };
	int blocker = bus_open(O_RDWR);

	ASSERT_EQ(1, pwritev2(self->pub, &iov, 1, -1, RWF_NOWAIT));
	ASSERT_EQ(0, make_ring(blocker, 1, BLIPMQ_POLICY_BLOCK));
	ASSERT_LT(0, subscribe(blocker, SUBJECT, 0));
	ASSERT_EQ(1, write(self->pub, "m", 1));
	EXPECT_EQ(-EAGAIN, result(pwritev2(self->pub, &iov, 1, -1, RWF_NOWAIT)));
	ASSERT_EQ(0, fcntl(self->pub, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, result(write(self->pub, "m", 1)));
	EXPECT_EQ(-EAGAIN, publish_on(self->pub, self->handle, "m", 1));
	close(blocker);
	EXPECT_EQ(1, write(self->pub, "m", 1));
}

/* ---- One ring, one way ---- */

TEST_F(reader, no_mapping_after_read)
{
	struct blipmq_info info = { };
	struct consumer c;
	char byte;

	EXPECT_EQ(-EAGAIN, result(read(self->fd, &byte, 1)));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
				   BLIPMQ_OFF_CONTROL));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ(0, do_info(self->fd, &info));
	/* The store decides nothing. */
	EXPECT_NE(MAP_FAILED, mmap(NULL, info.store_size, PROT_READ, MAP_SHARED, self->fd,
				   BLIPMQ_OFF_STORE));
	ASSERT_EQ(1, write(self->pub, "m", 1));
	EXPECT_EQ(1, read(self->fd, &byte, 1));
	/* A read of a file without a ring decides nothing either. */
	EXPECT_EQ(-ENXIO, result(read(self->pub, &byte, 1)));
	EXPECT_EQ(0, consumer_attach(&c, dup(self->pub), 4, 0, BLIPMQ_POLICY_DROP_OLDEST));
	consumer_close(&c);
}

TEST_F(reader, no_mapping_after_recv)
{
	struct blipmq_recv r = { .head.flags = BLIPMQ_RECV_NONBLOCK };

	EXPECT_EQ(-EAGAIN, do_recv(self->fd, &r));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
				   BLIPMQ_OFF_CONTROL));
	EXPECT_EQ(EBUSY, errno);
}

TEST_F(reader, no_read_after_mapping)
{
	struct blipmq_recv r = { };
	char byte;
	void *control = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
			     BLIPMQ_OFF_CONTROL);

	ASSERT_NE(MAP_FAILED, control);
	ASSERT_EQ(1, write(self->pub, "m", 1));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(-EBUSY, result(read(self->fd, &byte, 1)));
		EXPECT_EQ(-EBUSY, do_recv(self->fd, &r));
		EXPECT_EQ(BLIPMQ_REASON_RING_MODE, r.head.reason);
		/* For the life of the ring, also when the mapping is gone. */
		munmap(control, page_size());
	}
	EXPECT_NE(MAP_FAILED, mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
				   BLIPMQ_OFF_CONTROL));
}

TEST_HARNESS_MAIN
