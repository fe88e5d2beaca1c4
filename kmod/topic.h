/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Topics, patterns, and who hears what.
 *
 * Matching happens when a pattern or a topic appears. A topic has the array of the
 * patterns that match it; a pattern has the array of its subscriptions, shared by
 * all its topics. So publishing walks two arrays, and a further subscriber of a
 * known pattern costs one entry.
 *
 * Ownership. The bus owns topics and patterns. A topic lives while it is in the
 * bus's table, a handle or a publisher refers to it; patterns live while they have
 * a subscription, or somebody joins or leaves. Topics point to patterns and are
 * detached before a pattern is freed; patterns point to subscriptions, which
 * their rings free.
 *
 * Locking. The bus's match lock serialises every change. bmq_topic.lock guards
 * a topic's array of patterns, so fan-outs, which hold it, see a whole one. The
 * array of subscriptions is read under RCU: an entry is set or cleared in place;
 * a larger or smaller array replaces it.
 */
#ifndef _BLIPMQ_TOPIC_H
#define _BLIPMQ_TOPIC_H

#include <linux/kref.h>
#include <linux/rbtree.h>
#include <linux/rhashtable.h>
#include <linux/spinlock.h>

#include "bus.h"
#include "ring.h"

#define BMQ_TOPIC_PATTERNS	2	/* of a topic, before an array is allocated */
#define BMQ_MATCH_STEPS	256	/* topics looked at before the match lock is dropped */
#define BMQ_FANOUT_MAX		256	/* subscriptions that hear one topic at the most */
#define BMQ_FANOUT_RING_MAX	64	/* of these, of one ring */
/* To wildcard patterns of a bus: with those of an exact one, BMQ_FANOUT_STEPS. */
#define BMQ_WILD_SUBS		(4096 - BMQ_FANOUT_MAX)

/* What topics and patterns have in common: they are found by text. */
struct bmq_named {
	struct rhash_head node;
	const char *text;
	u32 len;
};

extern const struct rhashtable_params bmq_named_params;

struct bmq_named *bmq_named_find(struct rhashtable *table, const char *text,
				 unsigned int len);

/* Subscriptions of a pattern; NULL where one left. */
struct bmq_subs {
	struct rcu_head rcu;
	u32 nr;
	struct bmq_sub *sub[];
};

/**
 * struct bmq_pattern - a subject or wildcard pattern with a subscription
 * @named:  in the bus's table; first member
 * @user:   who made it; counted there if @wild
 * @subs:   subscriptions
 * @nr_subs: how many
 * @nr_block: of these, of block rings; read without the lock by fan-outs
 * @cramped: likewise, of rings that may have more subscriptions on a topic than
 *          entries
 * @refs:   subscriptions, and those who join or leave at the moment
 * @cursor: topics up to this id are joined, while not @joined
 * @joined: all topics that match know it
 * @wild:   has a wildcard
 * @text:   the pattern
 */
struct bmq_pattern {
	struct bmq_named named;
	struct bmq_user *user;
	struct bmq_subs __rcu *subs;
	u32 nr_subs;
	u32 nr_block;
	u32 cramped;
	u32 refs;
	unsigned long cursor;
	bool joined;
	bool wild;
	char text[];
};

/* What the messages of a topic are, as its publishers say. */
struct bmq_type {
	u64 id;
	u32 len;
	char name[];
};

/* Who hears a topic that was born under too many: of the ids up to @born, these. */
struct bmq_chosen {
	u64 born;
	u32 nr;
	u64 id[];
};

/**
 * struct bmq_topic - a subject and the order of its messages
 * @named:  in the bus's table; first member
 * @bus:    whose
 * @user:   who made it; counted there
 * @id:     never reused
 * @ref:    table, handles, publishers
 * @lock:   guards the following
 * @dead:   out of the table: look it up again
 * @seq:    of the last message
 * @used_at: ns, of the last message
 * @patterns: that match
 * @nr_patterns: how many
 * @max_patterns: room
 * @few:    array to begin with
 * @chosen: or NULL, then all hear it; fixed
 * @holds:  handles and exact patterns; guarded by the match lock
 * @type:   or NULL; set once, under the match lock
 * @idle:   in bmq_bus.idle_topics while @holds is 0
 * @idle_key: @used_at as it was sorted
 * @rcu:    look-ups are under RCU
 * @text:   the subject
 */
struct bmq_topic {
	struct bmq_named named;
	struct bmq_bus *bus;
	struct bmq_user *user;
	u64 id;
	struct kref ref;
	spinlock_t lock;
	bool dead;
	u64 seq;
	u64 used_at;
	struct bmq_pattern **patterns;
	u32 nr_patterns;
	u32 max_patterns;
	struct bmq_pattern *few[BMQ_TOPIC_PATTERNS];
	struct bmq_chosen *chosen;
	u32 holds;
	struct bmq_type *type;
	struct rb_node idle;
	u64 idle_key;
	struct rcu_head rcu;
	char text[];
};

struct bmq_topic *bmq_topic_find(struct bmq_bus *bus, const char *text,
				 unsigned int len);
void bmq_match_relax(struct bmq_bus *bus);
int bmq_match_refill(struct bmq_bus *bus, unsigned int *tries);
struct bmq_topic *bmq_topic_get(struct bmq_bus *bus,
				struct bmq_user *user, const char *text,
				      unsigned int len, bool hold, int *reason,
				      u32 *detail);
void bmq_topic_put(struct bmq_topic *topic);
void bmq_topic_unhold(struct bmq_topic *topic);
void bmq_topics_destroy(struct bmq_bus *bus);

int bmq_topic_attach(struct bmq_topic *topic, struct bmq_pattern *pattern);
void bmq_topic_detach(struct bmq_topic *topic, struct bmq_pattern *pattern);
bool bmq_topic_mutes(const struct bmq_topic *topic, u64 sub);

int bmq_fanout_check(const struct bmq_topic *topic,
		     const struct bmq_sub *sub, u32 *detail);
int bmq_fanout_birth(struct bmq_topic *topic);

int bmq_pattern_subscribe(struct bmq_endpoint *ep, const char *text,
			  unsigned int len, u64 cookie, u32 *id, int *reason,
			     u32 *detail);
void bmq_pattern_unsubscribe(struct bmq_sub *sub);

#endif /* _BLIPMQ_TOPIC_H */
