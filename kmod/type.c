// SPDX-License-Identifier: GPL-2.0
/*
 * Types of topics. The first publisher who states one gives it to the topic, which owns
 * it from then on and keeps it until it goes. The kernel compares types and shows them;
 * it does not look into messages.
 */
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "type.h"

/* ---- Stating one ---- */

/* For terminals and logs: no control characters. */
static bool name_fits(const struct bmq_type *type)
{
	u32 i;

	for (i = 0; i < type->len; i++) {
		unsigned char c = type->name[i];

		if (c < ' ' || c == 0x7f)
			return false;
	}
	return true;
}

/* A type with room for its name. */
static struct bmq_type *type_new(u64 id, u32 len)
{
	struct bmq_type *type;

	type = kmalloc(struct_size(type, name, len), GFP_KERNEL_ACCOUNT);
	if (!type)
		return NULL;
	type->id = id;
	type->len = len;
	return type;
}

/**
 * bmq_type_in() - the type that a TOPIC states
 * @args: checked for size, flags and reserved fields
 * @out:  the caller's, or NULL if it states none
 *
 * Return: 0 or a negative errno, with a reason.
 */
int bmq_type_in(struct blipmq_topic *args, struct bmq_type **out)
{
	u32 len = args->type_name_len;
	struct bmq_type *type;
	int err;

	*out = NULL;
	if (len > BLIPMQ_TYPE_NAME_MAX || (len && !args->type))
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_TYPE_NAME,
				  BLIPMQ_TYPE_NAME_MAX);
	if (!args->type)
		return 0;
	type = type_new(args->type, len);
	if (!type)
		return bmq_refuse(&args->head, -ENOMEM, BLIPMQ_REASON_MEMORY, 0);
	err = -EFAULT;
	if (copy_from_user(type->name, u64_to_user_ptr(args->type_name), len)) {
		bmq_refuse(&args->head, err, BLIPMQ_REASON_FAULT, 0);
		goto err_free;
	}
	err = -EINVAL;
	if (!name_fits(type)) {
		bmq_refuse(&args->head, err, BLIPMQ_REASON_TYPE_NAME, BLIPMQ_TYPE_NAME_MAX);
		goto err_free;
	}
	*out = type;
	return 0;

err_free:
	kfree(type);
	return err;
}

/* By number; names must be the same where both have one. */
static bool types_agree(const struct bmq_type *a, const struct bmq_type *b)
{
	if (a->id != b->id)
		return false;
	return !a->len || !b->len ||
	       (a->len == b->len && !memcmp(a->name, b->name, a->len));
}

/**
 * bmq_type_state() - give a topic its type, unless it has one
 * @topic: that is held
 * @type:  a type or NULL; NULL afterwards if the topic took it
 * @id:    out: of the topic's type, 0 if it has none; as it was on failure
 *
 * Return: false if the topic has another one.
 */
bool bmq_type_state(struct bmq_topic *topic, struct bmq_type **type, u64 *id)
{
	bool agree = true;

	mutex_lock(&topic->bus->match_lock);
	if (!topic->type)
		swap(topic->type, *type);
	else if (*type)
		agree = types_agree(topic->type, *type);
	if (agree)
		*id = topic->type ? topic->type->id : 0;
	mutex_unlock(&topic->bus->match_lock);
	return agree;
}

/* ---- Asking ---- */

/* A handle counts while its owner may publish: it tells nothing to who lost that right. */
static struct bmq_topic *topic_of_handle(struct bmq_endpoint *ep, u64 id)
{
	struct bmq_topic *topic;
	unsigned long handle;

	lockdep_assert_held(&ep->lock);
	if (!(READ_ONCE(ep->rights) & BLIPMQ_RIGHT_PUBLISH))
		return NULL;
	xa_for_each(&ep->handles, handle, topic) {
		if (topic->id == id)
			return topic;
	}
	return NULL;
}

/* A topic that one of the endpoint's subscriptions matches. */
static struct bmq_topic *topic_of_sub(struct bmq_endpoint *ep, u64 id)
{
	struct bmq_topic *topic = xa_load(&ep->bus->topics_by_id, id);
	struct bmq_subs *subs;
	u32 i, j;

	for (i = 0; topic && i < topic->nr_patterns; i++) {
		subs = rcu_dereference_protected(topic->patterns[i]->subs,
						 lockdep_is_held(&ep->bus->match_lock));
		for (j = 0; subs && j < subs->nr; j++) {
			if (subs->sub[j] && subs->sub[j]->ep == ep)
				return topic;
		}
	}
	return NULL;
}

/* Copy the type of a topic that concerns @ep. Return: whether there is that topic. */
static bool type_copy(struct bmq_endpoint *ep, struct blipmq_type *args, char *name)
{
	const struct bmq_topic *topic;

	mutex_lock(&ep->lock);
	topic = topic_of_handle(ep, args->topic);
	mutex_lock(&ep->bus->match_lock);
	if (!topic)
		topic = topic_of_sub(ep, args->topic);
	args->type = 0;
	args->name_len = 0;
	if (topic && topic->type) {
		args->type = topic->type->id;
		args->name_len = topic->type->len;
		memcpy(name, topic->type->name, args->name_len);
	}
	mutex_unlock(&ep->bus->match_lock);
	mutex_unlock(&ep->lock);
	return topic;
}

/**
 * bmq_type_query() - TYPE
 * @ep:   a bound endpoint
 * @args: checked for size and flags
 *
 * Return: as struct blipmq_type says.
 */
int bmq_type_query(struct bmq_endpoint *ep, struct blipmq_type *args)
{
	char name[BLIPMQ_TYPE_NAME_MAX];

	if (!args->name && args->name_size)
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_RESERVED, 0);
	if (!type_copy(ep, args, name))
		return bmq_refuse(&args->head, -ENOENT, BLIPMQ_REASON_TOPIC, 0);
	if (copy_to_user(u64_to_user_ptr(args->name), name,
			 min(args->name_len, args->name_size)))
		return bmq_refuse(&args->head, -EFAULT, BLIPMQ_REASON_FAULT, 0);
	return 0;
}
