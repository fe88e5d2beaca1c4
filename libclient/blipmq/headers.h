/* SPDX-License-Identifier: LGPL-2.1+ */
/*
 * User headers: names with values that travel with a message beside its payload, in the
 * layout of struct blipmq_user_header. The kernel takes them as bytes, so anybody may have
 * written anything there: what reads them here says so, and stays within them.
 *
 *	char room[256];
 *	struct blipmq_headers h = { .data = room, .size = sizeof(room) };
 *
 *	blipmq_headers_add(&h, "trace", "4711", 4);
 *	blipmq_message_headers(&message, &h);
 *
 *	headers = blipmq_view_headers(&view, &len);
 *	if (blipmq_headers_find(headers, len, "trace", &field) == 1)
 *		use(field.value, field.length);
 *
 * Names are compared byte by byte. One may come several times; order is kept.
 */
#ifndef BLIPMQ_HEADERS_H
#define BLIPMQ_HEADERS_H

#include <blipmq.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/**
 * struct blipmq_field - one user header, where it lies
 * @name:     not terminated
 * @value:    any bytes, not terminated
 * @name_len: bytes of the name, at least 1
 * @length:   bytes of the value
 */
struct blipmq_field {
	const char *name;
	const void *value;
	size_t name_len;
	size_t length;
};

/**
 * blipmq_headers_add() - one more user header
 * @headers: @len of them so far, in @size bytes of the caller's at @data
 * @name:    letters, digits and other visible ASCII characters but ':'
 * @value:   any bytes; NULL if @length is 0. Not all can cross a gateway: Documentation/
 *           headers.rst
 * @length:  its bytes, at most 65535
 *
 * Returns 0, -EINVAL (@name), -EMSGSIZE (no room; or they are more than
 * BLIPMQ_HEADERS_MAX); then nothing is added.
 */
int blipmq_headers_add(struct blipmq_headers *headers, const char *name, const void *value,
		       size_t length);

/**
 * blipmq_headers_next() - go through user headers
 * @headers: of a message
 * @len:     their bytes
 * @at:      where in them; 0 before the first call, moves on
 * @field:   out: it points into @headers
 *
 * Returns 1, 0 (there is none more), or -EBADMSG: what follows is no user header.
 */
int blipmq_headers_next(const void *headers, size_t len, size_t *at,
			struct blipmq_field *field);

/**
 * blipmq_headers_find() - the first user header of a name
 * @headers: of a message
 * @len:     their bytes
 * @name:    to look for
 * @field:   out: it points into @headers
 *
 * Returns 1, 0 (there is none), or -EBADMSG: what comes before it is no user header.
 */
int blipmq_headers_find(const void *headers, size_t len, const char *name,
			struct blipmq_field *field);

/* What goes with a message of a batch; must outlive the publish. More than a message may
 * have stay too many, and are refused.
 */
static inline void blipmq_message_headers(struct blipmq_message *message,
					  const struct blipmq_headers *headers)
{
	message->headers = (uintptr_t)headers->data;
	message->headers_len = headers->len < UINT16_MAX ? (uint16_t)headers->len : UINT16_MAX;
}

/* Those of a message that is read in place; @len: out: their bytes, 0 for none. */
static inline const void *blipmq_view_headers(const struct blipmq_view *view, size_t *len)
{
	size_t subject_len;
	const char *subject = blipmq_view_subject(view, &subject_len);

	*len = view->header->headers_len;
	return subject + blipmq_headers_offset(subject_len);
}

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* BLIPMQ_HEADERS_H */
