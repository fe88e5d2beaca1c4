/* SPDX-License-Identifier: GPL-2.0 */
/* Counters of rings, subscriptions and buses. */
#ifndef _BLIPMQ_STATS_H
#define _BLIPMQ_STATS_H

#include "endpoint.h"

int bmq_stats(struct bmq_endpoint *ep, struct blipmq_stats *args);
void bmq_stats_past(struct bmq_endpoint *ep);

#endif /* _BLIPMQ_STATS_H */
