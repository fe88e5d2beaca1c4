// SPDX-License-Identifier: GPL-2.0
/*
 * Losses and events by name.
 */
#include <stdio.h>

#include <blipmq.h>

#include "counters.h"

typedef const char *(*namer)(unsigned int index);

/* All of them in JSON, those that are not 0 in text. */
static void named(struct out *o, namer name, const __u64 *values, unsigned int nr)
{
	const char *before = "";
	unsigned int i;

	for (i = 0; i < nr && name(i); i++) {
		if (values[i])
			out_text(o, "%s%s", before, name(i));
		out_u64(o, name(i), values[i] ? " %s" : NULL, values[i]);
		if (values[i])
			before = ", ";
	}
}

static __u64 sum(const __u64 *values, unsigned int nr)
{
	__u64 total = 0;

	while (nr--)
		total += values[nr];
	return total;
}

void counters_drops(struct out *o, const char *before, const __u64 *drops)
{
	__u64 total = sum(drops, BLIPMQ_DROPS_MAX);

	out_text(o, "%s", before);
	out_u64(o, "dropped", "%s", total);
	out_text(o, "%s", total ? " (" : "");
	out_open(o, "drops");
	named(o, blipmq_drop_name, drops, BLIPMQ_DROPS_MAX);
	out_close(o);
	out_text(o, "%s", total ? ")" : "");
}

void counters_events(struct out *o, const char *before, const __u64 *events)
{
	out_text(o, "%s%s", before, sum(events, BLIPMQ_EVENTS_MAX) ? "" : "none");
	out_open(o, "events");
	named(o, blipmq_event_name, events, BLIPMQ_EVENTS_MAX);
	out_close(o);
}
