// SPDX-License-Identifier: GPL-2.0
/* Counters: kept where they are written, added up when somebody asks. */
#include <linux/nospec.h>
#include <linux/sched.h>

#include "publish.h"
#include "stats.h"

/* Add what an endpoint published, and its ring's sums, to @stats. */
static void add_endpoint(struct bmq_endpoint *ep, struct blipmq_stats *stats)
{
	struct bmq_ring *ring = bmq_endpoint_ring_of(ep);
	unsigned int i;

	stats->published += atomic64_read(&ep->published);
	stats->bytes += atomic64_read(&ep->bytes);
	stats->lonely += atomic64_read(&ep->lonely);
	stats->wakeups += atomic64_read(&ep->wakeups);
	stats->kept += READ_ONCE(ep->nr_kept);
	if (!ring)
		return;

	bmq_ring_settle(ring);
	spin_lock(&ring->lock);
	stats->delivered += ring->delivered;
	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		stats->drops[i] += ring->page->drops[i];
	stats->queued += ring->prod - max(ring->claim, ring->tail) + ring->latch.valid;
	stats->held += ring->held_nr;
	stats->pinned += ring->pinned;
	stats->events[BLIPMQ_EVENT_BROKEN] += ring->broken;
	spin_unlock(&ring->lock);
}

/* A subscription that is not gone; the endpoint is locked, so it stays. */
static struct bmq_sub *find_sub(struct bmq_ring *ring, u32 id)
{
	struct bmq_sub *sub = NULL;

	spin_lock(&ring->lock);
	if (id && id <= ring->nr_subs)
		sub = ring->subs[array_index_nospec(id - 1, ring->nr_subs)];
	if (sub && sub->gone)
		sub = NULL;
	spin_unlock(&ring->lock);
	return sub;
}

static int stats_sub(struct bmq_endpoint *ep, struct blipmq_stats *args)
{
	struct bmq_ring *ring = ep->ring;
	u64 index = 0, claimed = 0;
	struct bmq_sub *sub;
	unsigned int i;
	bool more;

	if (!ring) {
		args->head.reason = BLIPMQ_REASON_RING_NONE;
		return -ENXIO;
	}
	sub = find_sub(ring, args->id);
	if (!sub) {
		args->head.reason = BLIPMQ_REASON_SUBSCRIPTION;
		return -ENOENT;
	}
	bmq_ring_settle(ring);
	do {
		spin_lock(&ring->lock);
		more = bmq_ring_claimed(ring, sub, &index, &claimed);
		args->delivered = sub->delivered;
		for (i = 0; i < BLIPMQ_NR_DROPS; i++)
			args->drops[i] = sub->drops[i];
		args->queued = sub->queued - min_t(u64, claimed, sub->queued);
		spin_unlock(&ring->lock);
		cond_resched();
	} while (more);
	return 0;
}

static void stats_bus(struct bmq_bus *bus, struct blipmq_stats *args)
{
	struct bmq_endpoint *ep;
	unsigned long id = 0;
	unsigned int i;

	while ((ep = bmq_endpoint_next(bus, &id, XA_PRESENT))) {
		add_endpoint(ep, args);
		bmq_endpoint_put(ep);
	}
	spin_lock(&bus->past_lock);
	args->delivered += bus->past.delivered;
	args->wakeups += bus->past.wakeups;
	args->published += bus->past.published;
	args->bytes += bus->past.bytes;
	args->lonely += bus->past.lonely;
	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		args->drops[i] += bus->past.drops[i];
	args->events[BLIPMQ_EVENT_BROKEN] += bus->past.events[BLIPMQ_EVENT_BROKEN];
	spin_unlock(&bus->past_lock);

	for (i = 0; i < BLIPMQ_NR_EVENTS; i++)
		args->events[i] += atomic64_read(&bus->events[i]);
	args->pages = READ_ONCE(bus->store.purse.pages);
	args->idle = READ_ONCE(bus->store.idle_pages);
	args->topics = READ_ONCE(bus->nr_topics);
	args->patterns = atomic_read(&bus->patterns.nelems);
	args->subscriptions = READ_ONCE(bus->nr_subs);
	args->endpoints = atomic_read(&bus->nr_endpoints);
}

/**
 * bmq_stats() - STATS
 * @ep:   a bound endpoint
 * @args: checked for size and flags
 *
 * Return: as struct blipmq_stats says.
 */
int bmq_stats(struct bmq_endpoint *ep, struct blipmq_stats *args)
{
	int err;

	memset_after(args, 0, id);
	if (args->kind >= BLIPMQ_NR_STATS) {
		args->head.reason = BLIPMQ_REASON_STATS;
		return -EINVAL;
	}
	if (args->id && args->kind != BLIPMQ_STATS_SUBSCRIPTION) {
		args->head.reason = BLIPMQ_REASON_RESERVED;
		return -EINVAL;
	}
	switch (args->kind) {
	case BLIPMQ_STATS_RING:
		add_endpoint(ep, args);
		return 0;
	case BLIPMQ_STATS_BUS:
		stats_bus(ep->bus, args);
		return 0;
	default:
		mutex_lock(&ep->lock);
		err = stats_sub(ep, args);
		mutex_unlock(&ep->lock);
		return err;
	}
}

/* The endpoint goes, its sums stay with the bus. */
void bmq_stats_past(struct bmq_endpoint *ep)
{
	struct bmq_bus *bus = ep->bus;
	struct blipmq_stats stats = { };
	unsigned int i;

	add_endpoint(ep, &stats);
	spin_lock(&bus->past_lock);
	bus->past.delivered += stats.delivered;
	bus->past.wakeups += stats.wakeups;
	bus->past.published += stats.published;
	bus->past.bytes += stats.bytes;
	bus->past.lonely += stats.lonely;
	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		bus->past.drops[i] += stats.drops[i];
	bus->past.events[BLIPMQ_EVENT_BROKEN] += stats.events[BLIPMQ_EVENT_BROKEN];
	spin_unlock(&bus->past_lock);
}
