// SPDX-License-Identifier: LGPL-2.1+
/*
 * The reader of a mapped ring: the symbols of its inline calls, and going to sleep.
 * It knows pages, not where they come from; so it also runs on those of a test.
 *
 * need_wakeup never becomes 0: a kernel that looks at it and finds nobody asleep
 * does next to nothing, but a thread that set it to 0 while another one sleeps
 * would leave that one asleep.
 */
#include <stdlib.h>

#define BLIPMQ_LINKAGE extern
#include <blipmq/reader.h>

#include "endpoint.h"

#if BLIPMQ_LOCK_FREE

/* Returns 0, -ENOMEM or what pthread_mutex_init() says. @words are copied. */
int blipmq__reader_init(struct blipmq_reader *r, const struct blipmq_words *words,
			const void *store, uint32_t held)
{
	uint32_t slots = BLIPMQ_DONE_BITS;

	while (slots <= held)
		slots *= 2;
	r->taken = calloc(slots, sizeof(*r->taken));
	r->done = calloc(slots / BLIPMQ_DONE_BITS, sizeof(*r->done));
	if (!r->taken || !r->done) {
		free(r->done);
		r->done = NULL;
		return -ENOMEM;
	}
	r->words = *words;
	r->store = store;
	r->held = held;
	r->mask = slots - 1;
	r->mark = 1;
	r->low_water = 1;
	return -pthread_mutex_init(&r->lock, NULL);
}

/* Tolerates one that was never, or half, initialised. */
void blipmq__reader_exit(struct blipmq_reader *r)
{
	if (r->done)
		pthread_mutex_destroy(&r->lock);
	free(r->taken);
	free(r->done);
}

/* Under the lock. */
static void reader_mark(struct blipmq_reader *r, uint32_t mark)
{
	r->mark = mark;
	blipmq_words_arm(&r->words, mark);
}

/*
 * A thread is about to sleep until @min wait: the smallest wish of all holds, and
 * that of whoever polls the descriptor is one of them. Returns how many wait: if
 * @min or more, it must not sleep. In any case it calls blipmq__reader_disarm().
 */
uint64_t blipmq__reader_arm(struct blipmq_reader *r, uint32_t min)
{
	uint64_t claim, waiting;

	pthread_mutex_lock(&r->lock);
	if (r->exported && r->low_water < min)
		min = r->low_water;
	if (r->sleepers++ && r->mark < min)
		min = r->mark;
	reader_mark(r, min);
	waiting = blipmq_words_waiting(&r->words, &claim);
	pthread_mutex_unlock(&r->lock);
	return waiting;
}

/* Nobody is left asleep: only a foreign poll may still care for the mark. */
void blipmq__reader_disarm(struct blipmq_reader *r)
{
	pthread_mutex_lock(&r->lock);
	if (!--r->sleepers && r->exported)
		reader_mark(r, r->low_water);
	pthread_mutex_unlock(&r->lock);
}

/* From now on somebody polls the descriptor, and wants to know of @low_water; 0: of
 * as many as before.
 */
void blipmq__reader_export(struct blipmq_reader *r, uint32_t low_water)
{
	pthread_mutex_lock(&r->lock);
	r->exported = true;
	if (low_water)
		r->low_water = low_water;
	if (!r->sleepers || r->low_water < r->mark)
		reader_mark(r, r->low_water);
	pthread_mutex_unlock(&r->lock);
}

#endif /* BLIPMQ_LOCK_FREE */
