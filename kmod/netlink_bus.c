// SPDX-License-Identifier: GPL-2.0
/* Buses, as administrators make, see, change and end them. See netlink.h. */
#include <linux/ctype.h>
#include <linux/user_namespace.h>
#include <net/sock.h>

#include "netlink.h"

#define MODE_MAX	0777
#define SHARE_MAX	100	/* percent */

/* Not constant: a policy of an older kernel would not take it. */
static struct netlink_range_validation block_budget_range = {
	.max = BMQ_BLOCK_BUDGET_MAX,
};

#define NAME_POLICY \
	[BLIPMQ_A_BUS_NAME] = { .type = NLA_NUL_STRING, .len = BLIPMQ_NAME_MAX - 1 }

#define CONFIG_POLICY \
	[BLIPMQ_A_BUS_OWNER] = { .type = NLA_U32 }, \
	[BLIPMQ_A_BUS_GROUP] = { .type = NLA_U32 }, \
	[BLIPMQ_A_BUS_MODE] = NLA_POLICY_MAX(NLA_U32, MODE_MAX), \
	[BLIPMQ_A_BUS_SHARE] = NLA_POLICY_RANGE(NLA_U32, 1, SHARE_MAX), \
	[BLIPMQ_A_BUS_BLOCK_BUDGET] = NLA_POLICY_FULL_RANGE(NLA_U32, &block_budget_range), \
	[BLIPMQ_A_BUS_BUDGET] = { .type = NLA_U64 }

const struct nla_policy bmq_nl_bus_name_policy[] = {
	NAME_POLICY,
};

const struct nla_policy bmq_nl_bus_new_policy[] = {
	NAME_POLICY,
	CONFIG_POLICY,
	[BLIPMQ_A_BUS_MAX_BUDGET] = { .type = NLA_U64 },
};

const struct nla_policy bmq_nl_bus_set_policy[] = {
	NAME_POLICY,
	CONFIG_POLICY,
	[BLIPMQ_A_BUS_MAX_BUDGET] = {
		.type = NLA_REJECT,
		.reject_message = "the max budget of a bus is fixed when it is made",
	},
};

/* ---- What is asked for ---- */

static int refuse(struct genl_info *info, int attr, int err)
{
	NL_SET_BAD_ATTR(info->extack, info->attrs[attr]);
	return err;
}

static int take_ids(struct bmq_bus_config *config, struct sk_buff *skb,
		    struct genl_info *info)
{
	struct user_namespace *user_ns = bmq_nl_opener(skb)->user_ns;
	const struct nlattr *owner = info->attrs[BLIPMQ_A_BUS_OWNER];
	const struct nlattr *group = info->attrs[BLIPMQ_A_BUS_GROUP];

	if (owner) {
		config->owner = make_kuid(user_ns, nla_get_u32(owner));
		if (!uid_valid(config->owner)) {
			NL_SET_ERR_MSG(info->extack,
				       "your user namespace has no user of that number");
			return refuse(info, BLIPMQ_A_BUS_OWNER, -EINVAL);
		}
	}
	if (group) {
		config->group = make_kgid(user_ns, nla_get_u32(group));
		if (!gid_valid(config->group) && nla_get_u32(group) != (u32)-1) {
			NL_SET_ERR_MSG(info->extack,
				       "your user namespace has no group of that number");
			return refuse(info, BLIPMQ_A_BUS_GROUP, -EINVAL);
		}
	}
	return 0;
}

static int take_budget(struct bmq_bus_config *config, struct genl_info *info)
{
	const struct nlattr *budget = info->attrs[BLIPMQ_A_BUS_BUDGET];
	u64 pages;

	if (!budget)
		return 0;
	pages = nla_get_u64(budget) >> PAGE_SHIFT;
	if (pages < BMQ_PAGES_MIN) {
		NL_SET_ERR_MSG(info->extack, "a budget is 16 pages at the least");
		return refuse(info, BLIPMQ_A_BUS_BUDGET, -EINVAL);
	}
	if (pages > config->max_budget) {
		NL_SET_ERR_MSG(info->extack,
			       "more than the max budget, which is fixed when a bus is made");
		return refuse(info, BLIPMQ_A_BUS_BUDGET, -EINVAL);
	}
	config->budget = pages;
	return 0;
}

/*
 * Of a bus that is made: as given, or as much as the budget needs. The root of a
 * namespace gets no more of the host than the module's parameters give to a bus.
 */
static int take_max_budget(struct bmq_bus_config *config, struct sk_buff *skb,
			   struct genl_info *info)
{
	int attr = BLIPMQ_A_BUS_MAX_BUDGET;
	unsigned long usual = config->max_budget;
	u64 pages;

	if (!info->attrs[attr])
		attr = BLIPMQ_A_BUS_BUDGET;
	if (!info->attrs[attr])
		return 0;
	pages = nla_get_u64(info->attrs[attr]) >> PAGE_SHIFT;
	if (attr == BLIPMQ_A_BUS_BUDGET)
		pages = max_t(u64, pages, usual);
	if (pages < BMQ_PAGES_MIN) {
		NL_SET_ERR_MSG(info->extack, "a budget is 16 pages at the least");
		return refuse(info, attr, -EINVAL);
	}
	if (pages > min(READ_ONCE(bmq_host.limit), BMQ_PAGES_MAX)) {
		NL_SET_ERR_MSG(info->extack,
			       "more than host_pages of the module gives to all buses");
		return refuse(info, attr, -EINVAL);
	}
	if (pages > usual && !netlink_capable(skb, CAP_NET_ADMIN)) {
		NL_SET_ERR_MSG(info->extack,
			       "more than the module's max_budget takes CAP_NET_ADMIN of the host");
		return refuse(info, attr, -EPERM);
	}
	config->max_budget = pages;
	config->budget = min(config->budget, config->max_budget);
	return 0;
}

static int take_config(struct bmq_bus_config *config, struct sk_buff *skb,
		       struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;
	int err;

	err = take_ids(config, skb, info);
	if (!err)
		err = take_budget(config, info);
	if (err)
		return err;
	if (attrs[BLIPMQ_A_BUS_MODE])
		config->mode = nla_get_u32(attrs[BLIPMQ_A_BUS_MODE]);
	if (attrs[BLIPMQ_A_BUS_SHARE])
		config->share = nla_get_u32(attrs[BLIPMQ_A_BUS_SHARE]);
	if (attrs[BLIPMQ_A_BUS_BLOCK_BUDGET])
		config->block_budget = nla_get_u32(attrs[BLIPMQ_A_BUS_BLOCK_BUDGET]);
	return 0;
}

/* ---- new ---- */

/* Good on a command line, in an address and as a file's name. */
static bool char_fine(char c)
{
	return isascii(c) && (isalnum(c) || c == '_' || c == '-' || c == '.');
}

static bool name_fine(const char *name)
{
	if (!*name || *name == '-' || *name == '.')
		return false;
	while (char_fine(*name))
		name++;
	return !*name;
}

static int check_new(struct sk_buff *skb, struct genl_info *info)
{
	const struct bmq_net *bn = bmq_net_of(genl_info_net(info));

	if (!netlink_ns_capable(skb, bn->user_ns, CAP_NET_ADMIN)) {
		NL_SET_ERR_MSG(info->extack,
			       "making a bus takes CAP_NET_ADMIN over the network namespace");
		return -EPERM;
	}
	if (GENL_REQ_ATTR_CHECK(info, BLIPMQ_A_BUS_NAME)) {
		NL_SET_ERR_MSG(info->extack, "name the bus");
		return -EINVAL;
	}
	if (!name_fine(nla_data(info->attrs[BLIPMQ_A_BUS_NAME]))) {
		NL_SET_ERR_MSG(info->extack,
			       "a bus name has letters, digits, _, and not as the first - and .");
		return refuse(info, BLIPMQ_A_BUS_NAME, -EINVAL);
	}
	return 0;
}

static int new_failed(struct genl_info *info, int err)
{
	switch (err) {
	case -EEXIST:
		NL_SET_ERR_MSG(info->extack, "there is a bus of that name");
		return refuse(info, BLIPMQ_A_BUS_NAME, err);
	case -ENOSPC:
		NL_SET_ERR_MSG(info->extack,
			       "the namespace has as many buses as the module's max_buses allows");
		return err;
	default:
		return err;
	}
}

int bmq_nl_bus_new(struct sk_buff *skb, struct genl_info *info)
{
	struct bmq_net *bn = bmq_net_of(genl_info_net(info));
	struct bmq_bus_config config;
	struct bmq_bus *bus;
	int err;

	err = check_new(skb, info);
	if (err)
		return err;
	bmq_bus_defaults(&config, bn);
	config.owner = current_euid();
	err = take_max_budget(&config, skb, info);
	if (!err)
		err = take_config(&config, skb, info);
	if (err)
		return err;
	bus = bmq_bus_new(bn, nla_data(info->attrs[BLIPMQ_A_BUS_NAME]), &config);
	if (IS_ERR(bus))
		return new_failed(info, PTR_ERR(bus));
	err = bmq_net_add(bn, bus);
	bmq_bus_put(bus);
	return err ? new_failed(info, err) : 0;
}

/* ---- get ---- */

static int put_bus(struct sk_buff *skb, struct bmq_bus *bus, struct user_namespace *user_ns)
{
	struct bmq_bus_config config;
	u32 group = -1;

	mutex_lock(&bus->admin_lock);
	config = bus->config;
	config.owner = bmq_bus_owner(bus);
	mutex_unlock(&bus->admin_lock);
	if (gid_valid(config.group))
		group = from_kgid_munged(user_ns, config.group);
	if (nla_put_string(skb, BLIPMQ_A_BUS_NAME, bus->name) ||
	    bmq_nl_put_u64(skb, BLIPMQ_A_BUS_ID, bus->id) ||
	    nla_put_u32(skb, BLIPMQ_A_BUS_OWNER,
			from_kuid_munged(user_ns, config.owner)) ||
	    nla_put_u32(skb, BLIPMQ_A_BUS_GROUP, group) ||
	    nla_put_u32(skb, BLIPMQ_A_BUS_MODE, config.mode) ||
	    nla_put_u32(skb, BLIPMQ_A_BUS_SHARE, config.share) ||
	    nla_put_u32(skb, BLIPMQ_A_BUS_BLOCK_BUDGET, config.block_budget) ||
	    bmq_nl_put_u64(skb, BLIPMQ_A_BUS_BUDGET, (u64)config.budget << PAGE_SHIFT) ||
	    bmq_nl_put_u64(skb, BLIPMQ_A_BUS_MAX_BUDGET,
			   (u64)config.max_budget << PAGE_SHIFT))
		return -EMSGSIZE;
	return 0;
}

int bmq_nl_bus_get(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *reply;
	struct bmq_bus *bus;
	int err = -ENOMEM;
	void *hdr;

	bus = bmq_nl_bus(skb, info, info->attrs[BLIPMQ_A_BUS_NAME]);
	if (IS_ERR(bus))
		return PTR_ERR(bus);
	reply = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!reply)
		goto out;
	err = -EMSGSIZE;
	hdr = genlmsg_put_reply(reply, info, &bmq_nl_family, 0, BLIPMQ_CMD_BUS_GET);
	if (hdr)
		err = put_bus(reply, bus, bmq_nl_opener(skb)->user_ns);
	if (err) {
		nlmsg_free(reply);
		goto out;
	}
	genlmsg_end(reply, hdr);
	err = genlmsg_reply(reply, info);
out:
	bmq_bus_put(bus);
	return err;
}

static int dump_bus(struct sk_buff *skb, struct netlink_callback *cb, struct bmq_bus *bus)
{
	void *hdr;
	int err;

	if (!bmq_nl_sees(cb->skb, bus))
		return 0;
	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			  &bmq_nl_family, NLM_F_MULTI, BLIPMQ_CMD_BUS_GET);
	if (!hdr)
		return -EMSGSIZE;
	genl_dump_check_consistent(cb, hdr);
	err = put_bus(skb, bus, bmq_nl_opener(cb->skb)->user_ns);
	if (err)
		genlmsg_cancel(skb, hdr);
	else
		genlmsg_end(skb, hdr);
	return err;
}

/* By id, where the last message ended: what comes and goes meanwhile marks the rest. */
int bmq_nl_bus_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct bmq_net *bn = bmq_net_of(sock_net(cb->skb->sk));
	struct bmq_bus *bus;
	u64 id = cb->args[0];
	int err;

	err = bmq_nl_dump_all(cb, BLIPMQ_A_BUS_NAME);
	cb->seq = atomic_read(&bn->changes);
	while (!err && (bus = bmq_net_next(bn, &id))) {
		err = dump_bus(skb, cb, bus);
		if (!err)
			cb->args[0] = id;
		bmq_bus_put(bus);
	}
	return skb->len ? skb->len : err;
}

/* ---- set ---- */

int bmq_nl_bus_set(struct sk_buff *skb, struct genl_info *info)
{
	struct bmq_bus_config config;
	struct bmq_bus *bus;
	u32 lost = 0;
	int err;

	bus = bmq_nl_bus_to_change(skb, info, info->attrs[BLIPMQ_A_BUS_NAME]);
	if (IS_ERR(bus))
		return PTR_ERR(bus);
	mutex_lock(&bus->admin_lock);
	config = bus->config;
	err = take_config(&config, skb, info);
	if (!err)
		lost = bmq_bus_configure(bus, &config);
	mutex_unlock(&bus->admin_lock);
	bmq_bus_revoke(bus, lost);
	bmq_bus_put(bus);
	return err;
}

/* ---- del ---- */

int bmq_nl_bus_del(struct sk_buff *skb, struct genl_info *info)
{
	struct bmq_net *bn = bmq_net_of(genl_info_net(info));
	struct bmq_bus *bus;

	bus = bmq_nl_bus_to_change(skb, info, info->attrs[BLIPMQ_A_BUS_NAME]);
	if (IS_ERR(bus))
		return PTR_ERR(bus);
	if (!strcmp(bus->name, BMQ_BUS_DEFAULT)) {
		bmq_bus_put(bus);
		NL_SET_ERR_MSG(info->extack, "default is always there; its mode can be 0");
		return refuse(info, BLIPMQ_A_BUS_NAME, -EBUSY);
	}
	if (bmq_net_del(bn, bus)) {
		bmq_bus_hang_up(bus, BLIPMQ_REASON_DELETED);
		bmq_bus_put(bus);
	}
	bmq_bus_put(bus);
	return 0;
}
