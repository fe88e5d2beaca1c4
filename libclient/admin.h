/* SPDX-License-Identifier: LGPL-2.1+ */
/* What the files of administration share. */
#ifndef BLIPMQ_LIB_ADMIN_H
#define BLIPMQ_LIB_ADMIN_H

#include <libmnl/libmnl.h>

#include <linux/blipmq_netlink.h>

#include <blipmq/admin.h>

#include "endpoint.h"

#define ADMIN_REQUEST_MAX	1024	/* bytes of a request */
#define ADMIN_ANSWER_MAX	32768	/* of what one system call brings: the kernel's most */

/**
 * struct blipmq_admin - a socket
 * @socket:  of generic netlink
 * @family:  number of the family
 * @seq:     of the latest request
 * @request: the latest
 * @answer:  the latest part of its answer
 */
struct blipmq_admin {
	struct mnl_socket *socket;
	uint16_t family;
	uint32_t seq;
	char request[ADMIN_REQUEST_MAX] __attribute__((aligned(MNL_ALIGNTO)));
	char answer[ADMIN_ANSWER_MAX] __attribute__((aligned(MNL_ALIGNTO)));
};

/* A message of an answer: attributes begin behind the two headers. 0, or a negative
 * errno that ends the answer.
 */
typedef int (*blipmq__answer)(const struct nlmsghdr *message, void *arg);

/* Begins a request: attributes are put next. */
struct nlmsghdr *blipmq__request(struct blipmq_admin *c, uint8_t command, uint16_t flags);

/* Sends it and waits for its answer; @fn may be NULL if that is no more than yes or no.
 * Returns 0 or a negative errno, which is recorded; -EINTR: a dump that is not whole.
 */
int blipmq__ask(struct blipmq_admin *c, blipmq__answer fn, void *arg);

/* Attributes of a message of the family, by number up to @max; others are NULL. */
void blipmq__attributes(const struct nlmsghdr *message, const struct nlattr **attrs,
			unsigned int max);

/* Their values, 0 or "" of one that is not there or malformed. */
uint32_t blipmq__attr_u32(const struct nlattr *attr);
uint64_t blipmq__attr_u64(const struct nlattr *attr);
void blipmq__attr_string(const struct nlattr *attr, char *to, size_t size);

#endif /* BLIPMQ_LIB_ADMIN_H */
