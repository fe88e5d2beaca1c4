// SPDX-License-Identifier: GPL-2.0
/* How many subscriptions may match one topic, and which ones if there are more. */
#include <linux/slab.h>
#include <linux/sort.h>

#include "endpoint.h"
#include "topic.h"

/* Call @fn for each subscription of a topic, muted ones included. */
static void visit_subs(const struct bmq_topic *topic,
		       void (*fn)(struct bmq_sub *sub, void *arg), void *arg)
{
	struct bmq_subs *subs;
	u32 i, j;

	for (i = 0; i < topic->nr_patterns; i++) {
		subs = rcu_dereference_protected(topic->patterns[i]->subs,
						 lockdep_is_held(&topic->bus->match_lock));
		for (j = 0; subs && j < subs->nr; j++) {
			if (subs->sub[j])
				fn(subs->sub[j], arg);
		}
	}
}

/* ---- On a topic that exists ---- */

struct fanout_count {
	const struct bmq_topic *topic;
	const struct bmq_sub *last;
	u32 all;
	u32 user;
	u32 ring;
};

static void count_sub(struct bmq_sub *sub, void *arg)
{
	struct fanout_count *count = arg;

	if (sub->id > count->last->id || bmq_topic_mutes(count->topic, sub->id))
		return;
	count->all++;
	count->user += sub->ep->user == count->last->ep->user;
	count->ring += sub->ep == count->last->ep;
}

/**
 * bmq_fanout_check() - do the limits have a place for a subscription on a topic?
 * @topic:  that it matches
 * @sub:    the subscription, among those of its pattern; younger ones do not count
 * @detail: out: the limit that says no
 *
 * Return: BLIPMQ_REASON_NONE or which limit.
 */
int bmq_fanout_check(const struct bmq_topic *topic,
		     const struct bmq_sub *sub, u32 *detail)
{
	const struct bmq_limits *limits = &topic->bus->limits;
	struct fanout_count count = { .topic = topic, .last = sub };

	lockdep_assert_held(&topic->bus->match_lock);
	visit_subs(topic, count_sub, &count);
	*detail = limits->fanout;
	if (count.all > limits->fanout)
		return BLIPMQ_REASON_FANOUT;
	*detail = limits->fanout_user;
	if (count.user > limits->fanout_user)
		return BLIPMQ_REASON_FANOUT_USER;
	*detail = limits->fanout_ring;
	if (count.ring > limits->fanout_ring)
		return BLIPMQ_REASON_FANOUT_RING;
	*detail = 0;
	return BLIPMQ_REASON_NONE;
}

/* ---- A topic that is born under too many ---- */

struct fanout_list {
	struct bmq_sub **sub;
	u32 nr;
};

/* Count it, and let the counts of its user and ring begin at zero. */
static void begin_sub(struct bmq_sub *sub, void *arg)
{
	struct fanout_list *list = arg;

	sub->ep->fanout = 0;
	sub->ep->user->fanout = 0;
	list->nr++;
}

static void list_sub(struct bmq_sub *sub, void *arg)
{
	struct fanout_list *list = arg;

	list->sub[list->nr++] = sub;
}

static int older(const void *a, const void *b)
{
	const struct bmq_sub *x = *(struct bmq_sub *const *)a;
	const struct bmq_sub *y = *(struct bmq_sub *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Oldest first, each takes a place if the limits have one. */
static void choose_oldest(const struct bmq_limits *limits,
			  const struct fanout_list *list, struct bmq_chosen *chosen)
{
	u32 i;

	for (i = 0; i < list->nr && chosen->nr < limits->fanout; i++) {
		struct bmq_endpoint *ep = list->sub[i]->ep;

		if (ep->fanout >= limits->fanout_ring ||
		    ep->user->fanout >= limits->fanout_user)
			continue;
		chosen->id[chosen->nr++] = list->sub[i]->id;
		ep->fanout++;
		ep->user->fanout++;
	}
}

/**
 * bmq_fanout_birth() - choose who hears a new topic
 * @topic: not yet in the table, its patterns attached
 *
 * The oldest subscriptions do. For the others each message counts as lost, reason
 * fanout. However many there are, the topic is born; there are BMQ_WILD_SUBS and those
 * of the exact pattern at the most.
 *
 * Return: BLIPMQ_REASON_NONE or _MEMORY.
 */
int bmq_fanout_birth(struct bmq_topic *topic)
{
	const struct bmq_limits *limits = &topic->bus->limits;
	struct fanout_list list = {};
	struct bmq_chosen *chosen;

	visit_subs(topic, begin_sub, &list);
	if (list.nr <= min3(limits->fanout, limits->fanout_user, limits->fanout_ring))
		return BLIPMQ_REASON_NONE;

	/* Not charged, for a moment and for one at a time: so nobody is held up here. */
	list.sub = kvmalloc_array(list.nr, sizeof(*list.sub), GFP_KERNEL);
	chosen = kzalloc(struct_size(chosen, id, min(list.nr, limits->fanout)),
			 BMQ_GFP_LOCKED);
	if (!list.sub || !chosen) {
		kvfree(list.sub);
		kfree(chosen);
		return BLIPMQ_REASON_MEMORY;
	}
	list.nr = 0;
	visit_subs(topic, list_sub, &list);
	sort(list.sub, list.nr, sizeof(*list.sub), older, NULL);
	choose_oldest(limits, &list, chosen);
	kvfree(list.sub);
	if (chosen->nr < list.nr) {
		chosen->born = topic->bus->last_sub;
		topic->chosen = chosen;
		bmq_bus_event(topic->bus, BLIPMQ_EVENT_FANOUT);
	} else {
		kfree(chosen);
	}
	return BLIPMQ_REASON_NONE;
}

/* Is this one of those that the topic was born without? */
bool bmq_topic_mutes(const struct bmq_topic *topic, u64 sub)
{
	const struct bmq_chosen *chosen = topic->chosen;
	u32 low = 0, high;

	if (!chosen || sub > chosen->born)
		return false;
	high = chosen->nr;
	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (chosen->id[mid] == sub)
			return false;
		if (chosen->id[mid] < sub)
			low = mid + 1;
		else
			high = mid;
	}
	return true;
}
