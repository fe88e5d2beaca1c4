// SPDX-License-Identifier: GPL-2.0
/* The ring: what the kernel does to it. See ring.h and uapi/linux/blipmq.h. */
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "ring.h"

#define SLOT_LIVE	0x1	/* its message was not kept: it may move to the held list */
#define SLOT_OWNS	0x2	/* last of its stretch: has the reference and the charge */

#define SUBS_FIRST	16	/* slots for subscriptions to begin with */

#define HELD_NONE	U32_MAX	/* a held record whose message was kept */

static struct bmq_slot *slot_at(const struct bmq_ring *ring, u64 index)
{
	return &ring->slots[index & (ring->entries - 1)];
}

static unsigned int room(const struct bmq_ring *ring)
{
	return ring->entries - (ring->prod - ring->tail);
}

/* ---- References and charges ---- */

static void charge_pins(struct bmq_ring *ring, const struct bmq_run *run)
{
	ring->pinned += run->nr;
	atomic_long_add(run->nr, &ring->user->pinned);
}

/* The only place where a ring puts a reference; the caller clears the record. */
static void put_run(struct bmq_ring *ring, struct bmq_run *run)
{
	ring->pinned -= run->nr;
	atomic_long_sub(run->nr, &ring->user->pinned);
	bmq_run_put(ring->store, run, 1);
}

/* A reference and a charge for one message, apart from the stretch it was in. */
static void pin(struct bmq_ring *ring, struct bmq_run *run)
{
	bmq_run_get(run, 1);
	charge_pins(ring, run);
	ring->apart += run->nr;
}

static void unpin(struct bmq_ring *ring, u32 page)
{
	struct bmq_run *run = ring->store->slot[page];

	ring->apart -= run->nr;
	put_run(ring, run);
}

/* The last entry of a stretch leaves. */
static void stretch_leave(struct bmq_ring *ring, u64 end, u32 page)
{
	unsigned int i;

	for (i = 0; i < BMQ_RECENT; i++) {
		if (ring->recent[i].open && ring->recent[i].end == end)
			ring->recent[i].open = false;
	}
	put_run(ring, ring->store->slot[page]);
}

static void sub_leave(struct bmq_ring *ring, u16 slot, unsigned int nr)
{
	struct bmq_sub *sub = ring->subs[slot];

	sub->queued -= nr;
	if (sub->queued || !sub->gone)
		return;
	WRITE_ONCE(ring->subs[slot], NULL);
	kfree_rcu(sub, rcu);
}

/* Entries from @index on whose slots, and descriptors, lie side by side; up to @nr. */
static unsigned int side_by_side(const struct bmq_ring *ring, u64 index, u64 nr)
{
	u32 page = min_t(u32, ring->entries, BMQ_DESC_PER_PAGE);

	return min_t(u64, nr, page - (index & (page - 1)));
}

/* Of @nr slots side by side: how many before one of another subscription, or an owner? */
static unsigned int plain_slots(const struct bmq_slot *slot, unsigned int nr, u16 sub)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (slot[i].sub != sub || slot[i].flags & SLOT_OWNS)
			break;
	}
	return i;
}

/* Entries leave from the head, up to @end, and with stretches their references. */
static void slots_leave(struct bmq_ring *ring, u64 end)
{
	while (ring->tail < end) {
		const struct bmq_slot *slot = slot_at(ring, ring->tail);
		unsigned int nr = side_by_side(ring, ring->tail, end - ring->tail);
		unsigned int plain = plain_slots(slot, nr, slot->sub);
		bool owns = plain < nr && slot[plain].sub == slot->sub;

		ring->tail += plain;
		if (owns) {
			stretch_leave(ring, ring->tail, slot[plain].page);
			ring->tail++;
		}
		sub_leave(ring, slot->sub, plain + owns);
	}
}

static void held_push(struct bmq_ring *ring, u64 index, u32 page)
{
	struct bmq_held *held;

	held = &ring->held[(ring->held_head + ring->held_nr) % ring->held_max];
	held->index = index;
	held->page = page;
	pin(ring, ring->store->slot[page]);
	ring->held_nr++;
}

static void held_pop(struct bmq_ring *ring)
{
	struct bmq_held *held = &ring->held[ring->held_head];
	u32 page = held->page;

	held->page = HELD_NONE;
	ring->held_head = (ring->held_head + 1) % ring->held_max;
	ring->held_nr--;
	if (page != HELD_NONE)
		unpin(ring, page);
}

/**
 * bmq_ring_lose() - count messages that a subscription does not get
 * @ring: its ring, locked
 * @sub:  the subscription
 * @why:  the reason
 * @nr:   how many
 */
void bmq_ring_lose(struct bmq_ring *ring, struct bmq_sub *sub,
		   enum blipmq_drop why, unsigned int nr)
{
	lockdep_assert_held(&ring->lock);
	if (!nr)
		return;
	sub->drops[why] += nr;
	sub->gap = true;
	WRITE_ONCE(ring->page->drops[why], ring->page->drops[why] + nr);
}

/* The entries at the head, up to @end, leave unread. */
static void slots_lose(struct bmq_ring *ring, u64 end, enum blipmq_drop why)
{
	u64 index;

	for (index = ring->tail; index < end; index++)
		bmq_ring_lose(ring, ring->subs[slot_at(ring, index)->sub], why, 1);
	slots_leave(ring, end);
}

/* ---- The subscriber's words ---- */

static void ring_break(struct bmq_ring *ring)
{
	ring->broken = true;
	ring->untold = true;
	WRITE_ONCE(ring->page->broken, 1);
}

/**
 * bmq_ring_look() - read and check the subscriber's words
 * @ring: the ring, locked
 *
 * Return: false if the ring is broken, now or before.
 */
bool bmq_ring_look(struct bmq_ring *ring)
{
	u64 release, claim;

	lockdep_assert_held(&ring->lock);
	if (ring->broken)
		return false;
	release = smp_load_acquire(&ring->control->release);	/* F, matches E */
	claim = smp_load_acquire(&ring->control->claim);	/* D, matches C */
	ring->looked = ring->prod;
	if (release < ring->release || release > claim ||
	    claim < ring->claim || claim > ring->prod) {
		ring_break(ring);
		return false;
	}
	if (release != ring->release && ring->policy == BLIPMQ_POLICY_BLOCK)
		ring->released_at = ktime_get_ns();
	ring->release = release;
	ring->claim = claim;
	return true;
}

/*
 * Before a loss is counted as held: did the subscriber release more meanwhile?
 * It may have claimed more as well; what was claimed before counts here.
 */
static bool look_again(struct bmq_ring *ring)
{
	u64 release = smp_load_acquire(&ring->control->release);	/* F, matches E */

	release = min(release, ring->claim);
	if (release < ring->release) {
		ring_break(ring);
		return false;
	}
	if (release == ring->release)
		return false;
	ring->release = release;
	return true;
}

/**
 * bmq_ring_reclaim() - take back what is released, as far as it was looked at
 * @ring: the ring, locked
 *
 * At most BMQ_RING_STEPS held messages and as many entries.
 */
void bmq_ring_reclaim(struct bmq_ring *ring)
{
	unsigned int steps;

	lockdep_assert_held(&ring->lock);
	for (steps = 0; steps < BMQ_RING_STEPS && ring->held_nr; steps++) {
		if (ring->held[ring->held_head].index >= ring->release)
			break;
		held_pop(ring);
	}
	slots_leave(ring, min(ring->release, ring->tail + BMQ_RING_STEPS));
}

/*
 * Claimed entries do not occupy their slots: move them to the held list until
 * there is room for @want, or none is left, or the held list is full.
 */
static void move_claimed(struct bmq_ring *ring, unsigned int want)
{
	bool again = false;

	while (room(ring) < want && ring->tail < ring->claim) {
		struct bmq_slot *slot = slot_at(ring, ring->tail);

		if (!(slot->flags & SLOT_LIVE) || ring->tail < ring->release) {
			slots_leave(ring, ring->tail + 1);
		} else if (ring->held_nr < ring->held_max) {
			held_push(ring, ring->tail, slot->page);
			slots_leave(ring, ring->tail + 1);
		} else if (!again && look_again(ring)) {
			again = true;
			bmq_ring_reclaim(ring);
		} else {
			return;
		}
	}
}

/*
 * Drop @nr unclaimed entries from the head, to which all claimed ones have made
 * way. If the subscriber claimed meanwhile, see what it claimed.
 *
 * Return: true if they are dropped.
 */
static bool drop_head(struct bmq_ring *ring, unsigned int nr, enum blipmq_drop why)
{
	u64 claim = ring->claim;

	if (!try_cmpxchg(&ring->control->claim, &claim, claim + nr)) {	/* D, matches C */
		/* One that fails orders nothing. */
		claim = smp_load_acquire(&ring->control->claim);	/* D, matches C */
		if (claim < ring->claim || claim > ring->prod)
			ring_break(ring);
		else
			ring->claim = claim;
		return false;
	}
	ring->claim += nr;
	slots_lose(ring, ring->tail + nr, why);
	return true;
}

static bool drop_oldest(struct bmq_ring *ring, unsigned int want,
			enum blipmq_drop *why)
{
	unsigned int tries;

	for (tries = 0; room(ring) < want; tries++) {
		if (ring->broken)
			*why = BLIPMQ_DROP_BROKEN;
		else if (ring->tail < ring->claim)
			*why = BLIPMQ_DROP_HELD;
		else
			*why = BLIPMQ_DROP_CONTENDED;
		if (ring->broken || ring->tail < ring->claim || tries == BMQ_CAS_TRIES)
			return false;
		if (!drop_head(ring, want - room(ring), BLIPMQ_DROP_OLDEST))
			move_claimed(ring, want);
	}
	return true;
}

/*
 * Make room for @want entries, BMQ_CHUNK at the most, as the policy allows.
 *
 * Return: how many there is room for, up to @want; if fewer, @why.
 */
static unsigned int make_room(struct bmq_ring *ring, unsigned int want,
			      u32 policy, enum blipmq_drop *why)
{
	if (room(ring) >= want && ring->prod - ring->looked < BMQ_RING_STEPS)
		return want;

	*why = BLIPMQ_DROP_BROKEN;
	if (!bmq_ring_look(ring))
		return 0;
	bmq_ring_reclaim(ring);
	move_claimed(ring, want);
	if (ring->broken)
		return 0;
	if (room(ring) >= want)
		return want;
	if (policy == BLIPMQ_POLICY_DROP_OLDEST)
		return drop_oldest(ring, want, why) ? want : min(room(ring), want);

	*why = ring->tail < ring->claim ? BLIPMQ_DROP_HELD : BLIPMQ_DROP_FULL;
	return room(ring);
}

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

/*
 * May the ring pin @nr pages more? Under its own limit or as the only run it has,
 * if all rings of the user stay under theirs; one run a user may have always.
 */
static bool pins_fit(const struct bmq_ring *ring, unsigned long nr)
{
	const struct bmq_user *user = ring->user;
	unsigned long pinned = atomic_long_read(&user->pinned);

	if (!pinned)
		return true;
	return (!ring->pinned || ring->pinned + nr <= bmq_pin_limit(user)) &&
	       pinned + nr <= bmq_pin_part(user);
}

/* Would it, if all that stands in the ring left? */
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

	if (pins_fit(ring, nr))
		return true;
	if (!bmq_ring_look(ring))
		return false;
	bmq_ring_reclaim(ring);
	for (steps = 0; steps < BMQ_RING_STEPS && !pins_fit(ring, nr); steps++) {
		if (policy != BLIPMQ_POLICY_DROP_OLDEST || ring->broken ||
		    !pins_fit_empty(ring, nr))
			return false;
		move_claimed(ring, room(ring) +
			     min_t(u64, ring->claim - ring->tail, BMQ_RING_STEPS));
		if (ring->tail < ring->claim || ring->claim == ring->prod)
			return false;
		drop_head(ring, 1, BLIPMQ_DROP_PINS);
	}
	return pins_fit(ring, nr);
}

/*
 * Let a stretch of @run end at the next entries. A known one gives its reference
 * up to them; a new one takes one of those that the fan-out raised. A block ring
 * was asked before: its messages are on their way into all rings.
 */
static struct bmq_stretch *stretch_grow(struct bmq_ring *ring,
					struct bmq_run *run, u32 policy,
					bool *fresh)
{
	struct bmq_stretch *stretch = stretch_find(ring, run->first);

	*fresh = !stretch;
	if (stretch) {
		slot_at(ring, stretch->end)->flags &= ~SLOT_OWNS;
		return stretch;
	}
	if (policy != BLIPMQ_POLICY_BLOCK && !make_pins(ring, run->nr, policy))
		return NULL;
	stretch = &ring->recent[ring->recent_next++ % BMQ_RECENT];
	stretch->page = run->first;
	stretch->open = true;
	charge_pins(ring, run);
	return stretch;
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

/* Write @nr entries, not across a page of descriptors. */
static void write_span(struct bmq_ring *ring, const struct bmq_sub *sub,
		       const struct bmq_msg *msg, unsigned int nr, u32 flags)
{
	const struct bmq_slot owner = {
		.page = msg->run->first,
		.sub = sub->slot,
		.flags = SLOT_LIVE,
	};
	struct blipmq_desc *desc = bmq_ring_desc(ring, ring->prod);
	struct bmq_slot *slot = slot_at(ring, ring->prod);
	const u64 cookie = sub->cookie;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		/* A subscriber may be copying the entry of the lap before; its claim fails. */
		WRITE_ONCE(desc[i].offset, msg[i].offset);
		WRITE_ONCE(desc[i].length, msg[i].length | flags);
		WRITE_ONCE(desc[i].cookie, cookie);
		slot[i] = owner;
		flags = 0;
	}
	ring->prod += nr;
}

/* Messages of one run. Return: how many were written, all or none. */
static unsigned int write_stretch(struct bmq_ring *ring, struct bmq_sub *sub,
				  const struct bmq_msg *msg, unsigned int nr,
				  u32 policy, bool *fresh)
{
	struct bmq_stretch *stretch;
	unsigned int span, left;

	stretch = stretch_grow(ring, msg->run, policy, fresh);
	if (!stretch) {
		bmq_ring_lose(ring, sub, ring->broken ? BLIPMQ_DROP_BROKEN :
			      BLIPMQ_DROP_PINS, nr);
		return 0;
	}
	for (left = nr; left; left -= span, msg += span) {
		span = side_by_side(ring, ring->prod, left);
		write_span(ring, sub, msg, span, sub->gap ? BLIPMQ_DESC_GAP : 0);
		sub->gap = false;
	}
	sub->queued += nr;
	stretch->end = ring->prod - 1;
	slot_at(ring, stretch->end)->flags |= SLOT_OWNS;
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
	got = make_room(ring, want, policy, &why);
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
		if (!pins_fit(ring, need) || (part && need > bmq_pin_limit(ring->user)))
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
	nr = make_room(ring, min(nr * copies, ring->entries),
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
	if (make_room(ring, need->slots, BLIPMQ_POLICY_BLOCK, &why) < need->slots)
		return false;
	return !need->pages || pins_fit(ring, need->pages);
}

/**
 * bmq_ring_claimed() - count claimed entries of a subscription in their slots
 * @ring:  the ring, locked
 * @sub:   the subscription
 * @index: where to begin; moves on
 * @nr:    counted so far
 *
 * Return: true if there is more: let others at the lock, then go on.
 */
bool bmq_ring_claimed(struct bmq_ring *ring, const struct bmq_sub *sub, u64 *index,
		      u64 *nr)
{
	unsigned int steps;

	lockdep_assert_held(&ring->lock);
	*index = max(*index, ring->tail);
	for (steps = 0; steps < BMQ_RING_STEPS && *index < ring->claim; steps++)
		*nr += slot_at(ring, (*index)++)->sub == sub->slot;
	return *index < ring->claim;
}

/* When the oldest message that waits was published, ns; U64_MAX if none waits. */
u64 bmq_ring_oldest(struct bmq_ring *ring)
{
	const struct blipmq_header *header;
	const struct bmq_run *run;
	u32 offset;

	lockdep_assert_held(&ring->lock);
	if (ring->claim == ring->prod)
		return U64_MAX;
	run = ring->store->slot[slot_at(ring, ring->claim)->page];
	offset = bmq_ring_desc(ring, ring->claim)->offset - 1 -
		 run->first * BMQ_UNITS_PER_PAGE;
	header = bmq_run_at(run, (unsigned long)offset * BLIPMQ_ALIGN);
	return header->time;
}

/**
 * bmq_ring_evict() - drop the oldest unclaimed messages for a publisher's need
 * @ring: the ring, locked
 * @only: take only messages that this user pays for, or NULL
 * @need: pages; stops when as many are idle
 *
 * At most BMQ_RING_STEPS, from the head; never of a block ring.
 *
 * Return: messages dropped.
 */
unsigned int bmq_ring_evict(struct bmq_ring *ring, const struct bmq_user *only,
			    unsigned int need)
{
	struct bmq_run *run;
	unsigned int nr;

	lockdep_assert_held(&ring->lock);
	if (ring->policy == BLIPMQ_POLICY_BLOCK || ring->closed ||
	    !bmq_ring_look(ring))
		return 0;
	bmq_ring_reclaim(ring);
	if (ring->claim == ring->prod)
		return 0;
	move_claimed(ring, room(ring) +
		     min_t(u64, ring->claim - ring->tail, BMQ_RING_STEPS));
	for (nr = 0; nr < BMQ_RING_STEPS; nr++) {
		if (ring->tail != ring->claim || ring->claim == ring->prod ||
		    bmq_store_idle(ring->store, only) >= need)
			break;
		run = ring->store->slot[slot_at(ring, ring->tail)->page];
		if (only && run->account->user != only)
			break;
		if (!drop_head(ring, 1, BLIPMQ_DROP_EVICTED))
			break;
	}
	return nr;
}

/**
 * bmq_ring_drain() - put what a broken or closed ring has
 * @ring: the ring, locked
 *
 * At most BMQ_RING_STEPS held messages and as many entries; those that nobody
 * claimed count as lost.
 *
 * Return: true if something is left.
 */
bool bmq_ring_drain(struct bmq_ring *ring)
{
	enum blipmq_drop why = ring->broken ? BLIPMQ_DROP_BROKEN : BLIPMQ_DROP_CLOSED;
	unsigned int steps;
	u64 end;

	lockdep_assert_held(&ring->lock);
	if (ring->latch.valid) {
		bmq_ring_lose(ring, ring->subs[ring->latch.sub], why, 1);
		bmq_ring_unlatch(ring);
	}
	for (steps = 0; steps < BMQ_RING_STEPS && ring->held_nr; steps++)
		held_pop(ring);
	end = min(ring->prod, ring->tail + BMQ_RING_STEPS);
	slots_leave(ring, min(end, ring->claim));
	slots_lose(ring, end, why);
	return ring->held_nr || ring->tail < ring->prod;
}

/* ---- Keeping, and receiving by copy ---- */

/* Held records are sorted by index. */
static struct bmq_held *held_find(struct bmq_ring *ring, u64 index)
{
	u32 low = 0, high = ring->held_nr;

	while (low < high) {
		u32 mid = low + (high - low) / 2;
		struct bmq_held *held;

		held = &ring->held[(ring->held_head + mid) % ring->held_max];
		if (held->index == index)
			return held;
		if (held->index < index)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/**
 * bmq_ring_keep() - pin the message of a claimed entry beyond its release
 * @ring:  the ring, locked
 * @index: the subscriber's
 *
 * Return: the run, with a reference and a charge that bmq_ring_unkeep() ends;
 * -EIO: broken; -EINVAL: not claimed, released, or kept before; -ENOSPC: the ring
 * may pin no more.
 */
struct bmq_run *bmq_ring_keep(struct bmq_ring *ring, u64 index)
{
	struct bmq_held *held;
	struct bmq_slot *slot;
	struct bmq_run *run;

	lockdep_assert_held(&ring->lock);
	if (!bmq_ring_look(ring))
		return ERR_PTR(-EIO);
	if (index < ring->release || index >= ring->claim)
		return ERR_PTR(-EINVAL);

	if (index >= ring->tail) {
		slot = slot_at(ring, index);
		if (!(slot->flags & SLOT_LIVE))
			return ERR_PTR(-EINVAL);
		run = ring->store->slot[slot->page];
		if (!pins_fit(ring, run->nr))
			return ERR_PTR(-ENOSPC);
		slot->flags &= ~SLOT_LIVE;
		pin(ring, run);
		return run;
	}

	held = held_find(ring, index);
	if (!held || held->page == HELD_NONE)
		return ERR_PTR(-EINVAL);
	run = ring->store->slot[held->page];
	pin(ring, run);
	held->page = HELD_NONE;
	unpin(ring, run->first);
	return run;
}

void bmq_ring_unkeep(struct bmq_ring *ring, struct bmq_run *run)
{
	lockdep_assert_held(&ring->lock);
	unpin(ring, run->first);
}

/**
 * bmq_ring_latch() - choose the message that a reader copies next
 * @ring: the ring, locked, consumed by read(2)
 *
 * The oldest message leaves the ring and stays chosen, whatever comes, until
 * bmq_ring_unlatch() says that its copy succeeded.
 *
 * Return: false if there is none.
 */
bool bmq_ring_latch(struct bmq_ring *ring)
{
	struct bmq_latch *latch = &ring->latch;
	struct bmq_slot *slot;

	lockdep_assert_held(&ring->lock);
	if (latch->valid)
		return true;
	if (ring->broken || ring->claim == ring->prod)
		return false;

	slot = slot_at(ring, ring->claim);
	latch->valid = true;
	latch->sub = slot->sub;
	latch->page = slot->page;
	latch->desc = *bmq_ring_desc(ring, ring->claim);
	pin(ring, ring->store->slot[slot->page]);
	ring->subs[slot->sub]->queued++;

	ring->claim++;
	ring->release = ring->claim;
	WRITE_ONCE(ring->control->claim, ring->claim);
	WRITE_ONCE(ring->control->release, ring->release);
	if (ring->policy == BLIPMQ_POLICY_BLOCK)
		ring->released_at = ktime_get_ns();
	bmq_ring_reclaim(ring);
	return true;
}

void bmq_ring_unlatch(struct bmq_ring *ring)
{
	lockdep_assert_held(&ring->lock);
	ring->latch.valid = false;
	sub_leave(ring, ring->latch.sub, 1);
	unpin(ring, ring->latch.page);
}

/* Return: 0, or -EBUSY if the ring is consumed the other way. */
int bmq_ring_set_mode(struct bmq_ring *ring, enum bmq_ring_mode mode)
{
	int err = 0;

	spin_lock(&ring->lock);
	if (ring->mode == BMQ_RING_UNUSED)
		ring->mode = mode;
	else if (ring->mode != mode)
		err = -EBUSY;
	spin_unlock(&ring->lock);
	return err;
}

/* ---- Subscriptions ---- */

static int subs_grow(struct bmq_ring *ring, u32 nr)
{
	struct bmq_sub **subs, **old;

	subs = kvcalloc(nr, sizeof(*subs), GFP_KERNEL_ACCOUNT);
	if (!subs)
		return -ENOMEM;
	spin_lock(&ring->lock);
	old = ring->subs;
	if (old)
		memcpy(subs, old, ring->nr_subs * sizeof(*subs));
	ring->subs = subs;
	ring->nr_subs = nr;
	spin_unlock(&ring->lock);
	kvfree(old);
	return 0;
}

/**
 * bmq_ring_add_sub() - give a subscription its slot
 * @ring:  the ring; one caller at a time
 * @sub:   the subscription
 * @limit: most subscriptions, those that are gone but still in the ring included
 *
 * Return: 0, -ENOSPC at the limit, -ENOMEM.
 */
int bmq_ring_add_sub(struct bmq_ring *ring, struct bmq_sub *sub, u32 limit)
{
	u32 slot;
	int err;

	for (slot = 0; slot < ring->nr_subs; slot++) {
		if (!READ_ONCE(ring->subs[slot]))
			break;
	}
	if (slot >= limit)
		return -ENOSPC;
	if (slot == ring->nr_subs) {
		err = subs_grow(ring, min_t(u32, limit, slot ? 2 * slot : SUBS_FIRST));
		if (err)
			return err;
	}
	sub->slot = slot;
	spin_lock(&ring->lock);
	ring->subs[slot] = sub;
	spin_unlock(&ring->lock);
	return 0;
}

/*
 * Nothing more is written for it. It is freed now, or when its last entry leaves
 * the ring; no fan-out finds it any more but those that began before.
 */
void bmq_ring_del_sub(struct bmq_ring *ring, struct bmq_sub *sub)
{
	bool last;

	spin_lock(&ring->lock);
	sub->gone = true;
	last = !sub->queued;
	if (last)
		ring->subs[sub->slot] = NULL;
	spin_unlock(&ring->lock);
	if (last)
		kfree_rcu(sub, rcu);
}

/* ---- Life ---- */

static int ring_alloc_pages(struct bmq_ring *ring)
{
	unsigned int i;

	for (i = 0; i < ring->nr_pages; i++) {
		ring->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!ring->pages[i])
			return -ENOMEM;
		if (i)
			ring->desc[i - 1] = page_address(ring->pages[i]);
	}
	ring->page = page_address(ring->pages[0]);
	ring->control = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	return ring->control ? 0 : -ENOMEM;
}

/**
 * bmq_ring_init() - make a ring
 * @ring:    zeroed
 * @store:   of the bus
 * @user:    who pays for pins
 * @entries: a power of two
 * @held:    1 to @entries
 * @policy:  enum blipmq_policy
 *
 * Return: 0 or -ENOMEM.
 */
int bmq_ring_init(struct bmq_ring *ring, struct bmq_store *store,
		  struct bmq_user *user, u32 entries, u32 held, u32 policy)
{
	spin_lock_init(&ring->lock);
	ring->store = store;
	ring->user = user;
	ring->entries = entries;
	ring->held_max = held;
	ring->policy = policy;
	ring->nr_pages = 1 + DIV_ROUND_UP(entries * sizeof(struct blipmq_desc), PAGE_SIZE);

	ring->pages = kvcalloc(ring->nr_pages, sizeof(*ring->pages), GFP_KERNEL_ACCOUNT);
	ring->desc = kvcalloc(ring->nr_pages, sizeof(*ring->desc), GFP_KERNEL_ACCOUNT);
	ring->slots = kvcalloc(entries, sizeof(*ring->slots), GFP_KERNEL_ACCOUNT);
	ring->held = kvcalloc(held, sizeof(*ring->held), GFP_KERNEL_ACCOUNT);
	if (!ring->pages || !ring->desc || !ring->slots || !ring->held ||
	    ring_alloc_pages(ring)) {
		bmq_ring_destroy(ring);
		return -ENOMEM;
	}
	ring->control->need_wakeup = 1;
	return 0;
}

/* A ring that is drained and that nobody finds any more, or half of one. */
void bmq_ring_destroy(struct bmq_ring *ring)
{
	unsigned int i;

	for (i = 0; ring->pages && i < ring->nr_pages && ring->pages[i]; i++)
		put_page(ring->pages[i]);
	if (ring->control)
		put_page(virt_to_page(ring->control));
	kvfree(ring->pages);
	kvfree(ring->desc);
	kvfree(ring->slots);
	kvfree(ring->held);
	kvfree(ring->subs);
}
