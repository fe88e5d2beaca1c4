/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A rate, kept on an absolute schedule: a message that comes late does not move
 * those behind it.
 */
#ifndef BLIPMQ_PACE_H
#define BLIPMQ_PACE_H

#include <stdint.h>

/**
 * struct pace - schedule: message n, from 0, is due at start + n / rate
 * @rate:  messages a second, 0: as fast as it goes
 * @start: CLOCK_MONOTONIC nanoseconds
 * @sent:  how many are gone
 */
struct pace {
	double rate;
	uint64_t start;
	uint64_t sent;
};

uint64_t pace_now(void);	/* CLOCK_MONOTONIC nanoseconds */

void pace_start(struct pace *pace, double rate);

/* Sleeps until at least one message is due. Returns how many are, at most @want (at
 * least 1); 0: asked to stop. The caller adds to @sent what it sent.
 */
unsigned int pace_wait(struct pace *pace, unsigned int want);

/* @nsec went by without anything to send: that is not made up for by a burst. */
void pace_forgive(struct pace *pace, uint64_t nsec);

#endif /* BLIPMQ_PACE_H */
