// SPDX-License-Identifier: GPL-2.0
/*
 * Signals that end the program.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include "stop.h"

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };

static atomic_int caught;
static timer_t ticker;

static void on_tick(int sig)
{
	(void)sig;	/* it interrupted a system call: that was its purpose */
}

static void on_stop(int sig)
{
	static const struct itimerspec every = {
		.it_value.tv_nsec = STOP_TICK_MS * 1000000L,
		.it_interval.tv_nsec = STOP_TICK_MS * 1000000L,
	};
	int saved = errno;

	caught = sig;
	timer_settime(ticker, 0, &every, NULL);
	errno = saved;
}

int stop_catch(void)
{
	struct sigaction tick = { .sa_handler = on_tick };
	struct sigaction stop = { .sa_handler = on_stop, .sa_flags = SA_RESETHAND };
	struct sigaction before;
	sigset_t alarm;
	size_t i;

	if (timer_create(CLOCK_MONOTONIC, NULL, &ticker))
		return -errno;
	sigaction(SIGALRM, &tick, NULL);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
	for (i = 0; i < sizeof(stop_signals) / sizeof(*stop_signals); i++) {
		/* nohup(1) means it; but shells ignore SIGINT for any "&". */
		sigaction(stop_signals[i], NULL, &before);
		if (stop_signals[i] == SIGHUP && before.sa_handler == SIG_IGN)
			continue;
		sigaction(stop_signals[i], &stop, NULL);
	}
	return 0;
}

bool stop_requested(void)
{
	return caught;
}

void stop_die(void)
{
	if (!caught)
		return;
	signal(caught, SIG_DFL);
	raise(caught);
}
