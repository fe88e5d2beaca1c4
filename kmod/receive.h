/* SPDX-License-Identifier: GPL-2.0 */
/* Receiving: sleeping for messages, and copying them out. */
#ifndef _BLIPMQ_RECEIVE_H
#define _BLIPMQ_RECEIVE_H

#include "endpoint.h"

struct iov_iter;

/**
 * enum bmq_read_mode - what a reader waits for
 * @BMQ_READ_BLOCK:    a message
 * @BMQ_READ_NONBLOCK: none; but while one waits, for the copy of the one before
 * @BMQ_READ_NOWAIT:   nothing
 */
enum bmq_read_mode {
	BMQ_READ_BLOCK,
	BMQ_READ_NONBLOCK,
	BMQ_READ_NOWAIT,
};

int bmq_wait(struct bmq_endpoint *ep, struct blipmq_wait *args);
int bmq_recv(struct bmq_endpoint *ep, struct blipmq_recv *args,
	     enum bmq_read_mode mode);
void bmq_read_end(struct bmq_endpoint *ep, bool done);
ssize_t bmq_read_iter(struct bmq_endpoint *ep, struct iov_iter *to,
		      enum bmq_read_mode mode);
__poll_t bmq_poll(struct bmq_endpoint *ep, struct file *file, poll_table *table);

#endif /* _BLIPMQ_RECEIVE_H */
