/* SPDX-License-Identifier: LGPL-2.1+ */
/*
 * Administration of buses, beside their messages: through generic netlink, whose
 * contract is <linux/blipmq_netlink.h>.
 *
 *	struct blipmq_admin *c;
 *	struct blipmq_bus bus = { .sz = sizeof(bus), .given = BLIPMQ_BUS_MODE, .mode = 0777 };
 *
 *	blipmq_admin_open(&c);
 *	blipmq_bus_add(c, "plant", &bus);
 *	blipmq_admin_close(c);
 *
 * Errors are as in <blipmq.h>; what the kernel refuses comes with its own sentence,
 * which blipmq_strerror() gives (BLIPMQ_REASON_KERNEL). All functions may fail with
 *   -ENOENT, BLIPMQ_REASON_ADMIN_NONE  the module is not loaded
 *   -ENOMEM, -ENOBUFS
 *
 * What one may not see is as if it were not there. One thread at a time may use a
 * struct blipmq_admin. It is of the network namespace in which it was opened.
 */
#ifndef BLIPMQ_ADMIN_H
#define BLIPMQ_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#include <linux/blipmq.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct blipmq_admin;		/* a socket, of one network namespace */

/**
 * blipmq_admin_open() - get ready to administer
 * @c: out: for blipmq_admin_close(); NULL on failure
 *
 * Returns 0 or a negative errno, -EMFILE and -ENFILE among them.
 */
int blipmq_admin_open(struct blipmq_admin **c);

/* @c may be NULL. */
void blipmq_admin_close(struct blipmq_admin *c);

/* ---- Buses ---- */

/* Fields of struct blipmq_bus that are given. */
#define BLIPMQ_BUS_OWNER	(1u << 0)
#define BLIPMQ_BUS_GROUP	(1u << 1)
#define BLIPMQ_BUS_MODE		(1u << 2)
#define BLIPMQ_BUS_SHARE	(1u << 3)
#define BLIPMQ_BUS_BLOCK_BUDGET	(1u << 4)
#define BLIPMQ_BUS_BUDGET	(1u << 5)
#define BLIPMQ_BUS_MAX_BUDGET	(1u << 6)

#define BLIPMQ_GROUP_NONE	UINT32_MAX

/**
 * struct blipmq_bus - what an administrator decides of a bus
 * @sz:           sizeof(struct blipmq_bus)
 * @given:        BLIPMQ_BUS_*: which of the fields up to @max_budget count
 * @owner:        user who may administer it, and has the first bits of @mode
 * @group:        group that has the second bits, BLIPMQ_GROUP_NONE for none
 * @mode:         rwx for owner, group and others: r subscribe, w publish, x map
 * @share:        percent of what others left free that one user may hold, 1 to 100
 * @block_budget: milliseconds a minute that block rings of a user may hold
 *                publishers up, to 60000
 * @reserved:     zero
 * @budget:       bytes of messages
 * @max_budget:   bytes up to which that may be set; fixed when the bus is made
 * @id:           number of the bus, never used again in its network namespace
 * @name:         its name
 *
 * @id and @name are told by the kernel, and not looked at in what is given to it.
 * What a later release knows in addition is behind what is here.
 */
struct blipmq_bus {
	size_t sz;
	uint32_t given;
	uint32_t owner;
	uint32_t group;
	uint32_t mode;
	uint32_t share;
	uint32_t block_budget;
	uint32_t reserved;
	uint64_t budget;
	uint64_t max_budget;
	uint64_t id;
	char name[BLIPMQ_NAME_MAX];
};

/**
 * blipmq_bus_add() - make a bus
 * @name: 1 to 63 letters, digits, '_', and not as the first '-' and '.'
 * @bus:  what is not given is as the module's parameters say, the owner the caller;
 *        NULL: nothing is given
 *
 * Returns 0 or
 *   -EPERM   no CAP_NET_ADMIN over the network namespace, or more memory than its
 *            root may give
 *   -EEXIST  there is one of that name
 *   -ENOSPC  the namespace has as many as it may
 *   -EINVAL  @name, a value out of its range, unknown options
 */
int blipmq_bus_add(struct blipmq_admin *c, const char *name, const struct blipmq_bus *bus);

/**
 * blipmq_bus_set() - change what is given of a bus, for the operations that follow
 *
 * Who loses r: subscriptions end, what is in the ring cannot be received. Who loses
 * w cannot publish. Who loses x: the messages are unmapped, touching them is SIGBUS.
 *
 * Returns 0, -ENOENT (no such bus to be seen), -EPERM (neither its owner, nor
 * CAP_NET_ADMIN), -EINVAL (as for blipmq_bus_add(); a budget above max_budget;
 * max_budget).
 */
int blipmq_bus_set(struct blipmq_admin *c, const char *name, const struct blipmq_bus *bus);

/**
 * blipmq_bus_del() - end a bus
 *
 * Its endpoints hang up, its mappings go, its name is free.
 *
 * Returns 0, -ENOENT, -EPERM, -EBUSY ("default" is always there).
 */
int blipmq_bus_del(struct blipmq_admin *c, const char *name);

/**
 * blipmq_bus_get() - describe a bus
 * @bus:  out
 * @size: sizeof(*bus) as the caller knows it
 *
 * Returns 0, -ENOENT.
 */
int blipmq_bus_get(struct blipmq_admin *c, const char *name, struct blipmq_bus *bus,
		   size_t size);

/**
 * blipmq_bus_list() - describe all buses that can be seen, in the order they were made
 * @each: called for each; what it returns, unless 0, ends the list
 * @arg:  for @each
 *
 * They are as they were at one moment: a list during which something changed is
 * begun again, before @each is called.
 *
 * Returns 0, what @each returned, or -EAGAIN: they change too fast.
 */
int blipmq_bus_list(struct blipmq_admin *c,
		    int (*each)(const struct blipmq_bus *bus, void *arg), void *arg);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* BLIPMQ_ADMIN_H */
