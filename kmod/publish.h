/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Publishing: from user memory into runs (publish.c), from runs into rings
 * (fanout.c), and waiting where a block ring is full (room.c).
 *
 * Ownership. A publish has a batch to itself. A batch holds a reference on its
 * topic, and one on each run for the messages of it that stand side by side.
 */
#ifndef _BLIPMQ_PUBLISH_H
#define _BLIPMQ_PUBLISH_H

#include "endpoint.h"
#include "ring.h"
#include "topic.h"

#define BMQ_FANOUT_STEPS	4096	/* descriptors written under one topic lock */
/* Rings woken: of all who hear the topic, and of who joins while others leave. */
#define BMQ_FANOUT_WAKES	(2 * BMQ_FANOUT_MAX)

struct iov_iter;

/**
 * struct bmq_batch - working space of one publish
 * @ep:      who publishes
 * @account: who pays: of the endpoint, in the caller's memory cgroup
 * @topic:   of the chunk
 * @nr:      messages of the chunk, laid out
 * @msg:     these
 * @header:  of all of them, but for number, time, topic and length
 * @trailer: of all of them, in whole words
 * @trailer_len: bytes of it, up to the end of the last word
 * @chunk:   what fan-out works on: a part of @msg
 * @seq:     number of the first message of @chunk, once it is out
 * @full:    whose block ring has no room, with a reference
 * @need:    what the first message of @chunk needs there
 * @nr_wake: endpoints to wake
 * @wake:    these; under RCU
 * @in:      messages as user space describes them
 * @wanted:  user space asks for results
 * @result:  as it is told
 * @subject: of a message that has no handle
 * @reason, @detail: why the first message not done was not
 * @nonblock: do not wait for room
 * @delivered: subscriptions that took a message, all together
 */
struct bmq_batch {
	struct bmq_endpoint *ep;
	struct bmq_account *account;
	struct bmq_topic *topic;
	unsigned int nr;
	struct bmq_msg msg[BMQ_CHUNK];
	struct blipmq_header header;
	u64 trailer[DIV_ROUND_UP(BLIPMQ_SUBJECT_MAX, sizeof(u64))];
	u32 trailer_len;
	struct bmq_chunk chunk;
	u64 seq;
	struct bmq_endpoint *full;
	struct bmq_need need;
	unsigned int nr_wake;
	struct bmq_endpoint *wake[BMQ_FANOUT_WAKES];
	struct blipmq_message in[BMQ_CHUNK];
	struct blipmq_result result[BMQ_CHUNK];
	char subject[BLIPMQ_SUBJECT_MAX];
	int reason;
	u32 detail;
	bool nonblock;
	bool wanted;
	u64 delivered;
};

int bmq_publish(struct bmq_endpoint *ep, struct blipmq_publish *args, bool nonblock);
ssize_t bmq_publish_iter(struct bmq_endpoint *ep, struct iov_iter *from, bool nonblock);

int bmq_fanout(struct bmq_batch *batch, unsigned int first);
void bmq_tell_broken(struct bmq_endpoint *ep);

int bmq_room_wait(struct bmq_endpoint *full, const struct bmq_need *need, u64 since);
void bmq_room_refused(struct bmq_endpoint *ep, struct bmq_endpoint *full,
		      const struct bmq_need *need);
bool bmq_room_poll(struct bmq_endpoint *ep);
void bmq_room_kick(struct bmq_endpoint *full, bool again);
void bmq_room_forget(struct bmq_endpoint *ep, struct bmq_endpoint *full);
void bmq_room_work(struct work_struct *work);
bool bmq_room_spent(const struct bmq_endpoint *ep, u64 now);

bool bmq_publisher_rest(struct bmq_endpoint *ep, unsigned long since);
void bmq_ring_settle(struct bmq_ring *ring);
bool bmq_evict(struct bmq_bus *bus, struct bmq_user *user, unsigned int nr);

#endif /* _BLIPMQ_PUBLISH_H */
