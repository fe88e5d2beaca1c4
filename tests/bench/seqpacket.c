// SPDX-License-Identifier: GPL-2.0
/*
 * AF_UNIX sequenced packets: the ordinary way. One pair of sockets for each
 * subscriber, the publisher sends to each. The sockets hold as many messages as
 * the rings do, where the kernel lets us.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport.h"

#define PACKET_OVERHEAD	1024	/* at least what the kernel charges beside the payload */
#define SLOW		3	/* rounds for each show */

/**
 * struct seqpacket - the sockets; each process has its copy
 * @messages: headers of a batch or burst; filled once
 * @buffers:  subscriber: where a burst is received
 */
struct seqpacket {
	int publisher[MAX_SUBSCRIBERS];
	int subscriber[MAX_SUBSCRIBERS];
	struct mmsghdr messages[MAX_BATCH];
	struct iovec iov[MAX_BATCH];
	unsigned char *buffers;
	int mine;
};

static int make_pair(struct transport *t, struct seqpacket *s, unsigned int i)
{
	int room = t->work->entries * (t->work->size + PACKET_OVERHEAD);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return transport_fail(t, -errno, "socketpair");
	s->publisher[i] = pair[0];
	s->subscriber[i] = pair[1];
	/* without the capability: as much as anybody may have */
	if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return 0;
}

static void seqpacket_teardown(struct transport *t)
{
	struct seqpacket *s = t->shared;
	unsigned int i;

	for (i = 0; i < t->work->subscribers; i++) {
		if (s->publisher[i] < 0)
			continue;
		close(s->publisher[i]);
		close(s->subscriber[i]);
	}
}

static int seqpacket_setup(struct transport *t)
{
	static struct seqpacket s;
	unsigned int i;
	int rc = 0;

	memset(&s, 0, sizeof(s));
	memset(s.publisher, -1, sizeof(s.publisher));
	for (i = 0; i < MAX_BATCH; i++) {
		s.iov[i].iov_len = t->work->size;
		s.messages[i].msg_hdr.msg_iov = &s.iov[i];
		s.messages[i].msg_hdr.msg_iovlen = 1;
	}
	t->shared = &s;
	for (i = 0; !rc && i < t->work->subscribers; i++)
		rc = make_pair(t, &s, i);
	if (rc)
		seqpacket_teardown(t);
	return rc;
}

static int seqpacket_open_publisher(struct transport *t)
{
	t->local = t->shared;
	return 0;
}

static int seqpacket_publish(struct transport *t, uint64_t first, unsigned int nr)
{
	struct seqpacket *s = t->local;
	unsigned int i, done;
	int sent;

	for (i = 0; i < nr; i++)
		s->iov[i].iov_base = source_message(&t->source, first + i);
	for (i = 0; i < t->work->subscribers; i++) {
		for (done = 0; done < nr; done += sent) {
			sent = sendmmsg(s->publisher[i], s->messages + done, nr - done, 0);
			if (sent < 0)
				return transport_fail(t, -errno, "sendmmsg");
		}
	}
	return 0;
}

static int seqpacket_publish_one(struct transport *t, uint64_t first, unsigned int nr)
{
	const void *data = source_message(&t->source, first);
	struct seqpacket *s = t->local;
	unsigned int i;

	(void)nr;	/* .batch is 1 */
	for (i = 0; i < t->work->subscribers; i++) {
		if (send(s->publisher[i], data, t->source.size, 0) < 0)
			return transport_fail(t, -errno, "send");
	}
	return 0;
}

static int seqpacket_open_subscriber(struct transport *t, unsigned int index)
{
	struct seqpacket *s = t->shared;
	size_t stride = round_up_line(t->work->size);
	unsigned int i;

	s->buffers = aligned_alloc(CACHE_LINE, stride * MAX_BURST);
	if (!s->buffers)
		return transport_fail(t, -ENOMEM, "receive buffers");
	for (i = 0; i < MAX_BURST; i++)
		s->iov[i].iov_base = s->buffers + i * stride;
	s->mine = s->subscriber[index];
	t->local = s;
	return 0;
}

static int seqpacket_receive(struct transport *t, struct check *check)
{
	struct seqpacket *s = t->local;
	int i, got;

	got = recvmmsg(s->mine, s->messages, MAX_BURST, MSG_WAITFORONE, NULL);
	if (got < 0)
		return transport_fail(t, -errno, "recvmmsg");
	for (i = 0; i < got; i++) {
		if (!check_message(check, s->iov[i].iov_base, s->messages[i].msg_len))
			return transport_disorder(t, check);
	}
	return 0;
}

static int seqpacket_receive_one(struct transport *t, struct check *check)
{
	struct seqpacket *s = t->local;
	ssize_t got = recv(s->mine, s->buffers, t->work->size, MSG_TRUNC);

	if (got < 0)
		return transport_fail(t, -errno, "recv");
	if (!check_message(check, s->buffers, got))
		return transport_disorder(t, check);
	return 0;
}

const struct transport_ops seqpacket_batch_ops = {
	.name = "seqpacket-batch",
	.summary = "AF_UNIX seqpacket, sendmmsg to each subscriber, recvmmsg",
	.against = "shm-batch",
	.batch = MAX_BATCH,
	.every = SLOW,
	.setup = seqpacket_setup,
	.open_publisher = seqpacket_open_publisher,
	.publish = seqpacket_publish,
	.open_subscriber = seqpacket_open_subscriber,
	.receive = seqpacket_receive,
	.teardown = seqpacket_teardown,
};

const struct transport_ops seqpacket_single_ops = {
	.name = "seqpacket-single",
	.summary = "AF_UNIX seqpacket, send to each subscriber, recv",
	.against = "shm-single",
	.batch = 1,
	.every = SLOW,
	.setup = seqpacket_setup,
	.open_publisher = seqpacket_open_publisher,
	.publish = seqpacket_publish_one,
	.open_subscriber = seqpacket_open_subscriber,
	.receive = seqpacket_receive_one,
	.teardown = seqpacket_teardown,
};
