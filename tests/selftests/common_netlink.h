/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Generic netlink by hand, independent of libblipmq and libmnl: a request is put together
 * attribute by attribute, as wrong as a test wants it.
 */
#ifndef SELFTESTS_COMMON_NETLINK_H
#define SELFTESTS_COMMON_NETLINK_H

#include <linux/blipmq.h>
#include <linux/blipmq_netlink.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "common.h"

#define NL_REQUEST_MAX	8192
#define NL_CHUNK	4096	/* bytes for one part of a dump: the kernel sends no more at once */

struct nl {
	int fd;
	__u16 family;
	__u32 seq;
	/* What is being put together. */
	union {
		struct nlmsghdr head;
		char request[NL_REQUEST_MAX];
	};
	/* What the latest refusal said: its sentence, and the attribute that it was about. */
	char text[256];
	int bad;
};

/* In the caller's network namespace, of the caller. */
int nl_open(struct nl *nl);
/* Opened by another user; the caller, root, goes on using it. */
int nl_open_as(struct nl *nl, uid_t uid, gid_t gid);
void nl_close(struct nl *nl);

void nl_begin(struct nl *nl, int command, int flags);
void nl_put(struct nl *nl, int attr, const void *data, size_t len);
void nl_put_u32(struct nl *nl, int attr, __u32 value);
void nl_put_u64(struct nl *nl, int attr, __u64 value);
void nl_put_string(struct nl *nl, int attr, const char *value);

typedef void (*nl_answer)(const struct nlattr *const *attrs, void *arg);

/* The whole answer, of which fn (or NULL) gets the messages' attributes. 0 or -errno. */
int nl_ask(struct nl *nl, nl_answer fn, void *arg);
int nl_send(struct nl *nl);
/* One part of a dump: NLM_F_* of its messages or'ed, NL_DONE at its end; or -errno. */
#define NL_DONE		(1 << 16)
int nl_part(struct nl *nl, nl_answer fn, void *arg);

/* ---- Buses ---- */

struct nl_bus {
	char name[BLIPMQ_NAME_MAX];
	__u64 id;
	__u32 owner;
	__u32 group;
	__u32 mode;
	__u32 share;
	__u32 block_budget;
	__u64 budget;
	__u64 max_budget;
};

void nl_take_bus(const struct nlattr *const *attrs, void *bus);
/* A request about a bus, or about none if name is NULL. */
void nl_begin_bus(struct nl *nl, int command, const char *name);
int nl_bus_new(struct nl *nl, const char *name);
int nl_bus_del(struct nl *nl, const char *name);
/* Poisons *bus before. */
int nl_bus_get(struct nl *nl, const char *name, struct nl_bus *bus);
int nl_bus_set(struct nl *nl, const char *name, int attr, __u32 value);
int nl_bus_set_u64(struct nl *nl, const char *name, int attr, __u64 value);

#endif /* SELFTESTS_COMMON_NETLINK_H */
