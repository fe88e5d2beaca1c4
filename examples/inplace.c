// SPDX-License-Identifier: LGPL-2.1+
/*
 * Publishing in place: samples are written where they will be copied from as one
 * block, many with one system call, and read where the kernel put them. Nothing is
 * ever packed into, or out of, a message.
 */
#include <blipmq.h>
#include <errno.h>
#include <stdio.h>

#define SAMPLES		1000
#define ENTRIES		1024	/* of the ring: room for all */
#define BATCH		64

struct sample {
	uint32_t number;
	uint32_t value;
};

static int complain(const char *what)
{
	fprintf(stderr, "inplace: %s: %s\n", what, blipmq_strerror());
	return -1;
}

static int reserve_sample(struct blipmq_writer *writer, const struct blipmq_handle *topic,
			  struct sample **sample)
{
	int error = blipmq_reserve(writer, topic, sizeof(**sample), (void **)sample);

	if (error != -ENOBUFS)
		return error;
	/* The writer is full: hand over what it has. */
	if (blipmq_flush(writer, NULL) < 0)
		return -1;
	return blipmq_reserve(writer, topic, sizeof(**sample), (void **)sample);
}

static int publish_all(struct blipmq *bus, const struct blipmq_handle *topic)
{
	struct blipmq_writer *writer;
	struct sample *sample;
	uint32_t i;

	if (blipmq_writer_open(bus, NULL, &writer))
		return complain("opening a writer");
	for (i = 0; i < SAMPLES; i++) {
		if (reserve_sample(writer, topic, &sample)) {
			complain("reserving");
			break;
		}
		sample->number = i;
		sample->value = i * i;
		blipmq_commit(writer, sizeof(*sample));
	}
	/* This flushes; only what could not be published is left over. */
	if (blipmq_writer_close(writer))
		return complain("publishing");
	return i == SAMPLES ? 0 : -1;
}

static int receive_all(struct blipmq *bus)
{
	struct blipmq_view views[BATCH];
	const struct sample *sample;
	uint32_t number = 0;
	int i, n;

	while (number < SAMPLES) {
		n = blipmq_next_batch(bus, views, BATCH, BLIPMQ_SEC);
		if (n < 0)
			return complain("receiving");
		for (i = 0; i < n; i++, number++) {
			sample = views[i].data;
			if (sample->number != number || sample->value != number * number)
				return fprintf(stderr, "inplace: sample %u is wrong\n", number);
		}
		blipmq_release(bus, views, n);
	}
	printf("%u samples\n", number);
	return 0;
}

int main(void)
{
	const struct blipmq_ring_opts opts = { .sz = sizeof(opts), .entries = ENTRIES };
	struct blipmq_handle topic;
	struct blipmq *bus;
	int error;

	if (blipmq_open(NULL, 0, &bus))
		return complain("opening"), 1;
	if (blipmq_ring(bus, &opts) || blipmq_subscribe(bus, "examples.samples", 0, NULL) ||
	    blipmq_topic_open(bus, "examples.samples", 0, &topic))
		error = complain("preparing");
	else
		error = publish_all(bus, &topic) || receive_all(bus);
	blipmq_close(bus);
	return error ? 1 : 0;
}
