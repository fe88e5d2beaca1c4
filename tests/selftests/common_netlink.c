// SPDX-License-Identifier: GPL-2.0
/*
 * Generic netlink by hand.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common_netlink.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK	270
#endif

#define ATTR_MAX	BLIPMQ_A_BUS_MAX
#define HEADERS		(NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct genlmsghdr)))

/* ---- Requests ---- */

void nl_begin(struct nl *nl, int command, int flags)
{
	struct genlmsghdr *header = NLMSG_DATA(&nl->head);

	memset(nl->request, 0, sizeof(nl->request));
	nl->head.nlmsg_len = HEADERS;
	nl->head.nlmsg_type = nl->family;
	nl->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nl->head.nlmsg_seq = ++nl->seq;
	header->cmd = command;
	header->version = BLIPMQ_FAMILY_VERSION;
}

void nl_put(struct nl *nl, int attr, const void *data, size_t len)
{
	struct nlattr *nla = (void *)(nl->request + nl->head.nlmsg_len);

	if (nl->head.nlmsg_len + NLA_HDRLEN + NLA_ALIGN(len) > sizeof(nl->request))
		abort();
	nla->nla_type = attr;
	nla->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((char *)nla + NLA_HDRLEN, data, len);
	nl->head.nlmsg_len += NLA_HDRLEN + NLA_ALIGN(len);
}

void nl_put_u32(struct nl *nl, int attr, __u32 value)
{
	nl_put(nl, attr, &value, sizeof(value));
}

void nl_put_u64(struct nl *nl, int attr, __u64 value)
{
	nl_put(nl, attr, &value, sizeof(value));
}

void nl_put_string(struct nl *nl, int attr, const char *value)
{
	nl_put(nl, attr, value, strlen(value) + 1);
}

int nl_send(struct nl *nl)
{
	return send(nl->fd, nl->request, nl->head.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* ---- Answers ---- */

/* Call fn for each attribute of len bytes at p. */
static void each_attr(const char *p, size_t len, void (*fn)(const struct nlattr *nla, void *arg),
		      void *arg)
{
	while (len >= NLA_HDRLEN) {
		const struct nlattr *nla = (const void *)p;
		size_t step;

		if (nla->nla_len < NLA_HDRLEN || nla->nla_len > len)
			abort();
		fn(nla, arg);
		step = NLA_ALIGN(nla->nla_len);
		if (step >= len)
			break;
		p += step;
		len -= step;
	}
}

static void note_refusal(const struct nlattr *nla, void *arg)
{
	const void *value = (const char *)nla + NLA_HDRLEN;
	struct nl *nl = arg;
	__u32 at;

	switch (nla->nla_type & NLA_TYPE_MASK) {
	case NLMSGERR_ATTR_MSG:
		snprintf(nl->text, sizeof(nl->text), "%s", (const char *)value);
		break;
	case NLMSGERR_ATTR_OFFS:
		memcpy(&at, value, sizeof(at));
		nl->bad = ((struct nlattr *)(nl->request + at))->nla_type & NLA_TYPE_MASK;
		break;
	}
}

/* An errno, and behind it what more there is to say. */
static int take_error(struct nl *nl, const struct nlmsghdr *h, size_t skip, int error)
{
	if (error && h->nlmsg_len > NLMSG_HDRLEN + skip)
		each_attr((const char *)h + NLMSG_HDRLEN + skip,
			  h->nlmsg_len - NLMSG_HDRLEN - skip, note_refusal, nl);
	return error;
}

static void note_attr(const struct nlattr *nla, void *arg)
{
	const struct nlattr **attrs = arg;

	if ((nla->nla_type & NLA_TYPE_MASK) > ATTR_MAX)
		abort();
	attrs[nla->nla_type & NLA_TYPE_MASK] = nla;
}

static void take_answer(const struct nlmsghdr *h, nl_answer fn, void *arg)
{
	const struct nlattr *attrs[ATTR_MAX + 1] = { };

	if (!fn)
		return;
	each_attr((const char *)h + HEADERS, h->nlmsg_len - HEADERS, note_attr, attrs);
	fn(attrs, arg);
}

/* flags: of a part, so far. Returns 0 or -errno. */
static int take_message(struct nl *nl, const struct nlmsghdr *h, int *flags, nl_answer fn,
			void *arg)
{
	const struct nlmsgerr *err = NLMSG_DATA(h);

	*flags |= h->nlmsg_flags;
	switch (h->nlmsg_type) {
	case NLMSG_ERROR:
		*flags |= NL_DONE;
		return take_error(nl, h, sizeof(*err), err->error);
	case NLMSG_DONE:
		*flags |= NL_DONE;
		return take_error(nl, h, sizeof(int), *(const int *)NLMSG_DATA(h));
	default:
		take_answer(h, fn, arg);
		return 0;
	}
}

int nl_part(struct nl *nl, nl_answer fn, void *arg)
{
	char buf[NL_CHUNK];
	const struct nlmsghdr *h = (const void *)buf;
	int flags = 0, error = 0;
	ssize_t len;

	nl->text[0] = 0;
	nl->bad = 0;
	len = recv(nl->fd, buf, sizeof(buf), MSG_TRUNC);
	if (len < 0)
		return -errno;
	if ((size_t)len > sizeof(buf))
		abort();
	for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
		if (h->nlmsg_seq == nl->seq && !error)
			error = take_message(nl, h, &flags, fn, arg);
	}
	return error ? error : flags;
}

int nl_ask(struct nl *nl, nl_answer fn, void *arg)
{
	int ret = nl_send(nl);

	while (!ret) {
		ret = nl_part(nl, fn, arg);
		if (ret > 0)
			ret = ret & NL_DONE ? 1 : 0;
	}
	return ret < 0 ? ret : 0;
}

/* ---- The socket ---- */

/* The controller's answer has other attributes than ours. A larger buffer would let dumps have
 * larger parts.
 */
static int find_family(struct nl *nl)
{
	struct {
		struct nlmsghdr h;
		struct genlmsghdr g;
		char rest[NL_CHUNK - HEADERS];
	} answer;
	const struct nlattr *nla;
	ssize_t len;

	nl->family = GENL_ID_CTRL;
	nl_begin(nl, CTRL_CMD_GETFAMILY, 0);
	nl->head.nlmsg_flags = NLM_F_REQUEST;
	nl_put_string(nl, CTRL_ATTR_FAMILY_NAME, BLIPMQ_FAMILY_NAME);
	if (nl_send(nl))
		return -errno;
	len = recv(nl->fd, &answer, sizeof(answer), 0);
	if (len < 0 || answer.h.nlmsg_type == NLMSG_ERROR)
		return -ENOENT;
	for (nla = (void *)answer.rest; (char *)nla < (char *)&answer + len;
	     nla = (void *)((char *)nla + NLA_ALIGN(nla->nla_len))) {
		if (nla->nla_type == CTRL_ATTR_FAMILY_ID) {
			memcpy(&nl->family, (char *)nla + NLA_HDRLEN, sizeof(nl->family));
			return 0;
		}
	}
	return -ENOENT;
}

int nl_open(struct nl *nl)
{
	int on = 1;

	nl->seq = 0;
	nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (nl->fd < 0)
		return -errno;
	if (setsockopt(nl->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) ||
	    setsockopt(nl->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)))
		return -errno;
	return find_family(nl);
}

int nl_open_as(struct nl *nl, uid_t uid, gid_t gid)
{
	int ret;

	if (setegid(gid) || seteuid(uid))
		return -errno;
	ret = nl_open(nl);
	if (seteuid(0) || setegid(0))
		abort();
	return ret;
}

void nl_close(struct nl *nl)
{
	close(nl->fd);
}

/* ---- Buses ---- */

void nl_begin_bus(struct nl *nl, int command, const char *name)
{
	nl_begin(nl, command, 0);
	if (name)
		nl_put_string(nl, BLIPMQ_A_BUS_NAME, name);
}

int nl_bus_new(struct nl *nl, const char *name)
{
	nl_begin_bus(nl, BLIPMQ_CMD_BUS_NEW, name);
	return nl_ask(nl, NULL, NULL);
}

int nl_bus_del(struct nl *nl, const char *name)
{
	nl_begin_bus(nl, BLIPMQ_CMD_BUS_DEL, name);
	return nl_ask(nl, NULL, NULL);
}

/* Exactly as long as it has to be: what is not there stays poisoned. */
static void copy_attr(const struct nlattr *nla, void *to, size_t size)
{
	if (nla && nla->nla_len == NLA_HDRLEN + size)
		memcpy(to, (const char *)nla + NLA_HDRLEN, size);
}

void nl_take_bus(const struct nlattr *const *attrs, void *arg)
{
	const struct nlattr *name = attrs[BLIPMQ_A_BUS_NAME];
	struct nl_bus *bus = arg;

	memset(bus, POISON, sizeof(*bus));
	if (name && name->nla_len <= NLA_HDRLEN + sizeof(bus->name))
		memcpy(bus->name, (const char *)name + NLA_HDRLEN, name->nla_len - NLA_HDRLEN);
	copy_attr(attrs[BLIPMQ_A_BUS_ID], &bus->id, sizeof(bus->id));
	copy_attr(attrs[BLIPMQ_A_BUS_OWNER], &bus->owner, sizeof(bus->owner));
	copy_attr(attrs[BLIPMQ_A_BUS_GROUP], &bus->group, sizeof(bus->group));
	copy_attr(attrs[BLIPMQ_A_BUS_MODE], &bus->mode, sizeof(bus->mode));
	copy_attr(attrs[BLIPMQ_A_BUS_SHARE], &bus->share, sizeof(bus->share));
	copy_attr(attrs[BLIPMQ_A_BUS_BLOCK_BUDGET], &bus->block_budget, sizeof(bus->block_budget));
	copy_attr(attrs[BLIPMQ_A_BUS_BUDGET], &bus->budget, sizeof(bus->budget));
	copy_attr(attrs[BLIPMQ_A_BUS_MAX_BUDGET], &bus->max_budget, sizeof(bus->max_budget));
}

int nl_bus_get(struct nl *nl, const char *name, struct nl_bus *bus)
{
	memset(bus, POISON, sizeof(*bus));
	nl_begin_bus(nl, BLIPMQ_CMD_BUS_GET, name);
	return nl_ask(nl, nl_take_bus, bus);
}

int nl_bus_set(struct nl *nl, const char *name, int attr, __u32 value)
{
	nl_begin_bus(nl, BLIPMQ_CMD_BUS_SET, name);
	nl_put_u32(nl, attr, value);
	return nl_ask(nl, NULL, NULL);
}

int nl_bus_set_u64(struct nl *nl, const char *name, int attr, __u64 value)
{
	nl_begin_bus(nl, BLIPMQ_CMD_BUS_SET, name);
	nl_put_u64(nl, attr, value);
	return nl_ask(nl, NULL, NULL);
}
