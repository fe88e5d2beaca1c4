// SPDX-License-Identifier: GPL-2.0
/*
 * blipmq pub: publish.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <blipmq/headers.h>

#include "cli.h"
#include "input.h"
#include "out.h"
#include "pace.h"
#include "stop.h"

/* A batch with so many bytes is full: others on the bus, and signals, get their turn. */
#define BATCH_BYTES	1048576
#define RATE_MAX	1000000000
#define SENTENCE_MAX	256

static struct {
	bool lines;
	bool file;
	bool literal;
	bool require;
	uint64_t count;
	uint64_t size;
	double rate;
	const char *type;
	struct args_list headers;
} opt = {
	.size = UINT64_MAX,	/* not given */
};

/**
 * struct pub - what is being published, and what became of it
 * @b:           endpoint
 * @topic:       handle
 * @headers:     user headers of each message
 * @max_message: the bus's limit
 * @pace:        schedule
 * @messages:    batch that is being made
 * @results:     of it
 * @nr:          messages in it
 * @batch_bytes: their payloads
 * @published:   messages that went
 * @bytes:       their payloads
 * @deliveries:  subscriptions that got one, all together
 * @lonely:      messages that reached no subscription
 */
struct pub {
	struct blipmq *b;
	struct blipmq_handle topic;
	struct blipmq_headers headers;
	size_t max_message;
	struct pace pace;
	struct blipmq_message messages[BLIPMQ_BATCH_MAX];
	struct blipmq_result results[BLIPMQ_BATCH_MAX];
	unsigned int nr;
	size_t batch_bytes;
	uint64_t published;
	uint64_t bytes;
	uint64_t deliveries;
	uint64_t lonely;
};

static bool batch_full(const struct pub *pub)
{
	return pub->nr == BLIPMQ_BATCH_MAX || pub->batch_bytes >= BATCH_BYTES;
}

static void batch_add(struct pub *pub, const void *data, size_t len)
{
	pub->messages[pub->nr] = blipmq_message_topic(&pub->topic, data, len);
	blipmq_message_headers(&pub->messages[pub->nr++], &pub->headers);
	pub->batch_bytes += len;
}

static void account(struct pub *pub, const struct blipmq_message *messages, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		pub->bytes += messages[i].length;
		pub->deliveries += pub->results[i].delivered;
		pub->lonely += !pub->results[i].delivered;
	}
	pub->published += nr;
	pub->pace.sent += nr;
}

/* Publishes the batch as the schedule allows and empties it. Returns CLI_OK, also
 * when asked to stop, or complains.
 */
static int batch_publish(struct pub *pub)
{
	unsigned int done = 0;
	unsigned int due;
	char what[64];
	int n;

	while (done < pub->nr) {
		due = pace_wait(&pub->pace, pub->nr - done);
		if (!due)
			break;
		n = blipmq_publish_batch(pub->b, pub->messages + done, due, pub->results);
		if (n > 0) {
			account(pub, pub->messages + done, n);
			done += n;
		}
		if (n < (int)due && blipmq_last_error()->error != -EINTR) {
			snprintf(what, sizeof(what), "message %" PRIu64, pub->published + 1);
			return complain_library(what);
		}
	}
	pub->nr = 0;
	pub->batch_bytes = 0;
	return CLI_OK;
}

/* ---- Where payloads come from ---- */

static int publish_repeated(struct pub *pub, const void *data, size_t len)
{
	uint64_t left = opt.count ? opt.count : 1;
	int ret = CLI_OK;

	while (ret == CLI_OK && left && !stop_requested()) {
		for (; left && !batch_full(pub); left--)
			batch_add(pub, data, len);
		ret = batch_publish(pub);
	}
	return ret;
}

static int complain_input(const struct pub *pub, const char *name, int error)
{
	char text[SENTENCE_MAX];

	if (error == -EMSGSIZE)
		return complain("%s: %s", name,
				blipmq_error_text(error, BLIPMQ_REASON_MESSAGE_SIZE,
						  pub->max_message, text, sizeof(text)));
	if (error == -EINTR && stop_requested())
		return CLI_OK;
	return complain("cannot read %s: %s", name, strerror(-error));
}

static int publish_fd(struct pub *pub, const char *name, int fd)
{
	size_t len;
	char *data;
	int ret;

	ret = input_whole(fd, pub->max_message, &data, &len);
	if (ret)
		return complain_input(pub, name, ret);
	ret = publish_repeated(pub, data, len);
	free(data);
	return ret;
}

static int publish_file(struct pub *pub, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd == -1)
		return complain_input(pub, path, -errno);
	ret = publish_fd(pub, path, fd);
	close(fd);
	return ret;
}

static int publish_files(struct pub *pub, char **paths, int nr)
{
	int ret = CLI_OK;
	int i;

	for (i = 0; i < nr && ret == CLI_OK && !stop_requested(); i++)
		ret = publish_file(pub, paths[i]);
	return ret;
}

static int publish_stdin(struct pub *pub)
{
	if (isatty(STDIN_FD))
		fputs("the message is what you type, up to Ctrl-D\n", stderr);
	return publish_fd(pub, "stdin", STDIN_FD);
}

/* Returns 1 (the batch is full), 0 (no further line in memory), or -EMSGSIZE. */
static int collect_lines(struct pub *pub, struct lines *lines)
{
	const char *data;
	size_t len;
	int ret = 1;

	while (ret == 1 && !batch_full(pub)) {
		ret = lines_next(lines, &data, &len);
		if (ret == 1)
			batch_add(pub, data, len);
	}
	return ret;
}

static int read_lines(struct pub *pub, struct lines *lines)
{
	uint64_t before = pace_now();
	int ret = lines_fill(lines);

	pace_forgive(&pub->pace, pace_now() - before);
	return ret;
}

/*
 * What one read brings makes a batch: much when lines come fast, one line when
 * somebody types.
 */
static int publish_lines(struct pub *pub)
{
	int ret = CLI_OK;
	struct lines lines;
	char name[64];
	int more;

	more = lines_open(&lines, STDIN_FD, pub->max_message);
	while (more >= 0 && !stop_requested()) {
		more = collect_lines(pub, &lines);
		ret = batch_publish(pub);
		if (ret != CLI_OK || (!more && lines.eof))
			break;
		if (!more)
			more = read_lines(pub, &lines);
	}
	if (more < 0 && ret == CLI_OK) {
		snprintf(name, sizeof(name), "line %" PRIu64 " of stdin", lines.number + 1);
		ret = complain_input(pub, name, more);
	}
	lines_close(&lines);
	return ret;
}

static int publish_generated(struct pub *pub)
{
	char *data = malloc(opt.size + 1);
	uint64_t i;
	int ret;

	if (!data)
		return complain("--size %" PRIu64 ": not enough memory", opt.size);
	for (i = 0; i < opt.size; i++)
		data[i] = 'a' + i % 26;
	ret = publish_repeated(pub, data, opt.size);
	free(data);
	return ret;
}

static int publish_source(struct pub *pub, char **args, int nr)
{
	if (opt.lines)
		return publish_lines(pub);
	if (opt.size != UINT64_MAX)
		return publish_generated(pub);
	if (opt.file)
		return publish_files(pub, args, nr);
	if (nr)
		return publish_repeated(pub, args[0], strlen(args[0]));
	return publish_stdin(pub);
}

/* ---- The verb ---- */

static int check_usage(char **args, int nr)
{
	bool sized = opt.size != UINT64_MAX;
	int i;

	if (!nr)
		return complain_usage("which SUBJECT?");
	if (opt.lines + opt.file + sized + (nr > 1 && !opt.file) > 1)
		return complain_usage("give one of MESSAGE, --lines, --file and --size");
	if (opt.lines && opt.count)
		return complain_usage("--count repeats a message: with --lines use head -n");
	if (opt.file && nr == 1)
		return complain_usage("--file: which PATH? It follows the subject");
	if (!opt.file && nr > 2)
		return complain_usage("%s: one MESSAGE only: quote it if it has spaces", args[2]);
	for (i = 1; opt.file && i < nr; i++)
		if (access(args[i], R_OK))
			return complain("cannot read %s: %m", args[i]);
	return CLI_OK;
}

static int print_report(const struct pub *pub, const char *subject, bool json)
{
	bool one = pub->published == 1;
	struct out out;

	out_init(&out, json ? STDOUT_FD : STDERR_FD, json);
	out_begin(&out);
	out_bytes(&out, "subject", subject, strlen(subject));
	out_u64(&out, "messages", one ? ": published %s message" : ": published %s messages",
		pub->published);
	out_u64(&out, "bytes", " (%s bytes)", pub->bytes);
	out_u64(&out, "deliveries",
		one ? ", delivered to %s subscription" : ", delivered %s time",
		pub->deliveries);
	out_text(&out, "%s", pub->deliveries == 1 ? "" : "s");
	out_u64(&out, "lonely", pub->lonely && !one ? "; %s reached no subscription" : NULL,
		pub->lonely);
	out_end(&out);
	if (out_flush(&out) && json)
		return complain("stdout: %s", strerror(-out.error));
	return CLI_OK;
}

/* The topic has another type than --type: which? */
static int complain_type(struct pub *pub, const char *subject)
{
	char sentence[SENTENCE_MAX], name[BLIPMQ_TYPE_NAME_MAX + 1];
	struct blipmq_handle topic;
	uint64_t type;

	snprintf(sentence, sizeof(sentence), "%s", blipmq_strerror());
	if (blipmq_topic_open(pub->b, subject, 0, &topic) ||
	    blipmq_topic_type(pub->b, topic.topic, &type, name, sizeof(name)))
		return complain("%s: %s", subject, sentence);
	if (!*name)
		snprintf(name, sizeof(name), "%#" PRIx64, type);
	return complain("%s: %s (its type is %s)", subject, sentence, name);
}

static int complain_topic(struct pub *pub, const char *subject)
{
	const struct blipmq_error *error = blipmq_last_error();

	if (error->reason == BLIPMQ_REASON_TYPE)
		return complain_type(pub, subject);
	if (error->reason == BLIPMQ_REASON_TYPE_NAME)
		return complain_library("--type");
	if (error->reason != BLIPMQ_REASON_WILDCARD)
		return complain_library(subject);
	return complain_usage("%s: subject token %u is a wildcard: name one subject, or --literal",
			      subject, error->detail);
}

static int open_topic(struct pub *pub, const char *subject)
{
	uint64_t type = opt.type ? blipmq_type_id(opt.type) : 0;

	if (blipmq_topic_open_typed(pub->b, subject, 0, type, opt.type, &pub->topic))
		return complain_topic(pub, subject);
	return CLI_OK;
}

/* "name: value": blanks behind the colon are not part of the value. */
static int add_header(struct blipmq_headers *headers, const char *text)
{
	const char *value = strchr(text, ':');
	int ret = CLI_OK;
	char *name;

	if (!value)
		return complain_usage("--header %s: give it as NAME:VALUE", text);
	name = strndup(text, value - text);
	if (!name)
		return complain("not enough memory");
	value += 1 + strspn(value + 1, " \t");
	if (blipmq_headers_add(headers, name, value, strlen(value)))
		ret = complain_usage("--header %s: %s", name, blipmq_strerror());
	free(name);
	return ret;
}

static int make_headers(void *room, struct blipmq_headers *headers)
{
	unsigned int i;
	int ret = CLI_OK;

	*headers = (struct blipmq_headers){ .data = room, .size = BLIPMQ_HEADERS_MAX };
	for (i = 0; i < opt.headers.nr && ret == CLI_OK; i++)
		ret = add_header(headers, opt.headers.value[i]);
	return ret;
}

static int publish(struct pub *pub, const char *subject, char **args, int nr, bool json)
{
	struct blipmq_info info;
	int ret;

	if (blipmq_info(pub->b, &info, sizeof(info)))
		return complain_library(NULL);
	ret = open_topic(pub, subject);
	if (ret != CLI_OK)
		return ret;
	pub->max_message = info.max_message;
	pace_start(&pub->pace, opt.rate);
	ret = publish_source(pub, args, nr);
	if (ret == CLI_OK)
		ret = print_report(pub, subject, json);
	else if (pub->published)
		print_report(pub, subject, json);
	stop_die();
	if (ret == CLI_OK && opt.require && pub->lonely)
		ret = CLI_NOBODY;
	return ret;
}

static int pub_run(const struct cli *cli, int nr, char **args)
{
	static char headers[BLIPMQ_HEADERS_MAX];
	struct pub *pub;
	int ret;

	ret = check_usage(args, nr);
	if (ret != CLI_OK)
		return ret;
	ret = stop_catch();
	if (ret)
		return complain("cannot catch signals: %s", strerror(-ret));
	pub = calloc(1, sizeof(*pub));
	if (!pub)
		return complain("not enough memory");
	ret = make_headers(headers, &pub->headers);
	if (ret == CLI_OK)
		ret = cli_connect(cli, opt.literal ? BLIPMQ_OPEN_LITERAL : 0, &pub->b);
	if (ret == CLI_OK)
		ret = publish(pub, args[0], args + 1, nr - 1, cli->json);
	blipmq_close(pub->b);
	free(pub);
	return ret;
}

static const struct args_option pub_options[] = {
	{ .name = "lines", .kind = ARGS_FLAG, .target = &opt.lines,
	  .help = "each line of stdin is a message" },
	{ .name = "file", .kind = ARGS_FLAG, .target = &opt.file,
	  .help = "each PATH behind the subject is a message" },
	{ .name = "size", .value = "BYTES", .kind = ARGS_SIZE, .target = &opt.size,
	  .max = BLIPMQ_MESSAGE_MAX, .help = "a generated message; suffixes k and M" },
	{ .name = "count", .value = "N", .kind = ARGS_NUMBER, .target = &opt.count,
	  .min = 1, .max = INT64_MAX, .help = "publish it N times, with --file each" },
	{ .name = "rate", .value = "R", .kind = ARGS_RATE, .target = &opt.rate,
	  .max = RATE_MAX, .help = "messages a second, on an absolute schedule" },
	{ .name = "require-subscriber", .kind = ARGS_FLAG, .target = &opt.require,
	  .help = "exit 3 if a message reaches no subscription" },
	{ .name = "type", .value = "NAME", .kind = ARGS_STRING, .target = &opt.type,
	  .help = "what they are; fails if the topic is for others" },
	{ .name = "header", .value = "K:V", .kind = ARGS_LIST, .target = &opt.headers,
	  .help = "user header K with value V; may be given again" },
	{ .name = "literal", .kind = ARGS_FLAG, .target = &opt.literal,
	  .help = "take * and > in the subject as letters" },
	{}
};

const struct verb pub_verb = {
	.name = "pub",
	.args = "SUBJECT [MESSAGE | --file PATH...]",
	.summary = "publish messages",
	.text =
	"Publishes MESSAGE to SUBJECT: words with dots between, such as\n"
	"sensors.cabin.temp. Without MESSAGE all of stdin is one message. A message may\n"
	"be empty, and any bytes are right. With --lines what has come is sent at once,\n"
	"many lines in one system call if there are many; the line feed is not part of\n"
	"the message. A full ring of a subscriber with --policy block makes it wait.\n"
	"On stderr (with -j on stdout) it says how many subscriptions got it.\n"
	"\n"
	"A topic has the type that the first who states one says it has. The number that\n"
	"goes with NAME is the 64-bit FNV-1a hash of it, as blipmq_type_id() has it.\n",
	.examples =
	"  blipmq pub sensors.cabin.temp 21.5\n"
	"  uptime | blipmq pub hosts.here.load --require-subscriber || echo nobody\n"
	"  journalctl -f | blipmq pub logs.here --lines\n"
	"  blipmq pub images.front --file *.jpg\n"
	"  blipmq pub samples.cabin --type sample/2 --file sample.bin\n"
	"  blipmq pub jobs.new --header 'trace: 4711' --header lang:en 'hello'\n"
	"  blipmq pub load.test --size 64k --count 1000 --rate 200\n"
	"  blipmq pub numbers -- -5\n",
	.options = pub_options,
	.run = pub_run,
};
