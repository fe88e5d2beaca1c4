// SPDX-License-Identifier: GPL-2.0
/*
 * blipmq info: what the bus is, may and did.
 */
#include <string.h>

#include "cli.h"
#include "counters.h"
#include "out.h"

static void print_right(struct out *o, uint32_t rights, uint32_t right, const char *name)
{
	out_bool(o, name, rights & right);
	if (rights & right)
		out_text(o, " %s", name);
}

static void print_info(struct out *o, const struct blipmq_info *info)
{
	out_string(o, "bus", "bus: %s", info->bus);
	out_u64(o, "contract", "\n  contract: %s", info->version);
	out_u64(o, "features", NULL, info->features);
	out_text(o, "\n  your rights:");
	out_open(o, "rights");
	print_right(o, info->rights, BLIPMQ_RIGHT_SUBSCRIBE, "subscribe");
	print_right(o, info->rights, BLIPMQ_RIGHT_PUBLISH, "publish");
	print_right(o, info->rights, BLIPMQ_RIGHT_MAP, "map");
	out_close(o);
	out_size(o, "max_message", "\n  largest message: %s", info->max_message);
	out_u64(o, "max_entries", "\n  largest ring: %s entries", info->max_entries);
	out_size(o, "budget", "\n  budget: %s", info->budget);
}

static void print_stats(struct out *o, const struct blipmq_stats *stats, uint32_t page_size)
{
	out_size(o, "memory", ", %s in use", stats->pages * page_size);
	out_size(o, "idle", ", %s of it idle", stats->idle * page_size);
	out_u64(o, "topics", "\n  topics: %s", stats->topics);
	out_u64(o, "patterns", "\n  patterns: %s", stats->patterns);
	out_u64(o, "subscriptions", "\n  subscriptions: %s", stats->subscriptions);
	out_u64(o, "endpoints", "\n  endpoints: %s, this one too", stats->endpoints);
	out_u64(o, "published", "\n  published: %s messages", stats->published);
	out_size(o, "bytes", ", %s", stats->bytes);
	out_u64(o, "lonely", "; %s matched no subscription", stats->lonely);
	out_u64(o, "delivered", "\n  delivered: %s", stats->delivered);
	counters_drops(o, ", of these dropped ", stats->drops);
	counters_events(o, "\n  events: ", stats->events);
}

static int print_bus(struct blipmq *b, bool json)
{
	struct blipmq_stats stats;
	struct blipmq_info info;
	struct out out;

	if (blipmq_info(b, &info, sizeof(info)) ||
	    blipmq_stats(b, BLIPMQ_STATS_BUS, 0, &stats, sizeof(stats)))
		return complain_library(NULL);

	out_init(&out, STDOUT_FD, json);
	out_begin(&out);
	print_info(&out, &info);
	print_stats(&out, &stats, info.page_size);
	out_end(&out);
	if (out_flush(&out))
		return complain("stdout: %s", strerror(-out.error));
	return CLI_OK;
}

static int info_run(const struct cli *cli, int nr, char **args)
{
	struct blipmq *b;
	int ret;

	if (nr)
		return complain_usage("%s: takes no arguments", args[0]);
	ret = cli_connect(cli, 0, &b);
	if (ret == CLI_OK)
		ret = print_bus(b, cli->json);
	blipmq_close(b);
	return ret;
}

static const struct args_option info_options[] = { {} };

const struct verb info_verb = {
	.name = "info",
	.summary = "what the bus is, how full, and what it did",
	.text =
	"Prints the limits of the bus, your rights on it, and its counters since it was\n"
	"made. Needs any right on the bus.\n",
	.examples =
	"  blipmq info\n"
	"  blipmq info -j | jq .drops\n",
	.options = info_options,
	.run = info_run,
};
