/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A bus: topics, patterns, memory and rights in one network namespace.
 *
 * Ownership. A network namespace has one struct bmq_net; it, every open file and
 * every bus hold a reference on it. It owns its buses. An endpoint holds a reference
 * on its bus. When a bus is deleted, or its namespace goes, it leaves the net and its
 * files hang up; it is freed with its last endpoint. No object pins the namespace
 * itself.
 *
 * Locks, in this order; what is not named is a leaf:
 *
 *   bmq_endpoint.read_turn	a reader of a ring, while it sleeps for a message
 *   bmq_endpoint.read_lock	a reader of a ring, over its copy to user memory
 *   bmq_endpoint.lock	what one endpoint has: ring, subscriptions, handles
 *   bmq_net.lock		which buses there are
 *   bmq_bus.admin_lock	what an administrator decides, and the rights that follow
 *   bmq_bus.match_lock	topics, patterns, and who hears what
 *   bmq_bus.evict_lock	one eviction at a time
 *   bmq_store.index_lock	page indexes
 *   bmq_store.map_sem	which page is where, against faults
 *   bmq_topic.lock		order of a topic's messages (spinlock from here on)
 *   bmq_bus.block_lock	one fan-out into block rings at a time
 *   bmq_ring.lock		one ring at a time
 *   bmq_purse.lock		accounts and idle runs
 *   bmq_host.lock		accounts of the host
 *
 * The mmap lock of a process is taken before map_sem (faults); so none of ours but
 * the endpoint's mutexes is ever held over a copy from or to user memory.
 */
#ifndef _BLIPMQ_BUS_H
#define _BLIPMQ_BUS_H

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/rhashtable.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <uapi/linux/blipmq.h>

#include "match.h"
#include "store.h"

struct net;

/**
 * struct bmq_limits - what a bus allows; module parameters when it is made
 */
struct bmq_limits {
	unsigned long budget;		/* bytes of message pages, see bmq_purse.budget */
	unsigned long max_budget;	/* see bmq_store.max */
	unsigned int max_message;	/* bytes of payload and user headers */
	unsigned int share;		/* percent, see bmq_purse.share */
	unsigned int block_budget;	/* ms of stall in a minute, for each user */
	unsigned int buses;		/* of a namespace, see bmq_net.nr_buses */
	unsigned int topics;
	unsigned int user_topics;
	unsigned int endpoints;
	unsigned int user_endpoints;
	unsigned int subscriptions;	/* of an endpoint */
	unsigned int patterns;		/* with wildcards */
	unsigned int user_patterns;
	unsigned int wild;		/* subscriptions to these */
	unsigned int user_wild;
	unsigned int kept;		/* of an endpoint */
	unsigned int fanout;		/* subscriptions on a topic */
	unsigned int fanout_user;	/* of these, of one user */
	unsigned int fanout_ring;	/* of these, of one ring */
};

/**
 * struct bmq_net - what BlipMQ has in a network namespace
 * @ref:      the namespace, every open file, every bus
 * @user_ns:  owner of the namespace
 * @initial:  it is the first namespace
 * @nr_buses: buses beside "default", also those that are deleted and have an endpoint
 *            still
 * @changes:  of any bus, from 1; it tells a dump that it is interrupted
 * @lock:     guards what follows; held over no allocation
 * @buses:    by id; "default" among them once somebody needs it
 * @last_bus: last id
 * @dead:     the namespace is gone
 */
struct bmq_net {
	struct kref ref;
	struct user_namespace *user_ns;
	bool initial;
	atomic_t nr_buses;
	atomic_t changes;
	struct mutex lock;
	struct list_head buses;
	u64 last_bus;
	bool dead;
};

/**
 * struct bmq_bus_config - what an administrator decides of a bus
 * @owner:        invalid: the root of the namespace
 * @group:        invalid: none
 * @mode:         r, w, x of owner, group and others
 * @share:        percent, see bmq_purse.share
 * @block_budget: ms of stall in a minute, for each user
 * @budget:       pages of messages
 * @max_budget:   pages up to which that may be set; fixed
 */
struct bmq_bus_config {
	kuid_t owner;
	kgid_t group;
	umode_t mode;
	unsigned int share;
	unsigned int block_budget;
	unsigned long budget;
	unsigned long max_budget;
};

/**
 * struct bmq_bus - see above
 * @ref:       the net while it has it, and every endpoint
 * @net:       fixed
 * @node:      in bmq_net.buses, or empty
 * @id:        set with @node, never used again in the net
 * @name:      fixed
 * @user_ns:   in which ids are told; fixed
 * @pid_ns:    in which pids are told; fixed
 * @limits:    fixed
 * @max_message: bytes of payload and user headers; follows from @limits and the budget,
 *             read without a lock
 * @inode:     its address space is that of all mappings
 * @dead:      0, or enum blipmq_reason: it was deleted, or the namespace went
 * @admin_lock: guards @config, and changes of the rights of endpoints; held over no
 *             allocation
 * @config:    its block_budget is read without the lock
 * @store:     messages
 * @match_lock: guards what follows, up to @evict_lock
 * @topics:    by subject; looked up under RCU
 * @topics_by_id: for walks
 * @idle_topics: those that nothing holds, by user and last use
 * @nr_topics, @last_topic: how many, last id
 * @patterns:  by pattern
 * @trie:      those with wildcards
 * @nr_patterns: of these
 * @nr_subs:   subscriptions
 * @wild_subs: of these, to wildcard patterns
 * @exact_subs: most subscriptions that one exact pattern ever had
 * @last_sub:  last id
 * @evict_lock: one eviction at a time; guards @evict_cursor
 * @block_lock: see above; guards @block_stamp
 * @endpoints: by id; its lock is taken under an endpoint's @pub_lock
 * @last_endpoint: last id
 * @nr_endpoints: how many
 * @room_work: wakes those that got -EAGAIN and poll every 10 ms: a kick is a courtesy
 * @idle_work: gives back what is idle
 * @past:      totals of rings that are gone, guarded by @past_lock
 * @events:    by enum blipmq_event
 * @published, @bytes, @lonely: of endpoints that are gone, likewise
 */
struct bmq_bus {
	struct kref ref;
	struct bmq_net *net;
	struct list_head node;
	u64 id;
	char name[BLIPMQ_NAME_MAX];
	struct user_namespace *user_ns;
	struct pid_namespace *pid_ns;
	struct bmq_limits limits;
	unsigned int max_message;
	struct inode *inode;
	u32 dead;
	struct mutex admin_lock;
	struct bmq_bus_config config;
	struct bmq_store store;

	struct mutex match_lock;
	struct rhashtable topics;
	struct xarray topics_by_id;
	struct rb_root idle_topics;
	unsigned int nr_topics;
	u64 last_topic;
	struct rhashtable patterns;
	struct bmq_trie trie;
	unsigned int nr_patterns;
	unsigned int nr_subs;
	unsigned int wild_subs;
	unsigned int exact_subs;
	u64 last_sub;

	struct mutex evict_lock;
	unsigned long evict_cursor;
	spinlock_t block_lock;
	u64 block_stamp;

	struct xarray endpoints;
	atomic64_t last_endpoint;
	atomic_t nr_endpoints;

	struct delayed_work room_work;
	struct delayed_work idle_work;

	spinlock_t past_lock;
	struct blipmq_stats past;
	atomic64_t events[BLIPMQ_NR_EVENTS];
};

/* Bytes of payload and user headers that a message may have now. */
static inline unsigned int bmq_bus_max_message(const struct bmq_bus *bus)
{
	return READ_ONCE(bus->max_message);
}

#define BMQ_BUS_DEFAULT		"default"
#define BMQ_PAGES_MIN		16UL	/* of a budget */
/* An offset of 32 bits counts units, to where the last page ends and no payload is. */
#define BMQ_PAGES_MAX		((unsigned long)((1ULL << 32) / BMQ_UNITS_PER_PAGE - 1))
#define BMQ_BLOCK_BUDGET_MAX	60000	/* ms: the whole minute */

/* What a mode grants to one class: the bits are those of the contract. */
#define BMQ_RIGHTS	(BLIPMQ_RIGHT_SUBSCRIBE | BLIPMQ_RIGHT_PUBLISH | BLIPMQ_RIGHT_MAP)
#define BMQ_OWNER_SHIFT	6
#define BMQ_GROUP_SHIFT	3

extern struct workqueue_struct *bmq_wq;

/* net.c */
int bmq_net_module_init(void);
void bmq_net_module_exit(void);

struct bmq_net *bmq_net_of(const struct net *net);
struct bmq_net *bmq_net_current(void);
void bmq_net_put(struct bmq_net *bn);
int bmq_net_add(struct bmq_net *bn, struct bmq_bus *bus);
bool bmq_net_del(struct bmq_net *bn, struct bmq_bus *bus);
struct bmq_bus *bmq_net_bus(struct bmq_net *bn, const char *name);
struct bmq_bus *bmq_net_next(struct bmq_net *bn, u64 *id);

/* bus.c */
int bmq_bus_module_init(void);
void bmq_bus_module_exit(void);

void bmq_bus_defaults(struct bmq_bus_config *config, const struct bmq_net *bn);
struct bmq_bus *bmq_bus_new(struct bmq_net *bn, const char *name,
			    const struct bmq_bus_config *config);
void bmq_bus_hang_up(struct bmq_bus *bus, enum blipmq_reason reason);
void bmq_bus_put(struct bmq_bus *bus);
kuid_t bmq_bus_owner(const struct bmq_bus *bus);
u32 bmq_bus_rights(const struct bmq_bus *bus, const struct cred *cred);
u32 bmq_bus_configure(struct bmq_bus *bus, const struct bmq_bus_config *config);
void bmq_bus_revoke(struct bmq_bus *bus, u32 rights);
void bmq_idle_work(struct work_struct *work);
void bmq_bus_arm_idle(struct bmq_bus *bus);
void bmq_bus_event(struct bmq_bus *bus, enum blipmq_event event);

#endif /* _BLIPMQ_BUS_H */
