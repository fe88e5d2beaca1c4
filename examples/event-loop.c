// SPDX-License-Identifier: LGPL-2.1+
/*
 * A room to talk in: event-loop SUBJECT publishes each line of its input and prints
 * what anybody says there, from one loop around poll(2).
 *
 * The endpoint's descriptor says that messages wait; they are taken until none is
 * left, without a system call, and only then does the loop sleep again.
 */
#include <blipmq.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BATCH		64
#define GRACE_MSEC	100	/* for answers, after the end of the input */

static int complain(const char *what)
{
	fprintf(stderr, "event-loop: %s: %s\n", what, blipmq_strerror());
	return -1;
}

static int print_waiting(struct blipmq *bus)
{
	struct blipmq_view views[BATCH];
	int i, n;

	while ((n = blipmq_next_batch(bus, views, BATCH, 0)) > 0) {
		for (i = 0; i < n; i++)
			printf("%u: %.*s\n", views[i].header->pid, (int)views[i].length,
			       (const char *)views[i].data);
		blipmq_release(bus, views, n);
	}
	fflush(stdout);
	return n == -EAGAIN ? 0 : complain("receiving");
}

/* Publishes the lines that are there. False at the end of the input. */
static bool say_input(struct blipmq *bus, const struct blipmq_handle *room)
{
	static char text[4096];
	static size_t used;
	char *line = text, *end;
	ssize_t got = read(STDIN_FILENO, text + used, sizeof(text) - used);

	if (got <= 0)
		return false;
	used += got;
	while ((end = memchr(line, '\n', text + used - line))) {
		if (blipmq_publish_topic(bus, room, line, end - line, NULL))
			complain("publishing");
		line = end + 1;
	}
	used -= line - text;
	memmove(text, line, used);
	if (used < sizeof(text))
		return true;
	fprintf(stderr, "event-loop: a line is longer than %zu bytes\n", sizeof(text));
	return false;
}

static int talk(struct blipmq *bus, const struct blipmq_handle *room)
{
	struct pollfd fds[] = {
		{ .fd = blipmq_fd(bus), .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	int timeout = -1;
	int n;

	for (;;) {
		n = poll(fds, 2, timeout);
		if (n < 0 && errno != EINTR)
			return perror("event-loop: poll"), -1;
		if (!n)
			return 0;
		if (n < 0)
			continue;
		if (fds[0].revents && print_waiting(bus))
			return -1;
		if (fds[1].revents && !say_input(bus, room)) {
			fds[1].fd = -1;
			timeout = GRACE_MSEC;
		}
	}
}

int main(int argc, char **argv)
{
	struct blipmq_handle room;
	struct blipmq *bus;
	int error;

	if (argc != 2) {
		fprintf(stderr, "usage: event-loop SUBJECT\n");
		return 2;
	}
	if (blipmq_open(NULL, 0, &bus))
		return complain("opening"), 1;
	if (blipmq_topic_open(bus, argv[1], 0, &room) ||
	    blipmq_subscribe(bus, argv[1], 0, NULL))
		error = complain(argv[1]);
	else
		error = talk(bus, &room);
	blipmq_close(bus);
	return error ? 1 : 0;
}
