// SPDX-License-Identifier: GPL-2.0
/*
 * blipmq: publish, subscribe and look after the bus from the command line.
 *
 * One file for each verb; here is the table of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "out.h"
#include "stop.h"

static struct cli cli;

const struct args_option cli_options[] = {
	{ .name = "json", .letter = 'j', .kind = ARGS_FLAG, .target = &cli.json,
	  .help = "print JSON: one object a line" },
	{ .name = "bus", .value = "NAME", .kind = ARGS_STRING, .target = &cli.bus,
	  .help = "bus of this machine (default)" },
	{ .name = "server", .value = "URL", .kind = ARGS_STRING, .target = &cli.server,
	  .help = "address of a bus: blipmq:NAME" },
	{ .name = "help", .letter = 'h', .kind = ARGS_FLAG, .target = &cli.help,
	  .help = "print help" },
	{ .name = "version", .kind = ARGS_FLAG, .target = &cli.version,
	  .help = "print the version" },
	{}
};

const struct verb *const cli_verbs[] = {
	&pub_verb,
	&sub_verb,
	&info_verb,
	&bus_verb,
	&doctor_verb,
	&help_verb,
	NULL
};

const struct verb *cli_find_verb(const char *name)
{
	const struct verb *const *verb;

	for (verb = cli_verbs; *verb; verb++)
		if (!strcmp((*verb)->name, name))
			return *verb;
	return NULL;
}

/*
 * What is opened next must not become stdin, stdout or stderr: messages of the
 * user would go into the device. Opened the wrong way round, so that reading or
 * writing them still fails.
 */
static void fill_standard_fds(void)
{
	int fd;

	for (fd = STDIN_FD; fd <= STDERR_FD; fd++)
		if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
			open("/dev/null", fd == STDIN_FD ? O_WRONLY : O_RDONLY);
}

static int print_version(void)
{
	struct out out;

	out_init(&out, STDOUT_FD, cli.json);
	out_begin(&out);
	out_string(&out, "version", "blipmq %s", blipmq_version());
	out_u64(&out, "contract", " (contract %s)", BLIPMQ_VERSION);
	out_end(&out);
	if (out_flush(&out))
		return complain("stdout: %s", strerror(-out.error));
	return CLI_OK;
}

static int run_verb(const struct verb *verb, int nr, char **words)
{
	const struct args_option *tables[] = { verb->options, cli_options, NULL };

	complain_verb(verb->name);
	nr = args_parse(tables, nr, words, false);
	if (nr < 0)
		return CLI_USAGE;
	if (cli.help)
		return help_print(verb);
	if (cli.version)
		return print_version();
	if (cli.server && cli.bus)
		return complain_usage("--server already names a bus: leave --bus away");
	return verb->run(&cli, nr, words);
}

int main(int argc, char **argv)
{
	static const struct args_option *const tables[] = { cli_options, NULL };
	const struct verb *verb;
	int nr;

	fill_standard_fds();
	signal(SIGPIPE, SIG_IGN);	/* a write says EPIPE instead */
	nr = args_parse(tables, argc, argv, true);
	if (nr < 0)
		return CLI_USAGE;
	if (!nr && cli.help)
		return help_print(NULL);
	if (!nr && cli.version)
		return print_version();
	if (!nr)
		return complain_usage("which VERB?");

	verb = cli_find_verb(argv[0]);
	if (!verb)
		return complain_usage("%s: no such verb", argv[0]);
	return run_verb(verb, nr, argv);
}
