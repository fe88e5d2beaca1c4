// SPDX-License-Identifier: LGPL-2.1+
/* Requests to the kernel's generic netlink family, and what it says of those it refuses. */
#include <errno.h>
#include <linux/genetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "admin.h"

#define HEADERS		(MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct genlmsghdr)))

/* ---- Attributes ---- */

/* The attribute that begins at @at, NULL at the end of the message. */
static const struct nlattr *attr_at(const struct nlmsghdr *message, const void *at)
{
	const char *end = mnl_nlmsg_get_payload_tail(message);

	return mnl_attr_ok(at, (int)(end - (const char *)at)) ? at : NULL;
}

void blipmq__attributes(const struct nlmsghdr *message, const struct nlattr **attrs,
			unsigned int max)
{
	const struct nlattr *attr;

	memset(attrs, 0, (max + 1) * sizeof(*attrs));
	for (attr = attr_at(message, (const char *)message + HEADERS); attr;
	     attr = attr_at(message, mnl_attr_next(attr)))
		if (mnl_attr_get_type(attr) <= max)
			attrs[mnl_attr_get_type(attr)] = attr;
}

uint32_t blipmq__attr_u32(const struct nlattr *attr)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0 ? mnl_attr_get_u32(attr) : 0;
}

uint64_t blipmq__attr_u64(const struct nlattr *attr)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_U64) >= 0 ? mnl_attr_get_u64(attr) : 0;
}

void blipmq__attr_string(const struct nlattr *attr, char *to, size_t size)
{
	size_t len;

	memset(to, 0, size);
	if (!attr || mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
		return;
	len = strlen(mnl_attr_get_str(attr));
	memcpy(to, mnl_attr_get_str(attr), len < size ? len : size - 1);
}

/* ---- Refusals ---- */

/* Records what the kernel says in the attributes from @from on. Returns @error. */
static int refused(const struct nlmsghdr *message, const void *from, int error)
{
	const struct nlattr *attr;

	for (attr = attr_at(message, from); attr; attr = attr_at(message, mnl_attr_next(attr)))
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			return blipmq__fail_kernel(error, mnl_attr_get_str(attr));
	return blipmq__fail(error, BLIPMQ_REASON_NONE, 0);
}

/* The last word on a request: it or its header comes back, then attributes. */
static int acknowledged(const struct nlmsghdr *message)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(message);
	size_t skip = sizeof(*err);

	if (mnl_nlmsg_get_payload_len(message) < skip)
		return blipmq__fail(-EBADMSG, BLIPMQ_REASON_NONE, 0);
	if (!err->error)
		return 0;
	if (!(message->nlmsg_flags & NLM_F_CAPPED))
		skip += mnl_nlmsg_get_payload_len(&err->msg);
	return refused(message, mnl_nlmsg_get_payload_offset(message, skip), err->error);
}

/* The end of a dump: an errno, then attributes. */
static int ended(const struct nlmsghdr *message)
{
	const int *error = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*error) || *error >= 0)
		return 0;
	return refused(message, mnl_nlmsg_get_payload_offset(message, sizeof(*error)), *error);
}

/* ---- Requests ---- */

struct nlmsghdr *blipmq__request(struct blipmq_admin *c, uint8_t command, uint16_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(c->request);
	struct genlmsghdr *header;

	message->nlmsg_type = c->family;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	message->nlmsg_seq = ++c->seq;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->cmd = command;
	header->version = BLIPMQ_FAMILY_VERSION;
	return message;
}

/**
 * struct answer - one that is being received
 * @fn, @arg: whom its messages go to
 * @torn:  something changed during a dump
 * @error: of @fn: what follows is read, and thrown away
 * @over:  it is whole
 */
struct answer {
	blipmq__answer fn;
	void *arg;
	bool torn;
	int error;
	bool over;
};

static void take_message(struct answer *answer, const struct nlmsghdr *message)
{
	int error = 0;

	answer->torn |= !!(message->nlmsg_flags & NLM_F_DUMP_INTR);
	switch (message->nlmsg_type) {
	case NLMSG_ERROR:
		error = acknowledged(message);
		answer->over = true;
		break;
	case NLMSG_DONE:
		error = ended(message);
		answer->over = true;
		break;
	case NLMSG_NOOP:
	case NLMSG_OVERRUN:
		break;
	default:
		if (answer->fn && !answer->error && mnl_nlmsg_get_payload_len(message) >=
						    sizeof(struct genlmsghdr))
			error = answer->fn(message, answer->arg);
	}
	if (!answer->error)
		answer->error = error;
}

static int receive(struct blipmq_admin *c, struct answer *answer)
{
	const struct nlmsghdr *message;
	ssize_t got;
	int left;

	while (!answer->over) {
		got = mnl_socket_recvfrom(c->socket, c->answer, sizeof(c->answer));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return blipmq__fail(-errno, BLIPMQ_REASON_NONE, 0);
		left = (int)got;
		for (message = (const void *)c->answer; mnl_nlmsg_ok(message, left);
		     message = mnl_nlmsg_next(message, &left))
			if (message->nlmsg_seq == c->seq)
				take_message(answer, message);
	}
	return answer->torn && !answer->error ? -EINTR : answer->error;
}

int blipmq__ask(struct blipmq_admin *c, blipmq__answer fn, void *arg)
{
	struct answer answer = { .fn = fn, .arg = arg };
	const struct nlmsghdr *message = (const void *)c->request;

	if (mnl_socket_sendto(c->socket, message, message->nlmsg_len) < 0)
		return blipmq__fail(-errno, BLIPMQ_REASON_NONE, 0);
	return receive(c, &answer);
}

/* ---- The socket ---- */

static int take_family(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attrs[CTRL_ATTR_FAMILY_ID + 1];
	uint16_t *family = arg;

	blipmq__attributes(message, attrs, CTRL_ATTR_FAMILY_ID);
	if (attrs[CTRL_ATTR_FAMILY_ID] &&
	    mnl_attr_validate(attrs[CTRL_ATTR_FAMILY_ID], MNL_TYPE_U16) >= 0)
		*family = mnl_attr_get_u16(attrs[CTRL_ATTR_FAMILY_ID]);
	return 0;
}

static int find_family(struct blipmq_admin *c)
{
	struct nlmsghdr *message;
	uint16_t family = 0;
	int error;

	c->family = GENL_ID_CTRL;
	message = blipmq__request(c, CTRL_CMD_GETFAMILY, 0);
	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, BLIPMQ_FAMILY_NAME);
	error = blipmq__ask(c, take_family, &family);
	if (error == -ENOENT || (!error && !family))
		return blipmq__fail(-ENOENT, BLIPMQ_REASON_ADMIN_NONE, 0);
	c->family = family;
	return error;
}

/* The kernel's sentence comes with a refusal, and without the request. */
static int socket_open(struct blipmq_admin *c)
{
	int on = 1;

	c->socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	if (!c->socket)
		return blipmq__fail(-errno, BLIPMQ_REASON_NONE, 0);
	if (mnl_socket_bind(c->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_setsockopt(c->socket, NETLINK_CAP_ACK, &on, sizeof(on)) < 0 ||
	    mnl_socket_setsockopt(c->socket, NETLINK_EXT_ACK, &on, sizeof(on)) < 0)
		return blipmq__fail(-errno, BLIPMQ_REASON_NONE, 0);
	return 0;
}

int blipmq_admin_open(struct blipmq_admin **out)
{
	struct blipmq_admin *c = calloc(1, sizeof(*c));
	int error;

	*out = NULL;
	if (!c)
		return blipmq__fail(-ENOMEM, BLIPMQ_REASON_NONE, 0);
	error = socket_open(c);
	if (!error)
		error = find_family(c);
	if (error)
		blipmq_admin_close(c);
	else
		*out = c;
	return error;
}

void blipmq_admin_close(struct blipmq_admin *c)
{
	if (!c)
		return;
	if (c->socket)
		mnl_socket_close(c->socket);
	free(c);
}
