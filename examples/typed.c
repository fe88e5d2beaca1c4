// SPDX-License-Identifier: LGPL-2.1+
/*
 * A program that still publishes yesterday's struct is refused, and a reader looks before
 * it takes bytes for a struct.
 */
#include <blipmq.h>
#include <stdio.h>

#define SUBJECT		"cabin.samples"
#define NAME		"sample/2"
#define DESCRIPTION	"sample/2: u64 time, double celsius"

struct sample {
	uint64_t time;
	double celsius;
};

static int publish(struct blipmq *bus)
{
	struct sample sample = { .time = 1, .celsius = 21.5 };
	struct blipmq_handle topic;

	if (blipmq_topic_open_typed(bus, SUBJECT, 0, blipmq_type_id(DESCRIPTION), NAME, &topic))
		return -1;
	return blipmq_publish_topic(bus, &topic, &sample, sizeof(sample), NULL);
}

static void publish_old(struct blipmq *bus)
{
	uint64_t old = blipmq_type_id("sample/1: double celsius");
	struct blipmq_handle topic;

	if (blipmq_topic_open_typed(bus, SUBJECT, 0, old, "sample/1", &topic))
		printf("refused: %s\n", blipmq_reason_name(blipmq_last_error()->reason));
}

/* A program asks once for each topic, and remembers. */
static int read_one(struct blipmq *bus)
{
	const struct sample *sample;
	struct blipmq_view view;
	uint64_t type;

	if (blipmq_next(bus, &view, BLIPMQ_SEC) < 0 ||
	    blipmq_topic_type(bus, view.header->topic, &type, NULL, 0))
		return -1;
	sample = view.data;
	if (type == blipmq_type_id(DESCRIPTION) && view.length == sizeof(*sample))
		printf(NAME ": %.1f\n", sample->celsius);
	return blipmq_release(bus, &view, 1);
}

int main(void)
{
	struct blipmq *bus;

	if (blipmq_open(NULL, 0, &bus) || blipmq_subscribe(bus, "*.samples", 0, NULL) ||
	    publish(bus))
		return fprintf(stderr, "typed: %s\n", blipmq_strerror()), 1;
	publish_old(bus);
	if (read_one(bus))
		return fprintf(stderr, "typed: %s\n", blipmq_strerror()), 1;
	blipmq_close(bus);
	return 0;
}
