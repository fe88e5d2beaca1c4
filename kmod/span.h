/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the ring share, and nobody else: spans, references, room. There
 * is ring.c for the subscriber's words and what leaves the ring, write.c for what enters it,
 * keep.c for what stays beyond its turn. All of it is under the ring's lock.
 */
#ifndef _BLIPMQ_SPAN_H
#define _BLIPMQ_SPAN_H

#include <linux/atomic.h>
#include <linux/minmax.h>

#include "ring.h"

#define HELD_NONE	U32_MAX	/* a held record whose message was kept */

void bmq_pin(struct bmq_ring *ring, struct bmq_run *run);
void bmq_unpin(struct bmq_ring *ring, u32 page);
bool bmq_pins_fit(const struct bmq_ring *ring, unsigned long nr);
u32 bmq_span_of(const struct bmq_ring *ring, u64 index);
void bmq_sub_leave(struct bmq_ring *ring, u16 slot, unsigned int nr);
void bmq_move_claimed(struct bmq_ring *ring, unsigned int want);
bool bmq_drop_head(struct bmq_ring *ring, unsigned int nr, enum blipmq_drop why);
unsigned int bmq_make_room(struct bmq_ring *ring, unsigned int want, u32 policy,
			   enum blipmq_drop *why);

static inline struct bmq_span *bmq_span_at(const struct bmq_ring *ring, u32 number)
{
	return &ring->spans[number & (ring->entries - 1)];
}

/* Entries that can be written. */
static inline unsigned int bmq_room(const struct bmq_ring *ring)
{
	return ring->entries - (ring->prod - ring->tail);
}

/* Entries from @index on whose descriptors lie side by side; up to @nr. */
static inline unsigned int bmq_side_by_side(const struct bmq_ring *ring, u64 index, u64 nr)
{
	u32 page = min_t(u32, ring->entries, BMQ_DESC_PER_PAGE);

	return min_t(u64, nr, page - (index & (page - 1)));
}

static inline void bmq_charge_pins(struct bmq_ring *ring, const struct bmq_run *run)
{
	ring->pinned += run->nr;
	atomic_long_add(run->nr, &ring->user->pinned);
}

#endif /* _BLIPMQ_SPAN_H */
