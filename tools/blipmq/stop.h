/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SIGINT, SIGTERM and SIGHUP as a request to end well.
 *
 * The first of them sets a flag and, from then on, a timer interrupts every
 * blocking system call again and again. So there is no moment between a look at
 * the flag and a system call in which a signal is lost, whatever the call: ppoll()
 * closes that gap for waiting only, not for a write to a pipe that nobody empties
 * nor for a publish that waits for a full ring. The second of a kind kills.
 */
#ifndef BLIPMQ_STOP_H
#define BLIPMQ_STOP_H

#include <stdbool.h>

#define STOP_TICK_MS	50

/* Call once, before anything that may block. Returns 0 or a negative errno. */
int stop_catch(void);

/* True from the first signal on; then blocking calls fail with EINTR within
 * STOP_TICK_MS.
 */
bool stop_requested(void);

/* Ends the process by the signal that was caught, as the shell expects of what was
 * interrupted; returns if none was.
 */
void stop_die(void);

#endif /* BLIPMQ_STOP_H */
