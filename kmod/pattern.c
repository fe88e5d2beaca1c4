// SPDX-License-Identifier: GPL-2.0
/* Patterns and their subscriptions: joining and leaving topics. See topic.h. */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "endpoint.h"
#include "topic.h"

#define SUBS_FIRST	4	/* subscriptions of a pattern to begin with */
#define SUBS_SPARSE	4	/* of these entries one is in use: take a smaller array */

/* ---- The array of subscriptions ---- */

static struct bmq_subs *subs_of(const struct bmq_pattern *pattern,
				struct bmq_bus *bus)
{
	return rcu_dereference_protected(pattern->subs,
					 lockdep_is_held(&bus->match_lock));
}

/* A free entry: one where a subscription left, or one in a larger array. */
static int subs_room(struct bmq_pattern *pattern, struct bmq_bus *bus, u32 *at)
{
	struct bmq_subs *subs, *old = subs_of(pattern, bus);
	u32 nr = old ? old->nr : 0;

	for (*at = 0; *at < nr; (*at)++) {
		if (!old->sub[*at])
			return 0;
	}
	subs = kzalloc(struct_size(subs, sub, nr ? 2 * nr : SUBS_FIRST), BMQ_GFP_LOCKED);
	if (!subs)
		return -ENOMEM;
	subs->nr = nr ? 2 * nr : SUBS_FIRST;
	if (old)
		memcpy(subs->sub, old->sub, nr * sizeof(*old->sub));
	rcu_assign_pointer(pattern->subs, subs);
	if (old)
		kfree_rcu(old, rcu);
	return 0;
}

/* Fan-outs walk the array, so it does not stay as large as it once had to be. */
static void subs_shrink(struct bmq_pattern *pattern, struct bmq_bus *bus)
{
	struct bmq_subs *subs, *old = subs_of(pattern, bus);
	u32 i, nr = 0;

	if (old->nr <= SUBS_FIRST || pattern->nr_subs > old->nr / SUBS_SPARSE)
		return;
	subs = kzalloc(struct_size(subs, sub, old->nr / 2), BMQ_GFP_LOCKED);
	if (!subs)
		return;
	subs->nr = old->nr / 2;
	for (i = 0; i < old->nr; i++) {
		if (old->sub[i])
			subs->sub[nr++] = old->sub[i];
	}
	rcu_assign_pointer(pattern->subs, subs);
	kfree_rcu(old, rcu);
}

/* A ring became cramped: so are those patterns that it hears already. */
static void cramp_patterns(struct bmq_ring *ring)
{
	u32 i;

	for (i = 0; i < ring->nr_subs; i++) {
		struct bmq_sub *sub;

		spin_lock(&ring->lock);
		sub = ring->subs[i];
		if (sub && !sub->gone)
			WRITE_ONCE(sub->pattern->cramped, sub->pattern->cramped + 1);
		spin_unlock(&ring->lock);
	}
}

/*
 * From as many subscriptions on that one topic could match more of them than the
 * ring has entries, fan-outs count: on all its patterns, while it hears them. The new
 * subscription is deaf still, and counted here.
 */
static void cramp(struct bmq_endpoint *ep, struct bmq_pattern *pattern)
{
	struct bmq_ring *ring = ep->ring;

	if (!ring->cramped && ep->wild_subs + ep->exact_subs > ring->entries) {
		WRITE_ONCE(ring->cramped, true);
		cramp_patterns(ring);
	}
	if (ring->cramped)
		WRITE_ONCE(pattern->cramped, pattern->cramped + 1);
}

/* Of the subscriptions of a pattern, those of a user and those of an endpoint. */
static void count_subs(struct bmq_pattern *pattern, const struct bmq_endpoint *ep,
		       u32 *user, u32 *ring)
{
	struct bmq_subs *subs = subs_of(pattern, ep->bus);
	u32 i;

	*user = 0;
	*ring = 0;
	for (i = 0; subs && i < subs->nr; i++) {
		*user += subs->sub[i] && subs->sub[i]->ep->user == ep->user;
		*ring += subs->sub[i] && subs->sub[i]->ep == ep;
	}
}

static void count_exact(struct bmq_pattern *pattern, struct bmq_endpoint *ep)
{
	u32 user, ring;

	count_subs(pattern, ep, &user, &ring);
	ep->bus->exact_subs = max(ep->bus->exact_subs, pattern->nr_subs);
	ep->user->exact_subs = max(ep->user->exact_subs, user + 1);
	ep->exact_subs = max(ep->exact_subs, ring + 1);
}

/* Count the subscription, then let fan-outs find it. */
static int subs_add(struct bmq_pattern *pattern, struct bmq_sub *sub)
{
	struct bmq_endpoint *ep = sub->ep;
	struct bmq_bus *bus = ep->bus;
	u32 at;

	if (subs_room(pattern, bus, &at))
		return -ENOMEM;
	sub->id = ++bus->last_sub;
	pattern->nr_subs++;
	bus->nr_subs++;
	ep->nr_subs++;
	if (pattern->wild) {
		bus->wild_subs++;
		ep->user->wild_subs++;
		ep->wild_subs++;
	} else {
		count_exact(pattern, ep);
	}
	if (ep->ring->policy == BLIPMQ_POLICY_BLOCK)
		WRITE_ONCE(pattern->nr_block, pattern->nr_block + 1);
	cramp(ep, pattern);
	smp_store_release(&subs_of(pattern, bus)->sub[at], sub);	/* pairs with sub_at() */
	return 0;
}

static void subs_del(struct bmq_pattern *pattern, struct bmq_sub *sub)
{
	struct bmq_endpoint *ep = sub->ep;
	struct bmq_subs *subs = subs_of(pattern, ep->bus);
	u32 i;

	for (i = 0; i < subs->nr; i++) {
		if (subs->sub[i] == sub)
			WRITE_ONCE(subs->sub[i], NULL);
	}
	if (ep->ring->policy == BLIPMQ_POLICY_BLOCK)
		WRITE_ONCE(pattern->nr_block, pattern->nr_block - 1);
	if (ep->ring->cramped)
		WRITE_ONCE(pattern->cramped, pattern->cramped - 1);
	pattern->nr_subs--;
	ep->bus->nr_subs--;
	ep->nr_subs--;
	if (pattern->wild) {
		ep->bus->wild_subs--;
		ep->user->wild_subs--;
		ep->wild_subs--;
	}
	subs_shrink(pattern, ep->bus);
}

/* ---- Life ---- */

static struct bmq_pattern *pattern_make(struct bmq_endpoint *ep,
					const char *text, unsigned int len,
					   int *reason, u32 *detail)
{
	struct bmq_bus *bus = ep->bus;
	struct bmq_pattern *pattern;
	bool wild = bmq_pattern_is_wild(text, len);

	if (wild && bus->nr_patterns >= bus->limits.patterns) {
		*reason = BLIPMQ_REASON_LIMIT_PATTERNS;
		*detail = bus->limits.patterns;
		return NULL;
	}
	if (wild && ep->user->patterns >= bus->limits.user_patterns) {
		*reason = BLIPMQ_REASON_LIMIT_USER_PATTERNS;
		*detail = bus->limits.user_patterns;
		return NULL;
	}
	*reason = BLIPMQ_REASON_MEMORY;
	pattern = kzalloc(struct_size(pattern, text, len), BMQ_GFP_LOCKED);
	if (!pattern)
		return NULL;
	memcpy(pattern->text, text, len);
	pattern->named.text = pattern->text;
	pattern->named.len = len;
	pattern->wild = wild;
	pattern->user = ep->user;
	if (wild && bmq_trie_insert(&bus->trie, text, len, pattern))
		goto err_free;
	if (rhashtable_insert_fast(&bus->patterns, &pattern->named.node,
				   bmq_named_params))
		goto err_trie;
	bmq_user_hold(pattern->user);
	if (wild) {
		bus->nr_patterns++;
		pattern->user->patterns++;
	}
	return pattern;

err_trie:
	if (wild)
		bmq_trie_remove(&bus->trie, text, len);
err_free:
	kfree(pattern);
	return NULL;
}

/* No look-up finds it any more: it is dead, and is never revived. */
static void pattern_unlink(struct bmq_pattern *pattern, struct bmq_bus *bus)
{
	rhashtable_remove_fast(&bus->patterns, &pattern->named.node,
			       bmq_named_params);
	if (!pattern->wild)
		return;
	bmq_trie_remove(&bus->trie, pattern->text, pattern->named.len);
	bus->nr_patterns--;
	pattern->user->patterns--;
}

static struct bmq_topic *exact_topic(struct bmq_pattern *pattern,
				     struct bmq_bus *bus)
{
	return bmq_topic_find(bus, pattern->text, pattern->named.len);
}

/* The last one who joined or had a subscription detaches it everywhere. */
static void pattern_put(struct bmq_pattern *pattern, struct bmq_bus *bus)
{
	struct bmq_topic *topic;
	unsigned long id = 0;
	unsigned int n = 0;

	lockdep_assert_held(&bus->match_lock);
	if (--pattern->refs)
		return;

	pattern_unlink(pattern, bus);
	if (pattern->wild) {
		xa_for_each(&bus->topics_by_id, id, topic) {
			bmq_topic_detach(topic, pattern);
			if (++n % BMQ_MATCH_STEPS == 0)
				bmq_match_relax(bus);
		}
	} else {
		topic = exact_topic(pattern, bus);
		if (topic)
			bmq_topic_detach(topic, pattern);
	}
	WARN_ON_ONCE(pattern->nr_subs || pattern->nr_block || pattern->cramped);
	bmq_user_put(pattern->user);
	kfree(subs_of(pattern, bus));
	kfree(pattern);
}

/* ---- Joining ---- */

/* Is there a place for the subscription on this topic, if the pattern matches it? */
static int join_check(struct bmq_topic *topic, const struct bmq_sub *sub, int *reason,
		      u32 *detail)
{
	const struct bmq_pattern *pattern = sub->pattern;

	if (!bmq_pattern_match(pattern->text, pattern->named.len, topic->text,
			       topic->named.len))
		return 0;
	*reason = bmq_fanout_check(topic, sub, detail);
	return *reason ? -ENOSPC : 0;
}

static int join_topic(struct bmq_topic *topic, struct bmq_pattern *pattern)
{
	if (!bmq_pattern_match(pattern->text, pattern->named.len, topic->text,
			       topic->named.len))
		return 0;
	return bmq_topic_attach(topic, pattern);
}

/* Join the next topic, or the one of an exact pattern. Return: 0 or -ENOMEM. */
static int join_next(struct bmq_pattern *pattern, struct bmq_bus *bus)
{
	unsigned long id = pattern->cursor;
	struct bmq_topic *topic;
	int err = 0;

	if (pattern->wild)
		topic = xa_find_after(&bus->topics_by_id, &id, ULONG_MAX, XA_PRESENT);
	else
		topic = exact_topic(pattern, bus);
	if (topic)
		err = join_topic(topic, pattern);
	if (err)
		return err;
	pattern->joined = !topic || !pattern->wild;
	pattern->cursor = id;
	return 0;
}

/*
 * Walk the topics by id upwards, from where the walk of this pattern stands; who
 * comes while another walks, walks on with it. Topics that are born meanwhile find
 * the pattern in the trie, and have higher ids besides.
 */
static int pattern_join(struct bmq_pattern *pattern, struct bmq_bus *bus)
{
	unsigned int n = 0, tries = 0;
	int err;

	while (!pattern->joined) {
		err = join_next(pattern, bus);
		if (err) {
			err = bmq_match_refill(bus, &tries);
			if (err != -EAGAIN)
				return err;
			continue;
		}
		tries = 0;
		if (++n % BMQ_MATCH_STEPS)
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		bmq_match_relax(bus);
	}
	return 0;
}

/*
 * Keeping the limits needs no walk, unless they could be exceeded somewhere:
 * there are more subscriptions to wildcard patterns, and to the exact pattern that
 * has had the most, than may match one topic. The new one counts already for those
 * that come later, who may walk at the same time: only one takes the last place.
 */
static int sub_recheck(const struct bmq_sub *sub, int *reason, u32 *detail)
{
	struct bmq_pattern *pattern = sub->pattern;
	struct bmq_endpoint *ep = sub->ep;
	struct bmq_bus *bus = ep->bus;
	const struct bmq_limits *limits = &bus->limits;
	struct bmq_topic *topic;
	unsigned long id = 0;
	unsigned int n = 0;
	int err;

	if (bus->wild_subs + bus->exact_subs <= limits->fanout &&
	    ep->user->wild_subs + ep->user->exact_subs <= limits->fanout_user &&
	    ep->wild_subs + ep->exact_subs <= limits->fanout_ring)
		return 0;
	if (!pattern->wild) {
		topic = exact_topic(pattern, bus);
		return topic ? join_check(topic, sub, reason, detail) : 0;
	}
	xa_for_each(&bus->topics_by_id, id, topic) {
		err = join_check(topic, sub, reason, detail);
		if (err)
			return err;
		if (++n % BMQ_MATCH_STEPS)
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		bmq_match_relax(bus);
	}
	return 0;
}

/* While it is deaf, a subscription counts but hears nothing. */
static void sub_set_deaf(struct bmq_sub *sub, bool deaf)
{
	struct bmq_ring *ring = sub->ep->ring;

	spin_lock(&ring->lock);
	sub->gone = deaf;
	spin_unlock(&ring->lock);
}

/* Refused on every topic of the pattern, whatever else matches it? */
static int pattern_full(struct bmq_pattern *pattern, const struct bmq_endpoint *ep,
			u32 *detail)
{
	const struct bmq_limits *limits = &ep->bus->limits;
	u32 user, ring;

	count_subs(pattern, ep, &user, &ring);
	*detail = limits->fanout;
	if (pattern->nr_subs >= limits->fanout)
		return BLIPMQ_REASON_FANOUT;
	*detail = limits->fanout_user;
	if (user >= limits->fanout_user)
		return BLIPMQ_REASON_FANOUT_USER;
	*detail = limits->fanout_ring;
	if (ring >= limits->fanout_ring)
		return BLIPMQ_REASON_FANOUT_RING;
	*detail = 0;
	return BLIPMQ_REASON_NONE;
}

/* Every topic that is born looks at all that match it, so there is a bound for these. */
static int wild_full(const struct bmq_endpoint *ep, u32 *detail)
{
	const struct bmq_limits *limits = &ep->bus->limits;

	*detail = limits->wild;
	if (ep->bus->wild_subs >= limits->wild)
		return BLIPMQ_REASON_LIMIT_WILD;
	*detail = limits->user_wild;
	if (ep->user->wild_subs >= limits->user_wild)
		return BLIPMQ_REASON_LIMIT_USER_WILD;
	*detail = 0;
	return BLIPMQ_REASON_NONE;
}

/* Let it count, if there is a place: between the look and that the lock is not dropped. */
static int sub_enter(struct bmq_sub *sub, int *reason, u32 *detail)
{
	struct bmq_pattern *pattern = sub->pattern;
	struct bmq_endpoint *ep = sub->ep;
	unsigned int tries = 0;
	int err;

	do {
		*reason = pattern_full(pattern, ep, detail);
		if (!*reason && pattern->wild)
			*reason = wild_full(ep, detail);
		if (*reason)
			return -ENOSPC;
		err = subs_add(pattern, sub);
		if (!err)
			return 0;
		*reason = BLIPMQ_REASON_MEMORY;
		err = bmq_match_refill(ep->bus, &tries);
	} while (err == -EAGAIN);
	return err;
}

static int sub_join(struct bmq_sub *sub, int *reason, u32 *detail)
{
	int err;

	*reason = BLIPMQ_REASON_MEMORY;
	err = pattern_join(sub->pattern, sub->ep->bus);
	if (err)
		return err;
	sub_set_deaf(sub, true);
	err = sub_enter(sub, reason, detail);
	if (err)
		return err;
	err = sub_recheck(sub, reason, detail);
	if (err) {
		subs_del(sub->pattern, sub);
		return err;
	}
	sub_set_deaf(sub, false);
	return 0;
}

/* Find it or make it; the lock may be dropped before. */
static struct bmq_pattern *pattern_get(struct bmq_endpoint *ep, const char *text,
				       unsigned int len, int *reason, u32 *detail)
{
	struct bmq_pattern *pattern;
	struct bmq_named *named;
	unsigned int tries = 0;

	do {
		named = bmq_named_find(&ep->bus->patterns, text, len);
		if (named)
			pattern = container_of(named, struct bmq_pattern, named);
		else
			pattern = pattern_make(ep, text, len, reason, detail);
		if (pattern) {
			pattern->refs++;
			return pattern;
		}
	} while (*reason == BLIPMQ_REASON_MEMORY &&
		 bmq_match_refill(ep->bus, &tries) == -EAGAIN);
	return NULL;
}

/**
 * bmq_pattern_subscribe() - let a ring hear a pattern
 * @ep:     the endpoint, with a ring, locked
 * @text:   a right pattern
 * @len:    its bytes
 * @cookie: the subscriber's
 * @id:     out: of the subscription on the endpoint, from 1
 * @reason: out: why not
 * @detail: out: what belongs to the reason
 *
 * Return: 0; -ENOSPC: a limit; -ENOMEM; -EINTR: killed.
 */
int bmq_pattern_subscribe(struct bmq_endpoint *ep, const char *text,
			  unsigned int len, u64 cookie, u32 *id, int *reason,
			     u32 *detail)
{
	struct bmq_bus *bus = ep->bus;
	struct bmq_sub *sub;
	int err;

	lockdep_assert_held(&ep->lock);
	*reason = BLIPMQ_REASON_MEMORY;
	sub = kzalloc(sizeof(*sub), GFP_KERNEL_ACCOUNT);
	if (!sub)
		return -ENOMEM;
	sub->cookie = cookie;
	sub->ep = ep;
	err = bmq_ring_add_sub(ep->ring, sub, bus->limits.subscriptions);
	if (err) {
		*reason = err == -ENOSPC ? BLIPMQ_REASON_LIMIT_SUBSCRIPTIONS :
					   BLIPMQ_REASON_MEMORY;
		*detail = bus->limits.subscriptions;
		kfree(sub);
		return err;
	}
	*id = sub->slot + 1;

	mutex_lock(&bus->match_lock);
	sub->pattern = pattern_get(ep, text, len, reason, detail);
	if (sub->pattern) {
		err = sub_join(sub, reason, detail);
		if (err)
			pattern_put(sub->pattern, bus);
	} else {
		err = *reason == BLIPMQ_REASON_MEMORY ? -ENOMEM : -ENOSPC;
	}
	mutex_unlock(&bus->match_lock);
	if (err == -EINTR)
		*reason = BLIPMQ_REASON_NONE;
	if (err)
		bmq_ring_del_sub(ep->ring, sub);
	return err;
}

/* End a subscription. What is in the ring stays there. The endpoint is locked. */
void bmq_pattern_unsubscribe(struct bmq_sub *sub)
{
	struct bmq_pattern *pattern = sub->pattern;
	struct bmq_endpoint *ep = sub->ep;
	struct bmq_bus *bus = ep->bus;

	mutex_lock(&bus->match_lock);
	subs_del(pattern, sub);
	bmq_ring_del_sub(ep->ring, sub);
	pattern_put(pattern, bus);
	mutex_unlock(&bus->match_lock);
}
