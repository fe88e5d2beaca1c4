// SPDX-License-Identifier: GPL-2.0
/*
 * BlipMQ, through its library as any program would use it. Block rings: the
 * publisher waits for the slowest, as it does for the peers, and nothing is lost.
 */
#include <stdlib.h>

#include <blipmq.h>

#include "transport.h"

#define SUBJECT	"bench.fanout"

/* Of struct transport_ops */
#define OPTION_IN_PLACE	(1u << 0)	/* batches are written in place, not pointed to */
#define OPTION_MARK	(1u << 1)	/* subscribers sleep until workload.mark wait */
#define OPTION_YIELD	(1u << 2)	/* subscribers give way before they sleep */

/**
 * struct peer - one process's endpoint
 * @topic, @writer, @messages: of the publisher
 * @views: of a subscriber
 */
struct peer {
	struct blipmq *b;
	struct blipmq_handle topic;
	struct blipmq_writer *writer;
	struct blipmq_message messages[MAX_BATCH];
	struct blipmq_view views[MAX_BURST];
};

static int fail(struct transport *t, int error, const char *call)
{
	snprintf(t->reason, REASON_SIZE, "%s: %s", call, blipmq_strerror());
	return error;
}

static int blipmq_setup(struct transport *t)
{
	struct blipmq *b;
	int rc = blipmq_open(NULL, 0, &b);

	if (rc)
		return fail(t, rc, "open");
	blipmq_close(b);
	return 0;
}

/* The processes' endpoints ended with them. */
static void blipmq_teardown(struct transport *t)
{
	(void)t;
}

static int open_endpoint(struct transport *t)
{
	struct peer *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return transport_fail(t, -ENOMEM, "endpoint");
	t->local = p;
	rc = blipmq_open(NULL, 0, &p->b);
	return rc ? fail(t, rc, "open") : 0;
}

static int blipmq_open_publisher(struct transport *t)
{
	struct peer *p;
	int rc;

	rc = open_endpoint(t);
	if (rc)
		return rc;
	p = t->local;
	rc = blipmq_topic_open(p->b, SUBJECT, 0, &p->topic);
	if (rc)
		return fail(t, rc, "topic_open");
	if (t->ops->option & OPTION_IN_PLACE) {
		rc = blipmq_writer_open(p->b, NULL, &p->writer);
		if (rc)
			return fail(t, rc, "writer_open");
	}
	return 0;
}

static int publish_array(struct transport *t, uint64_t first, unsigned int nr)
{
	struct peer *p = t->local;
	unsigned int i;
	int done;

	for (i = 0; i < nr; i++)
		p->messages[i] = blipmq_message_topic(&p->topic,
						      source_message(&t->source, first + i),
						      t->source.size);
	done = blipmq_publish_batch(p->b, p->messages, nr, NULL);
	return done == (int)nr ? 0 : fail(t, done < 0 ? done : -EIO, "publish_batch");
}

static int flush(struct transport *t)
{
	struct peer *p = t->local;
	int staged = blipmq_staged(p->writer);
	int done = blipmq_flush(p->writer, NULL);

	return done == staged ? 0 : fail(t, done < 0 ? done : -EIO, "flush");
}

static int publish_in_place(struct transport *t, uint64_t first, unsigned int nr)
{
	struct peer *p = t->local;
	void *room;
	uint64_t seq;
	int rc;

	for (seq = first; seq < first + nr; seq++) {
		rc = blipmq_reserve(p->writer, &p->topic, t->source.size, &room);
		if (rc == -ENOBUFS) {
			rc = flush(t);
			if (rc)
				return rc;
			rc = blipmq_reserve(p->writer, &p->topic, t->source.size, &room);
		}
		if (rc)
			return fail(t, rc, "reserve");
		memcpy(room, source_message(&t->source, seq), t->source.size);
		rc = blipmq_commit(p->writer, t->source.size);
		if (rc)
			return fail(t, rc, "commit");
	}
	return flush(t);
}

static int publish_one(struct transport *t, uint64_t first, unsigned int nr)
{
	struct peer *p = t->local;
	int rc;

	(void)nr;	/* .batch is 1 */
	rc = blipmq_publish_topic(p->b, &p->topic, source_message(&t->source, first),
				  t->source.size, NULL);
	return rc ? fail(t, rc, "publish_topic") : 0;
}

static int blipmq_open_subscriber(struct transport *t, unsigned int index)
{
	struct blipmq_ring_opts opts = {
		.sz = sizeof(opts),
		.entries = t->work->entries,
		.policy = BLIPMQ_POLICY_BLOCK,
		.flags = t->ops->option & OPTION_YIELD ? BLIPMQ_RING_YIELD : 0,
	};
	struct peer *p;
	int rc;

	rc = open_endpoint(t);
	if (rc)
		return rc;
	p = t->local;
	rc = blipmq_ring(p->b, &opts);
	if (rc)
		return fail(t, rc, "ring");
	rc = blipmq_subscribe(p->b, SUBJECT, index, NULL);
	return rc ? fail(t, rc, "subscribe") : 0;
}

/* Takes what is there; sleeps for it as the row says. */
static int take(struct transport *t)
{
	struct peer *p = t->local;
	int nr, rc;

	if (!(t->ops->option & OPTION_MARK))
		return blipmq_next_batch(p->b, p->views, MAX_BURST, BLIPMQ_FOREVER);
	for (;;) {
		nr = blipmq_next_batch(p->b, p->views, MAX_BURST, 0);
		if (nr != -EAGAIN)
			return nr;
		rc = blipmq_wait(p->b, t->work->mark, t->work->max_delay, BLIPMQ_FOREVER);
		if (rc)
			return rc;
	}
}

static int blipmq_receive(struct transport *t, struct check *check)
{
	struct peer *p = t->local;
	int i, nr, rc;

	nr = take(t);
	if (nr < 0)
		return fail(t, nr, "next_batch");
	for (i = 0; i < nr; i++) {
		if (!check_message(check, p->views[i].data, p->views[i].length))
			return transport_disorder(t, check);
	}
	rc = blipmq_release(p->b, p->views, nr);
	return rc ? fail(t, rc, "release") : 0;
}

#define BLIPMQ_OPS					\
	.setup = blipmq_setup,				\
	.open_publisher = blipmq_open_publisher,	\
	.open_subscriber = blipmq_open_subscriber,	\
	.receive = blipmq_receive,			\
	.teardown = blipmq_teardown

const struct transport_ops blipmq_array_ops = {
	.name = "blipmq-array",
	.summary = "an array of pointers, one call for a batch; woken at once",
	.against = "shm-batch",
	.batch = MAX_BATCH,
	.publish = publish_array,
	BLIPMQ_OPS,
};

const struct transport_ops blipmq_inplace_ops = {
	.name = "blipmq-inplace",
	.summary = "written in place, one flush for a batch; woken at once",
	.against = "shm-batch",
	.bar = 0.7,
	.batch = MAX_BATCH,
	.option = OPTION_IN_PLACE,
	.publish = publish_in_place,
	BLIPMQ_OPS,
};

const struct transport_ops blipmq_yield_ops = {
	.name = "blipmq-yield",
	.summary = "as blipmq-inplace, but readers give way before they sleep",
	.against = "shm-yield",
	.batch = MAX_BATCH,
	.option = OPTION_IN_PLACE | OPTION_YIELD,
	.publish = publish_in_place,
	BLIPMQ_OPS,
};

const struct transport_ops blipmq_mark_ops = {
	.name = "blipmq-mark",
	.summary = "written in place, one flush for a batch; woken at the low-water mark",
	.against = "shm-batch",
	.bar = 1.1,
	.batch = MAX_BATCH,
	.option = OPTION_IN_PLACE | OPTION_MARK,
	.publish = publish_in_place,
	BLIPMQ_OPS,
};

const struct transport_ops blipmq_single_ops = {
	.name = "blipmq-single",
	.summary = "one message a call; woken at once",
	.against = "shm-single",
	.batch = 1,
	.publish = publish_one,
	BLIPMQ_OPS,
};

const struct transport_ops blipmq_single_mark_ops = {
	.name = "blipmq-single-mark",
	.summary = "one message a call; woken at the low-water mark",
	.against = "shm-single",
	.batch = 1,
	.option = OPTION_MARK,
	.publish = publish_one,
	BLIPMQ_OPS,
};
