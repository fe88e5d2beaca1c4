// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the frequency of this machine's time stamp counter in kHz.
 *
 * A translated guest reads the host's counter, and finds out its frequency by counting ticks
 * of emulated timers. On a busy host it is preempted meanwhile, and was seen to believe in a
 * counter twenty times too slow: its clock then runs that much too fast, and everything in it
 * that has a timeout fails. Here each reading of the counter is bracketed by readings of the
 * clock, so that preemption is seen, and read again.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define NSEC_PER_SEC	1000000000ll
#define NSEC_PER_MSEC	1000000
/* The readings lie so far apart (ns), and the best bracket of so many counts. */
#define INTERVAL	(50 * NSEC_PER_MSEC)
#define TRIES		100

struct reading {
	int64_t ns;
	uint64_t ticks;
};

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static struct reading take(void)
{
	struct reading best = { 0 };
	int64_t best_width = INT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		int64_t before = now();
		uint64_t ticks = __rdtsc();
		int64_t width = now() - before;

		if (width < best_width) {
			best_width = width;
			best = (struct reading){ before + width / 2, ticks };
		}
	}
	return best;
}

int main(void)
{
	struct timespec interval = { 0, INTERVAL };
	struct reading from = take(), to;

	nanosleep(&interval, NULL);
	to = take();
	printf("%.0f\n", (double)(to.ticks - from.ticks) * NSEC_PER_MSEC / (to.ns - from.ns));
	return 0;
}
