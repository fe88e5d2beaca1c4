/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring: descriptors for one subscriber. The contract with the subscriber, its
 * words and its barriers (A to J) stand in uapi/linux/blipmq.h.
 *
 * Ownership. The endpoint owns its ring; the ring owns its pages and a reference
 * on every run that one of its messages lies in: one for each *stretch*, and one
 * for each held message. A stretch is the messages of one run that stand in the
 * ring. What the kernel knows of entries it knows by *spans*: consecutive entries of
 * one run and one subscription. A stretch's reference belongs to the last of its spans
 * and moves on when a further one is written. Everything leaves the ring from its
 * head, in order, so when that span has left, so has the stretch, and its reference.
 * Every reference is put by put_run(), by the one function that clears its record.
 *
 * Locking. @lock guards all but what is marked as shared or fixed. The kernel
 * relies on nothing that it reads from the control page beyond what it checked,
 * and on nothing in the descriptors.
 */
#ifndef _BLIPMQ_RING_H
#define _BLIPMQ_RING_H

#include <linux/spinlock.h>
#include <linux/types.h>

#include <uapi/linux/blipmq.h>

#include "store.h"

/*
 * Messages of one fan-out at the most: a usual batch of small ones, so that it takes each
 * ring's lock, and wakes its reader, once. A touch of the ring puts as many.
 */
#define BMQ_CHUNK		128
#define BMQ_RING_STEPS	64	/* entries looked at, put or dropped in one go, otherwise */
#define BMQ_CAS_TRIES	4	/* before a loss is counted as contended */
#define BMQ_RECENT		4	/* publishers whose last run a ring remembers */
#define BMQ_DESC_PER_PAGE	(PAGE_SIZE / sizeof(struct blipmq_desc))

struct bmq_endpoint;
struct bmq_pattern;

/**
 * struct bmq_sub - a subscription: one pattern feeding one ring
 * @id:      order of birth on the bus; fixed
 * @cookie:  the subscriber's; fixed
 * @ep:      whose ring; fixed
 * @pattern: what it hears; fixed
 * @slot:    index in bmq_ring.subs; fixed
 * @gap:     next descriptor says that messages were lost
 * @gone:    unsubscribed, or not yet subscribed: nothing is written
 * @asked:   stamp of the last fan-out that asked for room for it (fanout.c)
 * @queued:  its entries in the ring, claimed ones included
 * @delivered: messages addressed to it
 * @drops:   of these, lost
 * @rcu:     fan-outs find subscriptions under RCU
 *
 * Guarded by the ring's lock from @gap on. Freed when it is gone and its last
 * entry left the ring.
 */
struct bmq_sub {
	u64 id;
	u64 cookie;
	struct bmq_endpoint *ep;
	struct bmq_pattern *pattern;
	u16 slot;
	bool gap;
	bool gone;
	u32 queued;
	u64 asked;
	u64 delivered;
	u64 drops[BLIPMQ_NR_DROPS];
	struct rcu_head rcu;
};

/**
 * struct bmq_span - consecutive entries of one run and one subscription
 * @end:  behind the last of them; the first is where the span before ends, or the tail
 * @page: first page of the run
 * @sub:  index of the subscription
 * @owns: last of its stretch: has the reference and the charge
 */
struct bmq_span {
	u64 end;
	u32 page;
	u16 sub;
	bool owns;
};

/* A claimed message whose slot was needed; it has a reference of its own. */
struct bmq_held {
	u64 index;
	u32 page;
};

/* The stretch of a run that a further message may extend; @span is its last one. */
struct bmq_stretch {
	u32 span;
	u32 page;
	bool open;
};

/**
 * struct bmq_latch - the message that read(2) or RECV is copying
 * @valid: there is one; it left the ring and counts as claimed once it is copied
 * @page:  of its run, on which it has a reference and a charge
 * @sub:   its subscription, queued there until it is copied
 * @desc:  its descriptor
 */
struct bmq_latch {
	bool valid;
	u16 sub;
	u32 page;
	struct blipmq_desc desc;
};

/**
 * struct bmq_ring - see above
 * @store:   of the bus; fixed
 * @user:    who pays; fixed
 * @entries: a power of two; fixed
 * @held_max: fixed
 * @policy:  fixed
 * @page:    shared: the head of the mapping that the subscriber reads
 * @control: shared: the page that the subscriber writes, or, while the ring is
 *           consumed by read(2), memory that nobody maps
 * @desc:    shared: the descriptors, page by page
 * @pages:   all pages of the ring mapping, in order; fixed
 * @nr_pages: of these; fixed
 * @lock:    guards the rest
 * @span_first, @span_next: ends of the queue of spans, counted for ever
 * @nr_kept: bits that are set in @kept
 * @prod:    entries written
 * @tail:    entries below left their slots
 * @claim:   the last value of control->claim that was right
 * @release: the last value of control->release that was right
 * @looked:  @prod at the last look at the control page
 * @spans:   a queue, of @entries at most: what stands between @tail and @prod
 * @kept:    bits by slot: the message was kept, it does not move to the held list
 * @held:    claimed messages that left their slots, a queue of @held_max
 * @held_head: index of its first element
 * @held_nr: its elements
 * @recent:  stretches that can grow
 * @recent_next: which of them is replaced next
 * @delivered: messages addressed to its subscriptions
 * @pinned:  pages of runs pinned, as often as the ring pins them
 * @apart:   of these, by messages that stand in no slot: held, kept, latched
 * @subs:    subscriptions by slot, NULL where free
 * @nr_subs: size of that array
 * @latch:   see above; one reader at a time
 * @mode:    enum bmq_ring_mode
 * @broken:  the subscriber stored impossible words
 * @untold:  those who wait were not told yet that it broke
 * @closed:  nothing more goes in
 * @released_at: when @release moved last, as far as the kernel saw, ns
 * @stamp:   of the last fan-out that asked for room (fanout.c)
 * @multiple: for how many of its subscriptions
 * @spent:   its user had no budget left then: the policy is not in force
 * @copies_stamp: of the last fan-out that counted all of them
 * @copies:  what it counted
 * @cramped: may have more subscriptions on a topic than entries; only ever set
 * @woken_topic, @woken_seq: the last chunk whose fan-out will wake the reader
 */
struct bmq_ring {
	struct bmq_store *store;
	struct bmq_user *user;
	u32 entries;
	u32 held_max;
	u32 policy;
	struct blipmq_ring_page *page;
	struct blipmq_control *control;
	struct blipmq_desc **desc;
	struct page **pages;
	unsigned int nr_pages;
	struct bmq_span *spans;
	unsigned long *kept;
	struct bmq_held *held;

	spinlock_t lock ____cacheline_aligned;
	bool broken;
	bool untold;
	bool closed;
	u8 mode;
	u8 recent_next;
	u32 held_head;
	u32 held_nr;
	u32 span_first;
	u32 span_next;
	u32 nr_kept;
	u64 prod;
	u64 tail;
	u64 claim;
	u64 release;
	u64 looked;
	struct bmq_stretch recent[BMQ_RECENT];
	u64 delivered;
	unsigned long pinned;
	unsigned long apart;
	struct bmq_sub **subs;
	u32 nr_subs;
	u32 multiple;
	bool spent;
	u32 copies;
	u64 stamp;
	u64 copies_stamp;
	bool cramped;
	u64 woken_topic;
	u64 woken_seq;
	struct bmq_latch latch;
	u64 released_at;
};

/**
 * struct bmq_need - what a message needs in a block ring
 * @slots: one for each of the ring's subscriptions that match
 * @pages: of its run, as often; 0 if the ring pins that already
 */
struct bmq_need {
	u32 slots;
	u32 pages;
};

/* How the ring is consumed: the first use decides. */
enum bmq_ring_mode {
	BMQ_RING_UNUSED,
	BMQ_RING_MAPPED,
	BMQ_RING_READ,
};

/**
 * struct bmq_msg - a message that lies in a run
 * @run:    where
 * @header: there
 * @offset: as in its descriptors
 * @length: of the payload, likewise
 * @place:  both, for loops over many
 */
struct bmq_msg {
	struct bmq_run *run;
	struct blipmq_header *header;
	union {
		struct {
			u32 offset;
			u32 length;
		};
		u64 place;
	};
};

/**
 * struct bmq_chunk - consecutive messages of one topic on their way out
 * @msgs:   the messages
 * @nr:     how many
 * @nr_parts: parts, which are messages side by side in one run
 * @part:   first message of each part, and @nr behind the last
 * @raised: references that were taken for rings on the run of each part
 * @spare:  rings that these still do for
 * @used:   by part: references that rings took over
 * @taken:  differences of how many rings took message i: prefix sums give them
 */
struct bmq_chunk {
	struct bmq_msg *msgs;
	unsigned int nr;
	unsigned int nr_parts;
	unsigned int raised;
	unsigned int spare;
	u16 part[BMQ_CHUNK + 1];
	u16 used[BMQ_CHUNK];
	s16 taken[BMQ_CHUNK + 1];
};

void bmq_chunk_begin(struct bmq_chunk *chunk, struct bmq_msg *msgs, unsigned int nr);
void bmq_chunk_cut(struct bmq_chunk *chunk, unsigned int nr);

int bmq_ring_init(struct bmq_ring *ring, struct bmq_store *store,
		  struct bmq_user *user, u32 entries, u32 held, u32 policy);
void bmq_ring_destroy(struct bmq_ring *ring);

int bmq_ring_add_sub(struct bmq_ring *ring, struct bmq_sub *sub,
		     u32 limit);
void bmq_ring_del_sub(struct bmq_ring *ring, struct bmq_sub *sub);

bool bmq_ring_look(struct bmq_ring *ring);
void bmq_ring_reclaim(struct bmq_ring *ring);
void bmq_ring_address(struct bmq_ring *ring, struct bmq_sub *sub, unsigned int nr);
unsigned int bmq_ring_deliver(struct bmq_ring *ring, struct bmq_sub *sub,
			      struct bmq_chunk *chunk, u32 policy,
			      u32 copies);
unsigned int bmq_ring_capacity(struct bmq_ring *ring,
			       const struct bmq_chunk *chunk,
				  unsigned int nr, unsigned int copies);
void bmq_ring_lose(struct bmq_ring *ring, struct bmq_sub *sub,
		   enum blipmq_drop why, unsigned int nr);
unsigned int bmq_ring_evict(struct bmq_ring *ring, const struct bmq_user *only,
			    unsigned int need);
bool bmq_ring_drain(struct bmq_ring *ring);
struct bmq_need bmq_ring_need(struct bmq_ring *ring, const struct bmq_msg *msg,
			      unsigned int copies);
bool bmq_ring_has_room(struct bmq_ring *ring, const struct bmq_need *need);
bool bmq_ring_claimed(struct bmq_ring *ring, const struct bmq_sub *sub, u64 *index,
		      u64 *nr);
u64 bmq_ring_oldest(struct bmq_ring *ring);
int bmq_ring_set_mode(struct bmq_ring *ring, enum bmq_ring_mode mode);

struct bmq_run *bmq_ring_keep(struct bmq_ring *ring, u64 index);
void bmq_ring_unkeep(struct bmq_ring *ring, struct bmq_run *run);
bool bmq_ring_latch(struct bmq_ring *ring);
void bmq_ring_unlatch(struct bmq_ring *ring);

/* Messages that wait. Without the lock a hint, good after a full barrier. */
static inline u64 bmq_ring_waiting(const struct bmq_ring *ring)
{
	u64 claim = READ_ONCE(ring->control->claim);
	u64 prod = READ_ONCE(ring->page->prod);
	u64 waiting = prod - claim;

	return waiting <= ring->entries ? waiting : 0;
}

/* Did it break, and is the caller, who has the lock, the one to tell those who wait? */
static inline bool bmq_ring_take_untold(struct bmq_ring *ring)
{
	bool untold = ring->untold;

	ring->untold = false;
	return untold;
}

static inline struct blipmq_desc *bmq_ring_desc(const struct bmq_ring *ring,
						u64 index)
{
	u32 i = index & (ring->entries - 1);

	return &ring->desc[i / BMQ_DESC_PER_PAGE][i % BMQ_DESC_PER_PAGE];
}

#endif /* _BLIPMQ_RING_H */
