// SPDX-License-Identifier: LGPL-2.1+
/* Receiving: views of a mapped ring, or copies of either kind of ring. */
#include <errno.h>
#include <string.h>

#include "endpoint.h"
#include <blipmq/headers.h>

/* Is there room for @len bytes of user headers, and for their subject before them? */
static bool headers_fit(const struct blipmq_headers *headers, size_t subject_len, size_t len)
{
	return headers->size >= BLIPMQ_SUBJECT_MAX &&
	       headers->size >= blipmq_headers_offset(subject_len) + len;
}

/* ---- In place ---- */

#if BLIPMQ_LOCK_FREE

/* As blipmq_reader_take(), and waits. Does not record what went wrong. */
static int take(struct blipmq *b, struct blipmq_view *views, unsigned int n, size_t limit,
		int64_t timeout)
{
	int64_t deadline = 0;
	bool slept = false;
	int error, ret;

	for (;;) {
		ret = blipmq_reader_take(&b->reader, views, n, limit);
		if (ret != -EAGAIN || !timeout)
			return ret;
		if (!slept)
			deadline = blipmq__deadline(timeout);
		slept = true;
		error = blipmq__sleep(b, deadline);
		if (error)
			return error;
	}
}

int blipmq_next_batch(struct blipmq *b, struct blipmq_view *views, unsigned int n,
		      int64_t timeout)
{
	int consume = blipmq__consume(b);
	int ret;

	if (consume != CONSUME_MAPPED)
		return blipmq__refuse(b, consume == CONSUME_NOT ? -ENXIO : -EACCES);
	ret = take(b, views, n, BLIPMQ_DESC_LENGTH, timeout);
	return ret < 0 ? blipmq__refuse(b, ret) : ret;
}

int blipmq_release(struct blipmq *b, const struct blipmq_view *views, unsigned int n)
{
	unsigned int done = 0;

	if (blipmq__consume(b) == CONSUME_MAPPED)
		done = blipmq_reader_release(&b->reader, views, n);
	return done == n ? 0 : blipmq__fail(-EINVAL, BLIPMQ_REASON_VIEW, done);
}

/* All of them or none, as if they had been received behind the subject. */
static void headers_copy(struct blipmq_headers *headers, const struct blipmq_view *view)
{
	size_t len;
	const void *from = blipmq_view_headers(view, &len);

	if (!len || !headers_fit(headers, view->header->subject_len, len))
		return;
	memcpy(headers->data, from, len);
	headers->len = len;
}

/* From the view, then releases it. @size is enough. */
static int64_t copy_view(struct blipmq *b, void *data, struct blipmq_received *message,
			 struct blipmq_headers *headers, const struct blipmq_view *view)
{
	const char *subject;
	size_t subject_len;

	if (view->length)
		memcpy(data, view->data, view->length);
	if (message) {
		message->header = *view->header;
		subject = blipmq_view_subject(view, &subject_len);
		memcpy(message->subject, subject, subject_len);
		message->subject[subject_len] = '\0';
		message->subject_len = subject_len;
	}
	if (headers)
		headers_copy(headers, view);
	blipmq_reader_release(&b->reader, view, 1);
	return view->length;
}

static int64_t recv_mapped(struct blipmq *b, void *data, size_t size,
			   struct blipmq_received *message,
			   struct blipmq_headers *headers, int64_t timeout)
{
	struct blipmq_view view;
	int ret;

	ret = take(b, &view, 1, size, timeout);
	if (ret < 0 && ret != -EMSGSIZE)
		return blipmq__refuse(b, ret);
	if (message) {
		message->cookie = view.cookie;
		message->length = view.length;
		message->flags = view.flags;
	}
	if (ret < 0)
		return blipmq__fail(ret, BLIPMQ_REASON_BUFFER, view.length);
	return copy_view(b, data, message, headers, &view);
}

#else /* !BLIPMQ_LOCK_FREE */

int blipmq_next_batch(struct blipmq *b, struct blipmq_view *views, unsigned int n,
		      int64_t timeout)
{
	(void)views;
	(void)n;
	(void)timeout;
	return blipmq__refuse(b, blipmq__consume(b) == CONSUME_NOT ? -ENXIO : -EACCES);
}

int blipmq_release(struct blipmq *b, const struct blipmq_view *views, unsigned int n)
{
	(void)b;
	(void)views;
	return n ? blipmq__fail(-EINVAL, BLIPMQ_REASON_VIEW, 0) : 0;
}

static int64_t recv_mapped(struct blipmq *b, void *data, size_t size,
			   struct blipmq_received *message,
			   struct blipmq_headers *headers, int64_t timeout)
{
	(void)data;
	(void)size;
	(void)message;
	(void)headers;
	(void)timeout;
	return blipmq__refuse(b, -ENXIO);
}

#endif

int blipmq_next(struct blipmq *b, struct blipmq_view *view, int64_t timeout)
{
	return blipmq_next_batch(b, view, 1, timeout);
}

int blipmq_keep(struct blipmq *b, const struct blipmq_view *view, uint64_t *id)
{
	struct blipmq_keep keep = { .head.size = sizeof(keep), .index = view->index };
	int error;

	if (blipmq__consume(b) == CONSUME_COPYING)
		return blipmq__refuse(b, -EACCES);
	error = blipmq__call(b, BLIPMQ_IOC_KEEP, &keep.head);
	if (!error)
		*id = keep.id;
	return error;
}

int blipmq_drop(struct blipmq *b, uint64_t id)
{
	struct blipmq_drop_kept drop = { .head.size = sizeof(drop), .id = id };

	return blipmq__call(b, BLIPMQ_IOC_DROP, &drop.head);
}

/* ---- Copying ---- */

/* Where a trailer goes: to the room for user headers, or for a subject only; or nowhere. */
static void trailer_room(struct blipmq_recv *recv, struct blipmq_received *message,
			 const struct blipmq_headers *headers)
{
	if (headers && headers->size >= BLIPMQ_SUBJECT_MAX) {
		recv->trailer = (uintptr_t)headers->data;
		recv->trailer_size = headers->size < BLIPMQ_TRAILER_MAX ? headers->size :
								       BLIPMQ_TRAILER_MAX;
	} else if (message) {
		recv->trailer = (uintptr_t)message->subject;
		recv->trailer_size = BLIPMQ_SUBJECT_MAX;
	}
}

/* The trailer came to the room for user headers: they alone stay there, if all came. */
static void headers_only(struct blipmq_received *message, struct blipmq_headers *headers,
			 const struct blipmq_recv *recv)
{
	size_t subject_len = recv->header.subject_len;
	size_t len = recv->header.headers_len;

	if (recv->trailer != (uintptr_t)headers->data)
		return;
	if (message)
		memcpy(message->subject, headers->data, subject_len);
	if (!len || !headers_fit(headers, subject_len, len))
		return;
	memmove(headers->data, (char *)headers->data + blipmq_headers_offset(subject_len), len);
	headers->len = len;
}

static void received_set(struct blipmq_received *message, const struct blipmq_recv *recv)
{
	message->header = recv->header;
	message->cookie = recv->desc.cookie;
	message->length = recv->desc.length & BLIPMQ_DESC_LENGTH;
	message->flags = recv->desc.length & ~BLIPMQ_DESC_LENGTH;
	message->subject_len = recv->header.subject_len;
	message->subject[message->subject_len] = '\0';
}

/*
 * The call itself never waits: RECV has no timeout, and whether the file has
 * O_NONBLOCK is its owner's affair.
 */
static int64_t recv_copying(struct blipmq *b, void *data, size_t size,
			    struct blipmq_received *message,
			    struct blipmq_headers *headers, int64_t timeout)
{
	struct blipmq_recv recv = {
		.head = { .size = sizeof(recv), .flags = BLIPMQ_RECV_NONBLOCK },
		.payload = (uintptr_t)data,
		.payload_size = size < BLIPMQ_MESSAGE_MAX ? size : BLIPMQ_MESSAGE_MAX,
	};
	int64_t deadline = blipmq__deadline(timeout);
	int error;

	trailer_room(&recv, message, headers);
	while ((error = blipmq__ioctl(b->fd, BLIPMQ_IOC_RECV, &recv.head)) == -EAGAIN) {
		error = timeout ? blipmq__sleep(b, deadline) : -EAGAIN;
		if (error)
			break;
	}
	if (headers && !error)
		headers_only(message, headers, &recv);
	if (message && (!error || error == -EMSGSIZE))
		received_set(message, &recv);
	if (error == -EMSGSIZE || error == -EFAULT || error == -EBUSY)
		return blipmq__fail(error, recv.head.reason, recv.head.detail);
	if (error)
		return blipmq__refuse(b, error);
	return recv.desc.length & BLIPMQ_DESC_LENGTH;
}

int64_t blipmq_recv_headers(struct blipmq *b, void *data, size_t size,
			    struct blipmq_received *message,
			    struct blipmq_headers *headers, int64_t timeout)
{
	if (message)
		memset(message, 0, sizeof(*message));
	if (headers)
		headers->len = 0;
	switch (blipmq__consume(b)) {
	case CONSUME_NOT:
		return blipmq__refuse(b, -ENXIO);
	case CONSUME_COPYING:
		return recv_copying(b, data, size, message, headers, timeout);
	default:
		return recv_mapped(b, data, size, message, headers, timeout);
	}
}

int64_t blipmq_recv(struct blipmq *b, void *data, size_t size,
		    struct blipmq_received *message, int64_t timeout)
{
	return blipmq_recv_headers(b, data, size, message, NULL, timeout);
}
