// SPDX-License-Identifier: GPL-2.0
/*
 * Output as text or JSON.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "out.h"
#include "stop.h"
#include "text.h"

#define FORMAT_MAX	1024	/* bytes of one formatted value */
#define C1_LAST		0x9f	/* last of the control characters beyond ASCII */
#define DELETE		0x7f

/* Once asked to stop: how long to wait for a reader who does not read. */
#define GRACE_MS	1000
#define GRACE_TICKS	(GRACE_MS / STOP_TICK_MS)

void out_init(struct out *o, int fd, bool json)
{
	o->fd = fd;
	o->json = json;
	o->error = 0;
	o->comma = false;
	o->depth = 0;
	o->len = 0;
}

static void write_all(struct out *o, const char *data, size_t len)
{
	struct pollfd room = { .fd = o->fd, .events = POLLOUT };
	unsigned int ticks = 0;
	ssize_t n;

	while (len && !o->error) {
		n = write(o->fd, data, len);
		if (n >= 0) {
			data += n;
			len -= n;
			ticks = 0;
		} else if (errno == EAGAIN) {
			/* Somebody else made the file non-blocking. */
			poll(&room, 1, stop_requested() ? GRACE_MS : -1);
			if (stop_requested() && ++ticks > GRACE_TICKS)
				o->error = -ETIMEDOUT;
		} else if (errno != EINTR) {
			o->error = -errno;
		} else if (stop_requested() && ++ticks > GRACE_TICKS) {
			o->error = -ETIMEDOUT;
		}
	}
}

int out_flush(struct out *o)
{
	size_t len = o->len;

	o->len = 0;
	write_all(o, o->buf, len);
	return o->error;
}

void out_raw(struct out *o, const void *data, size_t len)
{
	if (len > sizeof(o->buf) - o->len)
		out_flush(o);
	if (len > sizeof(o->buf)) {
		write_all(o, data, len);
		return;
	}
	memcpy(o->buf + o->len, data, len);
	o->len += len;
}

static void put_string(struct out *o, const char *s)
{
	out_raw(o, s, strlen(s));
}

static void put_formatted(struct out *o, const char *format, ...)
{
	char text[FORMAT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put_string(o, text);
}

void out_text(struct out *o, const char *format, ...)
{
	char text[FORMAT_MAX];
	va_list args;

	if (o->json)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put_string(o, text);
}

/* ---- JSON's punctuation ---- */

static void put_key(struct out *o, const char *key, const char *suffix)
{
	if (o->comma)
		put_string(o, ",");
	o->comma = true;
	if (!key)
		return;
	put_string(o, "\"");
	put_string(o, key);
	put_string(o, suffix);
	put_string(o, "\":");
}

static void open_with(struct out *o, const char *bracket)
{
	put_string(o, bracket);
	o->depth++;
	o->comma = false;
}

static void close_with(struct out *o, const char *bracket)
{
	put_string(o, bracket);
	o->depth--;
	o->comma = o->depth > 0;
}

void out_begin(struct out *o)
{
	if (o->json)
		open_with(o, "{");
}

void out_end(struct out *o)
{
	if (o->json)
		close_with(o, "}");
	put_string(o, "\n");
}

void out_open(struct out *o, const char *key)
{
	if (!o->json)
		return;
	put_key(o, key, "");
	open_with(o, "{");
}

void out_close(struct out *o)
{
	if (o->json)
		close_with(o, "}");
}

void out_open_list(struct out *o, const char *key)
{
	if (!o->json)
		return;
	put_key(o, key, "");
	open_with(o, "[");
}

void out_close_list(struct out *o)
{
	if (o->json)
		close_with(o, "]");
}

/* ---- Values ---- */

void out_u64(struct out *o, const char *key, const char *format, uint64_t value)
{
	char digits[sizeof("18446744073709551615")];

	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	if (!o->json) {
		if (format)
			put_formatted(o, format, digits);
	} else if (key) {
		put_key(o, key, "");
		put_string(o, digits);
	}
}

void out_bool(struct out *o, const char *key, bool value)
{
	if (!o->json)
		return;
	put_key(o, key, "");
	put_string(o, value ? "true" : "false");
}

void out_size(struct out *o, const char *key, const char *format, uint64_t value)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double scaled = (double)value;
	unsigned int unit = 0;
	char text[64];

	while (scaled >= 1024 && unit + 1 < sizeof(units) / sizeof(*units)) {
		scaled /= 1024;
		unit++;
	}
	/* Two places at most, and none that say nothing. */
	if (scaled == (double)(uint64_t)scaled)
		snprintf(text, sizeof(text), "%.0f %s", scaled, units[unit]);
	else
		snprintf(text, sizeof(text), "%.2f %s", scaled, units[unit]);

	if (!o->json)
		put_formatted(o, format, text);
	else
		out_u64(o, key, NULL, value);
}

/*
 * A character in a JSON string or a line of text. In both the short escapes are
 * those of JSON; what else must not reach a terminal is \u00NN there, \xNN here.
 */
static void put_char(struct out *o, const unsigned char *s, size_t len, uint32_t code)
{
	static const char plain[] = "\n\r\t\\", letter[] = "nrt\\";
	const char *escape = code && code < DELETE ? strchr(plain, (int)code) : NULL;
	bool control = code < ' ' || (code >= DELETE && code <= C1_LAST);
	size_t i;

	if (escape) {
		put_formatted(o, "\\%c", letter[escape - plain]);
	} else if (o->json && code == '"') {
		put_string(o, "\\\"");
	} else if (o->json && control) {
		put_formatted(o, "\\u%04x", code);
	} else if (control) {
		for (i = 0; i < len; i++)
			put_formatted(o, "\\x%02x", s[i]);
	} else {
		out_raw(o, s, len);
	}
}

/* Letters, digits and most others need no look at them one by one. */
static size_t plain_run(const unsigned char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[n] >= ' ' && s[n] < DELETE && s[n] != '"' && s[n] != '\\')
		n++;
	return n;
}

static void put_escaped(struct out *o, const unsigned char *s, size_t len)
{
	uint32_t code;
	size_t n;

	while (len) {
		n = plain_run(s, len);
		if (n) {
			out_raw(o, s, n);
		} else {
			n = utf8_char(s, len, &code);
			if (n)
				put_char(o, s, n, code);
			else
				put_formatted(o, "\\x%02x", s[n++]);
		}
		s += n;
		len -= n;
	}
}

static void put_base64(struct out *o, const unsigned char *s, size_t len)
{
	char group[BASE64_OUT];
	size_t n;

	for (; len; s += n, len -= n) {
		n = len < BASE64_IN ? len : BASE64_IN;
		base64_group(s, n, group);
		out_raw(o, group, sizeof(group));
	}
}

void out_bytes(struct out *o, const char *key, const void *data, size_t len)
{
	if (!o->json) {
		put_escaped(o, data, len);
		return;
	}
	if (!key)
		return;
	if (utf8_valid(data, len)) {
		put_key(o, key, "");
		put_string(o, "\"");
		put_escaped(o, data, len);
	} else {
		put_key(o, key, "_base64");
		put_string(o, "\"");
		put_base64(o, data, len);
	}
	put_string(o, "\"");
}

void out_string(struct out *o, const char *key, const char *format, const char *value)
{
	if (o->json)
		out_bytes(o, key, value, strlen(value));
	else if (format)
		put_formatted(o, format, value);
}
