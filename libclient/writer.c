// SPDX-License-Identifier: LGPL-2.1+
/*
 * Publishing in place. A writer has blocks of memory in which messages lie as they
 * will lie in the store; a flush hands all blocks over in one call. Messages go in
 * behind one another, each wholly in one block. What the kernel did not take stays
 * where it is, at the front; the blocks are used anew once all is published.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"

/* An open reservation. */
struct reservation {
	bool open;
	unsigned int block;	/* that it lies in */
	struct blipmq_handle topic;
	char *at;		/* its header */
	size_t length;		/* payload bytes at most */
	size_t trailer;		/* bytes behind them */
	size_t headers;		/* of these, user headers, which come last */
	size_t size;		/* bytes of the whole message then */
};

/**
 * struct blipmq_writer - staging room
 * @b:          endpoint
 * @room:       memory of all blocks
 * @block_size: bytes of each
 * @blocks:     how many there are
 * @current:    the block that the next message goes to, if it fits
 * @at, @end:   there: behind all that it has, and where it ends
 * @first:      the first block that has unpublished messages
 * @messages:   messages in @size, those already published included
 * @published:  of these, published
 * @next:       the open reservation
 * @size:       of each message, in units of BLIPMQ_ALIGN
 * @block:      as PUBLISH takes them: what of each is not published
 */
struct blipmq_writer {
	struct blipmq *b;
	char *room;
	size_t block_size;
	unsigned int blocks;
	unsigned int current;
	char *at;
	char *end;
	unsigned int first;
	unsigned int messages;
	unsigned int published;
	struct reservation next;
	uint16_t size[BLIPMQ_BATCH_MAX];
	struct blipmq_block block[];
};

static int opts_read(const struct blipmq_writer_opts *opts, struct blipmq_writer_opts *known)
{
	int error = blipmq__opts_read(opts, known, sizeof(*known));

	if (error)
		return error;
	if (!known->block_size)
		known->block_size = BLIPMQ_BLOCK_DEFAULT;
	if (!known->blocks)
		known->blocks = BLIPMQ_BLOCKS_DEFAULT;
	if (known->block_size % BLIPMQ_BLOCK_UNIT || known->block_size > BLIPMQ_BLOCK_MAX)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_BLOCK_SIZE, 0);
	if (known->blocks > BLIPMQ_BATCH_MAX)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_BATCH, BLIPMQ_BATCH_MAX);
	return 0;
}

static char *block_begin(const struct blipmq_writer *w, unsigned int block)
{
	return w->room + block * w->block_size;
}

/* All is published: begin anew. */
static void writer_reset(struct blipmq_writer *w)
{
	unsigned int i;

	for (i = 0; i <= w->current; i++) {
		w->block[i].data = (uintptr_t)block_begin(w, i);
		w->block[i].length = 0;
		w->block[i].nr = 0;
	}
	w->current = 0;
	w->at = w->room;
	w->end = w->room + w->block_size;
	w->first = 0;
	w->messages = 0;
	w->published = 0;
}

int blipmq_writer_open(struct blipmq *b, const struct blipmq_writer_opts *opts,
		       struct blipmq_writer **out)
{
	struct blipmq_writer_opts known;
	struct blipmq_writer *w;
	int error;

	*out = NULL;
	error = opts_read(opts, &known);
	if (error)
		return error;
	w = calloc(1, sizeof(*w) + known.blocks * sizeof(w->block[0]));
	if (!w)
		goto err_memory;
	w->room = aligned_alloc(BLIPMQ_BLOCK_UNIT, (size_t)known.blocks * known.block_size);
	if (!w->room)
		goto err_free;
	w->b = b;
	w->block_size = known.block_size;
	w->blocks = known.blocks;
	w->current = known.blocks - 1;
	writer_reset(w);
	*out = w;
	return 0;

err_free:
	free(w);
err_memory:
	return blipmq__fail(-ENOMEM, BLIPMQ_REASON_NONE, 0);
}

unsigned int blipmq_writer_close(struct blipmq_writer *w)
{
	unsigned int left;

	if (!w)
		return 0;
	w->next.open = false;
	blipmq_flush(w, NULL);
	left = blipmq_staged(w);
	free(w->room);
	free(w);
	return left;
}

static size_t align(size_t bytes, size_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

/* Bytes of a whole message: header, payload, room for the subject, user headers. */
static size_t message_size(size_t length, size_t trailer)
{
	return align(sizeof(struct blipmq_header) + align(length, BLIPMQ_TRAILER_ALIGN) +
		     trailer, BLIPMQ_ALIGN);
}

/* Most payload bytes of a message in an empty block. */
static size_t payload_max(const struct blipmq_writer *w, size_t trailer)
{
	size_t room = w->block_size - sizeof(struct blipmq_header);

	if (trailer > room)
		return 0;
	return (room - trailer) / BLIPMQ_TRAILER_ALIGN * BLIPMQ_TRAILER_ALIGN;
}

/* So that nothing of an older or an aborted message leaves with this one. */
static void blank(char *at, const char *end)
{
	for (; at < end; at += BLIPMQ_ALIGN)
		memset(at, 0, BLIPMQ_ALIGN);
}

/* The user headers of a message in its block, if its payload has @length bytes. */
static char *headers_place(const struct reservation *next, size_t length)
{
	return next->at + sizeof(struct blipmq_header) + align(length, BLIPMQ_TRAILER_ALIGN) +
	       next->trailer - next->headers;
}

static int reserve(struct blipmq_writer *w, const struct blipmq_handle *topic, size_t length,
		   size_t trailer, void **data)
{
	struct reservation *next = &w->next;
	size_t size = message_size(length, trailer);

	if (next->open)
		return blipmq__fail(-EBUSY, BLIPMQ_REASON_STAGE_OPEN, 0);
	if (length > w->block_size || size > w->block_size)
		return blipmq__fail(-EMSGSIZE, BLIPMQ_REASON_STAGE_SIZE,
				    payload_max(w, trailer));
	next->block = w->current;
	next->at = w->at;
	if (size > (size_t)(w->end - w->at))
		next->at = block_begin(w, ++next->block);
	if (next->block == w->blocks || w->messages == BLIPMQ_BATCH_MAX)
		return blipmq__fail(-ENOBUFS, BLIPMQ_REASON_STAGE_FULL, 0);

	next->open = true;
	next->topic = *topic;
	next->length = length;
	next->size = size;
	next->trailer = trailer;
	next->headers = 0;
	*data = next->at + sizeof(struct blipmq_header);
	blank(next->at + sizeof(struct blipmq_header) + length / BLIPMQ_ALIGN * BLIPMQ_ALIGN,
	      next->at + size);
	return 0;
}

int blipmq_reserve(struct blipmq_writer *w, const struct blipmq_handle *topic,
		   size_t length, void **data)
{
	return reserve(w, topic, length, topic->subject_len, data);
}

int blipmq_reserve_with(struct blipmq_writer *w, const struct blipmq_handle *topic,
			size_t length, const struct blipmq_extras *extras, void **data)
{
	size_t trailer = topic->subject_len;
	const struct blipmq_headers *headers;
	struct blipmq_extras known;
	int error;

	error = blipmq__opts_read(extras, &known, sizeof(known));
	if (error)
		return error;
	headers = known.headers;
	if (!headers || !headers->len)
		return reserve(w, topic, length, trailer, data);
	if (headers->len > BLIPMQ_HEADERS_MAX)
		return blipmq__fail(-EMSGSIZE, BLIPMQ_REASON_HEADERS_SIZE, BLIPMQ_HEADERS_MAX);
	trailer = blipmq_headers_offset(trailer) + headers->len;
	error = reserve(w, topic, length, trailer, data);
	if (error)
		return error;
	w->next.headers = headers->len;
	memcpy(headers_place(&w->next, length), headers->data, headers->len);
	return 0;
}

/* Less payload than was reserved: what follows it moves up. Returns the whole size. */
static size_t shorten(const struct reservation *next, size_t length)
{
	size_t size = message_size(length, next->trailer);
	char *end = next->at + sizeof(struct blipmq_header) + length;
	char *place = next->at + size;

	if (next->headers) {
		place = headers_place(next, length);
		memmove(place, headers_place(next, next->length), next->headers);
		memset(place + next->headers, 0, next->at + size - place - next->headers);
	}
	memset(end, 0, place - end);
	return size;
}

int blipmq_commit(struct blipmq_writer *w, size_t length)
{
	const struct reservation *next = &w->next;
	struct blipmq_header *header = (void *)next->at;
	size_t size = next->size;
	struct blipmq_block *blk;

	if (!next->open)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_STAGE_NONE, 0);
	if (length > next->length)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_STAGE_GREW, next->length);
	if (length < next->length)
		size = shorten(next, length);
	*header = (struct blipmq_header){
		.length = length,
		.topic = next->topic.handle,
		.headers_len = next->headers,
	};

	w->at = next->at + size;
	w->current = next->block;
	w->end = block_begin(w, next->block) + w->block_size;
	blk = &w->block[next->block];
	blk->length = w->at - (char *)(uintptr_t)blk->data;
	blk->nr++;
	w->size[w->messages++] = size / BLIPMQ_ALIGN;
	w->next.open = false;
	return 0;
}

int blipmq_abort(struct blipmq_writer *w)
{
	if (!w->next.open)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_STAGE_NONE, 0);
	w->next.open = false;
	return 0;
}

unsigned int blipmq_staged(const struct blipmq_writer *w)
{
	return w->messages - w->published;
}

/* The first @n messages are gone. */
static void writer_advance(struct blipmq_writer *w, unsigned int n)
{
	struct blipmq_block *blk;
	size_t size;

	if (n == blipmq_staged(w)) {
		writer_reset(w);
		return;
	}
	/* Some stay, so there is a next block if this one runs out. */
	for (; n; n--) {
		blk = &w->block[w->first];
		size = w->size[w->published++] * (size_t)BLIPMQ_ALIGN;
		blk->data += size;
		blk->length -= size;
		if (!--blk->nr)
			w->first++;
	}
}

int blipmq_flush(struct blipmq_writer *w, struct blipmq_result *results)
{
	unsigned int staged = blipmq_staged(w);
	int ret;

	if (w->next.open)
		return blipmq__fail(-EBUSY, BLIPMQ_REASON_STAGE_OPEN, 0);
	if (!staged)
		return 0;
	ret = blipmq__publish(w->b, BLIPMQ_PUBLISH_BLOCKS, &w->block[w->first],
			      w->current - w->first + 1, staged, results);
	if (ret > 0)
		writer_advance(w, ret);
	return ret;
}

unsigned int blipmq_discard(struct blipmq_writer *w, unsigned int n)
{
	w->next.open = false;
	if (n > blipmq_staged(w))
		n = blipmq_staged(w);
	if (n)
		writer_advance(w, n);
	return n;
}
