/* SPDX-License-Identifier: GPL-2.0 */
/* The table for a person and the JSON for a program, from the same rows. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "show.h"

#define MAX_ROUNDS	64

/**
 * struct row - a transport's shows
 * @ops:     the transport
 * @against: index of the row that it is set against, or -1
 * @messages: of each show
 */
struct row {
	const struct transport_ops *ops;
	int against;
	uint64_t messages;
	struct outcome shows[MAX_ROUNDS];
};

/**
 * struct report - a whole run
 * @rounds: that are done
 */
struct report {
	const struct workload *work;
	struct row *rows;
	unsigned int nr_rows;
	unsigned int rounds;
};

void print_table(FILE *out, const struct report *report);
void print_json(FILE *out, const struct report *report);

/* The first of the row's shows that was not well, or else its first one. */
const struct outcome *row_outcome(const struct report *report, const struct row *row);

#endif
