// SPDX-License-Identifier: GPL-2.0
/*
 * Options as tables.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "cli.h"

#define OPTIONS_MAX	32	/* of all tables together */
#define LETTERS_MAX	(3 + 2 * OPTIONS_MAX)
#define CODE_FIRST	0x100	/* getopt's code of option 0: beyond the letters */

/**
 * struct parser - tables in the form that getopt_long() wants
 * @options: all of them
 * @nr:      how many
 * @longs:   the same, with codes CODE_FIRST + index
 * @letters: short ones
 */
struct parser {
	const struct args_option *options[OPTIONS_MAX];
	unsigned int nr;
	struct option longs[OPTIONS_MAX + 1];
	char letters[LETTERS_MAX + 1];
};

static void add_option(struct parser *p, char **letter, const struct args_option *option)
{
	int has_arg = option->kind == ARGS_FLAG ? no_argument : required_argument;

	if (p->nr == OPTIONS_MAX)
		abort();	/* a mistake in our tables */
	p->longs[p->nr] = (struct option){ option->name, has_arg, NULL, CODE_FIRST + p->nr };
	p->options[p->nr++] = option;
	if (!option->letter)
		return;
	*(*letter)++ = option->letter;
	if (has_arg)
		*(*letter)++ = ':';
}

static void add_tables(struct parser *p, const struct args_option *const *tables, bool first)
{
	const struct args_option *option;
	char *letter = p->letters;

	*letter++ = first ? '+' : '-';	/* stop at other words, or give them in order */
	*letter++ = ':';		/* tell a missing value from an unknown option */
	for (; *tables; tables++)
		for (option = *tables; option->name; option++)
			add_option(p, &letter, option);
}

static const struct args_option *find_option(const struct parser *p, int code)
{
	unsigned int i;

	if (code >= CODE_FIRST)
		return p->options[code - CODE_FIRST];
	for (i = 0; i < p->nr; i++)
		if (p->options[i]->letter == code)
			return p->options[i];
	return NULL;
}

/* ---- Values ---- */

static int bad_number(const struct args_option *option, const char *text, const char *why)
{
	if (option->max == INT64_MAX)
		return complain_usage("--%s %s: %s: give a number from %" PRIu64 " on",
				      option->name, text, why, option->min);
	return complain_usage("--%s %s: %s: give a number from %" PRIu64 " to %" PRIu64,
			      option->name, text, why, option->min, option->max);
}

/* How far a suffix shifts; *end moves behind it. */
static unsigned int size_shift(char **end)
{
	static const char suffixes[] = "kKmMgG";
	const char *found = **end ? strchr(suffixes, **end) : NULL;

	if (!found)
		return 0;
	(*end)++;
	return 10 * ((found - suffixes) / 2 + 1);
}

static int take_number(const struct args_option *option, const char *text)
{
	unsigned int shift = 0;
	uint64_t value;
	char *end;

	if (*text == '-')
		return bad_number(option, text, "negative");
	if (*text < '0' || *text > '9')
		return bad_number(option, text, "not a number");
	errno = 0;
	value = strtoull(text, &end, 10);
	if (option->kind == ARGS_SIZE)
		shift = size_shift(&end);
	if (*end)
		return bad_number(option, text, "not a number");
	if (errno == ERANGE || value > UINT64_MAX >> shift || value << shift > option->max)
		return bad_number(option, text, "too large");
	if (value << shift < option->min)
		return bad_number(option, text, "too small");
	*(uint64_t *)option->target = value << shift;
	return CLI_OK;
}

static int take_rate(const struct args_option *option, const char *text)
{
	double value;
	char *end;

	value = strtod(text, &end);
	if (end == text || *end || !isfinite(value) || value <= 0 || value > (double)option->max)
		return complain_usage("--%s %s: give messages a second, above 0 to %" PRIu64
				      ", such as 100 or 0.5",
				      option->name, text, option->max);
	*(double *)option->target = value;
	return CLI_OK;
}

static int take_choice(const struct args_option *option, const char *text)
{
	char known[128] = "";
	unsigned int i;

	for (i = 0; option->choices(i); i++) {
		if (!strcmp(option->choices(i), text)) {
			*(uint64_t *)option->target = i;
			return CLI_OK;
		}
		if (i)
			strncat(known, ", ", sizeof(known) - strlen(known) - 1);
		strncat(known, option->choices(i), sizeof(known) - strlen(known) - 1);
	}
	return complain_usage("--%s %s: give one of %s", option->name, text, known);
}

static int take_further(const struct args_option *option, const char *text)
{
	struct args_list *list = option->target;

	if (list->nr == ARGS_LIST_MAX)
		return complain_usage("--%s: more than %u of them", option->name, ARGS_LIST_MAX);
	list->value[list->nr++] = text;
	return CLI_OK;
}

static int take_value(const struct args_option *option, const char *text)
{
	switch (option->kind) {
	case ARGS_FLAG:
		*(bool *)option->target = true;
		return CLI_OK;
	case ARGS_NUMBER:
	case ARGS_SIZE:
		return take_number(option, text);
	case ARGS_RATE:
		return take_rate(option, text);
	case ARGS_CHOICE:
		return take_choice(option, text);
	case ARGS_LIST:
		return take_further(option, text);
	case ARGS_STRING:
		break;
	}
	if (!*text)
		return complain_usage("--%s: the value is empty", option->name);
	*(const char **)option->target = text;
	return CLI_OK;
}

/* ---- The command line ---- */

static void complain_unknown(const struct parser *p, const char *word)
{
	const struct args_option *option = optopt ? find_option(p, optopt) : NULL;

	if (option)	/* known, so it was given a value */
		complain_usage("--%s takes no value", option->name);
	else if (!strncmp(word, "--", 2))
		complain_usage("option %s is unknown or ambiguous", word);
	else
		complain_usage("unknown option -%c; put -- before a word that begins with -",
			       optopt);
}

int args_parse(const struct args_option *const *tables, int nr, char **words, bool first)
{
	struct parser p = {};
	int left = 0;
	int code;

	add_tables(&p, tables, first);
	opterr = 0;
	optind = 0;		/* glibc: begin anew */
	for (;;) {
		code = getopt_long(nr, words, p.letters, p.longs, NULL);
		if (code == -1)
			break;
		if (code == 1) {
			words[left++] = optarg;
		} else if (code == '?') {
			complain_unknown(&p, words[optind - 1]);
			return -1;
		} else if (code == ':') {
			complain_usage("--%s needs a value", find_option(&p, optopt)->name);
			return -1;
		} else if (take_value(find_option(&p, code), optarg) != CLI_OK) {
			return -1;
		}
	}
	for (; optind < nr; optind++)
		words[left++] = words[optind];
	return left;
}
