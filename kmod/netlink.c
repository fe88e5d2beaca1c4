// SPDX-License-Identifier: GPL-2.0
/* The generic netlink family: its operations, and who may do what. See netlink.h. */
#include <linux/cred.h>
#include <linux/module.h>
#include <net/sock.h>

#include "netlink.h"

/* ---- Who asks ---- */

static const struct file *opener_file(const struct sk_buff *skb)
{
	return NETLINK_CB(skb).sk->sk_socket->file;
}

const struct cred *bmq_nl_opener(const struct sk_buff *skb)
{
	return opener_file(skb)->f_cred;
}

/* May the opener know of the bus? Good for dumps, which others may go on with. */
bool bmq_nl_sees(const struct sk_buff *skb, struct bmq_bus *bus)
{
	const struct cred *cred = bmq_nl_opener(skb);
	bool sees;

	if (file_ns_capable(opener_file(skb), bus->user_ns, CAP_NET_ADMIN))
		return true;
	mutex_lock(&bus->admin_lock);
	sees = bmq_bus_rights(bus, cred) || uid_eq(cred->euid, bmq_bus_owner(bus));
	mutex_unlock(&bus->admin_lock);
	return sees;
}

static bool administers(const struct sk_buff *skb, struct bmq_bus *bus)
{
	kuid_t owner;

	if (netlink_ns_capable(skb, bus->user_ns, CAP_NET_ADMIN))
		return true;
	mutex_lock(&bus->admin_lock);
	owner = bmq_bus_owner(bus);
	mutex_unlock(&bus->admin_lock);
	return uid_eq(bmq_nl_opener(skb)->euid, owner) && uid_eq(current_euid(), owner);
}

/**
 * bmq_nl_bus() - the bus that a request names
 * @skb:  the request
 * @info: its
 * @name: its attribute, or NULL
 *
 * Return: a reference; -EINVAL, -ENOENT, -ENOMEM.
 */
struct bmq_bus *bmq_nl_bus(struct sk_buff *skb, struct genl_info *info,
			   const struct nlattr *name)
{
	struct bmq_bus *bus;

	if (!name) {
		NL_SET_ERR_MSG(info->extack, "name the bus");
		return ERR_PTR(-EINVAL);
	}
	bus = bmq_net_bus(bmq_net_of(genl_info_net(info)), nla_data(name));
	if (!IS_ERR(bus) && !bmq_nl_sees(skb, bus)) {
		bmq_bus_put(bus);
		bus = ERR_PTR(-ENOENT);
	}
	if (bus == ERR_PTR(-ENOENT))
		NL_SET_ERR_MSG_ATTR(info->extack, name,
				    "this network namespace has no such bus that you may see");
	return bus;
}

/* The same for who wants to change it. Return: -EPERM, too. */
struct bmq_bus *bmq_nl_bus_to_change(struct sk_buff *skb, struct genl_info *info,
				     const struct nlattr *name)
{
	struct bmq_bus *bus = bmq_nl_bus(skb, info, name);

	if (IS_ERR(bus) || administers(skb, bus))
		return bus;
	bmq_bus_event(bus, BLIPMQ_EVENT_DENIED);
	bmq_bus_put(bus);
	NL_SET_ERR_MSG_ATTR(info->extack, name,
			    "you are not the owner of the bus, nor have CAP_NET_ADMIN");
	return ERR_PTR(-EPERM);
}

/* ---- Messages ---- */

/* Without the padding that 64-bit values have in older families. */
int bmq_nl_put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return nla_put(skb, attr, sizeof(value), &value);
}

/*
 * A dump shows all there is: an attribute that names one has no meaning. Not in ->start(),
 * where older kernels take no sentence.
 */
int bmq_nl_dump_all(struct netlink_callback *cb, int attr)
{
	struct nlattr **attrs = genl_info_dump(cb)->attrs;

	if (!attrs || !attrs[attr])
		return 0;
	NL_SET_ERR_MSG_ATTR(cb->extack, attrs[attr],
			    "a dump takes no attributes: ask for one without NLM_F_DUMP");
	return -EINVAL;
}

/* ---- The family ---- */

#define OP(command, function, attrs, ...) { \
	.cmd = BLIPMQ_CMD_##command, \
	.doit = function, \
	.policy = bmq_nl_##attrs##_policy, \
	.maxattr = ARRAY_SIZE(bmq_nl_##attrs##_policy) - 1, \
	__VA_ARGS__ \
}

/* genl_split_ops are younger than the oldest kernel. Who may do what the functions know. */
static const struct genl_ops ops[] = {
	OP(BUS_NEW, bmq_nl_bus_new, bus_new),
	OP(BUS_GET, bmq_nl_bus_get, bus_name, .dumpit = bmq_nl_bus_dump),
	OP(BUS_SET, bmq_nl_bus_set, bus_set),
	OP(BUS_DEL, bmq_nl_bus_del, bus_name),
};

struct genl_family bmq_nl_family __ro_after_init = {
	.name = BLIPMQ_FAMILY_NAME,
	.version = BLIPMQ_FAMILY_VERSION,
	.module = THIS_MODULE,
	.netnsok = true,
	.parallel_ops = true,
	.ops = ops,
	.n_ops = ARRAY_SIZE(ops),
};

int __init bmq_nl_init(void)
{
	return genl_register_family(&bmq_nl_family);
}

void bmq_nl_exit(void)
{
	genl_unregister_family(&bmq_nl_family);
}

MODULE_ALIAS_GENL_FAMILY(BLIPMQ_FAMILY_NAME);
