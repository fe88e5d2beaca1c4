/* SPDX-License-Identifier: GPL-2.0 */
/* Receiving: sleeping for messages, and copying them out. */
#ifndef _BLIPMQ_RECEIVE_H
#define _BLIPMQ_RECEIVE_H

#include "endpoint.h"

struct iov_iter;

int bmq_wait(struct bmq_endpoint *ep, struct blipmq_wait *args);
int bmq_recv(struct bmq_endpoint *ep, struct blipmq_recv *args, bool nonblock);
ssize_t bmq_read_iter(struct bmq_endpoint *ep, struct iov_iter *to, bool nonblock,
		      bool nowait);
__poll_t bmq_poll(struct bmq_endpoint *ep, struct file *file, poll_table *table);

#endif /* _BLIPMQ_RECEIVE_H */
