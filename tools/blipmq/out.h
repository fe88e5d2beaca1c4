/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Output: one call prints a value as text for people or as JSON for programs, so
 * that the two cannot drift apart.
 *
 * Why no JSON library: what is wanted is to write flat records one by one, from
 * payloads of up to 16 MiB, with u64 numbers, and as text from the same call.
 * jansson has no u64, json-c wants a tree of allocations for each message, and
 * neither writes text.
 *
 * A record is an object on a line of its own in JSON, and what the formats say and
 * a line feed in text. A value's format has one %s for it. Format NULL: JSON only;
 * key NULL: text only.
 */
#ifndef BLIPMQ_OUT_H
#define BLIPMQ_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STDIN_FD	0
#define STDOUT_FD	1
#define STDERR_FD	2

#define OUT_BUFFER	65536

/**
 * struct out - buffered output to a file descriptor
 * @fd:    where to
 * @json:  form
 * @error: 0, or the negative errno of the first write that failed; nothing is
 *         written after it
 * @comma: a value stands before in the object
 * @depth: open objects
 * @len:   bytes in @buf
 */
struct out {
	int fd;
	bool json;
	int error;
	bool comma;
	unsigned int depth;
	size_t len;
	char buf[OUT_BUFFER];
};

void out_init(struct out *o, int fd, bool json);

/* Writes what is buffered. Returns @error. */
int out_flush(struct out *o);

/* Bytes as they are, in either form. */
void out_raw(struct out *o, const void *data, size_t len);

/* Text without a value: nothing in JSON. */
void out_text(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

void out_begin(struct out *o);			/* a record */
void out_end(struct out *o);
/* An object in it, or if @key is NULL in a list: nothing in text. */
void out_open(struct out *o, const char *key);
void out_close(struct out *o);
void out_open_list(struct out *o, const char *key);	/* of objects: nothing in text */
void out_close_list(struct out *o);

void out_u64(struct out *o, const char *key, const char *format, uint64_t value);
void out_bool(struct out *o, const char *key, bool value);	/* JSON only */
void out_string(struct out *o, const char *key, const char *format, const char *value);

/* A size in bytes: @format gets a string such as "64 MiB". */
void out_size(struct out *o, const char *key, const char *format, uint64_t value);

/* Bytes of any kind, of a subject or payload. Text: on one line, without controls
 * (\n, \t, \r, \\, \xNN). JSON: a string under @key if they are UTF-8, else base64
 * under @key with "_base64" behind it.
 */
void out_bytes(struct out *o, const char *key, const void *data, size_t len);

#endif /* BLIPMQ_OUT_H */
