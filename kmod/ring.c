// SPDX-License-Identifier: GPL-2.0
/* The ring: the subscriber's words, and what leaves it. See ring.h and uapi/linux/blipmq.h. */
#include <linux/bitmap.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "span.h"

#define SUBS_FIRST	16	/* slots for subscriptions to begin with */

/* ---- References and charges ---- */

/* The only place where a ring puts a reference; the caller clears the record. */
static void put_run(struct bmq_ring *ring, struct bmq_run *run)
{
	ring->pinned -= run->nr;
	atomic_long_sub(run->nr, &ring->user->pinned);
	bmq_run_put(ring->store, run, 1);
}

/*
 * May the ring pin @nr pages more? Under its own limit or as the only run it has,
 * if all rings of the user stay under theirs; one run a user may have always.
 */
bool bmq_pins_fit(const struct bmq_ring *ring, unsigned long nr)
{
	const struct bmq_user *user = ring->user;
	unsigned long pinned = atomic_long_read(&user->pinned);

	if (!pinned)
		return true;
	return (!ring->pinned || ring->pinned + nr <= bmq_pin_limit(user)) &&
	       pinned + nr <= bmq_pin_part(user);
}

/* A reference and a charge for one message, apart from the stretch it was in. */
void bmq_pin(struct bmq_ring *ring, struct bmq_run *run)
{
	bmq_run_get(run, 1);
	bmq_charge_pins(ring, run);
	ring->apart += run->nr;
}

void bmq_unpin(struct bmq_ring *ring, u32 page)
{
	struct bmq_run *run = ring->store->slot[page];

	ring->apart -= run->nr;
	put_run(ring, run);
}

/* The number of the span that an entry is of, or of the next one if none is yet. */
u32 bmq_span_of(const struct bmq_ring *ring, u64 index)
{
	u32 low = ring->span_first, high = ring->span_next;

	while (low != high) {
		u32 mid = low + (high - low) / 2;

		if (bmq_span_at(ring, mid)->end <= index)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The first span has left; if it is the last of its stretch, so has that. */
static void span_leave(struct bmq_ring *ring)
{
	u32 number = ring->span_first++;
	struct bmq_span *span = bmq_span_at(ring, number);
	unsigned int i;

	if (!span->owns)
		return;
	for (i = 0; i < BMQ_RECENT; i++) {
		if (ring->recent[i].open && ring->recent[i].span == number)
			ring->recent[i].open = false;
	}
	span->owns = false;
	put_run(ring, ring->store->slot[span->page]);
}

void bmq_sub_leave(struct bmq_ring *ring, u16 slot, unsigned int nr)
{
	struct bmq_sub *sub = ring->subs[slot];

	sub->queued -= nr;
	if (sub->queued || !sub->gone)
		return;
	WRITE_ONCE(ring->subs[slot], NULL);
	kfree_rcu(sub, rcu);
}

static void kept_leave(struct bmq_ring *ring, u64 end)
{
	u64 index;

	for (index = ring->tail; ring->nr_kept && index < end; index++)
		ring->nr_kept -= __test_and_clear_bit(index & (ring->entries - 1),
						      ring->kept);
}

/* Entries leave from the head, up to @end, and with stretches their references. */
static void entries_leave(struct bmq_ring *ring, u64 end)
{
	kept_leave(ring, end);
	while (ring->tail < end) {
		const struct bmq_span *span = bmq_span_at(ring, ring->span_first);
		unsigned int nr = min(end, span->end) - ring->tail;

		ring->tail += nr;
		bmq_sub_leave(ring, span->sub, nr);
		if (ring->tail == span->end)
			span_leave(ring);
	}
}

static void held_push(struct bmq_ring *ring, u64 index, u32 page)
{
	struct bmq_held *held;

	held = &ring->held[(ring->held_head + ring->held_nr) % ring->held_max];
	held->index = index;
	held->page = page;
	bmq_pin(ring, ring->store->slot[page]);
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
		bmq_unpin(ring, page);
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
static void entries_lose(struct bmq_ring *ring, u64 end, enum blipmq_drop why)
{
	while (ring->tail < end) {
		const struct bmq_span *span = bmq_span_at(ring, ring->span_first);
		u64 stop = min(end, span->end);

		bmq_ring_lose(ring, ring->subs[span->sub], why, stop - ring->tail);
		entries_leave(ring, stop);
	}
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
 * At most BMQ_CHUNK held messages and as many entries: a chunk brings no more.
 */
void bmq_ring_reclaim(struct bmq_ring *ring)
{
	unsigned int steps;

	lockdep_assert_held(&ring->lock);
	for (steps = 0; steps < BMQ_CHUNK && ring->held_nr; steps++) {
		if (ring->held[ring->held_head].index >= ring->release)
			break;
		held_pop(ring);
	}
	entries_leave(ring, min(ring->release, ring->tail + BMQ_CHUNK));
}

/*
 * Claimed entries do not occupy their slots: move them to the held list until
 * there is room for @want, or none is left, or the held list is full.
 */
void bmq_move_claimed(struct bmq_ring *ring, unsigned int want)
{
	bool again = false;

	while (bmq_room(ring) < want && ring->tail < ring->claim) {
		bool kept = test_bit(ring->tail & (ring->entries - 1), ring->kept);

		if (kept || ring->tail < ring->release) {
			entries_leave(ring, ring->tail + 1);
		} else if (ring->held_nr < ring->held_max) {
			held_push(ring, ring->tail,
				  bmq_span_at(ring, ring->span_first)->page);
			entries_leave(ring, ring->tail + 1);
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
bool bmq_drop_head(struct bmq_ring *ring, unsigned int nr, enum blipmq_drop why)
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
	entries_lose(ring, ring->tail + nr, why);
	return true;
}

static bool drop_oldest(struct bmq_ring *ring, unsigned int want,
			enum blipmq_drop *why)
{
	unsigned int tries;

	for (tries = 0; bmq_room(ring) < want; tries++) {
		if (ring->broken)
			*why = BLIPMQ_DROP_BROKEN;
		else if (ring->tail < ring->claim)
			*why = BLIPMQ_DROP_HELD;
		else
			*why = BLIPMQ_DROP_CONTENDED;
		if (ring->broken || ring->tail < ring->claim || tries == BMQ_CAS_TRIES)
			return false;
		if (!bmq_drop_head(ring, want - bmq_room(ring), BLIPMQ_DROP_OLDEST))
			bmq_move_claimed(ring, want);
	}
	return true;
}

/*
 * Make room for @want entries, BMQ_CHUNK at the most, as the policy allows.
 *
 * Return: how many there is room for, up to @want; if fewer, @why.
 */
unsigned int bmq_make_room(struct bmq_ring *ring, unsigned int want,
			   u32 policy, enum blipmq_drop *why)
{
	if (bmq_room(ring) >= want && ring->prod - ring->looked < BMQ_RING_STEPS)
		return want;

	*why = BLIPMQ_DROP_BROKEN;
	if (!bmq_ring_look(ring))
		return 0;
	bmq_ring_reclaim(ring);
	bmq_move_claimed(ring, want);
	if (ring->broken)
		return 0;
	if (bmq_room(ring) >= want)
		return want;
	if (policy == BLIPMQ_POLICY_DROP_OLDEST)
		return drop_oldest(ring, want, why) ? want : min(bmq_room(ring), want);

	*why = ring->tail < ring->claim ? BLIPMQ_DROP_HELD : BLIPMQ_DROP_FULL;
	return bmq_room(ring);
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
	u32 number;

	lockdep_assert_held(&ring->lock);
	*index = max(*index, ring->tail);
	number = bmq_span_of(ring, *index);
	for (steps = 0; steps < BMQ_RING_STEPS && *index < ring->claim; steps++) {
		const struct bmq_span *span = bmq_span_at(ring, number++);
		u64 end = min(span->end, ring->claim);

		if (span->sub == sub->slot)
			*nr += end - *index;
		*index = end;
	}
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
	run = ring->store->slot[bmq_span_at(ring, bmq_span_of(ring, ring->claim))->page];
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
	bmq_move_claimed(ring, bmq_room(ring) +
			 min_t(u64, ring->claim - ring->tail, BMQ_RING_STEPS));
	for (nr = 0; nr < BMQ_RING_STEPS; nr++) {
		if (ring->tail != ring->claim || ring->claim == ring->prod ||
		    bmq_store_idle(ring->store, only) >= need)
			break;
		run = ring->store->slot[bmq_span_at(ring, ring->span_first)->page];
		if (only && run->account->user != only)
			break;
		if (!bmq_drop_head(ring, 1, BLIPMQ_DROP_EVICTED))
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
	entries_leave(ring, min(end, ring->claim));
	entries_lose(ring, end, why);
	return ring->held_nr || ring->tail < ring->prod;
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
	ring->spans = kvcalloc(entries, sizeof(*ring->spans), GFP_KERNEL_ACCOUNT);
	ring->kept = kvcalloc(BITS_TO_LONGS(entries), sizeof(*ring->kept),
			      GFP_KERNEL_ACCOUNT);
	ring->held = kvcalloc(held, sizeof(*ring->held), GFP_KERNEL_ACCOUNT);
	if (!ring->pages || !ring->desc || !ring->spans || !ring->kept || !ring->held ||
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
	kvfree(ring->spans);
	kvfree(ring->kept);
	kvfree(ring->held);
	kvfree(ring->subs);
}
