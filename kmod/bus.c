// SPDX-License-Identifier: GPL-2.0
/* Buses: life, rights, and what an administrator decides. See bus.h. */
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pid_namespace.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "bus.h"
#include "endpoint.h"
#include "map.h"
#include "publish.h"

#define MESSAGE_PART		4	/* of the budget is the largest message */
#define BLIPMQ_FS_MAGIC		0x626c6970	/* "blip" */

static struct bmq_limits bmq_limits = {
	.budget = 64UL << 20,
	.max_message = BLIPMQ_MESSAGE_MAX,
	.share = 75,
	.block_budget = 5000,
	.buses = 64,
	.topics = 262144,
	.user_topics = 131072,
	.endpoints = 4096,
	.user_endpoints = 1024,
	.subscriptions = 4096,
	.patterns = 1024,
	.user_patterns = 64,
	.wild = BMQ_WILD_SUBS,
	.user_wild = 1024,
	.kept = 64,
	.fanout = 256,
	.fanout_user = 128,
	.fanout_ring = 64,
};

static uint bus_mode = 0770;
static int bus_gid = -1;

module_param_named(budget, bmq_limits.budget, ulong, 0644);
MODULE_PARM_DESC(budget, "bytes of message memory of a bus made from now on");
module_param_named(max_budget, bmq_limits.max_budget, ulong, 0644);
MODULE_PARM_DESC(max_budget, "bytes up to which that may be set; the budget if it is less");
module_param_named(max_message, bmq_limits.max_message, uint, 0644);
MODULE_PARM_DESC(max_message, "bytes of payload and user headers, at most 1/4 of the budget");
module_param_named(share, bmq_limits.share, uint, 0644);
MODULE_PARM_DESC(share, "percent of what others left free that one user may take");
module_param_named(block_budget, bmq_limits.block_budget, uint, 0644);
MODULE_PARM_DESC(block_budget, "ms a minute that a user's block rings may stall publishers");
module_param_named(max_buses, bmq_limits.buses, uint, 0644);
MODULE_PARM_DESC(max_buses, "buses of a network namespace, beside default");
module_param_named(max_topics, bmq_limits.topics, uint, 0644);
MODULE_PARM_DESC(max_topics, "topics of a bus");
module_param_named(max_user_topics, bmq_limits.user_topics, uint, 0644);
MODULE_PARM_DESC(max_user_topics, "topics of one user");
module_param_named(max_endpoints, bmq_limits.endpoints, uint, 0644);
MODULE_PARM_DESC(max_endpoints, "endpoints of a bus");
module_param_named(max_user_endpoints, bmq_limits.user_endpoints, uint, 0644);
MODULE_PARM_DESC(max_user_endpoints, "endpoints of one user");
module_param_named(max_subscriptions, bmq_limits.subscriptions, uint, 0644);
MODULE_PARM_DESC(max_subscriptions, "subscriptions of an endpoint");
module_param_named(max_patterns, bmq_limits.patterns, uint, 0644);
MODULE_PARM_DESC(max_patterns, "wildcard patterns of a bus");
module_param_named(max_user_patterns, bmq_limits.user_patterns, uint, 0644);
MODULE_PARM_DESC(max_user_patterns, "wildcard patterns of one user");
module_param_named(max_wild, bmq_limits.wild, uint, 0644);
MODULE_PARM_DESC(max_wild, "subscriptions to wildcard patterns of a bus, at most 3840");
module_param_named(max_user_wild, bmq_limits.user_wild, uint, 0644);
MODULE_PARM_DESC(max_user_wild, "subscriptions to wildcard patterns of one user");
module_param_named(max_kept, bmq_limits.kept, uint, 0644);
MODULE_PARM_DESC(max_kept, "kept messages of an endpoint");
module_param_named(fanout, bmq_limits.fanout, uint, 0644);
MODULE_PARM_DESC(fanout, "subscriptions that match one topic, at most 256");
module_param_named(fanout_user, bmq_limits.fanout_user, uint, 0644);
MODULE_PARM_DESC(fanout_user, "of these, of one user");
module_param_named(fanout_ring, bmq_limits.fanout_ring, uint, 0644);
MODULE_PARM_DESC(fanout_ring, "of these, of one ring, at most 64");
module_param_named(host_pages, bmq_host.limit, ulong, 0644);
MODULE_PARM_DESC(host_pages, "pages of all buses together; 1/8 of memory if 0 at load");
module_param_named(mode, bus_mode, uint, 0644);
MODULE_PARM_DESC(mode, "mode of a bus made from now on: r subscribe, w publish, x map");
module_param_named(gid, bus_gid, int, 0644);
MODULE_PARM_DESC(gid, "group of a bus made from now on, -1 for none");

struct workqueue_struct *bmq_wq;

static struct vfsmount *bmq_mnt;

/* ---- The address space of a bus ---- */

static int fs_init_context(struct fs_context *fc)
{
	return init_pseudo(fc, BLIPMQ_FS_MAGIC) ? 0 : -ENOMEM;
}

/* Without .owner: the mount is ours, and would pin the module for ever. */
static struct file_system_type bmq_fs_type = {
	.name = "blipmq",
	.init_fs_context = fs_init_context,
	.kill_sb = kill_anon_super,
};

/* ---- Life ---- */

static unsigned long pages_within(unsigned long bytes)
{
	unsigned long pages = min(bytes >> PAGE_SHIFT, READ_ONCE(bmq_host.limit));

	return clamp(pages, BMQ_PAGES_MIN, BMQ_PAGES_MAX);
}

/* Sane whatever an administrator wrote: at least one of each, within the contract. */
static void limits_take(struct bmq_limits *limits)
{
	*limits = bmq_limits;
	limits->fanout = clamp(limits->fanout, 1u, (u32)BMQ_FANOUT_MAX);
	limits->fanout_ring = clamp(limits->fanout_ring, 1u, (u32)BMQ_FANOUT_RING_MAX);
	limits->wild = clamp(limits->wild, 1u, (u32)BMQ_WILD_SUBS);
	limits->subscriptions = clamp(limits->subscriptions, 1u, (u32)U16_MAX);
}

/* What the module's parameters say of a bus that is made now. Sane, likewise. */
void bmq_bus_defaults(struct bmq_bus_config *config, const struct bmq_net *bn)
{
	config->owner = INVALID_UID;
	config->group = make_kgid(bn->user_ns, READ_ONCE(bus_gid));
	config->mode = READ_ONCE(bus_mode) & 0777;
	config->share = clamp(READ_ONCE(bmq_limits.share), 1u, 100u);
	config->block_budget = min_t(u32, READ_ONCE(bmq_limits.block_budget),
				     BMQ_BLOCK_BUDGET_MAX);
	config->budget = pages_within(READ_ONCE(bmq_limits.budget));
	config->max_budget = max(pages_within(READ_ONCE(bmq_limits.max_budget)),
				 config->budget);
}

static unsigned int max_message(const struct bmq_bus *bus, unsigned long budget)
{
	return min3((unsigned long)bus->limits.max_message,
		    (budget << PAGE_SHIFT) / MESSAGE_PART,
		    (unsigned long)BLIPMQ_MESSAGE_MAX);
}

/* "default" has its place, whatever others there are. */
static int count(struct bmq_net *bn, const char *name)
{
	if (!strcmp(name, BMQ_BUS_DEFAULT) ||
	    atomic_inc_return(&bn->nr_buses) <= READ_ONCE(bmq_limits.buses))
		return 0;
	atomic_dec(&bn->nr_buses);
	return -ENOSPC;
}

static void uncount(struct bmq_net *bn, const char *name)
{
	if (strcmp(name, BMQ_BUS_DEFAULT))
		atomic_dec(&bn->nr_buses);
}

static void bus_init(struct bmq_bus *bus, struct bmq_net *bn, const char *name,
		     const struct bmq_bus_config *config)
{
	kref_init(&bus->ref);
	kref_get(&bn->ref);
	bus->net = bn;
	INIT_LIST_HEAD(&bus->node);
	strscpy(bus->name, name, sizeof(bus->name));
	bus->config = *config;
	limits_take(&bus->limits);
	bus->max_message = max_message(bus, config->budget);
	bus->user_ns = get_user_ns(bn->user_ns);
	bus->pid_ns = get_pid_ns(bn->initial ? &init_pid_ns :
				 task_active_pid_ns(current));
	mutex_init(&bus->admin_lock);
	mutex_init(&bus->match_lock);
	mutex_init(&bus->evict_lock);
	spin_lock_init(&bus->block_lock);
	spin_lock_init(&bus->past_lock);
	xa_init(&bus->topics_by_id);
	xa_init(&bus->endpoints);
	bus->idle_topics = RB_ROOT;
	bmq_trie_init(&bus->trie);
	INIT_DELAYED_WORK(&bus->room_work, bmq_room_work);
	INIT_DELAYED_WORK(&bus->idle_work, bmq_idle_work);
	bus->store.zap = bmq_map_zap;
}

static void bus_free(struct bmq_bus *bus)
{
	put_user_ns(bus->user_ns);
	put_pid_ns(bus->pid_ns);
	uncount(bus->net, bus->name);
	bmq_net_put(bus->net);
	kfree(bus);
}

static struct bmq_bus *bus_alloc(struct bmq_net *bn, const char *name,
				 const struct bmq_bus_config *config)
{
	struct bmq_bus *bus;
	int err;

	err = count(bn, name);
	if (err)
		return ERR_PTR(err);
	bus = kzalloc(sizeof(*bus), GFP_KERNEL_ACCOUNT);
	if (!bus) {
		uncount(bn, name);
		return ERR_PTR(-ENOMEM);
	}
	bus_init(bus, bn, name, config);
	return bus;
}

/**
 * bmq_bus_new() - make a bus that no one finds yet
 * @bn:     the namespace
 * @name:   checked
 * @config: checked
 *
 * Return: a reference; -ENOSPC: the namespace has as many as it may; -ENOMEM.
 */
struct bmq_bus *bmq_bus_new(struct bmq_net *bn, const char *name,
			    const struct bmq_bus_config *config)
{
	struct bmq_bus *bus = bus_alloc(bn, name, config);
	int err;

	if (IS_ERR(bus))
		return bus;
	err = rhashtable_init(&bus->topics, &bmq_named_params);
	if (err)
		goto err_bus;
	err = rhashtable_init(&bus->patterns, &bmq_named_params);
	if (err)
		goto err_topics;
	err = bmq_store_init(&bus->store, config->max_budget, config->budget,
			     config->share);
	if (err)
		goto err_patterns;
	bus->inode = alloc_anon_inode(bmq_mnt->mnt_sb);
	if (!IS_ERR(bus->inode))
		return bus;

	err = PTR_ERR(bus->inode);
	bmq_store_destroy(&bus->store);
err_patterns:
	rhashtable_destroy(&bus->patterns);
err_topics:
	rhashtable_destroy(&bus->topics);
err_bus:
	bus_free(bus);
	return ERR_PTR(err);
}

/* No endpoint is left, so no mapping and no topic that is held. */
static void bus_release(struct kref *ref)
{
	struct bmq_bus *bus = container_of(ref, struct bmq_bus, ref);

	cancel_delayed_work_sync(&bus->room_work);
	cancel_delayed_work_sync(&bus->idle_work);
	bmq_topics_destroy(bus);
	rhashtable_destroy(&bus->patterns);
	rhashtable_destroy(&bus->topics);
	bmq_store_destroy(&bus->store);
	xa_destroy(&bus->topics_by_id);
	xa_destroy(&bus->endpoints);
	iput(bus->inode);
	bus_free(bus);
}

void bmq_bus_put(struct bmq_bus *bus)
{
	kref_put(&bus->ref, bus_release);
}

/* Everybody who sleeps wakes up and finds the bus dead. */
void bmq_bus_hang_up(struct bmq_bus *bus, enum blipmq_reason reason)
{
	struct bmq_endpoint *ep;
	unsigned long id = 0;

	WRITE_ONCE(bus->dead, reason);
	bmq_map_zap_all(bus);
	while ((ep = bmq_endpoint_next(bus, &id, XA_PRESENT))) {
		wake_up_poll(&ep->wq, EPOLLHUP | EPOLLERR);
		wake_up_all(&ep->room);
		bmq_endpoint_put(ep);
		cond_resched();
	}
}

/* ---- Rights ---- */

static bool in_group(const struct cred *cred, kgid_t group)
{
	int i;

	if (!gid_valid(group))
		return false;
	for (i = 0; i < cred->group_info->ngroups; i++) {
		if (gid_eq(cred->group_info->gid[i], group))
			return true;
	}
	return gid_eq(cred->egid, group);
}

/* The root of a namespace may get its uid map long after that is made. */
kuid_t bmq_bus_owner(const struct bmq_bus *bus)
{
	kuid_t owner = bus->config.owner;

	lockdep_assert_held(&bus->admin_lock);
	if (!uid_valid(owner))
		owner = make_kuid(bus->user_ns, 0);
	return uid_valid(owner) ? owner : GLOBAL_ROOT_UID;
}

/* What the bus grants, as a file does. */
u32 bmq_bus_rights(const struct bmq_bus *bus, const struct cred *cred)
{
	unsigned int shift = 0;

	if (uid_eq(cred->euid, bmq_bus_owner(bus)))
		shift = BMQ_OWNER_SHIFT;
	else if (in_group(cred, bus->config.group))
		shift = BMQ_GROUP_SHIFT;
	return bus->config.mode >> shift & BMQ_RIGHTS;
}

/* Rights that somebody may have with @old and not with @new. */
static u32 rights_lost(const struct bmq_bus_config *old,
		       const struct bmq_bus_config *new)
{
	umode_t lost = old->mode & ~new->mode;

	if (!uid_eq(old->owner, new->owner) || !gid_eq(old->group, new->group))
		lost = old->mode;
	return (lost | lost >> BMQ_GROUP_SHIFT | lost >> BMQ_OWNER_SHIFT) & BMQ_RIGHTS;
}

/* One that is being bound is found here, or finds the new mode itself. */
static void rights_renew(struct bmq_bus *bus)
{
	struct bmq_endpoint *ep;
	unsigned long id = 0;

	lockdep_assert_held(&bus->admin_lock);
	while ((ep = bmq_endpoint_next(bus, &id, XA_PRESENT))) {
		WRITE_ONCE(ep->rights, bmq_bus_rights(bus, ep->cred));
		bmq_endpoint_put(ep);
		cond_resched();
	}
}

/**
 * bmq_bus_configure() - change a bus, for the operations that follow
 * @bus:    whose admin_lock is held
 * @config: checked; max_budget as it is
 *
 * Return: rights for bmq_bus_revoke(), after the lock was dropped.
 */
u32 bmq_bus_configure(struct bmq_bus *bus, const struct bmq_bus_config *config)
{
	u32 lost = rights_lost(&bus->config, config);

	lockdep_assert_held(&bus->admin_lock);
	bmq_purse_set(&bus->store.purse, config->budget, config->share);
	WRITE_ONCE(bus->max_message, max_message(bus, config->budget));
	bus->config.owner = config->owner;
	bus->config.group = config->group;
	bus->config.mode = config->mode;
	bus->config.share = config->share;
	bus->config.budget = config->budget;
	WRITE_ONCE(bus->config.block_budget, config->block_budget);
	rights_renew(bus);
	atomic_inc(&bus->net->changes);
	return lost;
}

/* Somebody lost @rights: what was made while it had them ends. */
void bmq_bus_revoke(struct bmq_bus *bus, u32 rights)
{
	struct bmq_endpoint *ep;
	unsigned long id = 0;

	if (rights & BLIPMQ_RIGHT_MAP)
		bmq_store_escape(&bus->store);
	while (rights && (ep = bmq_endpoint_next(bus, &id, XA_PRESENT))) {
		if (rights & BLIPMQ_RIGHT_MAP)
			bmq_publisher_rest(ep, jiffies);
		if (rights & BLIPMQ_RIGHT_SUBSCRIBE)
			bmq_endpoint_revoke(ep);
		bmq_endpoint_put(ep);
		cond_resched();
	}
}

void bmq_bus_event(struct bmq_bus *bus, enum blipmq_event event)
{
	atomic64_inc(&bus->events[event]);
}

/* ---- Module ---- */

int __init bmq_bus_module_init(void)
{
	if (!bmq_host.limit)
		bmq_host.limit = totalram_pages() / 8;
	bmq_wq = alloc_workqueue("blipmq", WQ_UNBOUND, 0);
	if (!bmq_wq)
		return -ENOMEM;
	bmq_mnt = kern_mount(&bmq_fs_type);
	if (!IS_ERR(bmq_mnt))
		return 0;

	destroy_workqueue(bmq_wq);
	return PTR_ERR(bmq_mnt);
}

/*
 * No file is open, no namespace has a bus. Endpoints that closed lately are freed by
 * RCU work, which may free their bus: wait for the callbacks, then for the work, before
 * what they use goes; then for what they left to RCU.
 */
void bmq_bus_module_exit(void)
{
	rcu_barrier();
	flush_workqueue(bmq_wq);
	rcu_barrier();
	destroy_workqueue(bmq_wq);
	kern_unmount(bmq_mnt);
}
