/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Endpoints: an open file publishes, and may have one ring.
 *
 * Ownership. The file holds the first reference; a publisher that waits for room
 * in the ring holds another. The endpoint owns its ring, its subscriptions, the
 * references of its handles and kept messages, and its current run. It is freed
 * after an RCU grace period, since fan-outs use rings under RCU.
 *
 * Locking. @lock: what the endpoint has. @read_turn, @read_lock: the one
 * reader. @pub_lock: where the next message goes. Order in bus.h.
 */
#ifndef _BLIPMQ_ENDPOINT_H
#define _BLIPMQ_ENDPOINT_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "bus.h"
#include "ring.h"
#include "topic.h"

#define BMQ_REFUSED	XA_MARK_1	/* in bmq_bus.endpoints */

struct bmq_batch;
struct file;

/**
 * struct bmq_endpoint - see above
 * @ref:      see above
 * @net:      the namespace of open(2)
 * @tgid:     the opener's process
 * @cred:     the opener's, of the file
 * @lock:     guards what follows
 * @bus:      set once; see bmq_endpoint_bus()
 * @user:     set with it
 * @id, @uid, @gid, @pid: as messages tell them; set with @bus
 * @rights:   set with @bus, changed under its admin_lock; read without
 * @ring:     set once; see bmq_endpoint_ring_of()
 * @nr_subs, @wild_subs, @exact_subs, @fanout: as in bmq_user; guarded by the
 *            bus's match lock
 * @handles:  bmq_topic by handle
 * @write_topic: handle that write(2) publishes to, or 0
 * @kept:     runs of kept messages by id, a reference each
 * @nr_kept:  how many
 * @store_maps: areas that map the store
 * @read_turn: of the readers that wait for messages, the one that sleeps on @wq
 * @read_lock: who latches and copies; taken within @read_turn, nobody sleeps for a
 *            message with it
 * @wq:       who waits for messages, or polls
 * @eager:    sleepers that want to hear of the first message, whatever the mark
 * @wakeups:  that publishers gave it
 * @room:     publishers that wait for room in the ring
 * @accounts: bmq_account by memory cgroup; those it ever published from
 * @pub_lock: guards what follows
 * @run:      where small messages go, or NULL
 * @used:     bytes of it
 * @used_at:  jiffies of the last message
 * @spare:    working space of a publish, or NULL; exchanged without the lock
 * @published, @bytes, @lonely: counters
 * @full:     whose block ring gave -EAGAIN, with a reference, or NULL: the endpoint
 *            is marked BMQ_REFUSED on the bus while it is set
 * @full_since: when it did first, ns
 * @full_need: what the message needed there
 */
struct bmq_endpoint {
	struct kref ref;
	struct bmq_net *net;
	struct pid *tgid;
	const struct cred *cred;
	struct rcu_work free;

	struct mutex lock;
	struct bmq_bus *bus;
	struct bmq_user *user;
	u64 id;
	u32 uid;
	u32 gid;
	u32 pid;
	u32 rights;
	struct bmq_ring *ring;
	u32 nr_subs;
	u32 wild_subs;
	u32 exact_subs;
	u32 fanout;
	struct xarray handles;
	u32 write_topic;
	struct xarray kept;
	u32 nr_kept;
	atomic_t store_maps;

	struct mutex read_turn;
	struct mutex read_lock;
	wait_queue_head_t wq;
	atomic_t eager;
	atomic64_t wakeups;
	wait_queue_head_t room;

	struct xarray accounts;
	spinlock_t pub_lock ____cacheline_aligned_in_smp;
	struct bmq_run *run;
	u32 used;
	unsigned long used_at;
	struct bmq_batch *spare;
	atomic64_t published;
	atomic64_t bytes;
	atomic64_t lonely;
	struct bmq_endpoint *full;
	u64 full_since;
	struct bmq_need full_need;
};

/* Set once, by BIND or the first call that needs one; NULL before. */
static inline struct bmq_bus *bmq_endpoint_bus(const struct bmq_endpoint *ep)
{
	return smp_load_acquire(&ep->bus);	/* pairs with bind_locked() */
}

/* Set once, by RING; NULL before. */
static inline struct bmq_ring *bmq_endpoint_ring_of(const struct bmq_endpoint *ep)
{
	return smp_load_acquire(&ep->ring);	/* pairs with bmq_endpoint_ring() */
}

/* Why a call is refused, for its caller. Return: @err. */
static inline int bmq_refuse(struct blipmq_head *head, int err, int reason, u32 detail)
{
	head->reason = reason;
	head->detail = detail;
	return err;
}

struct bmq_endpoint *bmq_endpoint_new(const struct cred *cred);
struct bmq_endpoint *bmq_endpoint_next(struct bmq_bus *bus, unsigned long *id,
				       xa_mark_t mark);
void bmq_endpoint_close(struct bmq_endpoint *ep);
void bmq_endpoint_put(struct bmq_endpoint *ep);
int bmq_endpoint_bind(struct bmq_endpoint *ep, struct file *file,
		      const char *name, struct blipmq_head *head);
int bmq_endpoint_ready(struct bmq_endpoint *ep, struct file *file,
		       struct blipmq_head *head);

int bmq_endpoint_ring(struct bmq_endpoint *ep, struct blipmq_ring *args);
int bmq_endpoint_subscribe(struct bmq_endpoint *ep,
			   struct blipmq_subscribe *args);
int bmq_endpoint_unsubscribe(struct bmq_endpoint *ep,
			     struct blipmq_unsubscribe *args);
int bmq_endpoint_topic(struct bmq_endpoint *ep, struct blipmq_topic *args);
int bmq_endpoint_topic_close(struct bmq_endpoint *ep,
			     struct blipmq_topic_close *args);
int bmq_endpoint_keep(struct bmq_endpoint *ep, struct blipmq_keep *args);
void bmq_endpoint_revoke(struct bmq_endpoint *ep);
int bmq_endpoint_drop(struct bmq_endpoint *ep, struct blipmq_drop_kept *args);

#endif /* _BLIPMQ_ENDPOINT_H */
