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
	return (u64)ep->bus->limits.block_budget * NSEC_PER_MSEC;
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

/*
 * Wake the publishers that wait for room in this ring. Everybody who polls a file of the
 * bus stands in the queue of those that got -EAGAIN: not touched for nothing.
 */
void bmq_room_kick(struct bmq_endpoint *ep)
{
	if (ep->ring->policy != BLIPMQ_POLICY_BLOCK)
		return;
	wake_up_all(&ep->room);
	if (atomic_read(&ep->bus->room_waiters))
		wake_up_poll(&ep->bus->room, EPOLLOUT);
}

/*
 * Ask to be kicked when a part of the ring is free. Who asked before and was not kicked
 * keeps the index that was asked for: a kick is for all, and those who find no room
 * ask again. @leave: who finds room does not wait, and takes back what was asked.
 * Return: is there room now for what is needed?
 */
static bool ask_kick(struct bmq_ring *ring, const struct bmq_need *need, bool leave)
{
	u64 kick, others;
	bool room;

	bmq_ring_settle(ring);
	spin_lock(&ring->lock);
	kick = ring->release + clamp_t(u64, max(ring->entries / KICK_PART, need->slots),
				       1, max_t(u64, ring->prod - ring->release, 1));
	others = READ_ONCE(ring->page->blocked);
	if (!others || kick < others)
		WRITE_ONCE(ring->page->blocked, kick);
	smp_mb();	/* I, matches J */
	room = bmq_ring_has_room(ring, need);
	if (room && leave)
		WRITE_ONCE(ring->page->blocked, others);
	spin_unlock(&ring->lock);
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
	else if (!ask_kick(full->ring, need, true) && !READ_ONCE(full->bus->dead))
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

	ask_kick(full->ring, need, false);
	spin_lock(&ep->pub_lock);
	old = ep->full;
	if (old != full)
		ep->full_since = ktime_get_ns();
	ep->full = full;
	ep->full_need = *need;
	since = ep->full_since;
	spin_unlock(&ep->pub_lock);
	charge_stall(full, since);
	if (old)
		bmq_endpoint_put(old);
	else if (atomic_inc_return(&ep->bus->room_waiters) == 1)
		queue_delayed_work(bmq_wq, &ep->bus->room_work, LOOK_AGAIN);
}

/* It is not waited for any more: there is room, or the publisher closes. */
void bmq_room_forget(struct bmq_endpoint *ep)
{
	struct bmq_endpoint *full;

	spin_lock(&ep->pub_lock);
	full = ep->full;
	ep->full = NULL;
	spin_unlock(&ep->pub_lock);
	if (!full)
		return;
	atomic_dec(&ep->bus->room_waiters);
	bmq_endpoint_put(full);
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
	room = ask_kick(full->ring, &need, true) || bmq_room_spent(full, ktime_get_ns());
	if (room)
		bmq_room_forget(ep);
	bmq_endpoint_put(full);
	return room;
}

/* While publishers poll for room: let them look, whatever the readers do. */
void bmq_room_work(struct work_struct *work)
{
	struct bmq_bus *bus = container_of(to_delayed_work(work), struct bmq_bus,
					   room_work);

	wake_up_poll(&bus->room, EPOLLOUT);
	if (atomic_read(&bus->room_waiters))
		queue_delayed_work(bmq_wq, &bus->room_work, LOOK_AGAIN);
}
