// SPDX-License-Identifier: GPL-2.0
/*
 * Receiving.
 *
 * Who maps the ring takes messages without us; WAIT and poll() are for when there
 * is none. They look after they joined the wait queue (H for poll(), whose caller
 * keeps need_wakeup set). Who does not map it reads: one message at a time is
 * latched, copied with no lock but the reader's mutex, and done once the copy
 * succeeded. Of the readers that wait one sleeps here, the others for their turn:
 * a message wakes one. They do so without the reader's mutex, so that who does not
 * wait finds it free, or held for a copy.
 */
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "publish.h"
#include "receive.h"

/* ---- WAIT ---- */

/* What a look at the ring says to a sleeper. */
struct look {
	u64 waiting;
	u64 oldest;	/* ns when the first of these was published, if asked for */
	bool broken;
};

/* Look, take back what is released, and tell those whom it concerns. */
static struct look ring_look(struct bmq_endpoint *ep, bool timed)
{
	struct bmq_ring *ring = ep->ring;
	bool untold, kick = false;
	struct look look = { };
	u64 blocked;

	spin_lock(&ring->lock);
	look.broken = !bmq_ring_look(ring);
	untold = bmq_ring_take_untold(ring);
	if (!look.broken) {
		bmq_ring_reclaim(ring);
		look.waiting = ring->prod - ring->claim;
		if (timed)
			look.oldest = bmq_ring_oldest(ring);
		blocked = READ_ONCE(ring->page->blocked);
		kick = blocked && ring->release >= blocked;
		if (kick)
			WRITE_ONCE(ring->page->blocked, 0);
	}
	spin_unlock(&ring->lock);
	if (untold)
		bmq_tell_broken(ep);
	if (kick)
		bmq_room_kick(ep, false);
	return look;
}

/* Is there nothing to be had any more? Return: 0; -ENODEV: no bus; -EACCES: no right. */
static int lost(const struct bmq_endpoint *ep)
{
	if (READ_ONCE(ep->bus->dead))
		return -ENODEV;
	return READ_ONCE(ep->rights) & BLIPMQ_RIGHT_SUBSCRIBE ? 0 : -EACCES;
}

/* The reason for what came of looking for a message. */
static int reason_of(struct bmq_endpoint *ep, int err)
{
	switch (err) {
	case -EIO:
		return BLIPMQ_REASON_RING_BROKEN;
	case -ENODEV:
		return READ_ONCE(ep->bus->dead);
	case -EACCES:
		bmq_bus_event(ep->bus, BLIPMQ_EVENT_DENIED);
		return BLIPMQ_REASON_RIGHT_SUBSCRIBE;
	default:
		return BLIPMQ_REASON_NONE;
	}
}

/*
 * One round of WAIT, on the wait queue: is it over, or until when to sleep? While
 * nothing waits at the end of a max_delay the sleeper turns eager, to be woken by
 * the first message; in a busy stream it is not, and looks when max_delay is over.
 */
static int wait_round(struct bmq_endpoint *ep, const struct blipmq_wait *args,
		      bool eager, u64 *until)
{
	u64 delay = (u64)args->max_delay * NSEC_PER_USEC, now = 0;
	struct look look = ring_look(ep, delay);
	int err;

	if (look.broken)
		return -EIO;
	err = lost(ep);
	if (err)
		return err;
	if (look.waiting >= max(args->min, 1u))
		return 0;
	/* Who waits for ever does not pay for a clock. */
	if (delay || args->deadline != BLIPMQ_WAIT_FOREVER)
		now = ktime_get_ns();
	*until = args->deadline;
	if (delay && look.waiting) {
		if (now - look.oldest >= delay && now >= look.oldest)
			return 0;
		*until = min(*until, look.oldest + delay);
	} else if (delay && !eager) {
		*until = min(*until, now + delay);
	}
	if (now >= args->deadline)
		return -ETIME;
	if (signal_pending(current))
		return -EINTR;
	return -EAGAIN;
}

static void sleep_until(u64 until)
{
	ktime_t timeout = ns_to_ktime(until);

	schedule_hrtimeout_range(until < KTIME_MAX ? &timeout : NULL, 0,
				 HRTIMER_MODE_ABS);
}

static int wait_loop(struct bmq_endpoint *ep, const struct blipmq_wait *args)
{
	bool eager = false;
	DEFINE_WAIT(wait);
	u64 until;
	int err;

	for (;;) {
		prepare_to_wait(&ep->wq, &wait, TASK_INTERRUPTIBLE);
		err = wait_round(ep, args, eager, &until);
		if (err != -EAGAIN)
			break;
		sleep_until(until);
		/* Whoever woke us took us off the queue: no need to join it for a look. */
		err = wait_round(ep, args, eager, &until);
		if (err != -EAGAIN)
			break;
		if (args->max_delay && !eager && !bmq_ring_waiting(ep->ring)) {
			eager = true;
			atomic_inc(&ep->eager);
		} else if (eager && bmq_ring_waiting(ep->ring)) {
			eager = false;
			atomic_dec(&ep->eager);
		}
	}
	finish_wait(&ep->wq, &wait);
	if (eager)
		atomic_dec(&ep->eager);
	return err;
}

/**
 * bmq_wait() - WAIT
 * @ep:   a bound endpoint
 * @args: checked for size and flags
 *
 * Return: as struct blipmq_wait says.
 */
int bmq_wait(struct bmq_endpoint *ep, struct blipmq_wait *args)
{
	struct bmq_ring *ring = bmq_endpoint_ring_of(ep);
	int err;

	if (!ring)
		return bmq_refuse(&args->head, -ENXIO, BLIPMQ_REASON_RING_NONE, 0);
	if (READ_ONCE(ring->mode) == BMQ_RING_READ)
		return bmq_refuse(&args->head, -EBUSY, BLIPMQ_REASON_RING_MODE, 0);
	if (args->min > ring->entries)
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_RING_ENTRIES,
				  ring->entries);
	err = wait_loop(ep, args);
	args->prod = READ_ONCE(ring->page->prod);
	args->head.reason = reason_of(ep, err);
	return err;
}

/* ---- poll ---- */

__poll_t bmq_poll(struct bmq_endpoint *ep, struct file *file, poll_table *table)
{
	struct bmq_ring *ring;
	struct look look;
	__poll_t mask = 0;
	u32 mark;

	poll_wait(file, &ep->wq, table);
	smp_mb();	/* H, matches G, whatever poll_wait() did */
	if (READ_ONCE(ep->bus->dead))
		return EPOLLHUP | EPOLLERR;
	if (bmq_room_poll(ep))
		mask |= EPOLLOUT | EPOLLWRNORM;
	ring = bmq_endpoint_ring_of(ep);
	if (!ring)
		return mask;

	look = ring_look(ep, false);
	if (look.broken || lost(ep))
		return mask | EPOLLERR;
	mark = READ_ONCE(ring->control->need_wakeup);
	if (look.waiting >= max(mark, 1u) || READ_ONCE(ring->latch.valid))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}

/* ---- Copying a message out ---- */

static bool latch(struct bmq_endpoint *ep)
{
	struct bmq_ring *ring = ep->ring;
	u64 blocked;
	bool found, kick;

	spin_lock(&ring->lock);
	found = bmq_ring_latch(ring);
	blocked = READ_ONCE(ring->page->blocked);
	kick = blocked && ring->release >= blocked;
	if (kick)
		WRITE_ONCE(ring->page->blocked, 0);
	spin_unlock(&ring->lock);
	if (kick)
		bmq_room_kick(ep, false);
	return found;
}

static void unlatch(struct bmq_endpoint *ep)
{
	spin_lock(&ep->ring->lock);
	bmq_ring_unlatch(ep->ring);
	spin_unlock(&ep->ring->lock);
}

/*
 * Take the reader's mutex and latch a message. @mode: who does not wait for messages
 * waits for another's copy only if there is something behind it, under BMQ_READ_NOWAIT
 * not even then. Return: 0; -EAGAIN: there is none; -EINTR; as lost().
 */
static int latch_begin(struct bmq_endpoint *ep, enum bmq_read_mode mode)
{
	int err = lost(ep);

	if (err)
		return err;
	if (!mutex_trylock(&ep->read_lock)) {
		if (mode == BMQ_READ_NOWAIT ||
		    (mode == BMQ_READ_NONBLOCK && !bmq_ring_waiting(ep->ring)))
			return -EAGAIN;
		if (mutex_lock_interruptible(&ep->read_lock))
			return -EINTR;
	}
	if (latch(ep))
		return 0;
	mutex_unlock(&ep->read_lock);
	return -EAGAIN;
}

/*
 * Sleep until there may be a message. One that is latched is being copied: its reader
 * has the mutex, and leaves it to us if that fails.
 */
static int read_sleep(struct bmq_endpoint *ep)
{
	DEFINE_WAIT(wait);
	int err;

	prepare_to_wait(&ep->wq, &wait, TASK_INTERRUPTIBLE);
	smp_mb();	/* H, matches G */
	err = lost(ep);
	if (!err && signal_pending(current))
		err = -EINTR;
	if (!err && !bmq_ring_waiting(ep->ring) && !READ_ONCE(ep->ring->latch.valid))
		schedule();
	finish_wait(&ep->wq, &wait);
	return err;
}

static int latch_wait(struct bmq_endpoint *ep)
{
	int err;

	if (mutex_lock_interruptible(&ep->read_turn))
		return -EINTR;
	while ((err = latch_begin(ep, BMQ_READ_BLOCK)) == -EAGAIN) {
		err = read_sleep(ep);
		if (err)
			break;
	}
	mutex_unlock(&ep->read_turn);
	return err;
}

/* Begin to read: the mode, the reader's mutex, a message. */
static int read_begin(struct bmq_endpoint *ep, enum bmq_read_mode mode, int *reason)
{
	struct bmq_ring *ring = bmq_endpoint_ring_of(ep);
	int err;

	*reason = BLIPMQ_REASON_RING_NONE;
	if (!ring)
		return -ENXIO;
	*reason = BLIPMQ_REASON_RING_MODE;
	if (bmq_ring_set_mode(ring, BMQ_RING_READ))
		return -EBUSY;
	err = mode == BMQ_READ_BLOCK ? latch_wait(ep) : latch_begin(ep, mode);
	*reason = reason_of(ep, err);
	return err;
}

/**
 * bmq_read_end() - done with the latched message
 * @ep:   the endpoint
 * @done: its copy succeeded. Otherwise it stays first, and who was told that there is
 *        none, or was not woken for it, hears of it
 */
void bmq_read_end(struct bmq_endpoint *ep, bool done)
{
	if (done)
		unlatch(ep);
	mutex_unlock(&ep->read_lock);
	if (!done)
		wake_up_interruptible_poll(&ep->wq, EPOLLIN | EPOLLRDNORM);
}

/* Where the latched message lies: its run, and the offset of its header there. */
static const struct bmq_run *latched(const struct bmq_ring *ring, unsigned long *at)
{
	const struct bmq_run *run = ring->store->slot[ring->latch.page];

	*at = (unsigned long)(ring->latch.desc.offset - 1 -
			      run->first * BMQ_UNITS_PER_PAGE) * BLIPMQ_ALIGN;
	return run;
}

static int copy_out(u64 to, const struct bmq_run *run, unsigned long at, u32 len)
{
	while (len) {
		u32 n = min_t(u32, len, PAGE_SIZE - (at & ~PAGE_MASK));

		if (copy_to_user(u64_to_user_ptr(to), bmq_run_at(run, at), n))
			return -EFAULT;
		to += n;
		at += n;
		len -= n;
	}
	return 0;
}

/* The subject is whole or refused; what follows it in the trailer, as far as it fits. */
static int recv_copy(struct bmq_ring *ring, struct blipmq_recv *args)
{
	const struct blipmq_header *header = &args->header;
	unsigned long at;
	const struct bmq_run *run = latched(ring, &at);
	int err;

	args->desc = ring->latch.desc;
	args->header = *(const struct blipmq_header *)bmq_run_at(run, at);
	if (header->length > args->payload_size)
		return bmq_refuse(&args->head, -EMSGSIZE, BLIPMQ_REASON_BUFFER,
				  header->length);
	if (args->trailer && header->subject_len > args->trailer_size)
		return bmq_refuse(&args->head, -EMSGSIZE, BLIPMQ_REASON_BUFFER,
				  header->subject_len);
	at += sizeof(*header);
	err = copy_out(args->payload, run, at, header->length);
	at += ALIGN(header->length, BLIPMQ_TRAILER_ALIGN);
	if (!err && args->trailer)
		err = copy_out(args->trailer, run, at,
			       min_t(u32, header->trailer_len, args->trailer_size));
	return err ? bmq_refuse(&args->head, err, BLIPMQ_REASON_FAULT, 0) : 0;
}

/**
 * bmq_recv() - RECV
 * @ep:   a bound endpoint
 * @args: checked for size and flags
 * @mode: whether to wait
 *
 * Return: as struct blipmq_recv says; on success the message is still latched, until
 * bmq_read_end().
 */
int bmq_recv(struct bmq_endpoint *ep, struct blipmq_recv *args, enum bmq_read_mode mode)
{
	int err, reason;

	if (!args->trailer && args->trailer_size)
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_RESERVED, 0);
	err = read_begin(ep, mode, &reason);
	if (err)
		return bmq_refuse(&args->head, err, reason, 0);
	err = recv_copy(ep->ring, args);
	if (err)
		bmq_read_end(ep, false);
	return err;
}

/**
 * bmq_read_iter() - read(2): the payload of the next message
 * @ep:   a bound endpoint
 * @to:   where to
 * @mode: whether to wait
 *
 * Return: bytes; -EMSGSIZE or -EFAULT: the message stays first.
 */
ssize_t bmq_read_iter(struct bmq_endpoint *ep, struct iov_iter *to,
		      enum bmq_read_mode mode)
{
	const struct bmq_run *run;
	unsigned long at;
	ssize_t length;
	u32 left;
	int err, reason;

	err = read_begin(ep, mode, &reason);
	if (err)
		return err;
	run = latched(ep->ring, &at);
	length = ep->ring->latch.desc.length & BLIPMQ_DESC_LENGTH;
	if (iov_iter_count(to) < length)
		err = -EMSGSIZE;
	at += sizeof(struct blipmq_header);
	for (left = length; !err && left;) {
		u32 n = min_t(u32, left, PAGE_SIZE - (at & ~PAGE_MASK));

		if (copy_to_iter(bmq_run_at(run, at), n, to) != n)
			err = -EFAULT;
		at += n;
		left -= n;
	}
	bmq_read_end(ep, !err);
	return err ? err : length;
}
