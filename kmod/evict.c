// SPDX-License-Identifier: GPL-2.0
/* Taking memory back: for a publisher in need, and from whoever is idle. */
#include <linux/jiffies.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "publish.h"

#define EVICT_RINGS	64		/* looked at in one attempt */
#define IDLE_TIME	(5 * HZ)	/* before idle memory is given back */
#define IDLE_KEEP	16		/* pages of idle runs that may stay */

/* The ring of the next endpoint by id, from the cursor on, once around. */
static struct bmq_ring *next_ring(struct bmq_bus *bus, bool *wrapped)
{
	struct bmq_endpoint *ep;

	ep = xa_find_after(&bus->endpoints, &bus->evict_cursor, ULONG_MAX, XA_PRESENT);
	if (!ep && !*wrapped) {
		*wrapped = true;
		bus->evict_cursor = 0;
		ep = xa_find_after(&bus->endpoints, &bus->evict_cursor, ULONG_MAX,
				   XA_PRESENT);
	}
	return ep ? bmq_endpoint_ring_of(ep) : NULL;
}

/**
 * bmq_evict() - drop the oldest unclaimed messages so that a publisher can go on
 * @bus:  whose messages
 * @user: who publishes; over its share it may only take its own messages
 * @nr:   pages that it needs
 *
 * Looks at EVICT_RINGS rings, and in each at BMQ_RING_STEPS messages from the head;
 * a ring that is busy is passed over. Takes locks that sleep.
 *
 * Return: whether anything was dropped.
 */
bool bmq_evict(struct bmq_bus *bus, struct bmq_user *user, unsigned int nr)
{
	const struct bmq_user *only = bmq_user_over_share(user, nr) ? user : NULL;
	unsigned int looked, dropped = 0;
	struct bmq_ring *ring;
	bool wrapped = false;

	mutex_lock(&bus->evict_lock);
	rcu_read_lock();
	for (looked = 0; looked < EVICT_RINGS; looked++) {
		if (bmq_store_idle(&bus->store, only) >= nr)
			break;
		ring = next_ring(bus, &wrapped);
		if (ring && spin_trylock(&ring->lock)) {
			dropped += bmq_ring_evict(ring, only, nr);
			spin_unlock(&ring->lock);
		} else if (wrapped && !bus->evict_cursor) {
			break;
		}
	}
	rcu_read_unlock();
	mutex_unlock(&bus->evict_lock);
	if (dropped)
		bmq_bus_event(bus, BLIPMQ_EVENT_EVICTING);
	return dropped || bmq_store_idle(&bus->store, only) >= nr;
}

/* ---- Idle memory ---- */

/**
 * bmq_publisher_rest() - give up the current run and working space of an endpoint
 * @ep:    a bound endpoint
 * @since: jiffies; it keeps them if it published a small message later, into a run
 *         that is not stale
 *
 * The idle worker, close(2) and whoever ended the store's epoch may come at the same
 * time: each thing is taken once.
 *
 * Return: whether it keeps them.
 */
bool bmq_publisher_rest(struct bmq_endpoint *ep, unsigned long since)
{
	struct bmq_run *run;
	bool busy;

	spin_lock(&ep->pub_lock);
	run = ep->run;
	busy = run && time_after(ep->used_at, since) &&
	       !bmq_run_stale(&ep->bus->store, run);
	if (!busy)
		ep->run = NULL;
	spin_unlock(&ep->pub_lock);
	if (busy)
		return true;
	if (run)
		bmq_run_put(&ep->bus->store, run, 1);
	kvfree(xchg(&ep->spare, NULL));
	return false;
}

/* Put what a reader has released, or what a broken ring has, in chunks. */
void bmq_ring_settle(struct bmq_ring *ring)
{
	bool more;

	do {
		spin_lock(&ring->lock);
		if (bmq_ring_look(ring)) {
			bmq_ring_reclaim(ring);
			more = ring->tail < ring->release;
		} else {
			more = bmq_ring_drain(ring);
		}
		spin_unlock(&ring->lock);
		cond_resched();
	} while (more);
}

/*
 * Runs once IDLE_TIME passed since somebody published, and again while there is
 * something that will become idle: a bus at rest has no timer.
 */
void bmq_idle_work(struct work_struct *work)
{
	struct bmq_bus *bus = container_of(to_delayed_work(work), struct bmq_bus,
					   idle_work);
	struct bmq_endpoint *ep;
	struct bmq_ring *ring;
	unsigned long id = 0;
	bool more = false;

	while ((ep = bmq_endpoint_next(bus, &id, XA_PRESENT))) {
		more |= bmq_publisher_rest(ep, jiffies - IDLE_TIME);
		ring = bmq_endpoint_ring_of(ep);
		if (ring)
			bmq_ring_settle(ring);
		bmq_endpoint_put(ep);
	}
	more |= bmq_store_trim(&bus->store, jiffies - IDLE_TIME, IDLE_KEEP);
	if (more)
		bmq_bus_arm_idle(bus);
}

void bmq_bus_arm_idle(struct bmq_bus *bus)
{
	queue_delayed_work(bmq_wq, &bus->idle_work, IDLE_TIME);
}
