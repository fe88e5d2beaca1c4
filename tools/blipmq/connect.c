// SPDX-License-Identifier: GPL-2.0
/*
 * Which bus: options first, then the environment, then "default".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"

#define URL_PREFIX	"blipmq:"
#define URL_BYTES	(sizeof(URL_PREFIX) + 2 * BLIPMQ_NAME_MAX) /* a name too long stays so */

static const char *from_environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* Without options nor environment: NULL, the library's default. */
static const char *choose_url(const struct cli *cli, char *url)
{
	const char *server = cli->server;
	const char *bus = cli->bus;

	if (!server && !bus) {
		server = from_environment("BLIPMQ_SERVER");
		bus = from_environment("BLIPMQ_BUS");
	}
	if (server || !bus)
		return server;
	snprintf(url, URL_BYTES, URL_PREFIX "%s", bus);
	return url;
}

int cli_open(const struct cli *cli, unsigned int flags, struct blipmq **b)
{
	char url[URL_BYTES];

	return blipmq_open(choose_url(cli, url), flags, b);
}

int cli_connect(const struct cli *cli, unsigned int flags, struct blipmq **b)
{
	char url[URL_BYTES];
	int error;

	error = cli_open(cli, flags, b);
	if (!error)
		return CLI_OK;
	if (error == -EACCES)
		return complain_library(NULL);
	return complain_library(choose_url(cli, url));
}
