// SPDX-License-Identifier: LGPL-2.1+
/* A message with a trace id and a language, and a reader who shows whatever it brings. */
#include <blipmq/headers.h>
#include <stdio.h>

static int publish(struct blipmq *bus)
{
	char room[256];
	struct blipmq_headers headers = { .data = room, .size = sizeof(room) };
	struct blipmq_message message = blipmq_message_subject("jobs.new", 8, "hello", 5);

	if (blipmq_headers_add(&headers, "trace", "4711", 4) ||
	    blipmq_headers_add(&headers, "lang", "en", 2))
		return -1;
	blipmq_message_headers(&message, &headers);
	return blipmq_publish_batch(bus, &message, 1, NULL) == 1 ? 0 : -1;
}

static int show(struct blipmq *bus)
{
	struct blipmq_field field;
	struct blipmq_view view;
	const void *headers;
	size_t len, at = 0;

	if (blipmq_next(bus, &view, BLIPMQ_SEC) < 0)
		return -1;
	headers = blipmq_view_headers(&view, &len);
	while (blipmq_headers_next(headers, len, &at, &field) == 1)
		printf("%.*s: %.*s\n", (int)field.name_len, field.name, (int)field.length,
		       (const char *)field.value);
	printf("%.*s\n", (int)view.length, (const char *)view.data);
	return blipmq_release(bus, &view, 1);
}

int main(void)
{
	struct blipmq *bus;

	if (blipmq_open(NULL, 0, &bus) || blipmq_subscribe(bus, "jobs.*", 0, NULL) ||
	    publish(bus) || show(bus))
		return fprintf(stderr, "headers: %s\n", blipmq_strerror()), 1;
	blipmq_close(bus);
	return 0;
}
