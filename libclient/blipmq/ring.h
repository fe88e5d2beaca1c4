/* SPDX-License-Identifier: LGPL-2.1+ */
/*
 * The words that a subscriber shares with the kernel, and every barrier that
 * belongs to them. Nothing else in the library touches them. The letters are those
 * of <linux/blipmq.h>, which has the kernel's half beside this one.
 *
 *	release <= claim <= prod	(entries counted for ever)
 *
 * To receive, in this order:
 *   c = claim, acquire; only then p = prod, acquire (B): p - c is never negative,
 *       and who sees p sees the descriptors below it and their whole messages.
 *       Without it a descriptor of an earlier lap is read
 *   copy descriptors [c, c + k); the kernel may overwrite them meanwhile
 *   claim: c -> c + k by compare-and-swap, acq_rel (C): the copies come before it,
 *       and mean something only if it succeeds, because the kernel drops the oldest
 *       by the same means. Without it an overwritten descriptor is used
 *   use the messages
 *   release = r, store-release (E): the last load of a message comes before it, as
 *       after it the kernel writes there. r is the end of the oldest claims that
 *       are all finished; it never goes back and never passes claim
 * To sleep:
 *   need_wakeup = n, full fence (H), look again, sleep if fewer than n wait. Of the
 *       publisher, who stores prod and then looks at need_wakeup, and us at least
 *       one sees the other; acquire and release do not order a store before a load
 * After a release on a ring with policy block:
 *   full fence (J), look at blocked, and kick if it is set and release reached it.
 *       Likewise for a publisher who waits for room
 *
 * Which thread may do what is not decided here but in <blipmq/reader.h>.
 */
#ifndef BLIPMQ_RING_H
#define BLIPMQ_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/blipmq.h>

/*
 * The ring needs an 8-byte compare-and-swap that other processors see as one step.
 * A machine without one receives by copying.
 */
#if defined(__GCC_ATOMIC_LLONG_LOCK_FREE) && __GCC_ATOMIC_LLONG_LOCK_FREE == 2
#define BLIPMQ_LOCK_FREE	1
#else
#define BLIPMQ_LOCK_FREE	0
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct blipmq_words - where the shared words are mapped
 * @prod:        written by the kernel
 * @blocked:     likewise; 0, or a publisher waits until release reaches it
 * @broken:      likewise; not 0 once the ring is broken
 * @desc:        likewise; descriptors
 * @claim:       written by both, by compare-and-swap
 * @release:     written by the subscriber
 * @need_wakeup: likewise
 * @mask:        entries - 1
 */
struct blipmq_words {
	const __aligned_u64 *prod;
	const __aligned_u64 *blocked;
	const uint32_t *broken;
	const struct blipmq_desc *desc;
	__aligned_u64 *claim;
	__aligned_u64 *release;
	uint32_t *need_wakeup;
	uint64_t mask;
};

#if BLIPMQ_LOCK_FREE

/* Returns how many messages wait, and in @claim the first of them. */
static inline uint64_t blipmq_words_waiting(const struct blipmq_words *w, uint64_t *claim)
{
	/* First, and acquire, so that prod is loaded after it. */
	*claim = __atomic_load_n(w->claim, __ATOMIC_ACQUIRE);
	/* B, matches A */
	return __atomic_load_n(w->prod, __ATOMIC_ACQUIRE) - *claim;
}

/* A copy that means something once blipmq_words_claim() took @index. */
static inline struct blipmq_desc blipmq_words_desc(const struct blipmq_words *w, uint64_t index)
{
	const struct blipmq_desc *shared = &w->desc[index & w->mask];
	struct blipmq_desc desc;

	desc.offset = __atomic_load_n(&shared->offset, __ATOMIC_RELAXED);
	desc.length = __atomic_load_n(&shared->length, __ATOMIC_RELAXED);
	desc.cookie = __atomic_load_n(&shared->cookie, __ATOMIC_RELAXED);
	return desc;
}

/* Takes [@claim, @claim + @n): false if the kernel moved claim meanwhile. */
static inline bool blipmq_words_claim(const struct blipmq_words *w, uint64_t claim, uint64_t n)
{
	__u64 expected = claim;

	/* C, matches D */
	return __atomic_compare_exchange_n(w->claim, &expected, claim + n, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Gives everything below @end back. */
static inline void blipmq_words_release(const struct blipmq_words *w, uint64_t end)
{
	/* E, matches F */
	__atomic_store_n(w->release, end, __ATOMIC_RELEASE);
}

/* After blipmq_words_release(): does a publisher want to be kicked for it? */
static inline bool blipmq_words_blocked(const struct blipmq_words *w, uint64_t end)
{
	uint64_t blocked;

	/* J, matches I */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	blocked = __atomic_load_n(w->blocked, __ATOMIC_RELAXED);
	return blocked && end >= blocked;
}

/* Before sleeping: wake me when @n wait. Look again after it. */
static inline void blipmq_words_arm(const struct blipmq_words *w, uint32_t n)
{
	/* The publisher reads this line all the time: leave it alone if we can. */
	if (__atomic_load_n(w->need_wakeup, __ATOMIC_RELAXED) != n)
		__atomic_store_n(w->need_wakeup, n, __ATOMIC_RELAXED);
	/* H, matches G */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline bool blipmq_words_broken(const struct blipmq_words *w)
{
	return __atomic_load_n(w->broken, __ATOMIC_RELAXED);
}

#endif /* BLIPMQ_LOCK_FREE */

#ifdef __cplusplus
}
#endif

#endif /* BLIPMQ_RING_H */
