// SPDX-License-Identifier: LGPL-2.1+
/* User headers: adding and finding them. */
#include <errno.h>
#include <string.h>

#include "endpoint.h"
#include <blipmq/headers.h>

/* Text protocols have lines "name: value": a name that fits there fits everywhere. */
static bool name_ok(const char *name)
{
	const unsigned char *c = (const unsigned char *)name;

	while (*c > ' ' && *c < 0x7f && *c != ':')
		c++;
	return !*c && *name;
}

int blipmq_headers_add(struct blipmq_headers *headers, const char *name, const void *value,
		       size_t length)
{
	size_t room = headers->size < BLIPMQ_HEADERS_MAX ? headers->size : BLIPMQ_HEADERS_MAX;
	struct blipmq_user_header start;
	size_t name_len = strlen(name);
	char *to;

	if (!name_ok(name))
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_HEADER_NAME, 0);
	if (headers->len > room || sizeof(start) > room - headers->len)
		return blipmq__fail(-EMSGSIZE, BLIPMQ_REASON_HEADER_ROOM, 0);
	room -= headers->len + sizeof(start);
	if (name_len > room || length > room - name_len)
		return blipmq__fail(-EMSGSIZE, BLIPMQ_REASON_HEADER_ROOM, 0);

	start.name_len = (uint16_t)name_len;
	start.value_len = (uint16_t)length;
	to = (char *)headers->data + headers->len;
	memcpy(to, &start, sizeof(start));
	memcpy(to + sizeof(start), name, name_len);
	if (length)
		memcpy(to + sizeof(start) + name_len, value, length);
	headers->len += sizeof(start) + name_len + length;
	return 0;
}

int blipmq_headers_next(const void *headers, size_t len, size_t *at,
			struct blipmq_field *field)
{
	const char *from = (const char *)headers + *at;
	struct blipmq_user_header start;
	size_t left = len - *at;

	if (!left)
		return 0;
	if (left < sizeof(start))
		return blipmq__fail(-EBADMSG, BLIPMQ_REASON_HEADER_FORM, blipmq__u32(*at));
	memcpy(&start, from, sizeof(start));
	left -= sizeof(start);
	if (!start.name_len || start.name_len > left ||
	    start.value_len > left - start.name_len)
		return blipmq__fail(-EBADMSG, BLIPMQ_REASON_HEADER_FORM, blipmq__u32(*at));

	field->name = from + sizeof(start);
	field->name_len = start.name_len;
	field->value = field->name + start.name_len;
	field->length = start.value_len;
	*at += sizeof(start) + start.name_len + start.value_len;
	return 1;
}

int blipmq_headers_find(const void *headers, size_t len, const char *name,
			struct blipmq_field *field)
{
	size_t name_len = strlen(name);
	size_t at = 0;
	int ret;

	do
		ret = blipmq_headers_next(headers, len, &at, field);
	while (ret == 1 && (field->name_len != name_len || memcmp(field->name, name, name_len)));
	return ret;
}
