/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the verbs of blipmq share: their table, exit codes, one-line complaints.
 */
#ifndef BLIPMQ_CLI_H
#define BLIPMQ_CLI_H

#include <stdbool.h>

#include <blipmq.h>

#include "args.h"

/* Exit codes; "blipmq help" documents them. */
enum cli_exit {
	CLI_OK,
	CLI_FAILED,		/* the bus, the kernel or the system refused */
	CLI_USAGE,		/* wrong options, or a malformed subject or pattern */
	CLI_NOBODY,		/* pub --require-subscriber: nobody got a message */
};

/**
 * struct cli - options that every verb takes, before or after its name
 * @json:    -j, --json
 * @help:    -h, --help
 * @version: --version
 * @bus:     --bus NAME, or NULL
 * @server:  --server URL, or NULL
 */
struct cli {
	bool json;
	bool help;
	bool version;
	const char *bus;
	const char *server;
};

/**
 * struct verb - one verb: how it is run, and all that is said of it
 * @name:     as typed
 * @args:     its arguments, for the usage line; NULL: none
 * @summary:  a few words, for the list of verbs
 * @text:     what it does, in lines of at most 78 columns
 * @examples: worked ones
 * @options:  its own, ended by an entry without name
 * @run:      does it; @args are what is left after the options. Returns enum
 *            cli_exit
 */
struct verb {
	const char *name;
	const char *args;
	const char *summary;
	const char *text;
	const char *examples;
	const struct args_option *options;
	int (*run)(const struct cli *cli, int nr, char **args);
};

extern const struct verb pub_verb;
extern const struct verb sub_verb;
extern const struct verb info_verb;
extern const struct verb bus_verb;
extern const struct verb doctor_verb;
extern const struct verb help_verb;

/* blipmq.c: all verbs, ended by NULL, and the options that they share */
extern const struct verb *const cli_verbs[];
extern const struct args_option cli_options[];

/* NULL: there is none of that name. */
const struct verb *cli_find_verb(const char *name);

/* help.c: to stdout; @verb may be NULL for the overview. Return enum cli_exit. */
int help_print(const struct verb *verb);

/* complain.c: each prints one line on stderr, whatever it is given, which begins
 * with the program and the verb, and returns an exit code.
 */

void complain_verb(const char *name);	/* from now on */

/* Wrong use. Ends with where to read on. Returns CLI_USAGE. */
int complain_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Everything else. Returns CLI_FAILED. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The library's latest failure in this thread, about @what (NULL: about nothing in
 * particular). Returns CLI_USAGE if it was a malformed subject, pattern or address,
 * else CLI_FAILED.
 */
int complain_library(const char *what);

/* connect.c: opens the endpoint that the options or the environment name. The
 * first returns what blipmq_open() does; the second returns CLI_OK, or complains.
 */
int cli_open(const struct cli *cli, unsigned int flags, struct blipmq **b);
int cli_connect(const struct cli *cli, unsigned int flags, struct blipmq **b);

#endif /* BLIPMQ_CLI_H */
