// SPDX-License-Identifier: GPL-2.0
/*
 * blipmq sub: subscribe and print what comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <blipmq/headers.h>

#include "cli.h"
#include "counters.h"
#include "out.h"
#include "stop.h"

#define NSEC_PER_SEC	1000000000LL
#define FIRST_BYTES	65536	/* of the payload buffer; a larger message makes it grow */
#define NO_FD		UINT64_MAX

static struct {
	uint64_t count;
	bool raw;
	bool timestamps;
	uint64_t policy;
	uint64_t entries;
	uint64_t ready_fd;
} opt = {
	.entries = BLIPMQ_ENTRIES_DEFAULT,
	.ready_fd = NO_FD,
};

/**
 * struct sub - a running subscriber
 * @b:        endpoint
 * @out:      stdout
 * @data:     payload of the latest message
 * @size:     bytes there
 * @headers:  its user headers
 * @room:     for these
 * @left:     messages that may still come
 * @received: messages that came
 * @to_wall:  nanoseconds from CLOCK_MONOTONIC to CLOCK_REALTIME
 * @gone:     nobody reads stdout any more
 */
struct sub {
	struct blipmq *b;
	struct out out;
	char *data;
	size_t size;
	struct blipmq_headers headers;
	char room[BLIPMQ_TRAILER_MAX];
	uint64_t left;
	uint64_t received;
	int64_t to_wall;
	bool gone;
};

/* ---- One message ---- */

static int64_t nsec_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* The wall clock may be set: looked at again after each sleep. */
static void look_at_clocks(struct sub *sub)
{
	sub->to_wall = nsec_of(CLOCK_REALTIME) - nsec_of(CLOCK_MONOTONIC);
}

static void print_time(struct sub *sub, uint64_t time)
{
	int64_t wall = (int64_t)time + sub->to_wall;
	time_t seconds = wall / NSEC_PER_SEC;
	char text[64], day[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%09dZ", day, (int)(wall % NSEC_PER_SEC));
	out_string(&sub->out, "time", opt.timestamps ? "%s " : NULL, text);
}

/* Not by libblipmq's rules: then it is not told what they are. */
static void print_no_headers(struct out *o, const struct blipmq_headers *headers)
{
	out_text(o, " [?: ");
	out_bytes(o, "headers_raw", headers->data, headers->len);
	out_text(o, "]");
}

static void print_headers(struct out *o, const struct blipmq_headers *headers)
{
	struct blipmq_field field;
	size_t at = 0;
	int ret;

	while ((ret = blipmq_headers_next(headers->data, headers->len, &at, &field)) == 1)
		;
	if (ret) {
		print_no_headers(o, headers);
		return;
	}
	out_open_list(o, "headers");
	at = 0;
	while (blipmq_headers_next(headers->data, headers->len, &at, &field) == 1) {
		out_open(o, NULL);
		out_text(o, " [");
		out_bytes(o, "name", field.name, field.name_len);
		out_text(o, ": ");
		out_bytes(o, "value", field.value, field.length);
		out_text(o, "]");
		out_close(o);
	}
	out_close_list(o);
}

static void print_message(struct sub *sub, const struct blipmq_received *message)
{
	struct out *o = &sub->out;

	if (opt.raw) {
		out_raw(o, sub->data, message->length);
		out_raw(o, "\n", 1);
		return;
	}
	out_begin(o);
	print_time(sub, message->header.time);
	out_bytes(o, "subject", message->subject, message->subject_len);
	out_u64(o, "seq", NULL, message->header.seq);
	out_u64(o, "uid", NULL, message->header.uid);
	out_u64(o, "pid", NULL, message->header.pid);
	out_u64(o, "endpoint", NULL, message->header.sender);
	out_bool(o, "gap", message->flags & BLIPMQ_DESC_GAP);
	if (sub->headers.len)
		print_headers(o, &sub->headers);
	out_text(o, " ");
	out_bytes(o, "payload", sub->data, message->length);
	out_end(o);
}

static int grow(struct sub *sub, size_t need)
{
	char *data;

	while (sub->size < need)
		sub->size = sub->size ? sub->size * 2 : FIRST_BYTES;
	data = realloc(sub->data, sub->size);
	if (!data)
		return -ENOMEM;
	sub->data = data;
	return 0;
}

/* Takes and prints one message if there is one. Returns 0 or a negative errno. */
static int take_message(struct sub *sub)
{
	struct blipmq_received message;
	int64_t n;

	n = blipmq_recv_headers(sub->b, sub->data, sub->size, &message, &sub->headers, 0);
	if (n == -EMSGSIZE)
		return grow(sub, message.length);
	if (n < 0)
		return n;
	print_message(sub, &message);
	sub->received++;
	sub->left--;
	return sub->out.error;
}

/* ---- The loop ---- */

/* Nothing more is to be had: says the library why. Looks at no message, which may be gone. */
static int why_over(struct sub *sub)
{
	struct blipmq_info info;
	int error = blipmq_info(sub->b, &info, sizeof(info));

	return error ? error : blipmq_wait(sub->b, 1, 0, 0);
}

/* Shows what was printed, then sleeps: until messages wait, or stdout has no reader. */
static int sleep_idle(struct sub *sub)
{
	struct pollfd fds[] = {
		{ .fd = blipmq_fd(sub->b), .events = POLLIN },
		{ .fd = STDOUT_FD },
	};
	int ret = out_flush(&sub->out);

	if (ret)
		return ret;
	if (poll(fds, sizeof(fds) / sizeof(*fds), -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[1].revents & (POLLERR | POLLHUP))
		return -EPIPE;
	if (fds[0].revents & (POLLERR | POLLHUP))
		return why_over(sub);
	look_at_clocks(sub);
	return 0;
}

static int receive(struct sub *sub)
{
	int ret = 0;

	look_at_clocks(sub);
	while (!ret && sub->left && !stop_requested()) {
		ret = take_message(sub);
		if (ret == -EAGAIN || ret == -EINTR)
			ret = sleep_idle(sub);
	}
	return ret;
}

/*
 * Asked to stop: what waited at that moment is still printed, so that all that was
 * published before a "kill" is; a publisher in full flight does not keep us.
 */
static int receive_rest(struct sub *sub)
{
	struct blipmq_stats stats;
	int ret;

	if (blipmq_stats(sub->b, BLIPMQ_STATS_RING, 0, &stats, sizeof(stats)))
		return blipmq_last_error()->error;
	if (sub->left > stats.queued)
		sub->left = stats.queued;
	while (sub->left) {
		ret = take_message(sub);
		if (ret && ret != -EINTR)
			return ret == -EAGAIN ? 0 : ret;
	}
	return 0;
}

static int complain_receive(struct sub *sub, int error)
{
	if (error == -EPIPE) {
		sub->gone = true;
		return CLI_OK;
	}
	if (error == -ETIMEDOUT)
		return complain("stdout: nobody read it for a second: not all was written");
	if (sub->out.error)
		return complain("stdout: %s: not all was written", strerror(-error));
	if (error == -ENOMEM)
		return complain("not enough memory for a message of %zu bytes", sub->size);
	return complain_library(NULL);
}

static int run_to_end(struct sub *sub)
{
	int ret = receive(sub);
	int error;

	if (!ret && sub->left)
		ret = receive_rest(sub);
	error = out_flush(&sub->out);
	if (!ret)
		ret = error;
	return ret ? complain_receive(sub, ret) : CLI_OK;
}

/* ---- Beginning and end ---- */

static struct sub *the_sub;

/*
 * Messages went while they were read. It happens in the library, so what was printed is
 * whole.
 */
static void on_unmapped(int sig)
{
	(void)sig;
	out_flush(&the_sub->out);
	complain("the messages were unmapped: the bus is gone, or the right to map it");
	_exit(CLI_FAILED);
}

static void catch_unmapped(struct sub *sub)
{
	struct sigaction unmapped = { .sa_handler = on_unmapped, .sa_flags = SA_RESETHAND };

	the_sub = sub;
	sigaction(SIGBUS, &unmapped, NULL);
}

static int subscribe(struct sub *sub, char **patterns, int nr)
{
	struct blipmq_ring_opts ring = {
		.sz = sizeof(ring),
		.entries = opt.entries,
		.policy = opt.policy,
	};
	int i;

	if (blipmq_ring(sub->b, &ring))
		return complain_library(NULL);
	for (i = 0; i < nr; i++)
		if (blipmq_subscribe(sub->b, patterns[i], i, NULL))
			return complain_library(patterns[i]);
	return CLI_OK;
}

static int tell_ready(void)
{
	if (opt.ready_fd == NO_FD)
		return CLI_OK;
	if (write(opt.ready_fd, "\n", 1) != 1)
		return complain("--ready-fd %" PRIu64 ": %m", opt.ready_fd);
	if (opt.ready_fd > STDERR_FD)
		close(opt.ready_fd);
	return CLI_OK;
}

static void print_summary(struct sub *sub, bool json)
{
	struct blipmq_stats stats;
	struct out out;

	if (blipmq_stats(sub->b, BLIPMQ_STATS_RING, 0, &stats, sizeof(stats))) {
		complain("received %" PRIu64 "; what was dropped is not known: %s",
			 sub->received, blipmq_strerror());
		return;
	}
	out_init(&out, STDERR_FD, json);
	out_begin(&out);
	out_u64(&out, "received", "received %s", sub->received);
	counters_drops(&out, ", dropped ", stats.drops);
	out_u64(&out, "unread", stats.queued ? ", left %s unread" : NULL, stats.queued);
	out_end(&out);
	out_flush(&out);
}

static int check_usage(const struct cli *cli, int nr)
{
	if (!nr)
		return complain_usage("which PATTERN? \"blipmq sub '>'\" takes all");
	if (opt.raw && (cli->json || opt.timestamps))
		return complain_usage("--raw prints payloads only: without --json or --timestamps");
	if (opt.entries & (opt.entries - 1))
		return complain_usage("--entries %" PRIu64 ": not a power of two, such as 1024",
				      opt.entries);
	if (opt.ready_fd != NO_FD && fcntl(opt.ready_fd, F_GETFL) == -1)
		return complain_usage("--ready-fd %" PRIu64 ": no such open file descriptor",
				      opt.ready_fd);
	return CLI_OK;
}

static int serve(struct sub *sub, char **patterns, int nr, bool json)
{
	int ret;

	out_init(&sub->out, STDOUT_FD, json);
	catch_unmapped(sub);
	sub->left = opt.count ? opt.count : UINT64_MAX;
	ret = subscribe(sub, patterns, nr);
	if (ret == CLI_OK)
		ret = tell_ready();
	if (ret != CLI_OK)
		return ret;
	ret = run_to_end(sub);
	if (!sub->gone)
		print_summary(sub, json);
	return ret;
}

static int sub_run(const struct cli *cli, int nr, char **args)
{
	struct sub *sub;
	int ret;

	ret = check_usage(cli, nr);
	if (ret != CLI_OK)
		return ret;
	ret = stop_catch();
	if (ret)
		return complain("cannot catch signals: %s", strerror(-ret));
	sub = calloc(1, sizeof(*sub));
	if (!sub || grow(sub, FIRST_BYTES)) {
		free(sub);
		return complain("not enough memory");
	}
	sub->headers.data = sub->room;
	sub->headers.size = sizeof(sub->room);
	ret = cli_connect(cli, 0, &sub->b);
	if (ret == CLI_OK)
		ret = serve(sub, args, nr, cli->json);
	blipmq_close(sub->b);
	free(sub->data);
	free(sub);
	return ret;
}

static const struct args_option sub_options[] = {
	{ .name = "count", .value = "N", .kind = ARGS_NUMBER, .target = &opt.count,
	  .min = 1, .max = INT64_MAX, .help = "end after N messages" },
	{ .name = "raw", .kind = ARGS_FLAG, .target = &opt.raw,
	  .help = "print payload and a line feed, nothing else" },
	{ .name = "timestamps", .kind = ARGS_FLAG, .target = &opt.timestamps,
	  .help = "print first when it was published (UTC)" },
	{ .name = "policy", .value = "P", .kind = ARGS_CHOICE, .target = &opt.policy,
	  .choices = blipmq_policy_name, .help = "what a full ring does: see above" },
	{ .name = "entries", .value = "N", .kind = ARGS_SIZE, .target = &opt.entries,
	  .min = 1, .max = BLIPMQ_ENTRIES_MAX,
	  .help = "unread messages that fit, a power of two (1024)" },
	{ .name = "ready-fd", .value = "N", .kind = ARGS_NUMBER, .target = &opt.ready_fd,
	  .max = INT32_MAX, .help = "once subscribed write a line feed there, close it" },
	{}
};

const struct verb sub_verb = {
	.name = "sub",
	.args = "PATTERN...",
	.summary = "subscribe and print what comes",
	.text =
	"Prints messages to all subjects that match a PATTERN: * stands for one word\n"
	"between dots, > as the last for one or more. A message that two of the patterns\n"
	"match comes twice. A line has the subject, its user headers as \"[name: value]\",\n"
	"and the payload, with spaces between, in which \\, control characters and what is\n"
	"not UTF-8 are escaped (\\\\ \\n \\r \\t \\xNN). With -j it is an object with time,\n"
	"subject, seq, uid, pid, endpoint, gap (lost messages before it), headers if it\n"
	"has any, a list of objects with name and value, and payload. What is not UTF-8\n"
	"is in value_base64 and payload_base64.\n"
	"\n"
	"It ends at --count, at SIGINT, SIGTERM or SIGHUP after printing what waits\n"
	"(exit code 0; a second one kills), or when nobody reads its stdout. On\n"
	"stderr it says then how many messages it received, and which were dropped, why.\n"
	"\n"
	"Policies, when a ring is full of unread messages:\n"
	"  drop-oldest  the oldest make room: the newest are seen (default)\n"
	"  drop-newest  new ones do not come in\n"
	"  block        publishers wait; needs the right to publish\n",
	.examples =
	"  blipmq sub 'sensors.>'\n"
	"  blipmq sub '*.door' alarms --timestamps\n"
	"  blipmq sub jobs.new --count 1 --raw >job\n"
	"  blipmq sub '>' -j | jq 'select(.uid != 0)'\n"
	"  blipmq sub logs.here --policy block --entries 4k --raw >all.log\n"
	"  blipmq sub a.b --ready-fd 3 3>ready.fifo\n",
	.options = sub_options,
	.run = sub_run,
};
