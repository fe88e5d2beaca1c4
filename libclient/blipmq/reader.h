/* SPDX-License-Identifier: LGPL-2.1+ */
/*
 * The fast path of receiving, inline; libblipmq exports the same functions as
 * symbols for those who cannot include C. They make no system call but for the
 * kick of a publisher, never wait, and leave no reason behind. blipmq_next_batch()
 * and blipmq_release() are these with waiting and reasons around them; both may be
 * mixed on one endpoint.
 *
 * Several threads may receive. To take messages (the compare-and-swap) and to list
 * them as out is one critical section, under the reader's lock: so the list is in
 * the order of the ring, and release can pass exactly its finished beginning, in
 * whatever order and by whatever threads messages are finished. Claims need not be
 * adjacent, as the kernel's drops leave gaps between them; so the list is not
 * indexed by ring entries but by counting the claims themselves.
 */
#ifndef BLIPMQ_READER_H
#define BLIPMQ_READER_H

#include <errno.h>
#include <pthread.h>

#include <blipmq.h>
#include <blipmq/ring.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* It is extern in the one place of the library that makes the symbols. */
#ifndef BLIPMQ_LINKAGE
#define BLIPMQ_LINKAGE	static
#endif

#define BLIPMQ_CLAIM_DONE	(1ULL << 63)	/* in blipmq_reader.out: finished */

/**
 * struct blipmq_reader - one mapped ring; nothing in it is the caller's to touch
 * @words:     the shared words
 * @store:     the bus's messages
 * @held:      claims that may be out at once
 * @out_mask:  slots of @out - 1; there are at least @held
 * @fd:        of the endpoint
 * @kicks:     policy is block: publishers may want to be kicked
 * @lock:      protects what follows, and is held when claim or release is stored
 * @first:     number of the oldest claim that release has not passed
 * @next:      number of the next claim: @next - @first are out
 * @out:       by number: the ring's entry, and BLIPMQ_CLAIM_DONE
 * @sleepers:  threads that sleep, or are about to
 * @mark:      what need_wakeup is set to
 * @low_water: what it rests at when the descriptor is in others' hands
 * @exported:  it is: poll must be right at any time
 */
struct blipmq_reader {
	struct blipmq_words words;
	const uint8_t *store;
	uint32_t held;
	uint32_t out_mask;
	int fd;
	bool kicks;

	pthread_mutex_t lock;
	uint64_t first;
	uint64_t next;
	uint64_t *out;
	uint32_t sleepers;
	uint32_t mark;
	uint32_t low_water;
	bool exported;
};

/**
 * blipmq_reader_kick() - tell the kernel to look at release, for a publisher's sake
 */
void blipmq_reader_kick(const struct blipmq_reader *r);

#if BLIPMQ_LOCK_FREE

/* Fills in what the descriptor of entry @index says. Touches no message. */
static inline void blipmq_view_set(struct blipmq_view *view, const struct blipmq_reader *r,
				   uint64_t index)
{
	struct blipmq_desc desc = blipmq_words_desc(&r->words, index);
	const uint8_t *data = r->store + (uint64_t)desc.offset * BLIPMQ_ALIGN;

	view->data = data;
	view->header = (const struct blipmq_header *)(const void *)(data - BLIPMQ_ALIGN);
	view->cookie = desc.cookie;
	view->index = index;
	view->length = desc.length & BLIPMQ_DESC_LENGTH;
	view->flags = desc.length & ~BLIPMQ_DESC_LENGTH;
}

/* Under the lock, after the claim of @n entries: list them as out. */
static inline void blipmq_reader_list(struct blipmq_reader *r, struct blipmq_view *views,
				      unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		views[i].claim = r->next++;
		r->out[views[i].claim & r->out_mask] = views[i].index;
	}
}

/* As blipmq_reader_next(); -EMSGSIZE, and @views[0] for its length only, if the first
 * message has more than @limit bytes: it is not taken.
 */
static inline int blipmq_reader_take(struct blipmq_reader *r, struct blipmq_view *views,
				     unsigned int n, size_t limit)
{
	uint64_t claim, waiting;
	unsigned int i, room;
	bool fits;
	int ret;

	pthread_mutex_lock(&r->lock);
	room = r->held - (unsigned int)(r->next - r->first);
	if (n > room)
		n = room;
	for (;;) {
		waiting = blipmq_words_waiting(&r->words, &claim);
		if (n > waiting)
			n = (unsigned int)waiting;
		ret = blipmq_words_broken(&r->words) ? -EIO :
		      !room ? -ENOBUFS : !n ? -EAGAIN : (int)n;
		if (ret < 0)
			break;
		for (i = 0; i < n; i++)
			blipmq_view_set(&views[i], r, claim + i);
		fits = views[0].length <= limit;
		/* Claiming nothing tells whether the length is the first message's. */
		if (blipmq_words_claim(&r->words, claim, fits ? n : 0)) {
			if (fits)
				blipmq_reader_list(r, views, n);
			else
				ret = -EMSGSIZE;
			break;
		}
		/* The kernel is dropping these: be quicker. */
		n = (n + 1) / 2;
	}
	pthread_mutex_unlock(&r->lock);
	return ret;
}

/**
 * blipmq_reader_next() - take waiting messages
 * @views: out: for up to @n, oldest first
 * @n:     at least 1
 *
 * Returns how many, or -EAGAIN (none waits), -ENOBUFS (the held bound is out), -EIO
 * (the ring is broken).
 */
BLIPMQ_LINKAGE inline int blipmq_reader_next(struct blipmq_reader *r,
					     struct blipmq_view *views, unsigned int n)
{
	return blipmq_reader_take(r, views, n, BLIPMQ_DESC_LENGTH);
}

/**
 * blipmq_reader_release() - done with views
 * @views: in any order
 * @n:     how many
 *
 * Returns how many were released: fewer than @n if the next one is not out.
 */
BLIPMQ_LINKAGE inline unsigned int blipmq_reader_release(struct blipmq_reader *r,
							 const struct blipmq_view *views,
							 unsigned int n)
{
	uint64_t end = 0, *out;
	unsigned int i;

	pthread_mutex_lock(&r->lock);
	for (i = 0; i < n; i++) {
		out = &r->out[views[i].claim & r->out_mask];
		if (views[i].claim - r->first >= r->next - r->first || *out != views[i].index)
			break;
		*out |= BLIPMQ_CLAIM_DONE;
	}
	while (r->first != r->next && r->out[r->first & r->out_mask] & BLIPMQ_CLAIM_DONE) {
		end = (r->out[r->first & r->out_mask] & ~BLIPMQ_CLAIM_DONE) + 1;
		r->first++;
	}
	/* Under the lock, or an older end could be stored over a newer one. */
	if (end)
		blipmq_words_release(&r->words, end);
	pthread_mutex_unlock(&r->lock);

	if (end && r->kicks && blipmq_words_blocked(&r->words, end))
		blipmq_reader_kick(r);
	return i;
}

#endif /* BLIPMQ_LOCK_FREE */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* BLIPMQ_READER_H */
