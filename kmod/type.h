/* SPDX-License-Identifier: GPL-2.0 */
/* What the messages of a topic are: publishers say so, readers ask. */
#ifndef _BLIPMQ_TYPE_H
#define _BLIPMQ_TYPE_H

#include "endpoint.h"
#include "topic.h"

int bmq_type_in(struct blipmq_topic *args, struct bmq_type **type);
bool bmq_type_state(struct bmq_topic *topic, struct bmq_type **type, u64 *id);
int bmq_type_query(struct bmq_endpoint *ep, struct blipmq_type *args);

#endif /* _BLIPMQ_TYPE_H */
