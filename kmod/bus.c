// SPDX-License-Identifier: GPL-2.0
/* Buses and the network namespaces they live in. See bus.h. */
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pid_namespace.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "bus.h"
#include "endpoint.h"
#include "map.h"
#include "publish.h"

#define BUS_DEFAULT		"default"
#define MESSAGE_PART		4	/* of the budget is the largest message */
#define PAGES_MIN		16UL	/* of the budget */
/* An offset of 32 bits counts units, to where the last page ends and no payload is. */
#define PAGES_MAX		((unsigned long)((1ULL << 32) / BMQ_UNITS_PER_PAGE - 1))
#define BLIPMQ_FS_MAGIC		0x626c6970	/* "blip" */

static struct bmq_limits bmq_limits = {
	.budget = 64UL << 20,
	.max_message = BLIPMQ_MESSAGE_MAX,
	.share = 75,
	.block_budget = 5000,
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
module_param_named(max_message, bmq_limits.max_message, uint, 0644);
MODULE_PARM_DESC(max_message, "bytes of the largest payload, at most 1/4 of the budget");
module_param_named(share, bmq_limits.share, uint, 0644);
MODULE_PARM_DESC(share, "percent of what others left free that one user may take");
module_param_named(block_budget, bmq_limits.block_budget, uint, 0644);
MODULE_PARM_DESC(block_budget, "ms a minute that a user's block rings may stall publishers");
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
MODULE_PARM_DESC(fanout_ring, "of these, of one ring, at most 128");
module_param_named(host_pages, bmq_host.limit, ulong, 0644);
MODULE_PARM_DESC(host_pages, "pages of all buses together; 1/8 of memory if 0 at load");
module_param_named(mode, bus_mode, uint, 0644);
MODULE_PARM_DESC(mode, "mode of a default bus: r subscribe, w publish, x map");
module_param_named(gid, bus_gid, int, 0644);
MODULE_PARM_DESC(gid, "group of a default bus, -1 for none");

struct workqueue_struct *bmq_wq;

static struct vfsmount *bmq_mnt;
static unsigned int bmq_net_id;

/* What hangs off struct net. */
struct net_slot {
	struct bmq_net *bn;
};

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

/* Sane whatever an administrator wrote: at least one of each, within the contract. */
static void limits_take(struct bmq_limits *limits)
{
	unsigned long pages;

	*limits = bmq_limits;
	pages = min(limits->budget >> PAGE_SHIFT, READ_ONCE(bmq_host.limit));
	pages = clamp(pages, PAGES_MIN, PAGES_MAX);
	limits->budget = pages << PAGE_SHIFT;
	limits->share = clamp(limits->share, 1u, 100u);
	limits->fanout = clamp(limits->fanout, 1u, (u32)BMQ_FANOUT_MAX);
	limits->fanout_ring = clamp(limits->fanout_ring, 1u, BMQ_CHUNK);
	limits->wild = clamp(limits->wild, 1u, (u32)BMQ_WILD_SUBS);
	limits->subscriptions = clamp(limits->subscriptions, 1u, (u32)U16_MAX);
}

unsigned int bmq_bus_max_message(const struct bmq_bus *bus)
{
	return min3((unsigned long)bus->limits.max_message,
		    bus->limits.budget / MESSAGE_PART,
		    (unsigned long)BLIPMQ_MESSAGE_MAX);
}

static void bus_init(struct bmq_bus *bus, struct bmq_net *bn)
{
	kref_init(&bus->ref);
	strscpy(bus->name, BUS_DEFAULT, sizeof(bus->name));
	bus->group = make_kgid(bn->user_ns, READ_ONCE(bus_gid));
	bus->mode = READ_ONCE(bus_mode) & 0777;
	bus->user_ns = get_user_ns(bn->user_ns);
	bus->pid_ns = get_pid_ns(bn->initial ? &init_pid_ns :
				 task_active_pid_ns(current));
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
	kfree(bus);
}

static struct bmq_bus *bus_new(struct bmq_net *bn)
{
	struct bmq_bus *bus;
	int err;

	bus = kzalloc(sizeof(*bus), GFP_KERNEL_ACCOUNT);
	if (!bus)
		return ERR_PTR(-ENOMEM);
	bus_init(bus, bn);
	limits_take(&bus->limits);
	err = rhashtable_init(&bus->topics, &bmq_named_params);
	if (err)
		goto err_bus;
	err = rhashtable_init(&bus->patterns, &bmq_named_params);
	if (err)
		goto err_topics;
	err = bmq_store_init(&bus->store, bus->limits.budget >> PAGE_SHIFT,
			     bus->limits.budget >> PAGE_SHIFT, bus->limits.share);
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

/**
 * bmq_bus_get() - find a bus by name
 * @bn:   the namespace
 * @name: "default" is made if it is not there
 *
 * Return: a reference; -ENOENT, -ENODEV, -ENOMEM.
 */
struct bmq_bus *bmq_bus_get(struct bmq_net *bn, const char *name)
{
	struct bmq_bus *bus;

	if (strcmp(name, BUS_DEFAULT))
		return ERR_PTR(-ENOENT);
	mutex_lock(&bn->lock);
	if (bn->dead)
		bus = ERR_PTR(-ENODEV);
	else if (bn->bus)
		bus = bn->bus;
	else
		bus = bus_new(bn);
	if (!IS_ERR(bus)) {
		bn->bus = bus;
		kref_get(&bus->ref);
	}
	mutex_unlock(&bn->lock);
	return bus;
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

/* The root of the namespace, which may get its uid map long after it is made. */
static kuid_t owner_of(const struct bmq_bus *bus)
{
	kuid_t root = make_kuid(bus->user_ns, 0);

	return uid_valid(root) ? root : GLOBAL_ROOT_UID;
}

/* Mode bits are those of the contract: r, w, x as in a file's mode. */
u32 bmq_bus_rights(const struct bmq_bus *bus, const struct cred *cred)
{
	unsigned int shift = 0;

	if (uid_eq(cred->euid, owner_of(bus)))
		shift = 6;
	else if (in_group(cred, bus->group))
		shift = 3;
	return bus->mode >> shift & (BLIPMQ_RIGHT_SUBSCRIBE | BLIPMQ_RIGHT_PUBLISH |
				     BLIPMQ_RIGHT_MAP);
}

void bmq_bus_event(struct bmq_bus *bus, enum blipmq_event event)
{
	atomic64_inc(&bus->events[event]);
}

/* ---- Namespaces ---- */

static void net_free(struct kref *ref)
{
	struct bmq_net *bn = container_of(ref, struct bmq_net, ref);

	put_user_ns(bn->user_ns);
	kfree(bn);
}

void bmq_net_put(struct bmq_net *bn)
{
	kref_put(&bn->ref, net_free);
}

/* What the caller's namespace has, with a reference that does not pin it. */
struct bmq_net *bmq_net_current(void)
{
	struct net_slot *slot = net_generic(current->nsproxy->net_ns, bmq_net_id);

	kref_get(&slot->bn->ref);
	return slot->bn;
}

static int __net_init net_begin(struct net *net)
{
	struct net_slot *slot = net_generic(net, bmq_net_id);
	struct bmq_net *bn;

	bn = kzalloc(sizeof(*bn), GFP_KERNEL_ACCOUNT);
	if (!bn)
		return -ENOMEM;
	kref_init(&bn->ref);
	mutex_init(&bn->lock);
	bn->user_ns = get_user_ns(net->user_ns);
	bn->initial = net_eq(net, &init_net);
	slot->bn = bn;
	return 0;
}

/* Everybody who sleeps wakes up and finds the bus dead. */
static void bus_hang_up(struct bmq_bus *bus)
{
	struct bmq_endpoint *ep;
	unsigned long id = 0;

	WRITE_ONCE(bus->dead, true);
	bmq_map_zap_all(bus);
	while ((ep = bmq_endpoint_next(bus, &id, XA_PRESENT))) {
		wake_up_poll(&ep->wq, EPOLLHUP | EPOLLERR);
		wake_up_all(&ep->room);
		bmq_endpoint_put(ep);
		cond_resched();
	}
}

static void __net_exit net_end(struct net *net)
{
	struct net_slot *slot = net_generic(net, bmq_net_id);
	struct bmq_net *bn = slot->bn;
	struct bmq_bus *bus;

	mutex_lock(&bn->lock);
	bn->dead = true;
	bus = bn->bus;
	bn->bus = NULL;
	mutex_unlock(&bn->lock);
	if (bus) {
		bus_hang_up(bus);
		bmq_bus_put(bus);
	}
	bmq_net_put(bn);
}

static struct pernet_operations bmq_net_ops = {
	.init = net_begin,
	.exit = net_end,
	.id = &bmq_net_id,
	.size = sizeof(struct net_slot),
};

/* ---- Module ---- */

int __init bmq_bus_module_init(void)
{
	int err = -ENOMEM;

	if (!bmq_host.limit)
		bmq_host.limit = totalram_pages() / 8;
	bmq_wq = alloc_workqueue("blipmq", WQ_UNBOUND, 0);
	if (!bmq_wq)
		return err;
	bmq_mnt = kern_mount(&bmq_fs_type);
	if (IS_ERR(bmq_mnt)) {
		err = PTR_ERR(bmq_mnt);
		goto err_wq;
	}
	err = register_pernet_subsys(&bmq_net_ops);
	if (!err)
		return 0;

	kern_unmount(bmq_mnt);
err_wq:
	destroy_workqueue(bmq_wq);
	return err;
}

/*
 * No file is open. Endpoints that closed lately are freed by RCU work, which may
 * free their bus: wait for the callbacks, then for the work, before what they use
 * goes; then for what they left to RCU.
 */
void bmq_bus_module_exit(void)
{
	unregister_pernet_subsys(&bmq_net_ops);
	rcu_barrier();
	flush_workqueue(bmq_wq);
	rcu_barrier();
	destroy_workqueue(bmq_wq);
	kern_unmount(bmq_mnt);
}
