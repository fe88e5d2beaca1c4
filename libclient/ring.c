// SPDX-License-Identifier: LGPL-2.1+
/*
 * Making the endpoint's ring and mapping it. The control page is mapped last: that
 * decides, in the kernel, that the ring is consumed through the mapping.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "endpoint.h"

static int opts_read(const struct blipmq_ring_opts *opts, struct blipmq_ring_opts *known)
{
	int error = blipmq__opts_read(opts, known, sizeof(*known));

	if (error)
		return error;
	if (known->flags & ~(BLIPMQ_RING_COPY | BLIPMQ_RING_YIELD) || known->reserved)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_OPTIONS, 0);
	if (known->spin_us > BLIPMQ_SPIN_US_MAX)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_SPIN, BLIPMQ_SPIN_US_MAX);
	if (!known->entries)
		known->entries = BLIPMQ_ENTRIES_DEFAULT;
	return 0;
}

#if BLIPMQ_LOCK_FREE

static int map_make(struct blipmq *b, struct blipmq__map *map, uint64_t size, int prot,
		    off_t offset)
{
	void *address;

	if (size > SIZE_MAX)
		return blipmq__fail(-ENOMEM, BLIPMQ_REASON_NONE, 0);
	address = mmap(NULL, size, prot, MAP_SHARED, b->fd, offset);
	if (address == MAP_FAILED)
		return blipmq__fail(-errno, errno == EACCES ? BLIPMQ_REASON_RIGHT_MAP :
				    BLIPMQ_REASON_NONE, 0);
	map->address = address;
	map->size = size;
	return 0;
}

static void map_end(struct blipmq__map *map)
{
	if (map->size)
		munmap(map->address, map->size);
	map->size = 0;
}

static void *map_at(const struct blipmq__map *map, uint32_t offset)
{
	return (char *)map->address + offset;
}

static int ring_map(struct blipmq *b, const struct blipmq_info *info,
		    const struct blipmq_ring *ring)
{
	int error;

	error = map_make(b, &b->store, info->store_size, PROT_READ, BLIPMQ_OFF_STORE);
	if (error)
		return error;
	error = map_make(b, &b->ring, ring->ring_size, PROT_READ, BLIPMQ_OFF_RING);
	if (error)
		return error;
	return map_make(b, &b->control, ring->control_size, PROT_READ | PROT_WRITE,
			BLIPMQ_OFF_CONTROL);
}

static int reader_make(struct blipmq *b, const struct blipmq_ring *ring)
{
	const struct blipmq_words words = {
		.prod = map_at(&b->ring, ring->prod),
		.blocked = map_at(&b->ring, ring->blocked),
		.broken = map_at(&b->ring, ring->broken),
		.desc = map_at(&b->ring, ring->desc),
		.claim = map_at(&b->control, ring->claim),
		.release = map_at(&b->control, ring->release),
		.need_wakeup = map_at(&b->control, ring->need_wakeup),
		.mask = ring->entries - 1,
	};
	int error = blipmq__reader_init(&b->reader, &words, b->store.address, ring->held);

	if (error)
		return blipmq__fail(error, BLIPMQ_REASON_NONE, 0);
	b->reader.fd = b->fd;
	b->reader.kicks = ring->policy == BLIPMQ_POLICY_BLOCK;
	b->reader.exported = b->exported;
	return 0;
}

/* Tolerates whatever there is of a ring. */
void blipmq__ring_exit(struct blipmq *b)
{
	blipmq__reader_exit(&b->reader);
	map_end(&b->control);
	map_end(&b->ring);
	map_end(&b->store);
}

static int ring_attach(struct blipmq *b, const struct blipmq_ring *ring)
{
	struct blipmq_info info;
	int error;

	error = blipmq_info(b, &info, sizeof(info));
	if (error)
		return error;
	if (!(info.rights & BLIPMQ_RIGHT_MAP))
		return CONSUME_COPYING;
	error = ring_map(b, &info, ring);
	if (!error)
		error = reader_make(b, ring);
	if (error) {
		blipmq__ring_exit(b);
		return error;
	}
	return CONSUME_MAPPED;
}

#else /* !BLIPMQ_LOCK_FREE: nothing is ever mapped */

void blipmq__ring_exit(struct blipmq *b)
{
	(void)b;
}

static int ring_attach(struct blipmq *b, const struct blipmq_ring *ring)
{
	(void)b;
	(void)ring;
	return CONSUME_COPYING;
}

#endif

/* Under the endpoint's lock. */
static int ring_make(struct blipmq *b, const struct blipmq_ring_opts *opts)
{
	struct blipmq_ring ring = {
		.head.size = sizeof(ring),
		.entries = opts->entries,
		.held = opts->held,
		.policy = opts->policy,
	};
	int consume;
	int error;

	error = blipmq__call(b, BLIPMQ_IOC_RING, &ring.head);
	if (error)
		return error;
	b->entries = opts->entries;
	b->spin = opts->spin_us * BLIPMQ_USEC;
	b->yield = opts->flags & BLIPMQ_RING_YIELD;
	consume = opts->flags & BLIPMQ_RING_COPY ? CONSUME_COPYING : ring_attach(b, &ring);
	if (consume < 0)
		return consume;
	atomic_store_explicit(&b->consume, consume, memory_order_release);
	return 0;
}

int blipmq_ring(struct blipmq *b, const struct blipmq_ring_opts *opts)
{
	struct blipmq_ring_opts known;
	int error;

	error = opts_read(opts, &known);
	if (error)
		return error;
	pthread_mutex_lock(&b->lock);
	error = ring_make(b, &known);
	pthread_mutex_unlock(&b->lock);
	return error;
}

/* Another thread that is first has made it as well. */
static int ring_default(struct blipmq *b)
{
	int error = blipmq_ring(b, NULL);

	return error == -EEXIST && blipmq__consume(b) != CONSUME_NOT ? 0 : error;
}

int blipmq_subscribe(struct blipmq *b, const char *pattern, uint64_t cookie, uint32_t *id)
{
	struct blipmq_subscribe sub = {
		.head.size = sizeof(sub),
		.pattern = (uintptr_t)pattern,
		.pattern_len = blipmq__u32(strlen(pattern)),
		.cookie = cookie,
	};
	int error = 0;

	if (blipmq__consume(b) == CONSUME_NOT)
		error = ring_default(b);
	if (!error)
		error = blipmq__call(b, BLIPMQ_IOC_SUBSCRIBE, &sub.head);
	if (!error && id)
		*id = sub.id;
	return error;
}

int blipmq_unsubscribe(struct blipmq *b, uint32_t id)
{
	struct blipmq_unsubscribe unsub = { .head.size = sizeof(unsub), .id = id };

	return blipmq__call(b, BLIPMQ_IOC_UNSUBSCRIBE, &unsub.head);
}

unsigned int blipmq_held(const struct blipmq *b)
{
	return blipmq__consume(b) == CONSUME_MAPPED ? b->reader.held : 0;
}

struct blipmq_reader *blipmq_reader(struct blipmq *b)
{
	return blipmq__consume(b) == CONSUME_MAPPED ? &b->reader : NULL;
}
