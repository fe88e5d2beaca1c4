// SPDX-License-Identifier: GPL-2.0
/*
 * Reading payloads.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "input.h"
#include "stop.h"

#define FIRST_BYTES	65536	/* of a buffer; it doubles */

/* As read(2), but it returns only when there is something, or a reason. */
static ssize_t read_some(int fd, void *data, size_t size)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	ssize_t n;

	while (!stop_requested()) {
		n = read(fd, data, size);
		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			poll(&ready, 1, -1);	/* somebody made it non-blocking */
		else if (errno != EINTR)
			return -errno;
	}
	return -EINTR;
}

static int grow(char **buf, size_t *size, size_t most)
{
	size_t larger = *size ? *size * 2 : FIRST_BYTES;
	char *moved;

	if (larger > most)
		larger = most;
	moved = realloc(*buf, larger);
	if (!moved)
		return -ENOMEM;
	*buf = moved;
	*size = larger;
	return 0;
}

int input_whole(int fd, size_t limit, char **data, size_t *len)
{
	size_t size = 0, end = 0;
	char *buf = NULL;
	ssize_t n;

	n = grow(&buf, &size, limit + 1);
	while (!n) {
		n = read_some(fd, buf + end, size - end);
		if (n <= 0)
			break;
		end += n;
		if (end > limit)
			n = -EMSGSIZE;
		else
			n = end == size ? grow(&buf, &size, limit + 1) : 0;
	}
	if (n < 0) {
		free(buf);
		return n;
	}
	*data = buf;
	*len = end;
	return 0;
}

int lines_open(struct lines *lines, int fd, size_t limit)
{
	*lines = (struct lines){ .fd = fd, .limit = limit };
	return grow(&lines->buf, &lines->size, FIRST_BYTES);
}

void lines_close(struct lines *lines)
{
	free(lines->buf);
}

int lines_next(struct lines *lines, const char **data, size_t *len)
{
	const char *feed = memchr(lines->buf + lines->seen, '\n', lines->end - lines->seen);
	const char *line = lines->buf + lines->start;
	size_t stop = feed ? (size_t)(feed - lines->buf) : lines->end;

	lines->seen = stop;
	if (stop - lines->start > lines->limit)
		return -EMSGSIZE;
	if (!feed && (!lines->eof || stop == lines->start))
		return 0;

	*data = line;
	*len = stop - lines->start;
	lines->start = feed ? stop + 1 : stop;
	lines->seen = lines->start;
	lines->number++;
	return 1;
}

int lines_fill(struct lines *lines)
{
	ssize_t n;

	memmove(lines->buf, lines->buf + lines->start, lines->end - lines->start);
	lines->end -= lines->start;
	lines->seen -= lines->start;
	lines->start = 0;
	if (lines->end == lines->size) {
		/* Room for a line of the limit, its feed, and to see one too long. */
		n = grow(&lines->buf, &lines->size, lines->limit + 1 + FIRST_BYTES);
		if (n < 0)
			return n;
	}
	n = read_some(lines->fd, lines->buf + lines->end, lines->size - lines->end);
	if (n < 0)
		return n;
	lines->end += n;
	lines->eof = !n;
	return 0;
}
