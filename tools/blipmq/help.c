// SPDX-License-Identifier: GPL-2.0
/*
 * Help, from the tables of verbs and options.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define OPTION_COLUMN	28	/* where an option's description begins */

static const char overview[] =
	"Publish and subscribe through the kernel's message bus.\n";

static const char endings[] =
	"Environment:\n"
	"  BLIPMQ_BUS                bus, unless --bus or --server is given\n"
	"  BLIPMQ_SERVER             address, likewise; goes before BLIPMQ_BUS\n"
	"\n"
	"Exit codes:\n"
	"  0  done\n"
	"  1  refused or failed; one line on stderr says why. doctor: something is wrong\n"
	"  2  wrong use: options, a malformed subject, pattern or address\n"
	"  3  pub --require-subscriber: a message reached no subscription\n"
	"  A pub that a signal ends says what it sent and dies by that signal.\n"
	"\n"
	"\"blipmq help VERB\" tells more, with examples.\n";

static void print_option(const struct args_option *option)
{
	char text[64];

	snprintf(text, sizeof(text), "  %c%c%s--%s%s%s", option->letter ? '-' : ' ',
		 option->letter ? option->letter : ' ', option->letter ? ", " : "  ",
		 option->name, option->value ? " " : "", option->value ? option->value : "");
	printf("%-*s%s\n", OPTION_COLUMN - 1, text, option->help);
}

static void print_options(const struct args_option *option)
{
	for (; option->name; option++)
		print_option(option);
}

static void print_verb(const struct verb *verb)
{
	printf("usage: blipmq %s [OPTIONS]%s%s\n\n%s\n", verb->name,
	       verb->args ? " " : "", verb->args ? verb->args : "", verb->text);
	if (verb->options->name) {
		puts("Options:");
		print_options(verb->options);
		putchar('\n');
	}
	puts("Options of every verb, before or after its name:");
	print_options(cli_options);
	printf("\nExamples:\n%s", verb->examples);
}

static void print_overview(void)
{
	const struct verb *const *verb;

	printf("usage: blipmq [OPTIONS] VERB [ARGUMENTS]\n\n%s\nVerbs:\n", overview);
	for (verb = cli_verbs; *verb; verb++)
		printf("  %-8s %s\n", (*verb)->name, (*verb)->summary);
	puts("\nOptions, before or after the verb:");
	print_options(cli_options);
	printf("\n%s", endings);
}

int help_print(const struct verb *verb)
{
	if (verb)
		print_verb(verb);
	else
		print_overview();
	if (fflush(stdout))
		return complain("stdout: %m");
	return CLI_OK;
}

static int help_run(const struct cli *cli, int nr, char **args)
{
	const struct verb *verb = NULL;

	(void)cli;
	if (nr > 1)
		return complain_usage("%s: one verb at a time", args[1]);
	if (nr == 1) {
		verb = cli_find_verb(args[0]);
		if (!verb)
			return complain_usage("%s: no such verb", args[0]);
	}
	return help_print(verb);
}

static const struct args_option help_options[] = { {} };

const struct verb help_verb = {
	.name = "help",
	.args = "[VERB]",
	.summary = "what blipmq or a verb does, with examples",
	.text = "Prints help on stdout.\n",
	.examples = "  blipmq help pub\n",
	.options = help_options,
	.run = help_run,
};
