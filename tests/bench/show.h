/* SPDX-License-Identifier: GPL-2.0 */
/* One show: one transport moves a number of messages once. */
#ifndef BENCH_SHOW_H
#define BENCH_SHOW_H

#include "transport.h"

/**
 * enum verdict - how a show ended
 * @SHOW_NONE:    there was none
 * @SHOW_OK:      every subscriber got every message, in order
 * @SHOW_FAILED:  one did not, or something went wrong: see the reason
 * @SHOW_MISSING: this machine does not have the transport
 */
enum verdict {
	SHOW_NONE,
	SHOW_OK,
	SHOW_FAILED,
	SHOW_MISSING,
};

/**
 * struct outcome - of one show
 * @seconds:         from the first publish to the last subscriber's last message
 * @publisher_cpu:   seconds of processor time of the publisher
 * @subscribers_cpu: likewise of all subscribers together
 * @sleeps:          times that a subscriber slept
 * @publisher_sleeps: times that the publisher slept
 * @reason:          unless SHOW_OK
 */
struct outcome {
	enum verdict verdict;
	double seconds;
	double publisher_cpu;
	double subscribers_cpu;
	long sleeps;
	long publisher_sleeps;
	char reason[REASON_SIZE];
};

/*
 * Runs publisher and subscribers as processes of their own and waits for them, at
 * most @deadline seconds. SIGCHLD must be blocked.
 */
void run_show(const struct transport_ops *ops, const struct workload *work, uint64_t messages,
	      unsigned int deadline, struct outcome *outcome);

#endif
