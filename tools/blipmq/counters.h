/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Losses and events by name.
 */
#ifndef BLIPMQ_COUNTERS_H
#define BLIPMQ_COUNTERS_H

#include <linux/types.h>

#include "out.h"

/* Values of the current record. Text: ", dropped 24 (oldest 20, held 4)" with the
 * given beginning; JSON: "dropped": 24, "drops": { "oldest": 20, ... } with each.
 */
void counters_drops(struct out *o, const char *before, const __u64 *drops);

/* Text: "broken 1, denied 4" or "none"; JSON: "events": { ... }. */
void counters_events(struct out *o, const char *before, const __u64 *events);

#endif /* BLIPMQ_COUNTERS_H */
