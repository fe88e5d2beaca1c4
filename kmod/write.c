// SPDX-License-Identifier: GPL-2.0
/* The ring: what enters it, and what of it may. See ring.h and uapi/linux/blipmq.h. */
#include <linux/build_bug.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "span.h"

/* ---- Stretches ---- */

static struct bmq_stretch *stretch_find(struct bmq_ring *ring, u32 page)
{
	unsigned int i;

	for (i = 0; i < BMQ_RECENT; i++) {
		if (ring->recent[i].open && ring->recent[i].page == page)
			return &ring->recent[i];
	}
	return NULL;
}

/* May the ring pin @nr pages, at the most that older messages can make way? */
static bool pins_fit_empty(const struct bmq_ring *ring, unsigned long nr)
{
	const struct bmq_user *user = ring->user;
	unsigned long others = atomic_long_read(&user->pinned) - ring->pinned;

	if (!others && !ring->apart)
		return true;
	return (!ring->apart || ring->apart + nr <= bmq_pin_limit(user)) &&
	       others + ring->apart + nr <= bmq_pin_part(user);
}

/* May the ring pin @nr more pages? Under drop-oldest older messages make way. */
static bool make_pins(struct bmq_ring *ring, unsigned long nr, u32 policy)
{
	unsigned int steps;

	if (bmq_pins_fit(ring, nr))
		return true;
	if (!bmq_ring_look(ring))
		return false;
	bmq_ring_reclaim(ring);
	for (steps = 0; steps < BMQ_RING_STEPS && !bmq_pins_fit(ring, nr); steps++) {
		if (policy != BLIPMQ_POLICY_DROP_OLDEST || ring->broken ||
		    !pins_fit_empty(ring, nr))
			return false;
		bmq_move_claimed(ring, bmq_room(ring) +
				 min_t(u64, ring->claim - ring->tail, BMQ_RING_STEPS));
		if (ring->tail < ring->claim || ring->claim == ring->prod)
			return false;
		bmq_drop_head(ring, 1, BLIPMQ_DROP_PINS);
	}
	return bmq_pins_fit(ring, nr);
}

/*
 * A span for the next @nr entries, at the end of the stretch of @run. A known stretch
 * gives its reference up to it, or has its last span grow; a new one takes one of those
 * that the fan-out raised. A block ring was asked before: its messages are on their way
 * into all rings.
 */
static bool span_grow(struct bmq_ring *ring, const struct bmq_sub *sub,
		      const struct bmq_run *run, unsigned int nr, u32 policy, bool *fresh)
{
	struct bmq_stretch *stretch = stretch_find(ring, run->first);

	*fresh = !stretch;
	if (stretch) {
		struct bmq_span *last = bmq_span_at(ring, stretch->span);

		if (stretch->span + 1 == ring->span_next && last->sub == sub->slot) {
			last->end += nr;
			return true;
		}
		last->owns = false;
	} else {
		if (policy != BLIPMQ_POLICY_BLOCK && !make_pins(ring, run->nr, policy))
			return false;
		stretch = &ring->recent[ring->recent_next++ % BMQ_RECENT];
		stretch->page = run->first;
		stretch->open = true;
		bmq_charge_pins(ring, run);
	}
	stretch->span = ring->span_next++;
	*bmq_span_at(ring, stretch->span) = (struct bmq_span){
		.end = ring->prod + nr,
		.page = run->first,
		.sub = sub->slot,
		.owns = true,
	};
	return true;
}

/* ---- Chunks ---- */

/**
 * bmq_chunk_begin() - messages that are to go out together
 * @chunk: filled in; nobody has taken any
 * @msgs:  the messages
 * @nr:    1 to BMQ_CHUNK
 */
void bmq_chunk_begin(struct bmq_chunk *chunk, struct bmq_msg *msgs, unsigned int nr)
{
	unsigned int i;

	chunk->msgs = msgs;
	chunk->nr = nr;
	chunk->nr_parts = 0;
	chunk->raised = 0;
	chunk->spare = 0;
	for (i = 0; i < nr; i++) {
		if (i && msgs[i].run == msgs[i - 1].run)
			continue;
		chunk->used[chunk->nr_parts] = 0;
		chunk->part[chunk->nr_parts++] = i;
	}
	chunk->part[chunk->nr_parts] = nr;
	memset(chunk->taken, 0, (nr + 1) * sizeof(chunk->taken[0]));
}

/* Only the first @nr messages, at least one, go out. */
void bmq_chunk_cut(struct bmq_chunk *chunk, unsigned int nr)
{
	chunk->nr = nr;
	while (chunk->part[chunk->nr_parts - 1] >= nr)
		chunk->nr_parts--;
	chunk->part[chunk->nr_parts] = nr;
}

/* ---- Delivery ---- */

/* As its descriptor begins: offset and length are one word there as well. */
static void write_place(struct blipmq_desc *desc, u64 place)
{
	BUILD_BUG_ON(offsetof(struct blipmq_desc, length) != sizeof(u32));
	WRITE_ONCE(*(u64 *)desc, place);
}

/* Write @nr entries, not across a page of descriptors. */
static void write_descs(struct bmq_ring *ring, const struct bmq_sub *sub,
			const struct bmq_msg *msg, unsigned int nr, u32 flags)
{
	struct blipmq_desc *desc = bmq_ring_desc(ring, ring->prod);
	const u64 cookie = sub->cookie;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		/* A subscriber may be copying the entry of the lap before; its claim fails. */
		write_place(&desc[i], msg[i].place);
		WRITE_ONCE(desc[i].cookie, cookie);
	}
	if (flags)
		WRITE_ONCE(desc->length, msg->length | flags);
	ring->prod += nr;
}

/* Messages of one run. Return: how many were written, all or none. */
static unsigned int write_stretch(struct bmq_ring *ring, struct bmq_sub *sub,
				  const struct bmq_msg *msg, unsigned int nr,
				  u32 policy, bool *fresh)
{
	unsigned int side, left;

	if (!span_grow(ring, sub, msg->run, nr, policy, fresh)) {
		bmq_ring_lose(ring, sub, ring->broken ? BLIPMQ_DROP_BROKEN :
			      BLIPMQ_DROP_PINS, nr);
		return 0;
	}
	for (left = nr; left; left -= side, msg += side) {
		side = bmq_side_by_side(ring, ring->prod, left);
		write_descs(ring, sub, msg, side, sub->gap ? BLIPMQ_DESC_GAP : 0);
		sub->gap = false;
	}
	sub->queued += nr;
	return nr;
}

/* Messages @first to @end of a chunk, part by part. Return: how many were written. */
static unsigned int write_chunk(struct bmq_ring *ring, struct bmq_sub *sub,
				struct bmq_chunk *chunk, unsigned int first,
				unsigned int end, u32 policy)
{
	unsigned int part, from, to, got, nr = 0;
	bool fresh;

	for (part = 0; part < chunk->nr_parts; part++) {
		from = max_t(unsigned int, first, chunk->part[part]);
		to = min_t(unsigned int, end, chunk->part[part + 1]);
		if (from >= to)
			continue;
		got = write_stretch(ring, sub, &chunk->msgs[from], to - from, policy,
				    &fresh);
		if (!got)
			continue;
		nr += got;
		chunk->used[part] += fresh;
		chunk->taken[from]++;
		chunk->taken[to]--;
	}
	smp_store_release(&ring->page->prod, ring->prod);	/* A, matches B */
	return nr;
}

/* Count messages that are addressed to a subscription, whatever becomes of them. */
void bmq_ring_address(struct bmq_ring *ring, struct bmq_sub *sub, unsigned int nr)
{
	lockdep_assert_held(&ring->lock);
	sub->delivered += nr;
	ring->delivered += nr;
}

/**
 * bmq_ring_deliver() - write a chunk's descriptors
 * @ring:   the ring, locked
 * @sub:    for which of its subscriptions
 * @chunk:  the messages; each of their runs has a reference to spare for this ring
 * @policy: in force now (a block ring over its budget is drop-oldest)
 * @copies: how many of its subscriptions match: a message that needs more slots
 *          than the ring has is lost
 *
 * Every message is written or counted as lost. A ring that is closed, broken or
 * rid of the subscription is absent: it counts nothing.
 *
 * Return: messages written.
 */
unsigned int bmq_ring_deliver(struct bmq_ring *ring, struct bmq_sub *sub,
			      struct bmq_chunk *chunk, u32 policy, u32 copies)
{
	enum blipmq_drop why = BLIPMQ_DROP_FULL;
	unsigned int first = 0, want, got, nr;

	lockdep_assert_held(&ring->lock);
	if (ring->broken) {
		bmq_ring_drain(ring);
		return 0;
	}
	if (sub->gone || ring->closed)
		return 0;

	bmq_ring_address(ring, sub, chunk->nr);
	if (copies > ring->entries) {
		bmq_ring_lose(ring, sub, BLIPMQ_DROP_FULL, chunk->nr);
		return 0;
	}
	if (policy == BLIPMQ_POLICY_DROP_OLDEST && chunk->nr > ring->entries) {
		first = chunk->nr - ring->entries;
		bmq_ring_lose(ring, sub, BLIPMQ_DROP_OLDEST, first);
	}
	want = min(chunk->nr - first, ring->entries);
	got = bmq_make_room(ring, want, policy, &why);
	nr = write_chunk(ring, sub, chunk, first, first + got, policy);
	bmq_ring_lose(ring, sub, why, chunk->nr - first - got);
	return nr;
}

/* How many of the first @nr messages fit under the pin limit, @copies times each? */
static unsigned int pins_prefix(struct bmq_ring *ring,
				const struct bmq_chunk *chunk,
				unsigned int nr, unsigned int copies)
{
	unsigned long need = 0;
	unsigned int part;

	for (part = 0; part < chunk->nr_parts && chunk->part[part] < nr; part++) {
		const struct bmq_run *run = chunk->msgs[chunk->part[part]].run;

		if (stretch_find(ring, run->first))
			continue;
		need += run->nr * copies;
		if (!bmq_pins_fit(ring, need) || (part && need > bmq_pin_limit(ring->user)))
			return chunk->part[part];
	}
	return nr;
}

/**
 * bmq_ring_capacity() - how many of a chunk's messages a block ring can take
 * @ring:   the ring, locked
 * @chunk:  the messages
 * @nr:     how many of them, from the first, are asked for
 * @copies: how often each is to be written: once for each subscription of the ring
 *          that matches; at most the ring's entries
 *
 * What it says stays true until a block ring is written to, which takes the bus's
 * block lock.
 *
 * Return: messages, at most @nr.
 */
unsigned int bmq_ring_capacity(struct bmq_ring *ring,
			       const struct bmq_chunk *chunk,
			       unsigned int nr, unsigned int copies)
{
	enum blipmq_drop why;
	unsigned int fit;

	lockdep_assert_held(&ring->lock);
	nr = clamp(BMQ_CHUNK / copies, 1u, nr);
	nr = bmq_make_room(ring, min(nr * copies, ring->entries),
			   BLIPMQ_POLICY_BLOCK, &why) / copies;
	fit = pins_prefix(ring, chunk, nr, copies);
	if (fit == nr || !bmq_ring_look(ring))
		return fit;
	bmq_ring_reclaim(ring);
	return pins_prefix(ring, chunk, nr, copies);
}

/**
 * bmq_ring_need() - what a block ring lacks that did not take a message
 * @ring:   the ring, locked
 * @msg:    the message
 * @copies: how often it is to be written: at most the ring's entries
 */
struct bmq_need bmq_ring_need(struct bmq_ring *ring, const struct bmq_msg *msg,
			      unsigned int copies)
{
	lockdep_assert_held(&ring->lock);
	return (struct bmq_need){
		.slots = copies,
		.pages = stretch_find(ring, msg->run->first) ? 0 : msg->run->nr * copies,
	};
}

/* Would a block ring take a message that needs so much now? Absent ones take any. */
bool bmq_ring_has_room(struct bmq_ring *ring, const struct bmq_need *need)
{
	enum blipmq_drop why;

	lockdep_assert_held(&ring->lock);
	if (ring->closed || !bmq_ring_look(ring))
		return true;
	bmq_ring_reclaim(ring);
	if (bmq_make_room(ring, need->slots, BLIPMQ_POLICY_BLOCK, &why) < need->slots)
		return false;
	return !need->pages || bmq_pins_fit(ring, need->pages);
}
