// SPDX-License-Identifier: GPL-2.0
/*
 * The mappings in use: forked, closed under, lent to the kernel, and as a publisher's source.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"use.subject"
#define LARGE	(1 << 20)

FIXTURE(reader) {
	struct consumer c;
	int pub;
};

FIXTURE_SETUP(reader)
{
	ASSERT_EQ(0, consumer_open(&self->c, 64, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, SUBJECT, 0));
	self->pub = bus_open(O_RDWR);
	ASSERT_LE(0, self->pub);
}

FIXTURE_TEARDOWN(reader)
{
	consumer_close(&self->c);
	close(self->pub);
}

/* Publish text and claim it. */
static struct blipmq_desc one_message(struct __test_metadata *_metadata,
				      struct _test_data_reader *self, const void *data, size_t len)
{
	struct blipmq_desc desc;
	__u64 index;

	ASSERT_EQ(1, publish(self->pub, SUBJECT, data, len));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	return desc;
}

/* ---- The store's pages ---- */

/* Where there never was a message there is no page. */
TEST(unallocated_page)
{
	struct blipmq_desc desc;
	struct consumer c;
	__u64 index;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, SUBJECT, 0));
	EXPECT_EQ(SIGBUS, probe(c.store));
	ASSERT_EQ(1, publish(c.fd, SUBJECT, "here", 5));
	ASSERT_EQ(1, consumer_claim(&c, &desc, 1, &index));
	EXPECT_EQ(SIGBUS, probe(c.store + c.store_size - 1));
	EXPECT_EQ(SIGBUS, probe(c.store + c.store_size / 2));
	EXPECT_EQ(0, probe(consumer_payload(&c, &desc)));
	EXPECT_STREQ("here", consumer_payload(&c, &desc));
	consumer_close(&c);
}

/* A page that was given back and came again is the new one in every mapping. */
TEST_F(reader, large_messages_come_and_go)
{
	const size_t size = 3 << 20;
	char *data = malloc(size);

	for (int round = 0; round < 12; round++) {
		struct blipmq_desc desc;

		memset(data, 'a' + round, size);
		desc = one_message(_metadata, self, data, size);
		EXPECT_EQ(0, memcmp(data, consumer_payload(&self->c, &desc), size));
		consumer_release(&self->c, consumer_prod(&self->c));
	}
}

/* ---- fork ---- */

struct probes {
	char *at[3];
	int fd;
};

static int child_without_mappings(void *arg)
{
	struct probes *p = arg;

	for (int i = 0; i < 3; i++)
		if (probe(p->at[i]) != SIGSEGV)
			return 1 + i;
	/* The file itself is as good as the parent's. */
	return publish(p->fd, SUBJECT, "child", 6) != 1;
}

TEST_F(reader, not_inherited)
{
	struct probes p = { { self->c.ring, self->c.control, (char *)self->c.store }, self->c.fd };
	struct blipmq_desc desc = one_message(_metadata, self, "parent", 7);
	__u64 index;

	EXPECT_EQ(0, reap(spawn(child_without_mappings, &p)));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	EXPECT_STREQ("child", consumer_payload(&self->c, &desc));
}

/* ---- close(2) under the mappings ---- */

TEST(closed_under_the_mappings)
{
	struct blipmq_desc descs[8];
	struct blipmq_stats stats;
	struct consumer c;
	__u64 index;
	int pub;

	ASSERT_EQ(0, fresh_bus(NULL));
	pub = bus_open(O_RDWR);
	ASSERT_EQ(0, consumer_open(&c, 8, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, SUBJECT, 0));
	ASSERT_EQ(1, publish(pub, SUBJECT, "before", 7));
	ASSERT_EQ(0, close(c.fd));
	c.fd = -1;
	/* The mappings are the file: it is subscribed as before. */
	ASSERT_EQ(1, publish(pub, SUBJECT, "after", 6));
	ASSERT_EQ(2, consumer_claim(&c, descs, 8, &index));
	EXPECT_STREQ("before", consumer_payload(&c, &descs[0]));
	EXPECT_STREQ("after", consumer_payload(&c, &descs[1]));
	ASSERT_EQ(0, bus_stats(pub, &stats));
	EXPECT_EQ(2, stats.endpoints);
	/* One of them is enough. */
	munmap(c.ring, c.info.ring_size);
	munmap((void *)c.store, c.store_size);
	EXPECT_EQ(1, publish(pub, SUBJECT, "last", 5));
	munmap(c.control, c.info.control_size);
	EXPECT_EQ(0, publish(pub, SUBJECT, "none", 5));
	ASSERT_EQ(0, bus_stats(pub, &stats));
	EXPECT_EQ(1, stats.endpoints);
	EXPECT_EQ(0, stats.subscriptions);
}

/* ---- Lent to the kernel ---- */

TEST_F(reader, written_to_a_pipe)
{
	struct blipmq_desc desc = one_message(_metadata, self, "through a pipe", 15);
	char buf[16];
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	EXPECT_EQ(15, write(fds[1], consumer_payload(&self->c, &desc), 15));
	EXPECT_EQ(15, read(fds[0], buf, sizeof(buf)));
	EXPECT_STREQ("through a pipe", buf);
}

TEST_F(reader, vmspliced)
{
	static char data[3 * 4096], buf[sizeof(data)];
	struct blipmq_desc desc;
	struct iovec iov;
	int fds[2];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i / 7;
	desc = one_message(_metadata, self, data, sizeof(data));
	iov = (struct iovec){ (void *)consumer_payload(&self->c, &desc), sizeof(data) };
	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(sizeof(data), vmsplice(fds[1], &iov, 1, 0));
	/* Before its release the message is what the pipe shows, whatever others do. */
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(1, publish(self->pub, SUBJECT, "more", 4));
	for (size_t got = 0; got < sizeof(data);) {
		ssize_t n = read(fds[0], buf + got, sizeof(data) - got);

		ASSERT_LT(0, n);
		got += n;
	}
	EXPECT_EQ(0, memcmp(data, buf, sizeof(data)));
}

/* Pages in a pipe outlive the mapping, the file and the message. */
TEST_F(reader, pipe_outlives_the_file)
{
	static char data[4096];
	struct blipmq_desc desc = one_message(_metadata, self, data, sizeof(data));
	struct iovec iov = { (void *)consumer_payload(&self->c, &desc), sizeof(data) };
	char buf[sizeof(data)];
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(sizeof(data), vmsplice(fds[1], &iov, 1, 0));
	consumer_close(&self->c);
	for (int i = 0; i < 10; i++)
		ASSERT_LE(0, publish(self->pub, SUBJECT, data, sizeof(data)));
	EXPECT_LT(0, read(fds[0], buf, sizeof(buf)));
}

TEST_F(reader, sent_to_a_socket)
{
	struct blipmq_desc desc = one_message(_metadata, self, "through a socket", 17);
	char buf[32];
	int socks[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	EXPECT_EQ(17, send(socks[0], consumer_payload(&self->c, &desc), 17, 0));
	EXPECT_EQ(17, recv(socks[1], buf, sizeof(buf), 0));
	EXPECT_STREQ("through a socket", buf);
}

struct remote {
	pid_t pid;
	const char *address;
};

static int read_the_parent(void *arg)
{
	struct remote *r = arg;
	char buf[8];
	struct iovec local = { buf, 8 }, remote = { (void *)r->address, 8 };

	if (process_vm_readv(r->pid, &local, 1, &remote, 1, 0) != 8)
		return 1;
	if (strcmp(buf, "for all"))
		return 2;
	/* Nor may another process write there. */
	return process_vm_writev(r->pid, &local, 1, &remote, 1, 0) >= 0 || errno != EFAULT;
}

TEST_F(reader, read_by_another_process)
{
	struct blipmq_desc desc = one_message(_metadata, self, "for all", 8);
	struct remote r = { getpid(), consumer_payload(&self->c, &desc) };

	EXPECT_EQ(0, reap(spawn(read_the_parent, &r)));
}

/* ---- Published from one's own mappings ---- */

TEST_F(reader, source_is_the_store)
{
	struct blipmq_desc desc = one_message(_metadata, self, "again and again", 16);

	for (int i = 0; i < 300; i++) {
		struct blipmq_desc next = one_message(_metadata, self,
						      consumer_payload(&self->c, &desc), 16);

		ASSERT_NE(desc.offset, next.offset);
		ASSERT_STREQ("again and again", consumer_payload(&self->c, &next));
		consumer_release(&self->c, consumer_prod(&self->c) - 1);
		desc = next;
	}
}

/* Large: the copy goes on while the pages for the new one are allocated and mapped. */
TEST_F(reader, source_is_a_large_message)
{
	const size_t size = 1 << 20;
	char *data = malloc(size);
	struct blipmq_desc desc;

	for (size_t i = 0; i < size; i++)
		data[i] = i * 31 >> 8;
	desc = one_message(_metadata, self, data, size);
	for (int i = 0; i < 10; i++) {
		desc = one_message(_metadata, self, consumer_payload(&self->c, &desc), size);
		ASSERT_EQ(0, memcmp(data, consumer_payload(&self->c, &desc), size));
		consumer_release(&self->c, consumer_prod(&self->c) - 1);
	}
}

TEST_F(reader, source_is_the_ring)
{
	struct blipmq_desc desc;

	for (int i = 0; i < 10; i++) {
		desc = one_message(_metadata, self, self->c.ring, self->c.info.ring_size);
		EXPECT_EQ(self->c.info.ring_size, desc_length(&desc));
		/* Its own descriptor was not written yet. */
		EXPECT_EQ(i, *(__u64 *)(consumer_payload(&self->c, &desc) + self->c.info.prod));
		consumer_release(&self->c, consumer_prod(&self->c));
	}
}

TEST_F(reader, source_is_the_control_page)
{
	struct blipmq_desc desc;

	for (int i = 0; i < 10; i++) {
		desc = one_message(_metadata, self, self->c.control, self->c.info.control_size);
		EXPECT_EQ(i, *(__u64 *)(consumer_payload(&self->c, &desc) + self->c.info.claim));
		consumer_release(&self->c, consumer_prod(&self->c));
	}
}

/* Subject, messages and block lie in the store themselves. */
TEST_F(reader, arguments_in_the_store)
{
	struct blipmq_desc text = one_message(_metadata, self, SUBJECT, strlen(SUBJECT));
	struct blipmq_message m = {
		.data = ptr_u64(consumer_payload(&self->c, &text)),
		.length = 4,
		.subject = ptr_u64(consumer_payload(&self->c, &text)),
		.subject_len = strlen(SUBJECT),
	};
	struct blipmq_desc array = one_message(_metadata, self, &m, sizeof(m));
	struct blipmq_publish pub = {
		.messages = ptr_u64(consumer_payload(&self->c, &array)), .nr = 1,
		/* Where nothing can be written, and the publish stands all the same. */
		.results = ptr_u64(consumer_payload(&self->c, &array)),
	};

	EXPECT_EQ(0, do_publish(self->pub, &pub));
	EXPECT_EQ(1, pub.done);
	EXPECT_EQ(1, pub.delivered);
	EXPECT_EQ(0, memcmp(&m, consumer_payload(&self->c, &array), sizeof(m)));
}

/* ---- Memory that never answers ---- */

struct stall {
	int fd;			/* the endpoint, shared by fork */
	__u32 handle;
	int way;
	int ready[2];
};

enum {
	STALL_PAYLOAD,
	STALL_SECOND,
	STALL_ARRAY,
	STALL_SUBJECT,
	STALL_BLOCK,
	STALL_RESULTS,
	STALL_WRITE,
	STALL_LARGE,
	NR_STALLS
};

static const char *const stalls[NR_STALLS] = { "payload", "second payload", "array", "subject",
					       "block", "results", "write(2)", "large payload" };

/* Publish from, or to, a page that stalls. Never returns but by its death. */
static int stall_main(void *arg)
{
	struct stall *s = arg;
	char *page, byte = 0, *area;
	int uffd = stalling_page(&page);
	struct blipmq_message m[2] = {
		{ .data = ptr_u64("before"), .length = 7, .handle = s->handle },
		{ .data = ptr_u64(page), .length = 100, .handle = s->handle },
	};
	struct blipmq_block block = { .data = ptr_u64(page), .length = 128, .nr = 1 };
	struct blipmq_publish pub = { .messages = ptr_u64(m), .nr = 1 };

	if (uffd < 0)
		return 1;
	switch (s->way) {
	case STALL_PAYLOAD:
		m[0] = m[1];
		break;
	case STALL_SECOND:
		pub.nr = 2;
		break;
	case STALL_ARRAY:
		pub.messages = ptr_u64(page);
		break;
	case STALL_SUBJECT:
		m[0].handle = 0;
		m[0].subject = ptr_u64(page);
		m[0].subject_len = 10;
		break;
	case STALL_BLOCK:
		pub.head.flags = BLIPMQ_PUBLISH_BLOCKS;
		pub.messages = ptr_u64(&block);
		break;
	case STALL_RESULTS:
		pub.results = ptr_u64(page);
		break;
	case STALL_LARGE:
		/* Sound memory first: runs are allocated, much is copied before it stalls. */
		area = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		if (stall_at(area + LARGE / 2) < 0)
			return 3;
		memset(area, 1, LARGE / 2);
		m[0].data = ptr_u64(area);
		m[0].length = LARGE;
		break;
	}
	if (write(s->ready[1], &byte, 1) != 1)
		return 2;
	if (s->way == STALL_WRITE)
		return write(s->fd, page, 10) > 0 ? 4 : 5;
	do_publish(s->fd, &pub);
	return 6;
}

/*
 * One thread hangs in a publish through an endpoint. Others use the same endpoint, the same
 * topic, and read; then the one that hangs is killed, and nothing of it is left.
 */
static void check_stall(struct __test_metadata *_metadata, struct _test_data_reader *self, int way)
{
	struct blipmq_topic topic = {
		.head.flags = BLIPMQ_TOPIC_WRITE,
		.subject = ptr_u64(SUBJECT),
		.subject_len = strlen(SUBJECT),
	};
	struct stall s = { .fd = bus_open(O_RDWR), .way = way };
	struct blipmq_stats stats;
	pid_t pid;
	char byte;

	ASSERT_EQ(0, do_topic(s.fd, &topic));
	s.handle = topic.handle;
	ASSERT_EQ(0, pipe(s.ready));
	pid = spawn(stall_main, &s);
	close(s.ready[1]);
	ASSERT_EQ(1, read(s.ready[0], &byte, 1)) { TH_LOG("%s", stalls[way]); }
	ASSERT_TRUE(wait_asleep(pid)) { TH_LOG("%s", stalls[way]); }
	for (int i = 0; i < 300; i++) {
		int fd = i % 2 ? s.fd : self->pub;

		ASSERT_EQ(1, publish_on(s.fd, s.handle, "same endpoint", 14));
		ASSERT_EQ(1, publish(fd, SUBJECT, "same topic", 11));
		ASSERT_LE(2, consumer_drain(&self->c));
	}
	ASSERT_EQ(5, write(s.fd, "write", 5));
	ASSERT_EQ(0, bus_stats(s.fd, &stats));
	EXPECT_EQ(-ETIME, reap_within(pid, 0)) { TH_LOG("%s", stalls[way]); }
	EXPECT_EQ(128 + SIGKILL, slay(pid));
	ASSERT_EQ(1, publish_on(s.fd, s.handle, "after", 6));
	close(s.fd);
	consumer_drain(&self->c);
	EXPECT_EQ(-ETIME, wait_for(self->c.fd, 1, 0));
	close(s.ready[0]);
}

TEST_F(reader, stalled_publisher)
{
	for (int way = 0; way < NR_STALLS; way++)
		check_stall(_metadata, self, way);
}

/* What the killed one had reserved is not lost to the bus. */
TEST(stalled_publisher_leaves_nothing)
{
	const size_t budget = 64 << 20;
	struct blipmq_stats stats;
	int pub;

	ASSERT_EQ(0, fresh_bus(NULL));
	pub = bus_open(O_RDWR);
	for (int i = 0; i < 5; i++) {
		struct stall s = { .fd = bus_open(O_RDWR), .way = STALL_LARGE };
		pid_t pid;
		char byte;

		s.handle = topic(s.fd, SUBJECT);
		ASSERT_EQ(0, pipe(s.ready));
		pid = spawn(stall_main, &s);
		ASSERT_EQ(1, read(s.ready[0], &byte, 1));
		ASSERT_TRUE(wait_asleep(pid));
		EXPECT_EQ(128 + SIGKILL, slay(pid));
		close(s.fd);
	}
	ASSERT_EQ(0, bus_stats(pub, &stats));
	EXPECT_EQ(stats.pages, stats.idle);
	EXPECT_GT(budget / page_size(), stats.pages);
	EXPECT_EQ(0, stats.published);
}

struct stalled_reader {
	int fd;
	bool recv;
};

static int stalled_reader_main(void *arg)
{
	struct stalled_reader *s = arg;
	struct blipmq_recv r = { .payload_size = 100 };
	char *page;

	if (stalling_page(&page) < 0)
		return 1;
	r.payload = ptr_u64(page);
	return s->recv ? do_recv(s->fd, &r) != 0 : read(s->fd, page, 100) < 0;
}

/* A reader hangs while it copies out: publishers, poll and NOWAIT do not. */
TEST_F(reader, stalled_reader)
{
	for (int recv = 0; recv < 2; recv++) {
		struct stalled_reader s = { .fd = bus_open(O_RDWR), .recv = recv };
		struct pollfd p = { .fd = s.fd, .events = POLLIN };
		char buf[16];
		struct iovec iov = { buf, sizeof(buf) };
		pid_t pid;

		ASSERT_EQ(0, make_ring(s.fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
		ASSERT_LT(0, subscribe(s.fd, "use.stalled", 0));
		ASSERT_EQ(1, publish(self->pub, "use.stalled", "first", 6));
		pid = spawn(stalled_reader_main, &s);
		/* It looked at the queue once it is in the fault, not before. */
		ASSERT_TRUE(wait_asleep(pid));
		sleep_ms(50);
		ASSERT_EQ(-ETIME, reap_within(pid, 0));
		for (int i = 0; i < 20; i++)
			ASSERT_EQ(1, publish(self->pub, "use.stalled", "later", 6));
		EXPECT_EQ(1, poll(&p, 1, 0));
		EXPECT_EQ(-1, preadv2(s.fd, &iov, 1, -1, RWF_NOWAIT));
		EXPECT_EQ(EAGAIN, errno);
		EXPECT_EQ(128 + SIGKILL, slay(pid));
		/* Not consumed by who did not live to see it. */
		EXPECT_EQ(6, read(s.fd, buf, sizeof(buf)));
		EXPECT_STREQ("first", buf);
		EXPECT_EQ(6, read(s.fd, buf, sizeof(buf)));
		EXPECT_STREQ("later", buf);
		close(s.fd);
	}
}

TEST_HARNESS_MAIN
