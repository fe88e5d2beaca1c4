// SPDX-License-Identifier: GPL-2.0
/*
 * One-line complaints on stderr.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "out.h"

#define LINE_MAX_BYTES	1024	/* of a complaint; a subject has at most 255 */

static const char *verb_name;

void complain_verb(const char *name)
{
	verb_name = name;
}

/*
 * What the user typed may contain anything, line feeds and terminal controls
 * too. A complaint stays one harmless line.
 */
static void print_line(const char *text, const char *ending)
{
	struct out out;

	out_init(&out, STDERR_FD, false);
	out_text(&out, "blipmq: ");
	if (verb_name)
		out_text(&out, "%s: ", verb_name);
	out_bytes(&out, NULL, text, strlen(text));
	out_text(&out, "%s\n", ending);
	out_flush(&out);
}

static void print_formatted(const char *format, va_list args, const char *ending)
{
	char text[LINE_MAX_BYTES];

	vsnprintf(text, sizeof(text), format, args);
	print_line(text, ending);
}

int complain_usage(const char *format, ...)
{
	char ending[128];
	va_list args;

	snprintf(ending, sizeof(ending), " (see \"blipmq help%s%s\")",
		 verb_name ? " " : "", verb_name ? verb_name : "");
	va_start(args, format);
	print_formatted(format, args, ending);
	va_end(args);
	return CLI_USAGE;
}

int complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_formatted(format, args, "");
	va_end(args);
	return CLI_FAILED;
}

/* The user typed it wrong; no other state of the system would make it right. */
static bool is_usage(uint32_t reason)
{
	switch (reason) {
	case BLIPMQ_REASON_SUBJECT_LENGTH:
	case BLIPMQ_REASON_SUBJECT_TOKEN:
	case BLIPMQ_REASON_SUBJECT_CHAR:
	case BLIPMQ_REASON_PATTERN_TAIL:
	case BLIPMQ_REASON_WILDCARD:
	case BLIPMQ_REASON_RING_ENTRIES:
	case BLIPMQ_REASON_TYPE_NAME:
	case BLIPMQ_REASON_URL:
	case BLIPMQ_REASON_URL_NAME:
	case BLIPMQ_REASON_TRANSPORT:
		return true;
	default:
		return false;
	}
}

int complain_library(const char *what)
{
	const char *sentence = blipmq_strerror();

	if (what)
		complain("%s: %s", what, sentence);
	else
		complain("%s", sentence);
	return is_usage(blipmq_last_error()->reason) ? CLI_USAGE : CLI_FAILED;
}
