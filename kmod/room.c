// SPDX-License-Identifier: GPL-2.0
/*
 * Block rings: waiting for room, and how long a reader may make others wait.
 *
 * Only time in which the full ring released nothing is charged, from STALL_GRACE
 * after its last release or the beginning of the wait, to the ring's user. Over the
 * budget of a minute all block rings of that user are drop-oldest until the minute
 * ends.
 */
#include <linux/ktime.h>
#include <linux/sched/signal.h>

#include "publish.h"

#define LOOK_AGAIN	msecs_to_jiffies(10)	/* a kick is a courtesy */
#define STALL_GRACE	(100 * NSEC_PER_MSEC)
#define KICK_PART	4	/* of the ring is free when its publisher is kicked */

static u64 block_budget(const struct bmq_endpoint *ep)
{
	return (u64)READ_ONCE(ep->bus->config.block_budget) * NSEC_PER_MSEC;
}

bool bmq_room_spent(const struct bmq_endpoint *ep, u64 now)
{
	return bmq_user_block_spent(ep->user, now, block_budget(ep));
}

/* Charge what a full ring stalled. */
static void charge_stall(struct bmq_endpoint *full, u64 since)
{
	u64 from, now = ktime_get_ns();

	spin_lock(&full->ring->lock);
	from = max(since, full->ring->released_at) + STALL_GRACE;
	spin_unlock(&full->ring->lock);
	if (now <= from)
		return;
	if (bmq_user_block_charge(full->user, from, now, block_budget(full)))
		bmq_bus_event(full->bus, BLIPMQ_EVENT_BLOCKED);
}

/* Who polls it is to look whether it is writable. */
static void wake_refused(struct bmq_endpoint *ep)
{
	wake_up_interruptible_poll(&ep->wq, EPOLLOUT | EPOLLWRNORM);
}

/* Room in this ring is not waited for any more, if it was. */
void bmq_room_forget(struct bmq_endpoint *ep, struct bmq_endpoint *full)
{
	spin_lock(&ep->pub_lock);
	if (ep->full != full)
		full = NULL;
	if (full) {
		WRITE_ONCE(ep->full, NULL);
		xa_clear_mark(&ep->bus->endpoints, ep->id, BMQ_REFUSED);
	}
	spin_unlock(&ep->pub_lock);
	if (full)
		bmq_endpoint_put(full);
}

/**
 * bmq_room_kick() - wake the publishers that wait for room
 * @full:  in whose ring; and those that poll since it gave them -EAGAIN
 * @again: whether there is room or not they are to try again: the ring is closed,
 *         broken, or rid of a subscription
 */
void bmq_room_kick(struct bmq_endpoint *full, bool again)
{
	struct bmq_endpoint *ep;
	unsigned long id = 0;

	if (full->ring->policy != BLIPMQ_POLICY_BLOCK)
		return;
	wake_up_all(&full->room);
	while ((ep = bmq_endpoint_next(full->bus, &id, BMQ_REFUSED))) {
		if (READ_ONCE(ep->full) == full) {
			if (again)
				bmq_room_forget(ep, full);
			wake_refused(ep);
		}
		bmq_endpoint_put(ep);
	}
}

/*
 * Ask to be kicked when a part of the ring is free. Who asked before and was not kicked
 * keeps the index that was asked for: a kick is for all, and those who find no room
 * ask again. Who finds room does not wait, and takes back what was asked.
 * Return: is there room now for what is needed?
 */
static bool ask_kick(struct bmq_endpoint *full, const struct bmq_need *need)
{
	struct bmq_ring *ring = full->ring;
	u64 kick, others;
	bool room, untold;

	bmq_ring_settle(ring);
	spin_lock(&ring->lock);
	kick = ring->release + clamp_t(u64, max(ring->entries / KICK_PART, need->slots),
				       1, max_t(u64, ring->prod - ring->release, 1));
	others = READ_ONCE(ring->page->blocked);
	if (!others || kick < others)
		WRITE_ONCE(ring->page->blocked, kick);
	smp_mb();	/* I, matches J */
	room = bmq_ring_has_room(ring, need);
	if (room)
		WRITE_ONCE(ring->page->blocked, others);
	untold = bmq_ring_take_untold(ring);
	spin_unlock(&ring->lock);
	if (untold)
		bmq_tell_broken(full);
	return room;
}

/**
 * bmq_room_wait() - sleep until a block ring may have room
 * @full:  whose ring it is, with a reference that is put
 * @need:  what the message needs
 * @since: when the publisher began to wait, ns
 *
 * Return: 0: try again; -EINTR.
 */
int bmq_room_wait(struct bmq_endpoint *full, const struct bmq_need *need, u64 since)
{
	DEFINE_WAIT(wait);
	int err = 0;

	prepare_to_wait(&full->room, &wait, TASK_INTERRUPTIBLE);
	if (signal_pending(current))
		err = -EINTR;
	else if (!ask_kick(full, need) && !READ_ONCE(full->bus->dead))
		schedule_timeout(LOOK_AGAIN);
	finish_wait(&full->room, &wait);
	charge_stall(full, since);
	bmq_endpoint_put(full);
	return err;
}

/* ---- Publishers that do not wait: -EAGAIN, and EPOLLOUT later ---- */

/**
 * bmq_room_refused() - a publisher gets -EAGAIN
 * @ep:   the publisher
 * @full: whose block ring has no room, with a reference that is taken over
 * @need: what the message needs there
 */
void bmq_room_refused(struct bmq_endpoint *ep, struct bmq_endpoint *full,
		      const struct bmq_need *need)
{
	struct bmq_endpoint *old;
	u64 since;

	kref_get(&full->ref);	/* the endpoint's may be put as soon as it has it */
	spin_lock(&ep->pub_lock);
	old = ep->full;
	if (old != full)
		ep->full_since = ktime_get_ns();
	WRITE_ONCE(ep->full, full);
	ep->full_need = *need;
	since = ep->full_since;
	xa_set_mark(&ep->bus->endpoints, ep->id, BMQ_REFUSED);
	spin_unlock(&ep->pub_lock);
	charge_stall(full, since);
	if (ask_kick(full, need))
		bmq_room_forget(ep, full);
	else
		queue_delayed_work(bmq_wq, &ep->bus->room_work, LOOK_AGAIN);
	bmq_endpoint_put(full);
	if (old)
		bmq_endpoint_put(old);
}

/* Is the endpoint writable, as far as the last -EAGAIN is concerned? */
bool bmq_room_poll(struct bmq_endpoint *ep)
{
	struct bmq_endpoint *full;
	struct bmq_need need;
	u64 since;
	bool room;

	spin_lock(&ep->pub_lock);
	full = ep->full;
	since = ep->full_since;
	need = ep->full_need;
	if (full)
		kref_get(&full->ref);
	spin_unlock(&ep->pub_lock);
	if (!full)
		return true;

	charge_stall(full, since);
	room = ask_kick(full, &need) || bmq_room_spent(full, ktime_get_ns());
	if (room)
		bmq_room_forget(ep, full);
	bmq_endpoint_put(full);
	return room;
}

/* While publishers poll for room: let them look, whatever the readers do. */
void bmq_room_work(struct work_struct *work)
{
	struct bmq_bus *bus = container_of(to_delayed_work(work), struct bmq_bus,
					   room_work);
	struct bmq_endpoint *ep;
	unsigned long id = 0;

	while ((ep = bmq_endpoint_next(bus, &id, BMQ_REFUSED))) {
		wake_refused(ep);
		bmq_endpoint_put(ep);
		cond_resched();
	}
	if (xa_marked(&bus->endpoints, BMQ_REFUSED))
		queue_delayed_work(bmq_wq, &bus->room_work, LOOK_AGAIN);
}
