// SPDX-License-Identifier: LGPL-2.1+
/* Buses, as administrators make, see, change and end them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"

#define LIST_TRIES	100	/* of a list that changes under way */
#define LIST_FIRST	16	/* buses for which a list has room at first */

/* ---- Requests ---- */

static int put_name(struct nlmsghdr *message, const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= BLIPMQ_NAME_MAX)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_URL_NAME, BLIPMQ_NAME_MAX - 1);
	mnl_attr_put_strz(message, BLIPMQ_A_BUS_NAME, name);
	return 0;
}

static void put_given(struct nlmsghdr *message, const struct blipmq_bus *bus)
{
	if (bus->given & BLIPMQ_BUS_OWNER)
		mnl_attr_put_u32(message, BLIPMQ_A_BUS_OWNER, bus->owner);
	if (bus->given & BLIPMQ_BUS_GROUP)
		mnl_attr_put_u32(message, BLIPMQ_A_BUS_GROUP, bus->group);
	if (bus->given & BLIPMQ_BUS_MODE)
		mnl_attr_put_u32(message, BLIPMQ_A_BUS_MODE, bus->mode);
	if (bus->given & BLIPMQ_BUS_SHARE)
		mnl_attr_put_u32(message, BLIPMQ_A_BUS_SHARE, bus->share);
	if (bus->given & BLIPMQ_BUS_BLOCK_BUDGET)
		mnl_attr_put_u32(message, BLIPMQ_A_BUS_BLOCK_BUDGET, bus->block_budget);
	if (bus->given & BLIPMQ_BUS_BUDGET)
		mnl_attr_put_u64(message, BLIPMQ_A_BUS_BUDGET, bus->budget);
	if (bus->given & BLIPMQ_BUS_MAX_BUDGET)
		mnl_attr_put_u64(message, BLIPMQ_A_BUS_MAX_BUDGET, bus->max_budget);
}

#define GIVEN_ALL	(2 * BLIPMQ_BUS_MAX_BUDGET - 1)

static int change(struct blipmq_admin *c, uint8_t command, const char *name,
		  const struct blipmq_bus *given)
{
	struct nlmsghdr *message = blipmq__request(c, command, 0);
	struct blipmq_bus bus;
	int error;

	error = blipmq__opts_read(given, &bus, sizeof(bus));
	if (!error && (bus.given & ~GIVEN_ALL || bus.reserved))
		error = blipmq__fail(-EINVAL, BLIPMQ_REASON_OPTIONS, 0);
	if (!error)
		error = put_name(message, name);
	if (error)
		return error;
	put_given(message, &bus);
	return blipmq__ask(c, NULL, NULL);
}

int blipmq_bus_add(struct blipmq_admin *c, const char *name, const struct blipmq_bus *bus)
{
	return change(c, BLIPMQ_CMD_BUS_NEW, name, bus);
}

int blipmq_bus_set(struct blipmq_admin *c, const char *name, const struct blipmq_bus *bus)
{
	return change(c, BLIPMQ_CMD_BUS_SET, name, bus);
}

int blipmq_bus_del(struct blipmq_admin *c, const char *name)
{
	return change(c, BLIPMQ_CMD_BUS_DEL, name, NULL);
}

/* ---- Answers ---- */

static int take_bus(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attrs[BLIPMQ_A_BUS_MAX + 1];
	struct blipmq_bus *bus = arg;

	blipmq__attributes(message, attrs, BLIPMQ_A_BUS_MAX);
	memset(bus, 0, sizeof(*bus));
	bus->sz = sizeof(*bus);
	bus->given = GIVEN_ALL;
	bus->owner = blipmq__attr_u32(attrs[BLIPMQ_A_BUS_OWNER]);
	bus->group = blipmq__attr_u32(attrs[BLIPMQ_A_BUS_GROUP]);
	bus->mode = blipmq__attr_u32(attrs[BLIPMQ_A_BUS_MODE]);
	bus->share = blipmq__attr_u32(attrs[BLIPMQ_A_BUS_SHARE]);
	bus->block_budget = blipmq__attr_u32(attrs[BLIPMQ_A_BUS_BLOCK_BUDGET]);
	bus->budget = blipmq__attr_u64(attrs[BLIPMQ_A_BUS_BUDGET]);
	bus->max_budget = blipmq__attr_u64(attrs[BLIPMQ_A_BUS_MAX_BUDGET]);
	bus->id = blipmq__attr_u64(attrs[BLIPMQ_A_BUS_ID]);
	blipmq__attr_string(attrs[BLIPMQ_A_BUS_NAME], bus->name, sizeof(bus->name));
	return 0;
}

int blipmq_bus_get(struct blipmq_admin *c, const char *name, struct blipmq_bus *out,
		   size_t size)
{
	struct nlmsghdr *message = blipmq__request(c, BLIPMQ_CMD_BUS_GET, 0);
	struct blipmq_bus bus = { };
	int error;

	memset(out, 0, size);
	error = put_name(message, name);
	if (!error)
		error = blipmq__ask(c, take_bus, &bus);
	if (!error)
		memcpy(out, &bus, size < sizeof(bus) ? size : sizeof(bus));
	return error;
}

/* ---- The list ---- */

struct list {
	struct blipmq_bus *bus;
	size_t nr;
	size_t room;
};

static int list_add(const struct nlmsghdr *message, void *arg)
{
	struct list *list = arg;
	struct blipmq_bus *more;

	if (list->nr == list->room) {
		more = reallocarray(list->bus, list->room ? 2 * list->room : LIST_FIRST,
				    sizeof(*more));
		if (!more)
			return blipmq__fail(-ENOMEM, BLIPMQ_REASON_NONE, 0);
		list->bus = more;
		list->room = list->room ? 2 * list->room : LIST_FIRST;
	}
	return take_bus(message, &list->bus[list->nr++]);
}

static int list_all(struct blipmq_admin *c, struct list *list)
{
	unsigned int tries;
	int error;

	for (tries = 0; tries < LIST_TRIES; tries++) {
		list->nr = 0;
		blipmq__request(c, BLIPMQ_CMD_BUS_GET, NLM_F_DUMP);
		error = blipmq__ask(c, list_add, list);
		if (error != -EINTR)
			return error;
	}
	return blipmq__fail(-EAGAIN, BLIPMQ_REASON_CHANGING, 0);
}

int blipmq_bus_list(struct blipmq_admin *c,
		    int (*each)(const struct blipmq_bus *bus, void *arg), void *arg)
{
	struct list list = { };
	size_t i;
	int ret;

	ret = list_all(c, &list);
	for (i = 0; !ret && i < list.nr; i++)
		ret = each(&list.bus[i], arg);
	free(list.bus);
	return ret;
}
