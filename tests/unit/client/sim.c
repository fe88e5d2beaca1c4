// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE	/* pthread_cond_clockwait() */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim.h"
#include "test.h"

#define RUBBISH		0xdd
#define TRIES		4	/* at claim, then the message is lost */
#define LOOK_NSEC	10000000	/* who waits for room looks that often */

/* The only ring that the calls below can mean. */
static struct sim *the_sim;

static void pages_make(struct sim *sim)
{
	const size_t bytes = (size_t)sim->nr_slots * SIM_SLOT;
	uint32_t i;

	sim->page = calloc(1, sizeof(*sim->page));
	sim->desc = calloc(sim->entries, sizeof(*sim->desc));
	sim->control = calloc(1, sizeof(*sim->control));
	sim->control->need_wakeup = 1;
	sim->store = aligned_alloc(BLIPMQ_ALIGN, bytes);
	memset(sim->store, RUBBISH, bytes);
	sim->run = calloc(sim->entries, sizeof(*sim->run));
	sim->held_list = calloc(sim->held, sizeof(*sim->held_list));
	sim->free_slots = calloc(sim->nr_slots, sizeof(*sim->free_slots));
	for (i = 0; i < sim->nr_slots; i++)
		sim->free_slots[sim->nr_free++] = i;
	for (i = 0; i < sim->entries; i++)
		sim->run[i] = SIM_NONE;
	for (i = 0; i < SIM_KEPT_MAX; i++)
		sim->kept[i].slot = SIM_NONE;
}

struct sim *sim_new(uint32_t entries, uint32_t held, uint32_t policy)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	struct blipmq_words words;

	sim->entries = entries;
	sim->held = held;
	sim->policy = policy;
	sim->nr_slots = entries + held + SIM_KEPT_MAX;
	pages_make(sim);
	pthread_mutex_init(&sim->lock, NULL);
	pthread_mutex_init(&sim->queue, NULL);
	pthread_cond_init(&sim->wake, NULL);
	pthread_cond_init(&sim->room, NULL);

	words = (struct blipmq_words){
		.prod = &sim->page->prod,
		.blocked = &sim->page->blocked,
		.broken = &sim->page->broken,
		.desc = sim->desc,
		.claim = &sim->control->claim,
		.release = &sim->control->release,
		.need_wakeup = &sim->control->need_wakeup,
		.mask = entries - 1,
	};
	pthread_mutex_init(&sim->b.lock, NULL);
	EXPECT(!blipmq__reader_init(&sim->b.reader, &words, sim->store, held));
	sim->b.reader.kicks = policy == BLIPMQ_POLICY_BLOCK;
	sim->b.entries = entries;
	sim->b.consume = CONSUME_MAPPED;
	the_sim = sim;
	return sim;
}

void sim_free(struct sim *sim)
{
	the_sim = NULL;
	blipmq__reader_exit(&sim->b.reader);
	pthread_mutex_destroy(&sim->b.lock);
	pthread_mutex_destroy(&sim->lock);
	pthread_mutex_destroy(&sim->queue);
	pthread_cond_destroy(&sim->wake);
	pthread_cond_destroy(&sim->room);
	free(sim->page);
	free(sim->desc);
	free(sim->control);
	free(sim->store);
	free(sim->run);
	free(sim->held_list);
	free(sim->free_slots);
	free(sim);
}

/* ---- The ring, under its lock ---- */

static void put(struct sim *sim, uint32_t *slot)
{
	if (*slot == SIM_NONE)
		return;
	memset(sim->store + (size_t)*slot * SIM_SLOT, RUBBISH, SIM_SLOT);
	sim->free_slots[sim->nr_free++] = *slot;
	*slot = SIM_NONE;
}

static uint32_t *run_of(struct sim *sim, uint64_t index)
{
	return &sim->run[index & (sim->entries - 1)];
}

/* F, then D; an honest subscriber never fails this. */
static void read_words(struct sim *sim)
{
	uint64_t release = __atomic_load_n(&sim->control->release, __ATOMIC_ACQUIRE);
	uint64_t claim = __atomic_load_n(&sim->control->claim, __ATOMIC_ACQUIRE);

	EXPECT(sim->release_seen <= release);
	EXPECT(release <= claim);
	EXPECT(claim <= sim->prod);
	EXPECT(sim->claim_seen <= claim);
	sim->release_seen = release;
	sim->claim_seen = claim;
}

/* Puts what is released, whether it is in its slot still or on the held list. */
static void reclaim(struct sim *sim)
{
	uint32_t i, left = 0;

	for (i = 0; i < sim->nr_held; i++) {
		if (sim->held_list[i].index < sim->release_seen)
			put(sim, &sim->held_list[i].slot);
		else
			sim->held_list[left++] = sim->held_list[i];
	}
	sim->nr_held = left;
	for (; sim->tail < sim->release_seen; sim->tail++)
		put(sim, run_of(sim, sim->tail));
}

/* What was released between reading release and claim is no loss. */
static void reread_release(struct sim *sim)
{
	uint64_t release = __atomic_load_n(&sim->control->release, __ATOMIC_ACQUIRE);

	sim->release_seen = release < sim->claim_seen ? release : sim->claim_seen;
	reclaim(sim);
}

/* Entry tail is claimed: it leaves its slot. False if the held list is full. */
static bool move_to_held(struct sim *sim)
{
	uint32_t *slot;

	if (sim->nr_held == sim->held)
		reread_release(sim);
	if (sim->tail == sim->claim_seen)
		return true;
	slot = run_of(sim, sim->tail);
	if (*slot != SIM_NONE) {
		if (sim->nr_held == sim->held)
			return false;
		sim->held_list[sim->nr_held++] = (struct sim_ref){ sim->tail, *slot };
		*slot = SIM_NONE;
	}
	sim->tail++;
	return true;
}

static bool drop_oldest(struct sim *sim)
{
	uint64_t claim = sim->claim_seen;

	/* D, matches C */
	if (!__atomic_compare_exchange_n(&sim->control->claim, &claim, claim + 1, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	put(sim, run_of(sim, sim->tail++));
	sim->claim_seen++;
	sim->drops[BLIPMQ_DROP_OLDEST]++;
	return true;
}

/* BLIPMQ_NR_DROPS: there is room. BLIPMQ_DROP_FULL: not, by policy. Else: lost. */
static enum blipmq_drop make_room(struct sim *sim)
{
	int fails = 0;

	for (;;) {
		read_words(sim);
		/* The kernel takes back lazily; at every touch is as right. */
		if (sim->prod - sim->tail == sim->entries || !(sim->prod % 8))
			reclaim(sim);
		if (sim->prod - sim->tail < sim->entries)
			return BLIPMQ_NR_DROPS;
		if (sim->tail < sim->claim_seen) {
			if (!move_to_held(sim))
				return BLIPMQ_DROP_HELD;
			continue;
		}
		if (sim->policy != BLIPMQ_POLICY_DROP_OLDEST)
			return BLIPMQ_DROP_FULL;
		if (!drop_oldest(sim) && ++fails == TRIES)
			return BLIPMQ_DROP_CONTENDED;
	}
}

static void message_write(uint8_t *slot, uint64_t number)
{
	struct blipmq_header *header = (void *)slot;
	uint32_t length = number % (SIM_PAYLOAD + 1);
	uint8_t *payload = slot + sizeof(*header);

	memset(header, 0, sizeof(*header));
	header->seq = number;
	header->length = length;
	header->version = BLIPMQ_HEADER_VERSION;
	header->subject_len = strlen(SIM_SUBJECT);
	memset(payload, number % 251, length);
	memcpy(payload + (length + 7) / 8 * 8, SIM_SUBJECT, strlen(SIM_SUBJECT));
}

static void deliver(struct sim *sim, uint64_t number)
{
	struct blipmq_desc *desc = &sim->desc[sim->prod & (sim->entries - 1)];
	uint32_t slot = sim->free_slots[--sim->nr_free];

	message_write(sim->store + (size_t)slot * SIM_SLOT, number);
	*run_of(sim, sim->prod) = slot;
	__atomic_store_n(&desc->offset, slot * (SIM_SLOT / BLIPMQ_ALIGN) + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&desc->length, number % (SIM_PAYLOAD + 1), __ATOMIC_RELAXED);
	__atomic_store_n(&desc->cookie, SIM_COOKIE + number, __ATOMIC_RELAXED);
	sim->prod++;
	__atomic_store_n(&sim->page->prod, sim->prod, __ATOMIC_RELEASE);	/* A */
}

/* ---- Waking and waiting ---- */

static uint64_t waiting(struct sim *sim)
{
	uint64_t claim = __atomic_load_n(&sim->control->claim, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&sim->page->prod, __ATOMIC_ACQUIRE) - claim;
}

static void wake(struct sim *sim)
{
	uint32_t mark;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* G */
	mark = __atomic_load_n(&sim->control->need_wakeup, __ATOMIC_RELAXED);
	if (!mark || waiting(sim) < mark)
		return;
	pthread_mutex_lock(&sim->queue);
	sim->wakes++;
	pthread_cond_broadcast(&sim->wake);
	pthread_mutex_unlock(&sim->queue);
}

static struct timespec timespec_of(uint64_t nsec)
{
	return (struct timespec){ nsec / BLIPMQ_SEC, nsec % BLIPMQ_SEC };
}

/* Wants to be kicked when a quarter of the ring is released. */
static void wait_for_room(struct sim *sim)
{
	uint64_t index = sim->tail + (sim->entries + 3) / 4;
	struct timespec look = timespec_of(blipmq__now() + LOOK_NSEC);

	__atomic_store_n(&sim->page->blocked, index, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* I */
	pthread_mutex_unlock(&sim->lock);
	pthread_mutex_lock(&sim->queue);
	if (__atomic_load_n(&sim->control->release, __ATOMIC_ACQUIRE) < index)
		pthread_cond_clockwait(&sim->room, &sim->queue, CLOCK_MONOTONIC, &look);
	pthread_mutex_unlock(&sim->queue);
	pthread_mutex_lock(&sim->lock);
	__atomic_store_n(&sim->page->blocked, 0, __ATOMIC_RELAXED);
}

void sim_publish(struct sim *sim, uint64_t number)
{
	enum blipmq_drop why;

	pthread_mutex_lock(&sim->lock);
	while ((why = make_room(sim)) == BLIPMQ_DROP_FULL && sim->policy == BLIPMQ_POLICY_BLOCK)
		wait_for_room(sim);
	sim->published++;
	if (why == BLIPMQ_NR_DROPS)
		deliver(sim, number);
	else
		sim->drops[why]++;
	pthread_mutex_unlock(&sim->lock);
	wake(sim);
}

void sim_hang_up(struct sim *sim)
{
	pthread_mutex_lock(&sim->queue);
	sim->gone = true;
	pthread_cond_broadcast(&sim->wake);
	pthread_mutex_unlock(&sim->queue);
}

bool sim_drained(struct sim *sim)
{
	return !waiting(sim);
}

bool sim_empty(struct sim *sim)
{
	bool empty;

	pthread_mutex_lock(&sim->lock);
	read_words(sim);
	reclaim(sim);
	empty = sim->tail == sim->prod && sim->nr_free == sim->nr_slots;
	pthread_mutex_unlock(&sim->lock);
	return empty;
}

uint64_t sim_check(const struct blipmq_view *view)
{
	const uint8_t *payload = view->data;
	uint64_t number = view->header->seq;
	const char *subject;
	size_t subject_len;
	uint32_t i;

	EXPECT(view->header->version == BLIPMQ_HEADER_VERSION);
	EXPECT(view->cookie == SIM_COOKIE + number);
	EXPECT(view->length == number % (SIM_PAYLOAD + 1));
	EXPECT(view->header->length == view->length);
	EXPECT(!((uintptr_t)payload % BLIPMQ_ALIGN));
	for (i = 0; i < view->length; i++)
		if (!EXPECT(payload[i] == number % 251))
			break;
	subject = blipmq_view_subject(view, &subject_len);
	EXPECT(subject_len == strlen(SIM_SUBJECT) && !memcmp(subject, SIM_SUBJECT, subject_len));
	return number;
}

/* ---- The calls ---- */

static int call_wait(struct sim *sim, struct blipmq_wait *wait)
{
	struct timespec until = timespec_of(wait->deadline);
	int error = 0;

	pthread_mutex_lock(&sim->lock);
	read_words(sim);
	reclaim(sim);
	pthread_mutex_unlock(&sim->lock);

	pthread_mutex_lock(&sim->queue);
	sim->kicks += !wait->deadline;
	sim->waits += !!wait->deadline;
	pthread_cond_broadcast(&sim->room);
	while (waiting(sim) < wait->min && !error) {
		if (sim->gone)
			error = -ENODEV;
		else if (!wait->deadline)
			error = -ETIME;
		else if (wait->deadline == BLIPMQ_WAIT_FOREVER)
			pthread_cond_wait(&sim->wake, &sim->queue);
		else if (pthread_cond_clockwait(&sim->wake, &sim->queue, CLOCK_MONOTONIC, &until))
			error = -ETIME;
	}
	pthread_mutex_unlock(&sim->queue);
	return error;
}

/* Claimed and not released, wherever it is: its reference, else NULL. */
static uint32_t *find_claimed(struct sim *sim, uint64_t index)
{
	uint32_t i;

	for (i = 0; i < sim->nr_held; i++)
		if (sim->held_list[i].index == index)
			return &sim->held_list[i].slot;
	return index >= sim->tail && index < sim->claim_seen ? run_of(sim, index) : NULL;
}

static int call_keep(struct sim *sim, struct blipmq_keep *keep)
{
	uint32_t *from = NULL;
	uint32_t i;

	pthread_mutex_lock(&sim->lock);
	read_words(sim);
	if (keep->index >= sim->release_seen)
		from = find_claimed(sim, keep->index);
	for (i = 0; i < SIM_KEPT_MAX && sim->kept[i].slot != SIM_NONE; i++)
		;
	if (from && *from != SIM_NONE && i < SIM_KEPT_MAX) {
		sim->kept[i].slot = *from;
		*from = SIM_NONE;
		keep->id = i + 1;
	}
	pthread_mutex_unlock(&sim->lock);
	return keep->id ? 0 : i < SIM_KEPT_MAX ? -EINVAL : -ENOSPC;
}

static int call_drop(struct sim *sim, struct blipmq_drop_kept *drop)
{
	bool there;

	pthread_mutex_lock(&sim->lock);
	there = drop->id && drop->id <= SIM_KEPT_MAX && sim->kept[drop->id - 1].slot != SIM_NONE;
	if (there)
		put(sim, &sim->kept[drop->id - 1].slot);
	pthread_mutex_unlock(&sim->lock);
	return there ? 0 : -ENOENT;
}

static int call_info(const struct sim *sim, struct blipmq_info *info)
{
	info->head.reason = sim->gone ? BLIPMQ_REASON_DELETED : BLIPMQ_REASON_NONE;
	info->rights = BLIPMQ_RIGHT_SUBSCRIBE;
	return sim->gone ? -ENODEV : 0;
}

/* Instead of the library's own. */
int blipmq__ioctl(int fd, unsigned long request, struct blipmq_head *head)
{
	(void)fd;
	switch (request) {
	case BLIPMQ_IOC_INFO:
		return call_info(the_sim, (void *)head);
	case BLIPMQ_IOC_WAIT:
		return call_wait(the_sim, (void *)head);
	case BLIPMQ_IOC_KEEP:
		return call_keep(the_sim, (void *)head);
	case BLIPMQ_IOC_DROP:
		return call_drop(the_sim, (void *)head);
	default:
		return -ENOTTY;
	}
}
