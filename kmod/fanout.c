// SPDX-License-Identifier: GPL-2.0
/*
 * Fan-out: a chunk of messages that lie in runs becomes descriptors in rings.
 *
 * Under the topic's lock nothing can fail any more but room in a block ring, which
 * is asked for first. The messages get number and time; then ring by ring the
 * descriptors are written. The references that rings may take were added to the
 * runs before the first descriptor is visible; what is not used is put back. After
 * the locks, one full barrier, and the readers are woken.
 *
 * A subscription of a block ring that joined after room was asked for hears the
 * next fan-out: this one began before it.
 */
#include <linux/ktime.h>
#include <linux/rcupdate.h>

#include "publish.h"

#define RAISE_MORE	16	/* rings, if more take a message than were counted */

static struct bmq_subs *subs_of(const struct bmq_topic *topic, u32 i)
{
	return rcu_dereference(topic->patterns[i]->subs);
}

static struct bmq_sub *sub_at(struct bmq_subs *subs, u32 i)
{
	return smp_load_acquire(&subs->sub[i]);	/* pairs with subs_add() */
}

/*
 * Entries of the arrays of subscriptions: how many rings may take a message. @block:
 * room must be asked for first.
 */
static unsigned int count_subs(const struct bmq_topic *topic, bool *block)
{
	unsigned int nr = 0;
	u32 i;

	*block = false;
	for (i = 0; i < topic->nr_patterns; i++) {
		struct bmq_subs *subs = subs_of(topic, i);

		nr += subs ? subs->nr : 0;
		*block |= READ_ONCE(topic->patterns[i]->nr_block) ||
			  READ_ONCE(topic->patterns[i]->cramped);
	}
	return nr;
}

/* ---- Phase 0: rings that have more subscriptions here than entries ---- */

/* Count the copies of a message that each ring would get, where it may matter. */
static void count_copies(struct bmq_topic *topic, u64 stamp)
{
	u32 i, j;

	lockdep_assert_held(&topic->bus->block_lock);
	for (i = 0; i < topic->nr_patterns; i++) {
		struct bmq_subs *subs = subs_of(topic, i);

		for (j = 0; subs && j < subs->nr; j++) {
			struct bmq_sub *sub = sub_at(subs, j);
			struct bmq_ring *ring;

			if (!sub || !READ_ONCE(sub->ep->ring->cramped) ||
			    bmq_topic_mutes(topic, sub->id))
				continue;
			ring = sub->ep->ring;
			spin_lock(&ring->lock);
			if (ring->copies_stamp != stamp)
				ring->copies = 0;
			ring->copies_stamp = stamp;
			ring->copies += !sub->gone;
			spin_unlock(&ring->lock);
		}
	}
}

static u32 ring_copies(const struct bmq_ring *ring, u64 stamp)
{
	lockdep_assert_held(&ring->lock);
	return stamp && ring->copies_stamp == stamp ? ring->copies : 1;
}

/* ---- Phase 1: room in the block rings ---- */

/*
 * How many of @nr messages can this block ring take, for all its subscriptions so
 * far? A user whose block rings stalled too long has none: they are not waited for.
 */
static unsigned int ring_ask(struct bmq_sub *sub, const struct bmq_chunk *chunk,
			     unsigned int nr, u64 stamp, u64 now)
{
	struct bmq_ring *ring = sub->ep->ring;

	spin_lock(&ring->lock);
	if (ring->stamp != stamp) {
		ring->stamp = stamp;
		ring->multiple = 0;
		ring->spent = bmq_room_spent(sub->ep, now);
	}
	/* One that is deaf may begin to hear at any time: it is no part of this fan-out. */
	if (sub->gone)
		goto out;
	sub->asked = stamp;
	if (ring->broken || ring->closed || ring->spent)
		goto out;
	/* More subscriptions than slots: it never fits, and is lost there. */
	if (ring_copies(ring, stamp) > ring->entries)
		goto out;
	ring->multiple++;
	nr = bmq_ring_capacity(ring, chunk, nr, ring->multiple);
	if (ring->broken)
		nr = chunk->nr;
out:
	spin_unlock(&ring->lock);
	return nr;
}

/* The ring did not take the first message: how much room, for all its subscriptions? */
static void note_need(struct bmq_batch *batch, struct bmq_ring *ring)
{
	struct bmq_topic *topic = batch->topic;
	unsigned int copies = 0;
	u32 i, j;

	for (i = 0; i < topic->nr_patterns; i++) {
		struct bmq_subs *subs = subs_of(topic, i);

		for (j = 0; subs && j < subs->nr; j++) {
			struct bmq_sub *sub = sub_at(subs, j);

			copies += sub && sub->ep->ring == ring &&
				  !READ_ONCE(sub->gone) &&
				  !bmq_topic_mutes(topic, sub->id);
		}
	}
	spin_lock(&ring->lock);
	batch->need = bmq_ring_need(ring, batch->chunk.msgs,
				    clamp(copies, 1u, ring->entries));
	spin_unlock(&ring->lock);
}

/*
 * All or nothing for a message: the prefix of the chunk that every block ring can
 * take. The bus's block lock keeps other fan-outs off these rings until it is
 * written, so room can only grow.
 */
static unsigned int ask_room(struct bmq_batch *batch, u64 stamp, u64 now)
{
	struct bmq_topic *topic = batch->topic;
	struct bmq_chunk *chunk = &batch->chunk;
	unsigned int nr = chunk->nr;
	u32 i, j;

	lockdep_assert_held(&topic->bus->block_lock);
	for (i = 0; i < topic->nr_patterns; i++) {
		struct bmq_subs *subs = subs_of(topic, i);

		for (j = 0; subs && j < subs->nr; j++) {
			struct bmq_sub *sub = sub_at(subs, j);

			if (!sub || sub->ep->ring->policy != BLIPMQ_POLICY_BLOCK ||
			    bmq_topic_mutes(topic, sub->id))
				continue;
			nr = min(nr, ring_ask(sub, chunk, nr, stamp, now));
			if (nr)
				continue;
			if (kref_get_unless_zero(&sub->ep->ref))
				batch->full = sub->ep;
			note_need(batch, sub->ep->ring);
			return 0;
		}
	}
	return nr;
}

/* ---- Phase 2: numbers and descriptors ---- */

static void stamp_headers(struct bmq_topic *topic, struct bmq_chunk *chunk, u64 now)
{
	unsigned int i;

	for (i = 0; i < chunk->nr; i++) {
		struct blipmq_header *header = chunk->msgs[i].header;

		header->seq = topic->seq + 1 + i;
		header->time = now;
		header->topic = topic->id;
	}
}

/* For the run of each part of the chunk: references for @nr rings more. */
static void raise_runs(struct bmq_chunk *chunk, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < chunk->nr_parts; i++)
		bmq_run_get(chunk->msgs[chunk->part[i]].run, nr);
	chunk->spare += nr;
	chunk->raised += nr;
}

static void lower_runs(struct bmq_store *store, struct bmq_chunk *chunk)
{
	unsigned int i;

	for (i = 0; i < chunk->nr_parts; i++)
		bmq_run_put(store, chunk->msgs[chunk->part[i]].run,
			    chunk->raised - chunk->used[i]);
}

/*
 * The policy that this fan-out goes by; false: the subscription of a block ring
 * joined since room was asked for.
 */
static bool policy_of(const struct bmq_sub *sub, u64 stamp, u32 *policy)
{
	const struct bmq_ring *ring = sub->ep->ring;

	lockdep_assert_held(&ring->lock);
	*policy = ring->policy;
	if (*policy != BLIPMQ_POLICY_BLOCK)
		return true;
	if (ring->spent)
		*policy = BLIPMQ_POLICY_DROP_OLDEST;
	return stamp && sub->asked == stamp;
}

/* Write to one ring; note its reader for the wake, once a chunk. */
static void sub_deliver(struct bmq_batch *batch, struct bmq_sub *sub, u64 stamp)
{
	struct bmq_topic *topic = batch->topic;
	struct bmq_chunk *chunk = &batch->chunk;
	struct bmq_ring *ring = sub->ep->ring;
	bool wake;
	unsigned int nr = 0;
	u32 policy;

	/* Arrays of subscriptions may have grown since they were counted. */
	if (!chunk->spare)
		raise_runs(chunk, RAISE_MORE);
	chunk->spare--;
	spin_lock(&ring->lock);
	if (policy_of(sub, stamp, &policy))
		nr = bmq_ring_deliver(ring, sub, chunk, policy,
				      ring_copies(ring, stamp));
	wake = (bmq_ring_take_untold(ring) || nr) &&
	       (ring->woken_topic != topic->id || ring->woken_seq != batch->seq);
	if (wake) {
		ring->woken_topic = topic->id;
		ring->woken_seq = batch->seq;
	}
	spin_unlock(&ring->lock);
	batch->delivered += nr;
	if (wake)
		batch->wake[batch->nr_wake++] = sub->ep;
}

static void sub_mute(struct bmq_batch *batch, struct bmq_sub *sub)
{
	struct bmq_ring *ring = sub->ep->ring;

	spin_lock(&ring->lock);
	if (!sub->gone && !ring->closed && !ring->broken) {
		bmq_ring_address(ring, sub, batch->chunk.nr);
		bmq_ring_lose(ring, sub, BLIPMQ_DROP_FANOUT, batch->chunk.nr);
	}
	spin_unlock(&ring->lock);
}

static void deliver_all(struct bmq_batch *batch, u64 stamp)
{
	struct bmq_topic *topic = batch->topic;
	u32 i, j;

	for (i = 0; i < topic->nr_patterns; i++) {
		struct bmq_subs *subs = subs_of(topic, i);

		for (j = 0; subs && j < subs->nr; j++) {
			struct bmq_sub *sub = sub_at(subs, j);

			if (!sub)
				continue;
			if (batch->nr_wake == BMQ_FANOUT_WAKES ||
			    bmq_topic_mutes(topic, sub->id))
				sub_mute(batch, sub);
			else
				sub_deliver(batch, sub, stamp);
		}
	}
}

/*
 * Take numbers and write.
 * @subs:  how many rings may take a message
 * @stamp: of the count of copies, 0 if there was none
 */
static void fan_out(struct bmq_batch *batch, unsigned int subs, u64 stamp, u64 now)
{
	struct bmq_topic *topic = batch->topic;
	struct bmq_chunk *chunk = &batch->chunk;

	batch->seq = topic->seq + 1;
	if (subs) {
		stamp_headers(topic, chunk, now);
		raise_runs(chunk, subs);
		deliver_all(batch, stamp);
		lower_runs(&topic->bus->store, chunk);
	}
	topic->seq += chunk->nr;
	WRITE_ONCE(topic->used_at, now);
}

static int fanout_locked(struct bmq_batch *batch, unsigned int first)
{
	struct bmq_topic *topic = batch->topic;
	struct bmq_chunk *chunk = &batch->chunk;
	u64 stamp, now = ktime_get_ns();
	unsigned int subs, nr;
	bool block;

	lockdep_assert_held(&topic->lock);
	if (topic->dead)
		return -ESTALE;
	subs = count_subs(topic, &block);
	bmq_chunk_begin(chunk, batch->msg + first,
			clamp(BMQ_FANOUT_STEPS / max(subs, 1u), 1u, batch->nr - first));
	if (!block) {
		fan_out(batch, subs, 0, now);
		return chunk->nr;
	}

	spin_lock(&topic->bus->block_lock);
	stamp = ++topic->bus->block_stamp;
	count_copies(topic, stamp);
	nr = ask_room(batch, stamp, now);
	if (nr) {
		bmq_chunk_cut(chunk, nr);
		fan_out(batch, subs, stamp, now);
	}
	spin_unlock(&topic->bus->block_lock);
	return nr;
}

/* ---- Wake ---- */

/* The ring broke: tell its reader, and the publishers that wait for room there. */
void bmq_tell_broken(struct bmq_endpoint *ep)
{
	wake_up_poll(&ep->wq, EPOLLERR);
	bmq_room_kick(ep, true);
}

/* Woken by the low-water mark; by the first message if a sleeper times others. */
static void ep_wake(struct bmq_endpoint *ep)
{
	struct bmq_ring *ring = ep->ring;
	u32 mark = READ_ONCE(ring->control->need_wakeup);

	if (READ_ONCE(ring->broken)) {
		bmq_tell_broken(ep);
		return;
	}
	if (mark && atomic_read(&ep->eager))
		mark = 1;
	if (!mark || bmq_ring_waiting(ring) < mark)
		return;
	/* After the barrier G: who joined the queue later looks again itself. */
	if (!waitqueue_active(&ep->wq))
		return;
	atomic64_inc(&ep->wakeups);
	wake_up_interruptible_poll(&ep->wq, EPOLLIN | EPOLLRDNORM);
}

/**
 * bmq_fanout() - publish laid-out messages of one topic
 * @batch: the messages, @batch->nr of them; its publisher holds references on runs
 *         and topic
 * @first: of them to begin with
 *
 * Takes as many as one hold of the topic's lock allows; @batch->chunk and
 * @batch->seq tell what became of them.
 *
 * Return: messages published; 0: a block ring has no room, @batch->full is whose;
 * -ESTALE: the topic is gone, look it up again.
 */
int bmq_fanout(struct bmq_batch *batch, unsigned int first)
{
	unsigned int i;
	int nr;

	batch->nr_wake = 0;
	rcu_read_lock();
	spin_lock(&batch->topic->lock);
	nr = fanout_locked(batch, first);
	spin_unlock(&batch->topic->lock);
	if (batch->nr_wake)
		smp_mb();	/* G, matches H; and waitqueue_active() */
	for (i = 0; i < batch->nr_wake; i++)
		ep_wake(batch->wake[i]);
	rcu_read_unlock();
	return nr;
}
