// SPDX-License-Identifier: GPL-2.0
/* One process in each sleep that there is on a bus: to see them told when it ends. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "common.h"

#define SLEEP_MS	50	/* after which none of them is over by itself */

enum sleep { IN_WAIT, IN_READ, IN_RECV, IN_POLL, IN_PUBLISH, IN_WRITE };

static const char *const names[NR_SLEEPERS] = { "WAIT", "read", "RECV", "poll", "PUBLISH",
						"write" };

struct sleeper {
	const struct ending *e;
	enum sleep how;
};

static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

static int sleeper_main(void *arg)
{
	const struct sleeper *s = arg;
	const struct ending *e = s->e;
	struct blipmq_wait wait = { .deadline = BLIPMQ_WAIT_FOREVER, .min = e->c->info.entries };
	struct blipmq_topic topic = {
		.head.flags = BLIPMQ_TOPIC_WRITE, .subject = ptr_u64("blocked"), .subject_len = 7,
	};
	struct pollfd p = { .fd = e->reader, .events = POLLIN };
	struct blipmq_recv r = { };
	char byte = 0;

	if (e->leave >= 0)
		close(e->leave);
	switch (s->how) {
	case IN_WAIT:
		return -do_wait(e->c->fd, &wait);
	case IN_READ:
		return -result(read(e->reader, &byte, 1));
	case IN_RECV:
		return -do_recv(e->reader, &r);
	case IN_POLL:
		return poll(&p, 1, -1) == 1 && p.revents & POLLHUP ? ENODEV : 0;
	case IN_PUBLISH:
		return -publish(e->pub, "blocked", "m", 1);
	default:
		if (do_topic(e->pub, &topic))
			return 1;
		return -result(write(e->pub, &byte, 1));
	}
}

const char *sleepers_begin(const struct ending *e, pid_t pids[NR_SLEEPERS])
{
	struct sleeper s[NR_SLEEPERS];

	consumer_arm(e->c, e->c->info.entries);
	for (int i = 0; i < NR_SLEEPERS; i++) {
		s[i] = (struct sleeper){ e, i };
		pids[i] = spawn(sleeper_main, &s[i]);
	}
	for (int i = 0; i < NR_SLEEPERS; i++)
		if (!wait_asleep(pids[i]))
			return names[i];
	sleep_ms(SLEEP_MS);
	for (int i = 0; i < NR_SLEEPERS; i++)
		if (reap_within(pids[i], 0) != -ETIME)
			return names[i];
	return NULL;
}

const char *sleepers_told(const pid_t pids[NR_SLEEPERS], unsigned int ms)
{
	for (int i = 0; i < NR_SLEEPERS; i++)
		if (reap_within(pids[i], ms) != ENODEV)
			return names[i];
	return NULL;
}
