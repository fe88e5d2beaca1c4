/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The generic netlink family: administration. Specified in
 * Documentation/netlink/specs/blipmq.yaml; a test compares.
 *
 * A request is judged by who opened its socket; what changes something also by who
 * sends it, since a program may be made to write to another's socket. What the opener
 * may not see is as if it were not there. Operations run side by side and lock
 * what they change; a dump holds no lock from one message to the next.
 */
#ifndef _BLIPMQ_NETLINK_H
#define _BLIPMQ_NETLINK_H

#include <net/genetlink.h>

#include <uapi/linux/blipmq_netlink.h>

#include "bus.h"

extern struct genl_family bmq_nl_family;

/* netlink.c */
int bmq_nl_init(void);
void bmq_nl_exit(void);
const struct cred *bmq_nl_opener(const struct sk_buff *skb);
bool bmq_nl_sees(const struct sk_buff *skb, struct bmq_bus *bus);
struct bmq_bus *bmq_nl_bus(struct sk_buff *skb, struct genl_info *info,
			   const struct nlattr *name);
struct bmq_bus *bmq_nl_bus_to_change(struct sk_buff *skb, struct genl_info *info,
				     const struct nlattr *name);
int bmq_nl_put_u64(struct sk_buff *skb, int attr, u64 value);
int bmq_nl_dump_all(struct netlink_callback *cb, int attr);

/* netlink_bus.c */
extern const struct nla_policy bmq_nl_bus_new_policy[BLIPMQ_A_BUS_MAX_BUDGET + 1];
extern const struct nla_policy bmq_nl_bus_set_policy[BLIPMQ_A_BUS_MAX_BUDGET + 1];
extern const struct nla_policy bmq_nl_bus_name_policy[BLIPMQ_A_BUS_NAME + 1];

int bmq_nl_bus_new(struct sk_buff *skb, struct genl_info *info);
int bmq_nl_bus_get(struct sk_buff *skb, struct genl_info *info);
int bmq_nl_bus_dump(struct sk_buff *skb, struct netlink_callback *cb);
int bmq_nl_bus_set(struct sk_buff *skb, struct genl_info *info);
int bmq_nl_bus_del(struct sk_buff *skb, struct genl_info *info);

#endif /* _BLIPMQ_NETLINK_H */
