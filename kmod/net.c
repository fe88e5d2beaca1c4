// SPDX-License-Identifier: GPL-2.0
/* Network namespaces and the buses that each has. See bus.h. */
#include <linux/slab.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "bus.h"

static unsigned int bmq_net_id;

/* What hangs off struct net. */
struct net_slot {
	struct bmq_net *bn;
};

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

/* What a namespace has, which the caller keeps alive. */
struct bmq_net *bmq_net_of(const struct net *net)
{
	const struct net_slot *slot = net_generic(net, bmq_net_id);

	return slot->bn;
}

/* What the caller's namespace has, with a reference that does not pin that. */
struct bmq_net *bmq_net_current(void)
{
	struct bmq_net *bn = bmq_net_of(current->nsproxy->net_ns);

	kref_get(&bn->ref);
	return bn;
}

/* ---- The buses ---- */

static struct bmq_bus *find_bus(struct bmq_net *bn, const char *name)
{
	struct bmq_bus *bus;

	lockdep_assert_held(&bn->lock);
	list_for_each_entry(bus, &bn->buses, node) {
		if (!strcmp(bus->name, name))
			return bus;
	}
	return NULL;
}

/**
 * bmq_net_add() - let a bus be found
 * @bn:  the namespace
 * @bus: of bmq_bus_new(); the net takes a reference of its own
 *
 * Return: 0; -EEXIST: it has one of that name; -ENODEV: it is gone.
 */
int bmq_net_add(struct bmq_net *bn, struct bmq_bus *bus)
{
	int err = 0;

	mutex_lock(&bn->lock);
	if (bn->dead) {
		err = -ENODEV;
	} else if (find_bus(bn, bus->name)) {
		err = -EEXIST;
	} else {
		kref_get(&bus->ref);
		bus->id = ++bn->last_bus;
		list_add_tail(&bus->node, &bn->buses);
		atomic_inc(&bn->changes);
	}
	mutex_unlock(&bn->lock);
	return err;
}

/**
 * bmq_net_del() - a bus is not found any more
 * @bn:  the namespace
 * @bus: one that was found
 *
 * Return: true: the net's reference is the caller's now; false: another was faster.
 */
bool bmq_net_del(struct bmq_net *bn, struct bmq_bus *bus)
{
	bool found;

	mutex_lock(&bn->lock);
	found = !list_empty(&bus->node);
	if (found) {
		list_del_init(&bus->node);
		atomic_inc(&bn->changes);
	}
	mutex_unlock(&bn->lock);
	return found;
}

static struct bmq_bus *get_bus(struct bmq_net *bn, const char *name)
{
	struct bmq_bus *bus;

	mutex_lock(&bn->lock);
	bus = bn->dead ? NULL : find_bus(bn, name);
	if (bus)
		kref_get(&bus->ref);
	else
		bus = ERR_PTR(bn->dead ? -ENODEV : -ENOENT);
	mutex_unlock(&bn->lock);
	return bus;
}

/**
 * bmq_net_bus() - find a bus by name
 * @bn:   the namespace
 * @name: "default" is made if it is not there
 *
 * Return: a reference; -ENOENT, -ENODEV, -ENOMEM.
 */
struct bmq_bus *bmq_net_bus(struct bmq_net *bn, const char *name)
{
	struct bmq_bus *bus = get_bus(bn, name);
	struct bmq_bus_config config;
	int err;

	if (bus != ERR_PTR(-ENOENT) || strcmp(name, BMQ_BUS_DEFAULT))
		return bus;
	bmq_bus_defaults(&config, bn);
	bus = bmq_bus_new(bn, name, &config);
	if (IS_ERR(bus))
		return bus;
	err = bmq_net_add(bn, bus);
	if (!err)
		return bus;
	bmq_bus_put(bus);
	return err == -EEXIST ? get_bus(bn, name) : ERR_PTR(err);
}

/* The bus that follows id *id, with a reference; *id becomes its id. NULL: none. */
struct bmq_bus *bmq_net_next(struct bmq_net *bn, u64 *id)
{
	struct bmq_bus *bus, *next = NULL;

	mutex_lock(&bn->lock);
	list_for_each_entry(bus, &bn->buses, node) {
		if (bus->id > *id) {
			next = bus;
			break;
		}
	}
	if (next) {
		kref_get(&next->ref);
		*id = next->id;
	}
	mutex_unlock(&bn->lock);
	return next;
}

/* ---- Namespaces ---- */

static int __net_init net_begin(struct net *net)
{
	struct net_slot *slot = net_generic(net, bmq_net_id);
	struct bmq_net *bn;

	bn = kzalloc(sizeof(*bn), GFP_KERNEL_ACCOUNT);
	if (!bn)
		return -ENOMEM;
	kref_init(&bn->ref);
	mutex_init(&bn->lock);
	INIT_LIST_HEAD(&bn->buses);
	atomic_set(&bn->changes, 1);
	bn->user_ns = get_user_ns(net->user_ns);
	bn->initial = net_eq(net, &init_net);
	slot->bn = bn;
	return 0;
}

static void __net_exit net_end(struct net *net)
{
	struct bmq_net *bn = bmq_net_of(net);
	struct bmq_bus *bus;
	u64 id = 0;

	mutex_lock(&bn->lock);
	bn->dead = true;	/* no bus comes any more */
	mutex_unlock(&bn->lock);
	while ((bus = bmq_net_next(bn, &id))) {
		if (bmq_net_del(bn, bus)) {
			bmq_bus_hang_up(bus, BLIPMQ_REASON_NAMESPACE);
			bmq_bus_put(bus);
		}
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

int __init bmq_net_module_init(void)
{
	return register_pernet_subsys(&bmq_net_ops);
}

void bmq_net_module_exit(void)
{
	unregister_pernet_subsys(&bmq_net_ops);
}
