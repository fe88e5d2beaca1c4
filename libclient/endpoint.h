/* SPDX-License-Identifier: LGPL-2.1+ */
/* What the library's files share. Names with two underscores are not exported. */
#ifndef BLIPMQ_ENDPOINT_H
#define BLIPMQ_ENDPOINT_H

#include <pthread.h>
#include <stdatomic.h>

#include <blipmq.h>
#include <blipmq/reader.h>

/* How the endpoint's ring is consumed. */
enum blipmq__consume {
	CONSUME_NOT,		/* there is no ring */
	CONSUME_COPYING,	/* by RECV */
	CONSUME_MAPPED,		/* through the reader */
};

struct blipmq__map {
	void *address;
	size_t size;
};

/**
 * struct blipmq - an endpoint
 * @fd:      its open file
 * @flags:   BLIPMQ_OPEN_*
 * @lock:    held while the ring is made, and for @exported
 * @exported: blipmq_fd() was called before there was a reader
 * @consume: enum blipmq__consume; set once, after all that follows
 * @entries: of the ring
 * @spin:    nanoseconds to look at it before sleeping
 * @yield:   give way before sleeping
 * @store, @ring, @control: mappings
 * @reader:  if @consume is CONSUME_MAPPED
 */
struct blipmq {
	int fd;
	unsigned int flags;
	pthread_mutex_t lock;
	bool exported;
	atomic_int consume;
	uint32_t entries;
	int64_t spin;
	bool yield;
	struct blipmq__map store;
	struct blipmq__map ring;
	struct blipmq__map control;
	struct blipmq_reader reader;
};

/* call.c */
int blipmq__ioctl(int fd, unsigned long request, struct blipmq_head *head);

/* error.c */
int blipmq__fail(int error, uint32_t reason, uint32_t detail);
int blipmq__fail_kernel(int error, const char *sentence);
int blipmq__call(const struct blipmq *b, unsigned long request, struct blipmq_head *head);

/* opts.c */
int blipmq__opts_read(const void *opts, void *known, size_t size);

/* ring.c */
void blipmq__ring_exit(struct blipmq *b);

/* reader.c */
int blipmq__reader_init(struct blipmq_reader *r, const struct blipmq_words *words,
			const void *store, uint32_t held);
void blipmq__reader_exit(struct blipmq_reader *r);
uint64_t blipmq__reader_arm(struct blipmq_reader *r, uint32_t min);
void blipmq__reader_disarm(struct blipmq_reader *r);
void blipmq__reader_export(struct blipmq_reader *r, uint32_t low_water);

/* wait.c */
int64_t blipmq__now(void);
int64_t blipmq__deadline(int64_t timeout);
int blipmq__refuse(struct blipmq *b, int error);
int blipmq__sleep(struct blipmq *b, int64_t deadline);

/* publish.c */
int blipmq__publish(const struct blipmq *b, uint32_t flags, const void *elements,
		    unsigned int nr, unsigned int messages, struct blipmq_result *results);

/* What is too long for a field of the contract stays too long, and is refused. */
static inline uint32_t blipmq__u32(size_t length)
{
	return length < UINT32_MAX ? (uint32_t)length : UINT32_MAX;
}

static inline int blipmq__consume(const struct blipmq *b)
{
	return atomic_load_explicit(&b->consume, memory_order_acquire);
}

#endif /* BLIPMQ_ENDPOINT_H */
