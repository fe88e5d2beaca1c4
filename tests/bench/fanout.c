// SPDX-License-Identifier: GPL-2.0
/*
 * One publisher to many subscribers: BlipMQ beside its peers.
 *
 * A round gives each transport one show, in the order of the table; rounds are
 * repeated, so that the transports are interleaved in time. Transports that are
 * set against each other move the same number of messages a show.
 */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>

#include "report.h"

#define WARM_UP		8	/* the round before the first has this part of the messages */
#define EXIT_USAGE	2
#define EXIT_MISSING	3

static const struct transport_ops * const transports[] = {
	&shmring_batch_ops,
	&blipmq_array_ops,
	&blipmq_inplace_ops,
	&blipmq_mark_ops,
	&shmring_yield_ops,
	&blipmq_yield_ops,
	&seqpacket_batch_ops,
	&shmring_single_ops,
	&blipmq_single_ops,
	&blipmq_single_mark_ops,
	&seqpacket_single_ops,
};

/**
 * struct options - of the command line
 * @messages: of a show of the transports that publish in batches
 * @singles:  of a show of those that publish one message a call
 * @only:     names separated by commas, or NULL for all
 * @json:     the table goes to stderr, JSON to stdout
 */
struct options {
	struct workload work;
	unsigned int rounds;
	unsigned int deadline;
	unsigned int messages;
	unsigned int singles;
	const char *only;
	bool json;
};

static void print_help(void)
{
	size_t i;

	fputs("Usage: fanout [OPTION]...\n"
	      "Times one publisher and many subscribers over each transport.\n\n"
	      "  -s, --subscribers N   processes that read every message (8)\n"
	      "  -b, --size N          bytes of a message (256)\n"
	      "  -e, --entries N       messages that a subscriber may lag behind (1024)\n"
	      "  -n, --messages N      messages of a show, in batches (65536)\n"
	      "  -1, --singles N       messages of a show, one a call (8192)\n"
	      "  -m, --mark N          low-water mark, in messages (half of --entries)\n"
	      "  -d, --max-delay N     microseconds that a message may wait for others (10000)\n"
	      "  -r, --rounds N        rounds (9); slow transports have a show in every third\n"
	      "  -t, --transports A,B  only these\n"
	      "  -T, --turns           publisher and subscribers take turns, nobody is woken\n"
	      "  -D, --deadline N      seconds that a show may take (60)\n"
	      "  -j, --json            JSON on stdout, the table on stderr\n"
	      "  -h, --help            this\n\n"
	      "Exit status: 0 all ran; 1 a show failed; 2 usage; 3 a transport is missing.\n\n"
	      "Examples:\n"
	      "  fanout\n"
	      "  fanout -t shm-batch,blipmq-inplace -s 1 -r 9\n"
	      "  fanout --turns --json >turns.json\n\n"
	      "Transports:\n", stdout);
	for (i = 0; i < ARRAY_SIZE(transports); i++)
		printf("  %-20s %s\n", transports[i]->name, transports[i]->summary);
}

static unsigned int parse_number(const char *name, const char *arg, unsigned int min,
				 unsigned int max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(arg, &end, 10);
	if (errno || end == arg || *end || *arg == '-' || value < min || value > max) {
		fprintf(stderr, "fanout: --%s %s: must be a number from %u to %u\n", name, arg, min,
			max);
		exit(EXIT_USAGE);
	}
	return value;
}

static const struct option long_options[] = {
	{ "subscribers", required_argument, NULL, 's' },
	{ "size", required_argument, NULL, 'b' },
	{ "entries", required_argument, NULL, 'e' },
	{ "messages", required_argument, NULL, 'n' },
	{ "singles", required_argument, NULL, '1' },
	{ "mark", required_argument, NULL, 'm' },
	{ "max-delay", required_argument, NULL, 'd' },
	{ "rounds", required_argument, NULL, 'r' },
	{ "transports", required_argument, NULL, 't' },
	{ "turns", no_argument, NULL, 'T' },
	{ "deadline", required_argument, NULL, 'D' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ },
};

static void set_option(struct options *o, int option)
{
	switch (option) {
	case 's':
		o->work.subscribers = parse_number("subscribers", optarg, 1, MAX_SUBSCRIBERS);
		break;
	case 'b':
		o->work.size = parse_number("size", optarg, MIN_SIZE, 1 << 20);
		break;
	case 'e':
		o->work.entries = parse_number("entries", optarg, 1, 65536);
		if (o->work.entries & (o->work.entries - 1)) {
			fprintf(stderr, "fanout: --entries %s: must be a power of two\n", optarg);
			exit(EXIT_USAGE);
		}
		break;
	case 'n':
		o->messages = parse_number("messages", optarg, 1, 1 << 30);
		break;
	case '1':
		o->singles = parse_number("singles", optarg, 1, 1 << 30);
		break;
	case 'm':
		o->work.mark = parse_number("mark", optarg, 1, 65536);
		break;
	case 'd':
		o->work.max_delay = parse_number("max-delay", optarg, 0, 1000000);
		break;
	case 'r':
		o->rounds = parse_number("rounds", optarg, 1, MAX_ROUNDS);
		break;
	case 't':
		o->only = optarg;
		break;
	case 'T':
		o->work.turns = true;
		break;
	case 'D':
		o->deadline = parse_number("deadline", optarg, 1, 3600);
		break;
	case 'j':
		o->json = true;
		break;
	case 'h':
		print_help();
		exit(EXIT_SUCCESS);
	default:
		fputs("Try 'fanout --help'.\n", stderr);
		exit(EXIT_USAGE);
	}
}

static void parse_options(struct options *o, int argc, char **argv)
{
	static const char short_options[] = "s:b:e:n:1:m:d:r:t:TD:jh";
	int option;

	while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
		set_option(o, option);
	if (optind == argc)
		return;
	fprintf(stderr, "fanout: %s: no arguments are taken\n", argv[optind]);
	exit(EXIT_USAGE);
}

static const struct transport_ops *find_transport(const char *name, size_t length)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(transports); i++) {
		if (strlen(transports[i]->name) == length &&
		    !memcmp(transports[i]->name, name, length))
			return transports[i];
	}
	fprintf(stderr, "fanout: --transports: there is no %.*s\n", (int)length, name);
	exit(EXIT_USAGE);
}

static void add_row(struct report *r, const struct options *o, const struct transport_ops *ops)
{
	struct row *row = &r->rows[r->nr_rows++];

	row->ops = ops;
	row->messages = ops->batch > 1 ? o->messages : o->singles;
	row->against = -1;
}

static void choose_rows(struct report *r, const struct options *o)
{
	const char *name = o->only;
	unsigned int i, j;
	size_t length;

	if (!name) {
		for (i = 0; i < ARRAY_SIZE(transports); i++)
			add_row(r, o, transports[i]);
	}
	while (name && r->nr_rows < ARRAY_SIZE(transports)) {
		length = strcspn(name, ",");
		add_row(r, o, find_transport(name, length));
		name = name[length] ? name + length + 1 : NULL;
	}
	for (i = 0; i < r->nr_rows; i++) {
		for (j = 0; r->rows[i].ops->against && j < r->nr_rows; j++) {
			if (!strcmp(r->rows[i].ops->against, r->rows[j].ops->name))
				r->rows[i].against = j;
		}
	}
}

/* The first shows are short, warm up and are not counted. What failed is not tried again. */
static void run_rounds(struct report *r, const struct options *o)
{
	struct outcome warm;
	unsigned int i;

	for (i = 0; i < r->nr_rows; i++)
		run_show(r->rows[i].ops, r->work, r->rows[i].messages / WARM_UP + 1, o->deadline,
			 &warm);
	while (r->rounds < o->rounds) {
		for (i = 0; i < r->nr_rows; i++) {
			struct row *row = &r->rows[i];

			if (row->ops->every && r->rounds % row->ops->every)
				continue;
			if (r->rounds && row_outcome(r, row)->verdict != SHOW_OK)
				continue;
			run_show(row->ops, r->work, row->messages, o->deadline,
				 &row->shows[r->rounds]);
		}
		r->rounds++;
	}
}

static int exit_status(const struct report *r)
{
	int status = EXIT_SUCCESS;
	unsigned int i;

	for (i = 0; i < r->nr_rows; i++) {
		switch (row_outcome(r, &r->rows[i])->verdict) {
		case SHOW_OK:
			break;
		case SHOW_MISSING:
			status = EXIT_MISSING;
			break;
		default:
			return EXIT_FAILURE;
		}
	}
	return status;
}

int main(int argc, char **argv)
{
	static struct row rows[ARRAY_SIZE(transports)];
	struct options o = {
		.work = {
			.subscribers = 8,
			.size = 256,
			.entries = 1024,
			.max_delay = 10000,
		},
		.rounds = 9,
		.deadline = 60,
		.messages = 65536,
		.singles = 8192,
	};
	struct report report = { .work = &o.work, .rows = rows };
	sigset_t child;

	parse_options(&o, argc, argv);
	if (!o.work.mark)
		o.work.mark = o.work.entries > 1 ? o.work.entries / 2 : 1;
	choose_rows(&report, &o);
	/* Whoever started us may have ignored it; then nobody would be left to wait for. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	run_rounds(&report, &o);
	print_table(o.json ? stderr : stdout, &report);
	if (o.json)
		print_json(stdout, &report);
	return exit_status(&report);
}
