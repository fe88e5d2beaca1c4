// SPDX-License-Identifier: GPL-2.0
/* Endpoints: binding, what they have, and how they end. See endpoint.h. */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/nospec.h>
#include <linux/pid_namespace.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "endpoint.h"
#include "publish.h"
#include "stats.h"
#include "type.h"

#define HANDLES_MAX	65536		/* topic handles of an endpoint */
#define HELD_PART	4		/* of the ring is the held bound by default */

static int denied(struct bmq_endpoint *ep, struct blipmq_head *head, int reason)
{
	bmq_bus_event(ep->bus, BLIPMQ_EVENT_DENIED);
	return bmq_refuse(head, -EACCES, reason, 0);
}

static bool has_right(const struct bmq_endpoint *ep, u32 right)
{
	return READ_ONCE(ep->rights) & right;
}

/* ---- Life ---- */

struct bmq_endpoint *bmq_endpoint_new(const struct cred *cred)
{
	struct bmq_endpoint *ep;

	ep = kzalloc(sizeof(*ep), GFP_KERNEL_ACCOUNT);
	if (!ep)
		return NULL;
	ep->net = bmq_net_current();
	if (!ep->net) {
		kfree(ep);
		return NULL;
	}
	kref_init(&ep->ref);
	ep->tgid = get_pid(task_tgid(current));
	ep->cred = get_cred(cred);
	mutex_init(&ep->lock);
	mutex_init(&ep->read_turn);
	mutex_init(&ep->read_lock);
	spin_lock_init(&ep->pub_lock);
	init_waitqueue_head(&ep->wq);
	init_waitqueue_head(&ep->room);
	xa_init_flags(&ep->handles, XA_FLAGS_ALLOC1);
	xa_init_flags(&ep->kept, XA_FLAGS_ALLOC1);
	xa_init(&ep->accounts);
	return ep;
}

/* After a grace period: no fan-out has the ring any more. */
static void endpoint_free(struct work_struct *work)
{
	struct bmq_endpoint *ep = container_of(to_rcu_work(work), struct bmq_endpoint,
					       free);

	if (ep->ring) {
		bmq_ring_destroy(ep->ring);
		kfree(ep->ring);
	}
	if (ep->bus) {
		bmq_user_put(ep->user);
		bmq_bus_put(ep->bus);
	}
	bmq_net_put(ep->net);
	put_cred(ep->cred);
	put_pid(ep->tgid);
	kfree(ep);
}

static void endpoint_release(struct kref *ref)
{
	struct bmq_endpoint *ep = container_of(ref, struct bmq_endpoint, ref);

	INIT_RCU_WORK(&ep->free, endpoint_free);
	queue_rcu_work(bmq_wq, &ep->free);
}

void bmq_endpoint_put(struct bmq_endpoint *ep)
{
	kref_put(&ep->ref, endpoint_release);
}

/* The endpoint with @mark that follows *id, with a reference; *id becomes its id. */
struct bmq_endpoint *bmq_endpoint_next(struct bmq_bus *bus, unsigned long *id,
				       xa_mark_t mark)
{
	struct bmq_endpoint *ep;

	rcu_read_lock();
	do {
		ep = xa_find_after(&bus->endpoints, id, ULONG_MAX, mark);
	} while (ep && !kref_get_unless_zero(&ep->ref));
	rcu_read_unlock();
	return ep;
}

/*
 * The subscription of a slot, unless it is gone: others may free one that is, when its
 * last entry leaves the ring. The endpoint is locked, so what is not gone stays.
 */
static struct bmq_sub *sub_at(struct bmq_ring *ring, u32 slot)
{
	struct bmq_sub *sub;

	spin_lock(&ring->lock);
	sub = ring->subs[slot];
	if (sub && sub->gone)
		sub = NULL;
	spin_unlock(&ring->lock);
	return sub;
}

static void unsubscribe_all(struct bmq_ring *ring)
{
	struct bmq_sub *sub;
	u32 i;

	for (i = 0; i < ring->nr_subs; i++) {
		sub = sub_at(ring, i);
		if (sub)
			bmq_pattern_unsubscribe(sub);
	}
}

static void close_ring(struct bmq_endpoint *ep)
{
	struct bmq_ring *ring = ep->ring;
	struct bmq_run *run;
	unsigned long id;
	bool more;

	spin_lock(&ring->lock);
	bmq_ring_look(ring);	/* what was claimed up to now was received */
	ring->closed = true;
	spin_unlock(&ring->lock);
	bmq_room_kick(ep, true);

	unsubscribe_all(ring);
	xa_for_each(&ep->kept, id, run) {
		spin_lock(&ring->lock);
		bmq_ring_unkeep(ring, run);
		spin_unlock(&ring->lock);
	}
	do {
		spin_lock(&ring->lock);
		more = bmq_ring_drain(ring);
		spin_unlock(&ring->lock);
		cond_resched();
	} while (more);
	bmq_user_del_ring(ep->user);
}

/**
 * bmq_endpoint_close() - the file is gone
 * @ep: no system call uses it any more, nor a mapping
 *
 * 1. The ring is closed: fan-outs that find it count it as absent.
 * 2. Subscriptions end: no fan-out that begins now finds the ring.
 * 3. What the ring, kept messages and handles hold is put, in chunks; from then on
 *    the ring takes no part of what its user may pin.
 * 4. The endpoint leaves the bus: eviction and the idle worker, which look under
 *    RCU or take a reference, do not find it any more.
 * 5. Publishers that wait for its room hold references; they were kicked.
 * 6. The last reference frees it, after a grace period for fan-outs of step 1.
 */
void bmq_endpoint_close(struct bmq_endpoint *ep)
{
	struct bmq_account *account;
	struct bmq_topic *topic;
	unsigned long id;

	if (!ep->bus)
		goto out;
	mutex_lock(&ep->lock);
	if (ep->ring)
		close_ring(ep);
	xa_for_each(&ep->handles, id, topic)
		bmq_topic_unhold(topic);
	mutex_unlock(&ep->lock);

	bmq_room_forget(ep, READ_ONCE(ep->full));
	bmq_publisher_rest(ep, jiffies);
	xa_for_each(&ep->accounts, id, account)
		bmq_account_put(account);

	bmq_stats_past(ep);
	xa_erase(&ep->bus->endpoints, ep->id);
	atomic_dec(&ep->bus->nr_endpoints);
	bmq_user_del_endpoint(ep->user);
	bmq_bus_arm_idle(ep->bus);
out:
	xa_destroy(&ep->handles);
	xa_destroy(&ep->kept);
	xa_destroy(&ep->accounts);
	bmq_endpoint_put(ep);
}

/* ---- Binding ---- */

static int bind_count(struct bmq_endpoint *ep, struct bmq_bus *bus,
		      struct bmq_user *user, struct blipmq_head *head)
{
	const struct bmq_limits *limits = &bus->limits;

	if (atomic_inc_return(&bus->nr_endpoints) > limits->endpoints) {
		atomic_dec(&bus->nr_endpoints);
		return bmq_refuse(head, -ENFILE, BLIPMQ_REASON_LIMIT_ENDPOINTS,
				  limits->endpoints);
	}
	if (bmq_user_add_endpoint(user, limits->user_endpoints)) {
		atomic_dec(&bus->nr_endpoints);
		return bmq_refuse(head, -EMFILE, BLIPMQ_REASON_LIMIT_USER_ENDPOINTS,
				  limits->user_endpoints);
	}
	ep->id = atomic64_inc_return(&bus->last_endpoint);
	if (xa_err(xa_store(&bus->endpoints, ep->id, ep, GFP_KERNEL_ACCOUNT))) {
		atomic_dec(&bus->nr_endpoints);
		bmq_user_del_endpoint(user);
		return bmq_refuse(head, -ENOMEM, BLIPMQ_REASON_MEMORY, 0);
	}
	return 0;
}

static u32 rights_of(struct bmq_bus *bus, const struct cred *cred)
{
	u32 rights;

	mutex_lock(&bus->admin_lock);
	rights = bmq_bus_rights(bus, cred);
	mutex_unlock(&bus->admin_lock);
	return rights;
}

/* The bus has the endpoint: whoever changes its rights finds it from now on. */
static void bind_rights(struct bmq_endpoint *ep, struct bmq_bus *bus)
{
	mutex_lock(&bus->admin_lock);
	WRITE_ONCE(ep->rights, bmq_bus_rights(bus, ep->cred));
	mutex_unlock(&bus->admin_lock);
}

/* Everything that can fail first; what the messages tell of the sender last. */
static int bind_locked(struct bmq_endpoint *ep, struct file *file, const char *name,
		       struct blipmq_head *head)
{
	struct bmq_bus *bus = bmq_net_bus(ep->net, name);
	int err;

	if (IS_ERR(bus))
		return bmq_refuse(head, PTR_ERR(bus),
				  bus == ERR_PTR(-ENODEV) ? BLIPMQ_REASON_NAMESPACE :
				  bus == ERR_PTR(-ENOENT) ? BLIPMQ_REASON_BUS_NAME :
							    BLIPMQ_REASON_MEMORY, 0);
	if (!rights_of(bus, ep->cred)) {
		bmq_bus_event(bus, BLIPMQ_EVENT_DENIED);
		err = bmq_refuse(head, -EACCES, BLIPMQ_REASON_RIGHT_NONE, 0);
		goto err_bus;
	}
	ep->user = bmq_user_get(&bus->store.purse,
				from_kuid(&init_user_ns, ep->cred->euid));
	if (!ep->user) {
		err = bmq_refuse(head, -ENOMEM, BLIPMQ_REASON_MEMORY, 0);
		goto err_bus;
	}
	ep->uid = from_kuid_munged(bus->user_ns, ep->cred->euid);
	ep->gid = from_kgid_munged(bus->user_ns, ep->cred->egid);
	ep->pid = pid_nr_ns(ep->tgid, bus->pid_ns);
	err = bind_count(ep, bus, ep->user, head);
	if (err)
		goto err_user;
	bind_rights(ep, bus);
	file->f_mapping = bus->inode->i_mapping;
	smp_store_release(&ep->bus, bus);	/* pairs with bmq_endpoint_bus() */
	return 0;

err_user:
	bmq_user_put(ep->user);
	ep->user = NULL;
err_bus:
	bmq_bus_put(bus);
	return err;
}

/**
 * bmq_endpoint_bind() - BIND
 * @ep:   the file's
 * @file: whose mappings will be the bus's
 * @name: of the bus
 * @head: where the reason goes
 *
 * Return: as struct blipmq_bind says.
 */
int bmq_endpoint_bind(struct bmq_endpoint *ep, struct file *file, const char *name,
		      struct blipmq_head *head)
{
	int err;

	mutex_lock(&ep->lock);
	if (ep->bus)
		err = bmq_refuse(head, -EBUSY, BLIPMQ_REASON_BOUND, 0);
	else
		err = bind_locked(ep, file, name, head);
	mutex_unlock(&ep->lock);
	return err;
}

/* Bind to "default" what is not bound. Return: 0, -ENODEV, or as BIND fails. */
int bmq_endpoint_ready(struct bmq_endpoint *ep, struct file *file,
		       struct blipmq_head *head)
{
	struct bmq_bus *bus = bmq_endpoint_bus(ep);
	int err;

	if (!bus) {
		err = bmq_endpoint_bind(ep, file, BMQ_BUS_DEFAULT, head);
		if (err && err != -EBUSY)	/* another thread was faster */
			return err;
		head->reason = BLIPMQ_REASON_NONE;
		bus = bmq_endpoint_bus(ep);
	}
	if (READ_ONCE(bus->dead))
		return bmq_refuse(head, -ENODEV, READ_ONCE(bus->dead), 0);
	return 0;
}

/* ---- The ring ---- */

static int ring_check(struct bmq_endpoint *ep, struct blipmq_ring *args)
{
	if (!is_power_of_2(args->entries) || args->entries > BLIPMQ_ENTRIES_MAX)
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_RING_ENTRIES,
				  BLIPMQ_ENTRIES_MAX);
	if (args->held > args->entries)
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_RING_HELD,
				  args->entries);
	if (args->policy >= BLIPMQ_NR_POLICIES)
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_RING_POLICY,
				  BLIPMQ_NR_POLICIES - 1);
	if (!has_right(ep, BLIPMQ_RIGHT_SUBSCRIBE))
		return denied(ep, &args->head, BLIPMQ_REASON_RIGHT_SUBSCRIBE);
	if (args->policy == BLIPMQ_POLICY_BLOCK &&
	    !has_right(ep, BLIPMQ_RIGHT_PUBLISH))
		return denied(ep, &args->head, BLIPMQ_REASON_RIGHT_PUBLISH);
	return 0;
}

static void ring_tell(const struct bmq_ring *ring, struct blipmq_ring *args)
{
	args->held = ring->held_max;
	args->ring_size = (u64)ring->nr_pages * PAGE_SIZE;
	args->control_size = PAGE_SIZE;
	args->desc = PAGE_SIZE;
	args->prod = offsetof(struct blipmq_ring_page, prod);
	args->blocked = offsetof(struct blipmq_ring_page, blocked);
	args->broken = offsetof(struct blipmq_ring_page, broken);
	args->drops = offsetof(struct blipmq_ring_page, drops);
	args->claim = offsetof(struct blipmq_control, claim);
	args->release = offsetof(struct blipmq_control, release);
	args->need_wakeup = offsetof(struct blipmq_control, need_wakeup);
}

int bmq_endpoint_ring(struct bmq_endpoint *ep, struct blipmq_ring *args)
{
	u32 held = args->held ? args->held : max(args->entries / HELD_PART, 1u);
	struct bmq_ring *ring;
	int err = ring_check(ep, args);

	if (err)
		return err;
	mutex_lock(&ep->lock);
	if (ep->ring) {
		err = bmq_refuse(&args->head, -EEXIST, BLIPMQ_REASON_RING_EXISTS, 0);
		goto out;
	}
	ring = kzalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);
	err = ring ? bmq_ring_init(ring, &ep->bus->store, ep->user, args->entries,
				   held, args->policy) : -ENOMEM;
	if (err) {
		kfree(ring);
		bmq_refuse(&args->head, err, BLIPMQ_REASON_MEMORY, 0);
		goto out;
	}
	ring_tell(ring, args);
	bmq_user_add_ring(ep->user);
	smp_store_release(&ep->ring, ring);	/* pairs with bmq_endpoint_ring_of() */
out:
	mutex_unlock(&ep->lock);
	return err;
}

/* ---- Subscriptions ---- */

static int ring_usable(struct bmq_endpoint *ep, struct blipmq_head *head)
{
	if (!ep->ring)
		return bmq_refuse(head, -ENXIO, BLIPMQ_REASON_RING_NONE, 0);
	if (READ_ONCE(ep->ring->broken))
		return bmq_refuse(head, -EIO, BLIPMQ_REASON_RING_BROKEN, 0);
	return 0;
}

/* Copy a subject or pattern in and check it. */
static int text_in(struct blipmq_head *head, char *text, u64 from, u32 len,
		   int (*check)(const char *text, unsigned int len, u32 *detail))
{
	int reason;

	if (!len || len > BLIPMQ_SUBJECT_MAX)
		return bmq_refuse(head, -EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH,
				  BLIPMQ_SUBJECT_MAX);
	if (copy_from_user(text, u64_to_user_ptr(from), len))
		return bmq_refuse(head, -EFAULT, BLIPMQ_REASON_FAULT, 0);
	reason = check(text, len, &head->detail);
	return reason ? bmq_refuse(head, -EINVAL, reason, head->detail) : 0;
}

int bmq_endpoint_subscribe(struct bmq_endpoint *ep, struct blipmq_subscribe *args)
{
	char text[BLIPMQ_SUBJECT_MAX];
	int err, reason;

	err = text_in(&args->head, text, args->pattern, args->pattern_len,
		      bmq_pattern_check);
	if (err)
		return err;
	mutex_lock(&ep->lock);
	err = has_right(ep, BLIPMQ_RIGHT_SUBSCRIBE) ? ring_usable(ep, &args->head) :
	      denied(ep, &args->head, BLIPMQ_REASON_RIGHT_SUBSCRIBE);
	if (!err) {
		err = bmq_pattern_subscribe(ep, text, args->pattern_len, args->cookie,
					    &args->id, &reason, &args->head.detail);
		args->head.reason = reason;
	}
	mutex_unlock(&ep->lock);
	return err;
}

int bmq_endpoint_unsubscribe(struct bmq_endpoint *ep, struct blipmq_unsubscribe *args)
{
	struct bmq_sub *sub = NULL;
	int err = 0;

	mutex_lock(&ep->lock);
	if (ep->ring && args->id && args->id <= ep->ring->nr_subs)
		sub = sub_at(ep->ring, array_index_nospec(args->id - 1,
							  ep->ring->nr_subs));
	if (sub) {
		bmq_pattern_unsubscribe(sub);
		bmq_room_kick(ep, true);
	} else {
		err = bmq_refuse(&args->head, -ENOENT, BLIPMQ_REASON_SUBSCRIPTION, 0);
	}
	mutex_unlock(&ep->lock);
	return err;
}

/* If it may not subscribe any more its subscriptions end, and who sleeps is told. */
void bmq_endpoint_revoke(struct bmq_endpoint *ep)
{
	mutex_lock(&ep->lock);
	if (ep->ring && !has_right(ep, BLIPMQ_RIGHT_SUBSCRIBE)) {
		unsubscribe_all(ep->ring);
		bmq_room_kick(ep, true);
		wake_up_poll(&ep->wq, EPOLLERR);
	}
	mutex_unlock(&ep->lock);
}

/* ---- Topic handles ---- */

/* A handle for @topic, which is held, unless it has another type. */
static int handle_add(struct bmq_endpoint *ep, struct bmq_topic *topic,
		      struct bmq_type **type, struct blipmq_topic *args)
{
	int err;

	err = xa_alloc(&ep->handles, &args->handle, NULL, XA_LIMIT(1, HANDLES_MAX),
		       GFP_KERNEL_ACCOUNT);
	if (err == -ENOMEM)
		return bmq_refuse(&args->head, err, BLIPMQ_REASON_MEMORY, 0);
	if (err)
		return bmq_refuse(&args->head, -ENOSPC, BLIPMQ_REASON_LIMIT_HANDLES,
				  HANDLES_MAX);
	if (!bmq_type_state(topic, type, &args->type)) {
		xa_erase(&ep->handles, args->handle);
		return bmq_refuse(&args->head, -EPROTOTYPE, BLIPMQ_REASON_TYPE, 0);
	}
	xa_store(&ep->handles, args->handle, topic, GFP_KERNEL_ACCOUNT); /* its slot is there */
	args->topic = topic->id;
	if (args->head.flags & BLIPMQ_TOPIC_WRITE)
		WRITE_ONCE(ep->write_topic, args->handle);
	return 0;
}

static int topic_open(struct bmq_endpoint *ep, struct blipmq_topic *args,
		      const char *text, struct bmq_type **type)
{
	struct bmq_topic *topic;
	int err, reason;

	topic = bmq_topic_get(ep->bus, ep->user, text, args->subject_len, true,
			      &reason, &args->head.detail);
	if (!topic)
		return bmq_refuse(&args->head, reason == BLIPMQ_REASON_MEMORY ? -ENOMEM :
				  -ENOSPC, reason, args->head.detail);
	mutex_lock(&ep->lock);
	err = handle_add(ep, topic, type, args);
	mutex_unlock(&ep->lock);
	if (err)
		bmq_topic_unhold(topic);
	return err;
}

int bmq_endpoint_topic(struct bmq_endpoint *ep, struct blipmq_topic *args)
{
	char text[BLIPMQ_SUBJECT_MAX];
	struct bmq_type *type;
	int err;

	err = text_in(&args->head, text, args->subject, args->subject_len,
		      bmq_subject_check);
	if (err)
		return err;
	if (!has_right(ep, BLIPMQ_RIGHT_PUBLISH))
		return denied(ep, &args->head, BLIPMQ_REASON_RIGHT_PUBLISH);
	err = bmq_type_in(args, &type);
	if (err)
		return err;
	err = topic_open(ep, args, text, &type);
	kfree(type);
	return err;
}

int bmq_endpoint_topic_close(struct bmq_endpoint *ep, struct blipmq_topic_close *args)
{
	struct bmq_topic *topic;

	mutex_lock(&ep->lock);
	topic = xa_erase(&ep->handles, args->handle);
	if (topic && ep->write_topic == args->handle)
		WRITE_ONCE(ep->write_topic, 0);
	mutex_unlock(&ep->lock);
	if (!topic)
		return bmq_refuse(&args->head, -ENOENT, BLIPMQ_REASON_HANDLE, args->handle);
	bmq_topic_unhold(topic);
	return 0;
}

/* ---- Kept messages ---- */

static int keep_locked(struct bmq_endpoint *ep, struct blipmq_keep *args)
{
	struct blipmq_head *head = &args->head;
	struct bmq_ring *ring = ep->ring;
	struct bmq_run *run;
	u32 id;

	if (ep->nr_kept >= ep->bus->limits.kept)
		return bmq_refuse(head, -ENOSPC, BLIPMQ_REASON_LIMIT_KEPT,
				  ep->bus->limits.kept);
	if (xa_alloc(&ep->kept, &id, NULL, xa_limit_31b, GFP_KERNEL_ACCOUNT))
		return bmq_refuse(head, -ENOMEM, BLIPMQ_REASON_MEMORY, 0);
	spin_lock(&ring->lock);
	run = bmq_ring_keep(ring, args->index);
	spin_unlock(&ring->lock);
	if (IS_ERR(run)) {
		xa_erase(&ep->kept, id);
		return bmq_refuse(head, PTR_ERR(run),
				  run == ERR_PTR(-EIO) ? BLIPMQ_REASON_RING_BROKEN :
				  run == ERR_PTR(-EINVAL) ? BLIPMQ_REASON_INDEX :
							    BLIPMQ_REASON_LIMIT_KEPT_PINS,
				  run == ERR_PTR(-ENOSPC) ? bmq_pin_limit(ep->user) : 0);
	}
	xa_store(&ep->kept, id, run, GFP_KERNEL_ACCOUNT);	/* the slot is there */
	ep->nr_kept++;
	args->id = id;
	return 0;
}

int bmq_endpoint_keep(struct bmq_endpoint *ep, struct blipmq_keep *args)
{
	int err;

	mutex_lock(&ep->lock);
	err = ring_usable(ep, &args->head);
	if (!err && READ_ONCE(ep->ring->mode) == BMQ_RING_READ)
		err = bmq_refuse(&args->head, -EBUSY, BLIPMQ_REASON_RING_MODE, 0);
	if (!err)
		err = keep_locked(ep, args);
	mutex_unlock(&ep->lock);
	return err;
}

int bmq_endpoint_drop(struct bmq_endpoint *ep, struct blipmq_drop_kept *args)
{
	struct bmq_run *run = NULL;

	mutex_lock(&ep->lock);
	if (args->id <= U32_MAX)
		run = xa_erase(&ep->kept, args->id);
	if (run) {
		ep->nr_kept--;
		spin_lock(&ep->ring->lock);
		bmq_ring_unkeep(ep->ring, run);
		spin_unlock(&ep->ring->lock);
	}
	mutex_unlock(&ep->lock);
	return run ? 0 : bmq_refuse(&args->head, -ENOENT, BLIPMQ_REASON_KEPT, 0);
}
