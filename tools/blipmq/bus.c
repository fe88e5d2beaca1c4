// SPDX-License-Identifier: GPL-2.0
/*
 * blipmq bus: make, change, end and show buses.
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <blipmq/admin.h>

#include "cli.h"
#include "out.h"

#define PERCENT		100
#define MODE_MAX	0777
#define NOT_GIVEN	UINT64_MAX	/* no option takes it */
#define BUDGET_MAX	(1ULL << 50)	/* bytes: the kernel knows its own limits */
#define BLOCK_BUDGET_MAX 60000		/* ms: the whole minute */

static const char *owner_text, *group_text, *mode_text, *share_text;
static uint64_t budget = NOT_GIVEN, max_budget = NOT_GIVEN, block_budget = NOT_GIVEN;

static const struct args_option bus_options[] = {
	{ .name = "mode", .value = "OCTAL", .kind = ARGS_STRING, .target = &mode_text,
	  .help = "rights of owner, group, others: r subscribe, w publish, x map" },
	{ .name = "owner", .value = "USER", .kind = ARGS_STRING, .target = &owner_text,
	  .help = "who may administer it: a name or a number" },
	{ .name = "group", .value = "GROUP", .kind = ARGS_STRING, .target = &group_text,
	  .help = "whose rights are the mode's second digit: a name, a number, none" },
	{ .name = "budget", .value = "SIZE", .kind = ARGS_SIZE, .target = &budget,
	  .max = BUDGET_MAX, .help = "memory of messages; k, M, G" },
	{ .name = "max-budget", .value = "SIZE", .kind = ARGS_SIZE, .target = &max_budget,
	  .max = BUDGET_MAX, .help = "up to which that may be set; add only" },
	{ .name = "share", .value = "N/M", .kind = ARGS_STRING, .target = &share_text,
	  .help = "part of what others left free that one user may hold" },
	{ .name = "block-budget", .value = "MS", .kind = ARGS_NUMBER, .target = &block_budget,
	  .max = BLOCK_BUDGET_MAX,
	  .help = "ms a minute that block rings of a user may stall publishers" },
	{}
};

/* ---- What is given ---- */

/* A whole decimal or octal number that fits; false if it is none. */
static bool number(const char *text, int base, uint64_t max, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*value = strtoull(text, &end, base);
	return !*end && *value <= max;
}

static int take_mode(struct blipmq_bus *bus)
{
	uint64_t mode;

	if (!number(mode_text, 8, MODE_MAX, &mode))
		return complain_usage("--mode %s: give three octal digits, such as 0770",
				      mode_text);
	bus->mode = mode;
	bus->given |= BLIPMQ_BUS_MODE;
	return CLI_OK;
}

static int take_owner(struct blipmq_bus *bus)
{
	const struct passwd *user;
	uint64_t uid;

	if (!number(owner_text, 10, UINT32_MAX - 1, &uid)) {
		user = getpwnam(owner_text);
		if (!user)
			return complain_usage("--owner %s: no such user", owner_text);
		uid = user->pw_uid;
	}
	bus->owner = uid;
	bus->given |= BLIPMQ_BUS_OWNER;
	return CLI_OK;
}

static int take_group(struct blipmq_bus *bus)
{
	const struct group *group;
	uint64_t gid = BLIPMQ_GROUP_NONE;

	if (strcmp(group_text, "none") && !number(group_text, 10, UINT32_MAX - 1, &gid)) {
		group = getgrnam(group_text);
		if (!group)
			return complain_usage("--group %s: no such group", group_text);
		gid = group->gr_gid;
	}
	bus->group = gid;
	bus->given |= BLIPMQ_BUS_GROUP;
	return CLI_OK;
}

static int take_share(struct blipmq_bus *bus)
{
	uint64_t part, whole;
	char text[32];
	char *slash;

	snprintf(text, sizeof(text), "%s", share_text);
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	if (!slash || !number(text, 10, UINT32_MAX, &part) ||
	    !number(slash + 1, 10, UINT32_MAX, &whole) || !part || part > whole)
		return complain_usage("--share %s: give a part of a whole, such as 3/4",
				      share_text);
	bus->share = (part * PERCENT + whole / 2) / whole;
	if (!bus->share)
		bus->share = 1;
	bus->given |= BLIPMQ_BUS_SHARE;
	return CLI_OK;
}

static void take_numbers(struct blipmq_bus *bus)
{
	if (budget != NOT_GIVEN) {
		bus->budget = budget;
		bus->given |= BLIPMQ_BUS_BUDGET;
	}
	if (max_budget != NOT_GIVEN) {
		bus->max_budget = max_budget;
		bus->given |= BLIPMQ_BUS_MAX_BUDGET;
	}
	if (block_budget != NOT_GIVEN) {
		bus->block_budget = block_budget;
		bus->given |= BLIPMQ_BUS_BLOCK_BUDGET;
	}
}

static int take_options(struct blipmq_bus *bus)
{
	int ret = CLI_OK;

	*bus = (struct blipmq_bus){ .sz = sizeof(*bus) };
	take_numbers(bus);
	if (mode_text)
		ret = take_mode(bus);
	if (ret == CLI_OK && owner_text)
		ret = take_owner(bus);
	if (ret == CLI_OK && group_text)
		ret = take_group(bus);
	if (ret == CLI_OK && share_text)
		ret = take_share(bus);
	return ret;
}

/* ---- add, set, del ---- */

static int done(int error, const char *name)
{
	return error ? complain_library(name) : CLI_OK;
}

static int bus_add(struct blipmq_admin *admin, const char *name, const struct blipmq_bus *bus,
		   struct out *o)
{
	(void)o;
	return done(blipmq_bus_add(admin, name, bus), name);
}

static int bus_set(struct blipmq_admin *admin, const char *name, const struct blipmq_bus *bus,
		   struct out *o)
{
	(void)o;
	if (!bus->given)
		return complain_usage("%s: set what? Give an option", name);
	return done(blipmq_bus_set(admin, name, bus), name);
}

static int bus_del(struct blipmq_admin *admin, const char *name, const struct blipmq_bus *bus,
		   struct out *o)
{
	(void)bus;
	(void)o;
	return done(blipmq_bus_del(admin, name), name);
}

/* ---- show ---- */

static unsigned int common_divisor(unsigned int a, unsigned int b)
{
	return b ? common_divisor(b, a % b) : a;
}

static void print_owner(struct out *o, uint32_t uid)
{
	const struct passwd *user = o->json ? NULL : getpwuid(uid);

	if (user)
		out_text(o, ", owner %s", user->pw_name);
	else
		out_u64(o, "owner", ", owner %s", uid);
}

static void print_group(struct out *o, uint32_t gid)
{
	const struct group *group = o->json ? NULL : getgrgid(gid);

	if (gid == BLIPMQ_GROUP_NONE)
		out_text(o, ", no group");
	else if (group)
		out_text(o, ", group %s", group->gr_name);
	else
		out_u64(o, "group", ", group %s", gid);
}

static int print_bus(const struct blipmq_bus *bus, void *arg)
{
	unsigned int divisor = common_divisor(bus->share, PERCENT);
	struct out *o = arg;
	char mode[16];

	snprintf(mode, sizeof(mode), "%04o", bus->mode);
	out_begin(o);
	out_string(o, "name", "%s", bus->name);
	out_u64(o, "id", NULL, bus->id);
	out_string(o, "mode", ": mode %s", mode);
	print_owner(o, bus->owner);
	print_group(o, bus->group);
	out_size(o, "budget", "\n  budget: %s", bus->budget);
	out_size(o, "max_budget", " of at most %s", bus->max_budget);
	out_u64(o, "share", NULL, bus->share);
	out_text(o, ", share %u/%u", bus->share / divisor, PERCENT / divisor);
	out_u64(o, "block_budget", ", block budget %s ms a minute", bus->block_budget);
	out_end(o);
	return 0;
}

static int bus_show(struct blipmq_admin *admin, const char *name, const struct blipmq_bus *given,
		    struct out *o)
{
	struct blipmq_bus bus;
	int error;

	(void)given;
	if (!name) {
		error = blipmq_bus_list(admin, print_bus, o);
	} else {
		error = blipmq_bus_get(admin, name, &bus, sizeof(bus));
		if (!error)
			print_bus(&bus, o);
	}
	if (error)
		return complain_library(name);
	if (out_flush(o))
		return complain("stdout: %s", strerror(-o->error));
	return CLI_OK;
}

/* ---- The verb ---- */

/**
 * struct action - what is done with a bus
 * @name:    as typed
 * @all:     without a name it is done with all of them
 * @options: it takes options
 * @run:     does it
 */
struct action {
	const char *name;
	bool all;
	bool options;
	int (*run)(struct blipmq_admin *admin, const char *name, const struct blipmq_bus *bus,
		   struct out *o);
};

static const struct action actions[] = {
	{ .name = "add", .options = true, .run = bus_add },
	{ .name = "set", .options = true, .run = bus_set },
	{ .name = "del", .run = bus_del },
	{ .name = "show", .all = true, .run = bus_show },
	{}
};

static int act(const struct action *action, const struct cli *cli, const char *name)
{
	struct blipmq_admin *admin;
	struct blipmq_bus bus;
	struct out out;
	int ret;

	ret = take_options(&bus);
	if (ret != CLI_OK)
		return ret;
	if (bus.given && !action->options)
		return complain_usage("%s takes no options of add and set", action->name);
	if (blipmq_admin_open(&admin))
		return complain_library(NULL);
	out_init(&out, STDOUT_FD, cli->json);
	ret = action->run(admin, name, &bus, &out);
	blipmq_admin_close(admin);
	return ret;
}

static int bus_run(const struct cli *cli, int nr, char **args)
{
	const struct action *action;

	if (cli->bus || cli->server)
		return complain_usage("name the bus without --bus and --server");
	if (!nr)
		return complain_usage("add, set, del or show?");
	for (action = actions; action->name; action++)
		if (!strcmp(action->name, args[0]))
			break;
	if (!action->name)
		return complain_usage("%s: give one of add, set, del, show", args[0]);
	if (nr == 1 && !action->all)
		return complain_usage("%s which NAME?", action->name);
	if (nr > 2)
		return complain_usage("%s: one NAME only", args[2]);
	return act(action, cli, nr == 2 ? args[1] : NULL);
}

const struct verb bus_verb = {
	.name = "bus",
	.args = "add|set|del|show [NAME]",
	.summary = "make, change, end and show buses",
	.text =
	"A bus is of one network namespace and has an owner, a group, a mode and a budget.\n"
	"\n"
	"  add NAME     makes it; what no option says is as the module's parameters are\n"
	"  set NAME     changes it, for what is done from then on: who loses r receives no\n"
	"               more, who loses x finds the messages unmapped\n"
	"  del NAME     ends it: its programs are told, its messages are gone\n"
	"  show [NAME]  shows one, or all that you may see; the share in JSON is in percent\n"
	"\n"
	"add takes CAP_NET_ADMIN over the network namespace; set and del that, or being\n"
	"the owner. \"default\" is always there.\n",
	.examples =
	"  blipmq bus add plant --group plc --mode 0760 --budget 16M\n"
	"  blipmq pub --bus plant valve.7 open\n"
	"  blipmq bus set plant --mode 0740\n"
	"  blipmq bus set default --group users\n"
	"  blipmq bus show -j | jq .name\n"
	"  blipmq bus del plant\n",
	.options = bus_options,
	.run = bus_run,
};
