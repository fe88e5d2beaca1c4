// SPDX-License-Identifier: GPL-2.0
/*
 * Sending at a rate.
 */
#include <time.h>

#include "pace.h"
#include "stop.h"

#define NSEC_PER_SEC	1000000000ULL
#define SLEEP_MAX_SEC	3600	/* one sleep; a slow rate takes several */

uint64_t pace_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* Nanoseconds from the start. */
static double due(const struct pace *pace)
{
	return (double)pace->sent / pace->rate * NSEC_PER_SEC;
}

void pace_start(struct pace *pace, double rate)
{
	pace->rate = rate;
	pace->start = pace_now();
	pace->sent = 0;
}

static void sleep_nsec(double nsec)
{
	uint64_t until;
	struct timespec at;

	if (nsec > SLEEP_MAX_SEC * (double)NSEC_PER_SEC)
		nsec = SLEEP_MAX_SEC * (double)NSEC_PER_SEC;
	until = pace_now() + (uint64_t)nsec + 1;
	at.tv_sec = until / NSEC_PER_SEC;
	at.tv_nsec = until % NSEC_PER_SEC;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

unsigned int pace_wait(struct pace *pace, unsigned int want)
{
	double early, late;

	while (!stop_requested()) {
		if (!pace->rate)
			return want;
		early = due(pace) - (double)(pace_now() - pace->start);
		if (early <= 0) {
			late = 1 - early / NSEC_PER_SEC * pace->rate;
			return late < want ? (unsigned int)late : want;
		}
		sleep_nsec(early);
	}
	return 0;
}

void pace_forgive(struct pace *pace, uint64_t nsec)
{
	double late;

	if (!pace->rate)
		return;
	late = (double)(pace_now() - pace->start) - due(pace);
	if (late > 0)
		pace->start += late < (double)nsec ? (uint64_t)late : nsec;
}
