/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Payloads from stdin and files: whole, or line by line.
 */
#ifndef BLIPMQ_INPUT_H
#define BLIPMQ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * input_whole() - read a file to its end
 * @fd:    of it
 * @limit: most bytes
 * @data:  out: for free()
 * @len:   out: bytes
 *
 * Returns 0, -EMSGSIZE (it has more than @limit bytes; what is beyond is not
 * read), -EINTR (asked to stop), or another negative errno.
 */
int input_whole(int fd, size_t limit, char **data, size_t *len);

/**
 * struct lines - a file, line by line
 * @fd:     of it
 * @limit:  most bytes of a line
 * @buf:    what was read and not given out
 * @size:   bytes of @buf
 * @start:  first byte not given out
 * @end:    first byte not read
 * @seen:   no line feed in [start, seen)
 * @number: lines given out
 * @eof:    there is no more to read
 */
struct lines {
	int fd;
	size_t limit;
	char *buf;
	size_t size;
	size_t start;
	size_t end;
	size_t seen;
	uint64_t number;
	bool eof;
};

/* Starts on @fd. Returns 0 or -ENOMEM. */
int lines_open(struct lines *lines, int fd, size_t limit);
void lines_close(struct lines *lines);

/**
 * lines_next() - the next line that is in memory
 * @data: out: its bytes without the line feed, NUL bytes among them; good until
 *        lines_fill()
 * @len:  out: how many
 *
 * What stands behind the last line feed of the file is a line too.
 *
 * Returns 1, 0 (none: fill, or with @eof the end), -EMSGSIZE (longer than @limit).
 */
int lines_next(struct lines *lines, const char **data, size_t *len);

/* Reads what there is, waiting for something. Returns 0, -EINTR (asked to stop) or
 * another negative errno.
 */
int lines_fill(struct lines *lines);

#endif /* BLIPMQ_INPUT_H */
