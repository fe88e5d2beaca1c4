/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a transport has to do to stand in the table, and what a message is.
 *
 * The publisher's messages lie in its own memory (struct source), as the data of
 * a real program does; each carries its number in its first and its last eight
 * bytes. A transport that takes pointers is given them there, one that lets the
 * publisher write in place copies them there. A subscriber looks at both numbers
 * of every message where the transport left it: so each message is touched at
 * both ends, and a lost, doubled, torn or overtaken one fails the show.
 */
#ifndef BENCH_TRANSPORT_H
#define BENCH_TRANSPORT_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAX_SUBSCRIBERS	64	/* processes of one show */
#define MAX_BATCH	128	/* messages of one publish() */
#define MAX_BURST	128	/* messages that a subscriber takes and releases at once */
#define MIN_SIZE	16	/* bytes: both numbers */
#define REASON_SIZE	160
#define CACHE_LINE	64

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/**
 * struct workload - what every transport of a run is given alike
 * @subscribers: processes that each read every message
 * @size:        payload bytes
 * @entries:     messages that a subscriber may lag behind, a power of two
 * @mark:        low-water mark of the transports that have one, in messages
 * @max_delay:   how long a message may wait for others there, in microseconds
 * @turns:       publisher and subscribers never run at the same time: half a ring
 *               is published, then read; nobody sleeps in the transport
 */
struct workload {
	unsigned int subscribers;
	unsigned int size;
	unsigned int entries;
	unsigned int mark;
	unsigned int max_delay;
	bool turns;
};

/**
 * struct source - the messages as the publishing program has them
 * @data: MAX_BATCH messages, each of @size bytes, a cache line's multiple apart
 */
struct source {
	unsigned char *data;
	size_t stride;
	size_t size;
};

/* The message of number @seq, stamped. Valid for the next MAX_BATCH numbers. */
static inline void *source_message(const struct source *s, uint64_t seq)
{
	unsigned char *m = s->data + (seq % MAX_BATCH) * s->stride;

	memcpy(m, &seq, sizeof(seq));
	memcpy(m + s->size - sizeof(seq), &seq, sizeof(seq));
	return m;
}

/**
 * struct check - what a subscriber expects
 * @next: number of the next message
 * @size: payload bytes
 */
struct check {
	uint64_t next;
	size_t size;
};

static inline bool check_message(struct check *c, const void *data, size_t length)
{
	uint64_t first, last;

	if (length != c->size)
		return false;
	memcpy(&first, data, sizeof(first));
	memcpy(&last, (const char *)data + length - sizeof(last), sizeof(last));
	if (first != c->next || last != c->next)
		return false;
	c->next++;
	return true;
}

struct transport;

/**
 * struct transport_ops - one row of the table
 * @name:            in the table and for --transports
 * @summary:         how it moves a message, for the reader of the table
 * @against:         the row of the same round that it is set against, or NULL
 * @bar:             the ratio that it is to reach, or 0
 * @batch:           messages of one publish(), at most MAX_BATCH
 * @every:           it has a show in one of so many rounds, 0: in each; for the slow
 * @option:          what tells apart the rows that share these functions
 * @setup:           before the processes are forked: shared things. An error says
 *                   that this machine does not have the transport.
 * @open_publisher:  in the publisher, before the clock starts
 * @publish:         hand over the messages [first, first + nr); may sleep
 * @open_subscriber: in subscriber @index, before the clock starts; when it returns
 *                   nothing that is published afterwards may pass it by
 * @receive:         take at least one message and at most MAX_BURST, sleep while
 *                   there is none; check each with check_message()
 * @teardown:        after the processes have ended
 *
 * All return 0 or a negative errno, see transport_fail().
 */
struct transport_ops {
	const char *name;
	const char *summary;
	const char *against;
	double bar;
	unsigned int batch;
	unsigned int every;
	unsigned int option;
	int (*setup)(struct transport *t);
	int (*open_publisher)(struct transport *t);
	int (*publish)(struct transport *t, uint64_t first, unsigned int nr);
	int (*open_subscriber)(struct transport *t, unsigned int index);
	int (*receive)(struct transport *t, struct check *check);
	void (*teardown)(struct transport *t);
};

/**
 * struct transport - a transport in one show
 * @shared: what setup made; the processes inherit it
 * @local:  what open_publisher or open_subscriber made, for one process
 * @reason: REASON_SIZE bytes for why something failed
 */
struct transport {
	const struct transport_ops *ops;
	const struct workload *work;
	struct source source;
	void *shared;
	void *local;
	char *reason;
};

/* Writes down why, and returns @error for the caller to return. */
__attribute__((format(printf, 3, 4)))
static inline int transport_fail(struct transport *t, int error, const char *format, ...)
{
	size_t used;
	va_list args;

	va_start(args, format);
	vsnprintf(t->reason, REASON_SIZE, format, args);
	va_end(args);
	used = strlen(t->reason);
	snprintf(t->reason + used, REASON_SIZE - used, ": %s", strerror(-error));
	return error;
}

static inline int transport_disorder(struct transport *t, const struct check *check)
{
	return transport_fail(t, -EBADMSG, "message %llu is lost, torn or out of order",
			      (unsigned long long)check->next);
}

static inline size_t round_up_line(size_t bytes)
{
	return (bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
}

/* blipmq.c */
extern const struct transport_ops blipmq_array_ops;
extern const struct transport_ops blipmq_inplace_ops;
extern const struct transport_ops blipmq_yield_ops;
extern const struct transport_ops blipmq_mark_ops;
extern const struct transport_ops blipmq_single_ops;
extern const struct transport_ops blipmq_single_mark_ops;
/* shmring.c */
extern const struct transport_ops shmring_batch_ops;
extern const struct transport_ops shmring_yield_ops;
extern const struct transport_ops shmring_single_ops;
/* seqpacket.c */
extern const struct transport_ops seqpacket_batch_ops;
extern const struct transport_ops seqpacket_single_ops;

#endif
