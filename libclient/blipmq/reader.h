/* SPDX-License-Identifier: LGPL-2.1+ */
/*
 * The fast path of receiving, inline; libblipmq exports the same functions as
 * symbols for those who cannot include C. They make no system call but for the
 * kick of a publisher, never wait, and leave no reason behind. blipmq_next_batch()
 * and blipmq_release() are these with waiting and reasons around them; both may be
 * mixed on one endpoint.
 *
 * Several threads may receive. To take messages (the compare-and-swap) and to note
 * them as out is one critical section, under the reader's lock: so claims, which are
 * numbered as they are made, are in the order of the ring, and release can pass
 * exactly their finished beginning, in whatever order and by whatever threads messages
 * are finished. What was taken at once is one record. Records need not be adjacent in
 * the ring, as the kernel's drops leave gaps between them.
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

#define BLIPMQ_DONE_BITS	64	/* of a word of blipmq_reader.done */

/**
 * struct blipmq_taken - messages that were taken at once
 * @number: of the first claim; the others follow
 * @index:  of its entry in the ring; the others follow
 */
struct blipmq_taken {
	uint64_t number;
	uint64_t index;
};

/**
 * struct blipmq_reader - one mapped ring; nothing in it is the caller's to touch
 * @words:     the shared words
 * @store:     the bus's messages
 * @held:      claims that may be out at once
 * @mask:      slots of @taken and bits of @done - 1; there are more than @held
 * @fd:        of the endpoint
 * @kicks:     policy is block: publishers may want to be kicked
 * @lock:      protects what follows, and is held when claim or release is stored
 * @first:     number of the oldest claim that release has not passed
 * @next:      number of the next claim: @next - @first are out
 * @nr_done:   of these, finished
 * @taken:     a queue of records; the first one has the last claim that release passed,
 *             or begins with the oldest that is out
 * @taken_first, @taken_next: ends of the queue, counted for ever
 * @done:      by number: finished out of turn
 * @sleepers:  threads that sleep, or are about to
 * @mark:      what need_wakeup is set to
 * @low_water: what it rests at when the descriptor is in others' hands
 * @exported:  it is: poll must be right at any time
 */
struct blipmq_reader {
	struct blipmq_words words;
	const uint8_t *store;
	uint32_t held;
	uint32_t mask;
	int fd;
	bool kicks;

	pthread_mutex_t lock;
	uint64_t first;
	uint64_t next;
	uint64_t nr_done;
	struct blipmq_taken *taken;
	uint64_t taken_first;
	uint64_t taken_next;
	uint64_t *done;
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

/* Fills in what the descriptors of @n entries from @index on say. Touches no message. */
static inline void blipmq_views_set(struct blipmq_view *views, const struct blipmq_reader *r,
				    uint64_t index, unsigned int n)
{
	const struct blipmq_words words = r->words;
	const uint8_t *store = r->store;
	const uint8_t *data;
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct blipmq_desc desc = blipmq_words_desc(&words, index + i);
		uint32_t length = desc.length & BLIPMQ_DESC_LENGTH;

		data = store + (uint64_t)desc.offset * BLIPMQ_ALIGN;
		views[i].data = data;
		views[i].header = (const struct blipmq_header *)(const void *)(data - BLIPMQ_ALIGN);
		views[i].cookie = desc.cookie;
		views[i].index = index + i;
		views[i].length = length;
		views[i].flags = desc.length - length;
	}
}

/* Under the lock, after the claim of @n entries from @index on: they are out. */
static inline void blipmq_reader_note(struct blipmq_reader *r, uint64_t index, unsigned int n)
{
	struct blipmq_taken *taken = &r->taken[r->taken_next++ & r->mask];

	taken->number = r->next;
	taken->index = index;
	r->next += n;
}

/* As blipmq_reader_next(); -EMSGSIZE, and @views[0] for its length only, if the first
 * message has more than @limit bytes: it is not taken.
 */
static inline int blipmq_reader_take(struct blipmq_reader *r, struct blipmq_view *views,
				     unsigned int n, size_t limit)
{
	uint64_t claim, waiting;
	unsigned int room;
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
		blipmq_views_set(views, r, claim, n);
		fits = views[0].length <= limit;
		/* Claiming nothing tells whether the length is the first message's. */
		if (blipmq_words_claim(&r->words, claim, fits ? n : 0)) {
			if (fits)
				blipmq_reader_note(r, claim, n);
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

/* Under the lock: the number behind the last claim of a record. */
static inline uint64_t blipmq_reader_stop(const struct blipmq_reader *r, uint64_t record)
{
	return record + 1 == r->taken_next ? r->next : r->taken[(record + 1) & r->mask].number;
}

/* Under the lock: those of @views that are the oldest that are out, in order. */
static inline unsigned int blipmq_reader_pass(struct blipmq_reader *r,
					      const struct blipmq_view *views, unsigned int n)
{
	uint64_t record = r->taken_first, index, left;
	const struct blipmq_taken *taken;
	unsigned int i = 0, first, end;

	while (i < n && r->first < r->next) {
		if (blipmq_reader_stop(r, record) == r->first)
			record++;
		taken = &r->taken[record & r->mask];
		index = taken->index + (r->first - taken->number);
		left = blipmq_reader_stop(r, record) - r->first;
		first = i;
		end = n - i < left ? n : i + (unsigned int)left;
		for (; i < end && views[i].index == index; i++)
			index++;
		r->first += i - first;
		if (i < end)
			break;
	}
	return i;
}

/* Under the lock, while some are out: the last record that begins at @index or before. */
static inline uint64_t blipmq_reader_record(const struct blipmq_reader *r, uint64_t index)
{
	uint64_t low = r->taken_first, high = r->taken_next, middle;

	while (high - low > 1) {
		middle = low + (high - low) / 2;
		if (r->taken[middle & r->mask].index <= index)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Under the lock: finish one that is out, in whatever order. False if it is not. */
static inline bool blipmq_reader_finish(struct blipmq_reader *r,
					const struct blipmq_view *view)
{
	const struct blipmq_taken *taken;
	uint64_t record, claim, bit, *word;

	if (r->first == r->next)
		return false;
	record = blipmq_reader_record(r, view->index);
	taken = &r->taken[record & r->mask];
	claim = taken->number + (view->index - taken->index);
	if (view->index < taken->index || claim < r->first ||
	    claim >= blipmq_reader_stop(r, record))
		return false;
	word = &r->done[(claim & r->mask) / BLIPMQ_DONE_BITS];
	bit = 1ULL << claim % BLIPMQ_DONE_BITS;
	if (*word & bit)
		return false;
	*word |= bit;
	r->nr_done++;
	while (r->nr_done) {
		word = &r->done[(r->first & r->mask) / BLIPMQ_DONE_BITS];
		bit = 1ULL << r->first % BLIPMQ_DONE_BITS;
		if (!(*word & bit))
			break;
		*word &= ~bit;
		r->nr_done--;
		r->first++;
	}
	return true;
}

/* Under the lock: where release goes, with all before @first finished. */
static inline uint64_t blipmq_reader_end(struct blipmq_reader *r)
{
	const struct blipmq_taken *taken;

	while (blipmq_reader_stop(r, r->taken_first) < r->first)
		r->taken_first++;
	taken = &r->taken[r->taken_first & r->mask];
	return taken->index + (r->first - taken->number);
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
	uint64_t first, end = 0;
	unsigned int i = 0;

	pthread_mutex_lock(&r->lock);
	first = r->first;
	if (!r->nr_done)
		i = blipmq_reader_pass(r, views, n);
	while (i < n && blipmq_reader_finish(r, &views[i]))
		i++;
	/* Under the lock, or an older end could be stored over a newer one. */
	if (r->first != first) {
		end = blipmq_reader_end(r);
		blipmq_words_release(&r->words, end);
	}
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
