/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel in user space: the other side of one ring, on pages from malloc(), and the
 * calls that belong to it. It keeps the kernel's rules, obviously rather than fast,
 * and expects of the library that it keeps the subscriber's. A message that has no
 * more owner is overwritten at once, so that whoever still reads it reads rubbish,
 * or races as a sanitizer sees it.
 *
 * Owned by the test; sim_publish() and the calls may come from any thread.
 */
#ifndef SIM_H
#define SIM_H

#include <pthread.h>

#include "endpoint.h"

#define SIM_COOKIE	0x1122334455667788ULL
#define SIM_SUBJECT	"sim.subject"
#define SIM_PAYLOAD	100	/* bytes at most */
#define SIM_SLOT	256	/* bytes of a message in the store */

/* A message that left its slot, or is kept. */
struct sim_ref {
	uint64_t index;
	uint32_t slot;		/* in the store; SIM_NONE */
};

#define SIM_NONE	UINT32_MAX
#define SIM_KEPT_MAX	64

struct sim {
	struct blipmq b;	/* for the library */

	struct blipmq_ring_page *page;
	struct blipmq_desc *desc;
	struct blipmq_control *control;
	uint8_t *store;
	uint32_t entries;
	uint32_t held;
	uint32_t policy;

	pthread_mutex_t lock;	/* the ring's: all up to queue */
	uint64_t prod;
	uint64_t tail;		/* entries below have left their slots */
	uint64_t claim_seen;
	uint64_t release_seen;
	uint32_t *run;		/* by entry & (entries - 1) */
	struct sim_ref *held_list;
	uint32_t nr_held;
	struct sim_ref kept[SIM_KEPT_MAX];
	uint32_t *free_slots;
	uint32_t nr_free;
	uint32_t nr_slots;
	uint64_t drops[BLIPMQ_NR_DROPS];
	uint64_t published;

	pthread_mutex_t queue;	/* of sleepers: wakes and kicks */
	pthread_cond_t wake;
	pthread_cond_t room;
	uint64_t wakes;
	uint64_t kicks;
	uint64_t waits;		/* calls that may sleep */
	bool gone;
};

struct sim *sim_new(uint32_t entries, uint32_t held, uint32_t policy);
void sim_free(struct sim *sim);

/* One message with this number. With policy block it waits for room. */
void sim_publish(struct sim *sim, uint64_t number);

/* Sleepers wake up and get -ENODEV. */
void sim_hang_up(struct sim *sim);

/* Everything was claimed. */
bool sim_drained(struct sim *sim);

/* Takes back what is released; true if no message has an owner any more. */
bool sim_empty(struct sim *sim);

/* Does the view show a whole message? Returns its number. */
uint64_t sim_check(const struct blipmq_view *view);

#endif /* SIM_H */
