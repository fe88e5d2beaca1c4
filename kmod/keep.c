// SPDX-License-Identifier: GPL-2.0
/*
 * The ring: messages that stay beyond their turn, and those that read(2) and RECV copy.
 * See ring.h and uapi/linux/blipmq.h.
 */
#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/ktime.h>

#include "span.h"

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
	u64 slot = index & (ring->entries - 1);
	struct bmq_held *held;
	struct bmq_run *run;

	lockdep_assert_held(&ring->lock);
	if (!bmq_ring_look(ring))
		return ERR_PTR(-EIO);
	if (index < ring->release || index >= ring->claim)
		return ERR_PTR(-EINVAL);

	if (index >= ring->tail) {
		if (test_bit(slot, ring->kept))
			return ERR_PTR(-EINVAL);
		run = ring->store->slot[bmq_span_at(ring, bmq_span_of(ring, index))->page];
		if (!bmq_pins_fit(ring, run->nr))
			return ERR_PTR(-ENOSPC);
		__set_bit(slot, ring->kept);
		ring->nr_kept++;
		bmq_pin(ring, run);
		return run;
	}

	held = held_find(ring, index);
	if (!held || held->page == HELD_NONE)
		return ERR_PTR(-EINVAL);
	run = ring->store->slot[held->page];
	bmq_pin(ring, run);
	held->page = HELD_NONE;
	bmq_unpin(ring, run->first);
	return run;
}

void bmq_ring_unkeep(struct bmq_ring *ring, struct bmq_run *run)
{
	lockdep_assert_held(&ring->lock);
	bmq_unpin(ring, run->first);
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
	const struct bmq_span *span;

	lockdep_assert_held(&ring->lock);
	if (latch->valid)
		return true;
	if (ring->broken || ring->claim == ring->prod)
		return false;

	span = bmq_span_at(ring, bmq_span_of(ring, ring->claim));
	latch->valid = true;
	latch->sub = span->sub;
	latch->page = span->page;
	latch->desc = *bmq_ring_desc(ring, ring->claim);
	bmq_pin(ring, ring->store->slot[span->page]);
	ring->subs[span->sub]->queued++;

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
	bmq_sub_leave(ring, ring->latch.sub, 1);
	bmq_unpin(ring, ring->latch.page);
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
