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

/* List it, and let the counts of its user and ring begin at zero. */
static void list_sub(struct bmq_sub *sub, void *arg)
{
	struct fanout_list *list = arg;

	sub->ep->fanout = 0;
	sub->ep->user->fanout = 0;
	if (list->sub && list->nr < BMQ_FANOUT_BIRTH)
		list->sub[list->nr] = sub;
	list->nr++;
}

static int older(const void *a, const void *b)
{
	const struct bmq_sub *x = *(struct bmq_sub *const *)a;
	const struct bmq_sub *y = *(struct bmq_sub *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Oldest first, each takes a place if the limits have one; the others are muted. */
static void mute_youngest(const struct bmq_limits *limits,
			  const struct fanout_list *list, struct bmq_muted *muted)
{
	u32 i, all = 0;

	for (i = 0; i < list->nr; i++) {
		struct bmq_endpoint *ep = list->sub[i]->ep;

		if (all >= limits->fanout || ep->fanout >= limits->fanout_ring ||
		    ep->user->fanout >= limits->fanout_user) {
			muted->id[muted->nr++] = list->sub[i]->id;
			continue;
		}
		all++;
		ep->fanout++;
		ep->user->fanout++;
	}
}

/**
 * bmq_fanout_birth() - choose who hears a new topic
 * @topic:  not yet in the table, its patterns attached
 * @detail: out: the limit that says no
 *
 * The oldest subscriptions do. For the others each message counts as lost, reason
 * fanout; a topic that more than BMQ_FANOUT_BIRTH match is not born.
 *
 * Return: BLIPMQ_REASON_NONE, _FANOUT or _MEMORY.
 */
int bmq_fanout_birth(struct bmq_topic *topic, u32 *detail)
{
	const struct bmq_limits *limits = &topic->bus->limits;
	struct fanout_list list = {};
	struct bmq_muted *muted;

	visit_subs(topic, list_sub, &list);
	if (list.nr <= min3(limits->fanout, limits->fanout_user, limits->fanout_ring))
		return BLIPMQ_REASON_NONE;
	if (list.nr > BMQ_FANOUT_BIRTH) {
		*detail = BMQ_FANOUT_BIRTH;
		return BLIPMQ_REASON_FANOUT;
	}

	list.sub = kvmalloc_array(list.nr, sizeof(*list.sub), GFP_KERNEL_ACCOUNT);
	muted = kzalloc(struct_size(muted, id, list.nr), GFP_KERNEL_ACCOUNT);
	if (!list.sub || !muted) {
		kvfree(list.sub);
		kfree(muted);
		return BLIPMQ_REASON_MEMORY;
	}
	list.nr = 0;
	visit_subs(topic, list_sub, &list);
	sort(list.sub, list.nr, sizeof(*list.sub), older, NULL);
	mute_youngest(limits, &list, muted);
	kvfree(list.sub);
	if (muted->nr) {
		topic->muted = muted;
		bmq_bus_event(topic->bus, BLIPMQ_EVENT_FANOUT);
	} else {
		kfree(muted);
	}
	return BLIPMQ_REASON_NONE;
}

/* Is this one of those that the topic was born without? */
bool bmq_topic_mutes(const struct bmq_topic *topic, u64 sub)
{
	const struct bmq_muted *muted = topic->muted;
	u32 low = 0, high = muted ? muted->nr : 0;

	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (muted->id[mid] == sub)
			return true;
		if (muted->id[mid] < sub)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}
