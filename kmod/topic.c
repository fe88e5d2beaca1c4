// SPDX-License-Identifier: GPL-2.0
/* Topics: making, finding, holding, letting go. See topic.h. */
#include <linux/jhash.h>
#include <linux/ktime.h>
#include <linux/slab.h>

#include "topic.h"

#define REFILL		8192	/* bytes: larger ones do not stay charged */
#define REFILL_TRIES	8

/* ---- By text ---- */

struct named_key {
	const char *text;
	u32 len;
};

static u32 key_hash(const void *data, u32 len, u32 seed)
{
	const struct named_key *key = data;

	return jhash(key->text, key->len, seed);
}

static u32 named_hash(const void *data, u32 len, u32 seed)
{
	const struct bmq_named *named = data;

	return jhash(named->text, named->len, seed);
}

static int named_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct named_key *key = arg->key;
	const struct bmq_named *named = obj;

	return key->len != named->len || memcmp(key->text, named->text, key->len);
}

const struct rhashtable_params bmq_named_params = {
	.head_offset = offsetof(struct bmq_named, node),
	.hashfn = key_hash,
	.obj_hashfn = named_hash,
	.obj_cmpfn = named_cmp,
	.automatic_shrinking = true,
};

/* What is found stays under RCU, or under the match lock. */
struct bmq_named *bmq_named_find(struct rhashtable *table, const char *text,
				 unsigned int len)
{
	struct named_key key = { .text = text, .len = len };
	struct bmq_named *named;

	rcu_read_lock();
	named = rhashtable_lookup(table, &key, bmq_named_params);
	rcu_read_unlock();
	return named;
}

/* Likewise. */
struct bmq_topic *bmq_topic_find(struct bmq_bus *bus, const char *text,
				 unsigned int len)
{
	struct bmq_named *named = bmq_named_find(&bus->topics, text, len);

	return named ? container_of(named, struct bmq_topic, named) : NULL;
}

/* ---- The match lock ---- */

/* Let others at it. */
void bmq_match_relax(struct bmq_bus *bus)
{
	mutex_unlock(&bus->match_lock);
	cond_resched();
	mutex_lock(&bus->match_lock);
}

/**
 * bmq_match_refill() - there was no memory: see whether there is, without the lock
 * @bus:   its match lock is dropped, and taken again
 * @tries: how often that was done for one allocation, 0 at first
 *
 * A memory cgroup above memory.high has who allocates sleep for seconds; one at
 * memory.max has him reclaim, and may have somebody killed. With the match lock nobody
 * waits for memory (BMQ_GFP_LOCKED), but here, and nobody is killed. What is charged
 * here and freed stays at hand for the next of the cgroup on this CPU.
 *
 * Return: -EAGAIN: begin again from where the lock was taken; or -ENOMEM.
 */
int bmq_match_refill(struct bmq_bus *bus, unsigned int *tries)
{
	bool there;
	void *mem;

	if (++*tries > REFILL_TRIES)
		return -ENOMEM;
	mutex_unlock(&bus->match_lock);
	mem = kmalloc(REFILL, GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	there = mem;
	kfree(mem);
	mutex_lock(&bus->match_lock);
	return there ? -EAGAIN : -ENOMEM;
}

/* ---- Life ---- */

static void topic_release(struct kref *ref)
{
	struct bmq_topic *topic = container_of(ref, struct bmq_topic, ref);

	bmq_user_put(topic->user);
	if (topic->patterns != topic->few)
		kfree(topic->patterns);
	kfree(topic->chosen);
	kfree(topic->type);
	kfree_rcu(topic, rcu);
}

void bmq_topic_put(struct bmq_topic *topic)
{
	kref_put(&topic->ref, topic_release);
}

/* ---- Topics that nothing holds, for the limits ---- */

static bool idle_before(const struct bmq_topic *a, const struct bmq_topic *b)
{
	if (a->user != b->user)
		return a->user < b->user;
	if (a->idle_key != b->idle_key)
		return a->idle_key < b->idle_key;
	return a->id < b->id;
}

static void idle_insert(struct bmq_topic *topic)
{
	struct rb_node **link = &topic->bus->idle_topics.rb_node, *parent = NULL;

	lockdep_assert_held(&topic->bus->match_lock);
	topic->idle_key = READ_ONCE(topic->used_at);
	while (*link) {
		parent = *link;
		if (idle_before(topic, rb_entry(parent, struct bmq_topic, idle)))
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&topic->idle, parent, link);
	rb_insert_color(&topic->idle, &topic->bus->idle_topics);
}

static void topic_hold(struct bmq_topic *topic)
{
	if (!topic->holds++)
		rb_erase(&topic->idle, &topic->bus->idle_topics);
}

static void topic_unhold(struct bmq_topic *topic)
{
	if (!--topic->holds)
		idle_insert(topic);
}

/* Let go of a handle. */
void bmq_topic_unhold(struct bmq_topic *topic)
{
	struct bmq_bus *bus = topic->bus;

	mutex_lock(&bus->match_lock);
	topic_unhold(topic);
	mutex_unlock(&bus->match_lock);
	bmq_topic_put(topic);
}

/* Take a topic that nothing holds out of the bus. */
static void topic_remove(struct bmq_topic *topic)
{
	struct bmq_bus *bus = topic->bus;

	lockdep_assert_held(&bus->match_lock);
	rb_erase(&topic->idle, &bus->idle_topics);
	rhashtable_remove_fast(&bus->topics, &topic->named.node,
			       bmq_named_params);
	xa_erase(&bus->topics_by_id, topic->id);
	bus->nr_topics--;
	topic->user->topics--;
	spin_lock(&topic->lock);
	topic->dead = true;
	spin_unlock(&topic->lock);
	bmq_topic_put(topic);
}

/* The first in order of those of a user, that is the longest idle when sorted. */
static struct bmq_topic *idle_first(struct bmq_bus *bus,
				    const struct bmq_user *user)
{
	struct rb_node *node = bus->idle_topics.rb_node;
	struct bmq_topic *topic, *first = NULL;

	while (node) {
		topic = rb_entry(node, struct bmq_topic, idle);
		if (topic->user < user) {
			node = node->rb_right;
			continue;
		}
		if (topic->user == user)
			first = topic;
		node = node->rb_left;
	}
	return first;
}

/*
 * Remove the user's longest-idle topic. Publishing does not sort: a topic that was
 * used since it was sorted is sorted now, which each use pays for once at most. One
 * used after @since, when the search began, may go all the same: if it is the first,
 * all were used, and publishers that are fast would have the search go on for ever.
 *
 * Return: 0; -EAGAIN: the lock was dropped, look again; -ENOSPC: all are held.
 */
static int topic_reap(struct bmq_bus *bus, const struct bmq_user *user, u64 since)
{
	struct bmq_topic *topic;
	unsigned int n;

	for (n = 0; n < BMQ_MATCH_STEPS; n++) {
		topic = idle_first(bus, user);
		if (!topic)
			return -ENOSPC;
		if (READ_ONCE(topic->used_at) == topic->idle_key ||
		    topic->idle_key >= since) {
			topic_remove(topic);
			return 0;
		}
		rb_erase(&topic->idle, &bus->idle_topics);
		idle_insert(topic);
	}
	bmq_match_relax(bus);
	return -EAGAIN;
}

/* A place for one more of the user's. As topic_reap(), with the reason for -ENOSPC. */
static int topic_limits(struct bmq_bus *bus, const struct bmq_user *user, u64 since,
			int *reason, u32 *detail)
{
	const struct bmq_limits *limits = &bus->limits;
	bool full = user->topics >= limits->user_topics;
	int err;

	if (!full && bus->nr_topics < limits->topics)
		return 0;
	err = topic_reap(bus, user, since);
	if (err == -ENOSPC) {
		*reason = full ? BLIPMQ_REASON_LIMIT_USER_TOPICS :
				 BLIPMQ_REASON_LIMIT_TOPICS;
		*detail = full ? limits->user_topics : limits->topics;
	}
	return err;
}

/* ---- Patterns of a topic ---- */

static bool is_attached(const struct bmq_topic *topic,
			const struct bmq_pattern *pattern)
{
	u32 i;

	for (i = 0; i < topic->nr_patterns; i++) {
		if (topic->patterns[i] == pattern)
			return true;
	}
	return false;
}

static int patterns_grow(struct bmq_topic *topic)
{
	u32 max = 2 * topic->max_patterns;
	struct bmq_pattern **patterns, **old = topic->patterns;

	patterns = kmalloc_array(max, sizeof(*patterns), BMQ_GFP_LOCKED);
	if (!patterns)
		return -ENOMEM;
	spin_lock(&topic->lock);
	memcpy(patterns, old, topic->nr_patterns * sizeof(*patterns));
	topic->patterns = patterns;
	topic->max_patterns = max;
	spin_unlock(&topic->lock);
	if (old != topic->few)
		kfree(old);
	return 0;
}

/* Idempotent. Return: 0 or -ENOMEM. */
int bmq_topic_attach(struct bmq_topic *topic, struct bmq_pattern *pattern)
{
	lockdep_assert_held(&topic->bus->match_lock);
	if (is_attached(topic, pattern))
		return 0;
	if (topic->nr_patterns == topic->max_patterns && patterns_grow(topic))
		return -ENOMEM;
	spin_lock(&topic->lock);
	topic->patterns[topic->nr_patterns++] = pattern;
	spin_unlock(&topic->lock);
	if (!pattern->wild)
		topic_hold(topic);
	return 0;
}

/* Idempotent. No fan-out uses the pattern for this topic afterwards. */
void bmq_topic_detach(struct bmq_topic *topic, struct bmq_pattern *pattern)
{
	u32 i;

	lockdep_assert_held(&topic->bus->match_lock);
	for (i = 0; i < topic->nr_patterns; i++) {
		if (topic->patterns[i] != pattern)
			continue;
		spin_lock(&topic->lock);
		topic->patterns[i] = topic->patterns[--topic->nr_patterns];
		spin_unlock(&topic->lock);
		if (!pattern->wild)
			topic_unhold(topic);
		return;
	}
}

static int attach_found(void *value, void *arg)
{
	return bmq_topic_attach(arg, value);
}

/* Find the patterns that match a new topic. */
static int topic_match(struct bmq_topic *topic, u32 *detail)
{
	struct bmq_bus *bus = topic->bus;
	struct bmq_named *exact;
	int err;

	exact = bmq_named_find(&bus->patterns, topic->text, topic->named.len);
	if (exact) {
		struct bmq_pattern *pattern =
			container_of(exact, struct bmq_pattern, named);

		/* A pattern with wildcards may read like a topic; the trie has it. */
		if (!pattern->wild && bmq_topic_attach(topic, pattern))
			return BLIPMQ_REASON_MEMORY;
	}
	err = bmq_trie_lookup(&bus->trie, topic->text, topic->named.len,
			      attach_found, topic);
	if (err == -E2BIG) {
		*detail = BMQ_TRIE_STEPS;
		return BLIPMQ_REASON_MATCH_STEPS;
	}
	if (err)
		return BLIPMQ_REASON_MEMORY;
	return bmq_fanout_birth(topic);
}

/* ---- Finding and making ---- */

static struct bmq_topic *topic_alloc(struct bmq_bus *bus,
				     struct bmq_user *user,
					const char *text, unsigned int len)
{
	struct bmq_topic *topic;

	topic = kzalloc(struct_size(topic, text, len), BMQ_GFP_LOCKED);
	if (!topic)
		return NULL;
	memcpy(topic->text, text, len);
	topic->named.text = topic->text;
	topic->named.len = len;
	topic->bus = bus;
	topic->user = user;
	bmq_user_hold(user);
	kref_init(&topic->ref);
	spin_lock_init(&topic->lock);
	topic->patterns = topic->few;
	topic->max_patterns = BMQ_TOPIC_PATTERNS;
	topic->used_at = ktime_get_ns();
	return topic;
}

/*
 * Into the table, then the trie is asked; whoever adds a pattern puts it into the
 * trie, then walks the table. Both hold the match lock for each step, so at least
 * one finds the other; nobody publishes before the trie was asked, because the
 * subject is looked up under the same lock when it is not found.
 */
static struct bmq_topic *topic_make(struct bmq_bus *bus,
				    struct bmq_user *user, const char *text,
				       unsigned int len, int *reason, u32 *detail)
{
	struct bmq_topic *topic;

	lockdep_assert_held(&bus->match_lock);
	*reason = BLIPMQ_REASON_MEMORY;
	topic = topic_alloc(bus, user, text, len);
	if (!topic)
		return NULL;

	topic->id = ++bus->last_topic;
	idle_insert(topic);
	if (xa_err(xa_store(&bus->topics_by_id, topic->id, topic, BMQ_GFP_LOCKED)))
		goto err_idle;
	*reason = topic_match(topic, detail);
	if (*reason)
		goto err_id;
	*reason = BLIPMQ_REASON_MEMORY;
	if (rhashtable_insert_fast(&bus->topics, &topic->named.node,
				   bmq_named_params))
		goto err_id;
	bus->nr_topics++;
	user->topics++;
	*reason = BLIPMQ_REASON_NONE;
	return topic;

err_id:
	while (topic->nr_patterns)
		bmq_topic_detach(topic, topic->patterns[0]);
	xa_erase(&bus->topics_by_id, topic->id);
err_idle:
	rb_erase(&topic->idle, &bus->idle_topics);
	bmq_topic_put(topic);
	return NULL;
}

/* Find it or make it; the lock may be dropped before. */
static struct bmq_topic *topic_get(struct bmq_bus *bus, struct bmq_user *user,
				   const char *text, unsigned int len, int *reason,
				   u32 *detail)
{
	u64 since = ktime_get_ns();
	unsigned int tries = 0;
	struct bmq_topic *topic;
	int err;

	do {
		topic = bmq_topic_find(bus, text, len);
		if (topic)
			return topic;
		err = topic_limits(bus, user, since, reason, detail);
		if (err)
			continue;
		topic = topic_make(bus, user, text, len, reason, detail);
		if (topic)
			return topic;
		if (*reason == BLIPMQ_REASON_MEMORY)
			err = bmq_match_refill(bus, &tries);
	} while (err == -EAGAIN);
	return NULL;
}

/**
 * bmq_topic_get() - the topic of a subject, made if there is none
 * @bus:    where
 * @user:   who makes it, if it is made
 * @text:   a right subject
 * @len:    its bytes
 * @hold:   for a handle: keep it until bmq_topic_unhold()
 * @reason: out: why not
 * @detail: out: what belongs to the reason
 *
 * Return: a reference, or NULL.
 */
struct bmq_topic *bmq_topic_get(struct bmq_bus *bus,
				struct bmq_user *user, const char *text,
				      unsigned int len, bool hold, int *reason,
				      u32 *detail)
{
	struct bmq_topic *topic;

	if (!hold) {
		rcu_read_lock();
		topic = bmq_topic_find(bus, text, len);
		if (topic && !kref_get_unless_zero(&topic->ref))
			topic = NULL;
		rcu_read_unlock();
		if (topic)
			return topic;
	}

	mutex_lock(&bus->match_lock);
	topic = topic_get(bus, user, text, len, reason, detail);
	if (topic) {
		kref_get(&topic->ref);
		if (hold)
			topic_hold(topic);
	}
	mutex_unlock(&bus->match_lock);
	return topic;
}

/* The bus goes: no handle, no subscription, no publisher is left. */
void bmq_topics_destroy(struct bmq_bus *bus)
{
	struct rb_node *node;

	mutex_lock(&bus->match_lock);
	while ((node = rb_first(&bus->idle_topics))) {
		topic_remove(rb_entry(node, struct bmq_topic, idle));
		cond_resched();
	}
	mutex_unlock(&bus->match_lock);
	WARN_ON_ONCE(bus->nr_topics || bus->nr_subs);
}
