/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Options as tables, from which both parsing and help follow.
 */
#ifndef BLIPMQ_ARGS_H
#define BLIPMQ_ARGS_H

#include <stdbool.h>
#include <stdint.h>

enum args_kind {
	ARGS_FLAG,		/* target: bool */
	ARGS_NUMBER,		/* target: uint64_t, min to max */
	ARGS_SIZE,		/* the same with a suffix k, M or G (of 1024) */
	ARGS_RATE,		/* target: double, above 0, at most max */
	ARGS_STRING,		/* target: const char *, not empty */
	ARGS_CHOICE,		/* target: uint64_t, index of a name that @choices gives */
	ARGS_LIST,		/* target: struct args_list, may be given several times */
};

#define ARGS_LIST_MAX	64

/* Values of an option, in order. */
struct args_list {
	const char *value[ARGS_LIST_MAX];
	unsigned int nr;
};

/**
 * struct args_option - one option
 * @name:    long name without dashes; NULL ends a table
 * @letter:  short name, 0: none
 * @kind:    what its value is
 * @value:   what the help calls the value, NULL for a flag
 * @help:    what it does: one line
 * @target:  where the value goes; not touched if the option is not given
 * @min:     smallest number or size
 * @max:     largest number, size or rate
 * @choices: name of a choice, NULL past the last
 */
struct args_option {
	const char *name;
	char letter;
	enum args_kind kind;
	const char *value;
	const char *help;
	void *target;
	uint64_t min;
	uint64_t max;
	const char *(*choices)(unsigned int index);
};

/**
 * args_parse() - take the options out of a command line
 * @tables: of options, ended by NULL
 * @nr:     words of @words, of which the first is the program's or verb's name
 * @words:  left over: those that are no options, in order, from words[0]
 * @first:  stop at the first word that is no option
 *
 * Complains on stderr (complain_usage()) of what is wrong.
 *
 * Returns how many words are left over, or -1.
 */
int args_parse(const struct args_option *const *tables, int nr, char **words, bool first);

#endif /* BLIPMQ_ARGS_H */
