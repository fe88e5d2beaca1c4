// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "report.h"

struct spread {
	double min;
	double median;
	double max;
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct spread spread_of(const double *values, unsigned int nr)
{
	double sorted[MAX_ROUNDS];

	memcpy(sorted, values, nr * sizeof(*values));
	qsort(sorted, nr, sizeof(*sorted), compare);
	return (struct spread){
		.min = sorted[0],
		.median = (sorted[(nr - 1) / 2] + sorted[nr / 2]) / 2,
		.max = sorted[nr - 1],
	};
}

/* What is told of a show, beside its ratio to another. */
static double deliveries(const struct report *r, const struct row *row)
{
	return (double)row->messages * r->work->subscribers;
}

static double rate(const struct report *r, const struct row *row, const struct outcome *o)
{
	return deliveries(r, row) / o->seconds;
}

static double publish_ns(const struct report *r, const struct row *row, const struct outcome *o)
{
	(void)r;
	return o->publisher_cpu * 1e9 / row->messages;
}

static double deliver_ns(const struct report *r, const struct row *row, const struct outcome *o)
{
	return o->subscribers_cpu * 1e9 / deliveries(r, row);
}

static double sleeps(const struct report *r, const struct row *row, const struct outcome *o)
{
	return o->sleeps * 1e3 / deliveries(r, row);
}

static double publisher_sleeps(const struct report *r, const struct row *row,
			       const struct outcome *o)
{
	(void)r;
	return o->publisher_sleeps * 1e3 / row->messages;
}

static const struct measure {
	const char *key;
	double (*value)(const struct report *r, const struct row *row, const struct outcome *o);
} measures[] = {
	{ "deliveries_per_second", rate },
	{ "publisher_cpu_ns_per_message", publish_ns },
	{ "subscriber_cpu_ns_per_delivery", deliver_ns },
	{ "subscriber_sleeps_per_1000_deliveries", sleeps },
	{ "publisher_sleeps_per_1000_messages", publisher_sleeps },
};

const struct outcome *row_outcome(const struct report *r, const struct row *row)
{
	const struct outcome *first = &row->shows[0];
	unsigned int i;

	for (i = 0; i < r->rounds; i++) {
		const struct outcome *o = &row->shows[i];

		if (o->verdict == SHOW_FAILED || o->verdict == SHOW_MISSING)
			return o;
	}
	return first;
}

static bool row_ok(const struct report *r, const struct row *row)
{
	return row_outcome(r, row)->verdict == SHOW_OK;
}

static struct spread measure(const struct report *r, const struct row *row,
			     double (*value)(const struct report *r, const struct row *row,
					     const struct outcome *o))
{
	double values[MAX_ROUNDS];
	unsigned int i, nr = 0;

	for (i = 0; i < r->rounds; i++) {
		if (row->shows[i].verdict == SHOW_OK)
			values[nr++] = value(r, row, &row->shows[i]);
	}
	return spread_of(values, nr);
}

/* Round by round, so that what disturbs one round disturbs both sides of a ratio. */
static bool ratio(const struct report *r, const struct row *row, struct spread *s)
{
	const struct row *peer;
	double values[MAX_ROUNDS];
	unsigned int i, nr = 0;

	if (row->against < 0 || !row_ok(r, &r->rows[row->against]))
		return false;
	peer = &r->rows[row->against];
	for (i = 0; i < r->rounds; i++) {
		if (row->shows[i].verdict == SHOW_OK)
			values[nr++] = rate(r, row, &row->shows[i]) /
				       rate(r, peer, &peer->shows[i]);
	}
	*s = spread_of(values, nr);
	return true;
}

static const char *verdict_name(const struct outcome *o)
{
	switch (o->verdict) {
	case SHOW_OK:
		return "ok";
	case SHOW_MISSING:
		return "missing";
	default:
		return "failed";
	}
}

static void print_row(FILE *out, const struct report *r, const struct row *row)
{
	struct spread s;

	fprintf(out, "%-18s ", row->ops->name);
	if (!row_ok(r, row)) {
		fprintf(out, "%s: %s\n", verdict_name(row_outcome(r, row)),
			row_outcome(r, row)->reason);
		return;
	}
	s = measure(r, row, rate);
	fprintf(out, "%8.0f %8.0f-%-8.0f", s.median / 1e3, s.min / 1e3, s.max / 1e3);
	fprintf(out, " %7.0f %7.0f %7.2f %7.2f", measure(r, row, publish_ns).median,
		measure(r, row, deliver_ns).median, measure(r, row, publisher_sleeps).median,
		measure(r, row, sleeps).median);
	if (ratio(r, row, &s)) {
		fprintf(out, "  %5.2f (%.2f-%.2f)", s.median, s.min, s.max);
		if (row->ops->bar > 0)
			fprintf(out, " bar %.1f %s", row->ops->bar,
				s.median >= row->ops->bar ? "met" : "MISSED");
	}
	fputc('\n', out);
}

static void print_legend(FILE *out, const struct report *r)
{
	const struct transport_ops *ops;
	unsigned int i;

	for (i = 0; i < r->nr_rows; i++) {
		ops = r->rows[i].ops;
		fprintf(out, "%-18s %s; %u a call, %llu a show", ops->name, ops->summary,
			ops->batch, (unsigned long long)r->rows[i].messages);
		if (ops->every)
			fprintf(out, ", in one of %u rounds", ops->every);
		if (ops->against)
			fprintf(out, "; ratio to %s", ops->against);
		fputc('\n', out);
	}
}

void print_table(FILE *out, const struct report *r)
{
	const struct workload *w = r->work;
	struct utsname host;
	unsigned int i;

	uname(&host);
	fprintf(out, "1 publisher, %u subscribers, each a process; %u bytes, rings of %u%s\n",
		w->subscribers, w->size, w->entries, w->turns ? "; in turns, nobody is woken" : "");
	fprintf(out, "low-water mark %u messages or %u us; %u rounds, interleaved; ", w->mark,
		w->max_delay, r->rounds);
	fprintf(out, "%ld CPUs, %s %s\n\n", sysconf(_SC_NPROCESSORS_ONLN), host.sysname,
		host.release);
	fprintf(out, "%18s %26s %15s %15s\n", "", "1000 deliveries a second", "CPU ns for a",
		"sleeps in 1000");
	fprintf(out, "%18s %8s %17s %7s %7s %7s %7s  %s\n", "", "median", "lowest-highest ",
		"publish", "deliv.", "publ.", "deliv.", "ratio of deliveries a second");
	for (i = 0; i < r->nr_rows; i++)
		print_row(out, r, &r->rows[i]);
	fputs("\nA delivery is one message read, whole and in order, by one subscriber; a publish\n"
	      "makes as many deliveries as there are subscribers. Ratios are taken round by\n"
	      "round: median (lowest-highest).\n\n", out);
	print_legend(out, r);
}

static void print_json_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			fprintf(out, "\\u%04x", (unsigned char)*s);
		else
			fputc(*s, out);
	}
	fputc('"', out);
}

static void print_json_spread(FILE *out, const char *key, struct spread s)
{
	fprintf(out, ",\n   \"%s\": {\"median\": %.6g, \"min\": %.6g, \"max\": %.6g}", key,
		s.median, s.min, s.max);
}

static void print_json_shows(FILE *out, const struct report *r, const struct row *row)
{
	const struct outcome *o;
	unsigned int i;

	fputs(",\n   \"shows\": [", out);
	for (i = 0; i < r->rounds; i++) {
		o = &row->shows[i];
		if (o->verdict != SHOW_OK)
			continue;
		fprintf(out, "%s\n    {\"round\": %u, \"seconds\": %.6f, ", i ? "," : "", i + 1,
			o->seconds);
		fprintf(out, "\"publisher_cpu\": %.6f, \"subscribers_cpu\": %.6f, ",
			o->publisher_cpu, o->subscribers_cpu);
		fprintf(out, "\"publisher_sleeps\": %ld, \"subscriber_sleeps\": %ld}",
			o->publisher_sleeps, o->sleeps);
	}
	fputc(']', out);
}

static void print_json_row(FILE *out, const struct report *r, const struct row *row)
{
	const struct outcome *o = row_outcome(r, row);
	struct spread s;
	size_t i;

	fputs("  {\"name\": ", out);
	print_json_string(out, row->ops->name);
	fputs(", \"summary\": ", out);
	print_json_string(out, row->ops->summary);
	fprintf(out, ", \"batch\": %u, \"messages\": %llu, \"verdict\": \"%s\"", row->ops->batch,
		(unsigned long long)row->messages, verdict_name(o));
	if (o->verdict != SHOW_OK) {
		fputs(", \"reason\": ", out);
		print_json_string(out, o->reason);
		fputc('}', out);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(measures); i++)
		print_json_spread(out, measures[i].key, measure(r, row, measures[i].value));
	if (ratio(r, row, &s)) {
		fputs(",\n   \"against\": ", out);
		print_json_string(out, row->ops->against);
		print_json_spread(out, "ratio", s);
	}
	if (row->ops->bar > 0)
		fprintf(out, ",\n   \"bar\": %.6g", row->ops->bar);
	print_json_shows(out, r, row);
	fputc('}', out);
}

void print_json(FILE *out, const struct report *r)
{
	const struct workload *w = r->work;
	struct utsname host;
	unsigned int i;

	uname(&host);
	fputs("{\"counts\": \"deliveries\", \"kernel\": ", out);
	print_json_string(out, host.release);
	fprintf(out, ", \"processors\": %ld, \"subscribers\": %u, \"size\": %u, \"entries\": %u,\n",
		sysconf(_SC_NPROCESSORS_ONLN), w->subscribers, w->size, w->entries);
	fprintf(out, " \"mark\": %u, \"max_delay_us\": %u, \"turns\": %s, \"rounds\": %u,\n",
		w->mark, w->max_delay, w->turns ? "true" : "false", r->rounds);
	fputs(" \"rows\": [\n", out);
	for (i = 0; i < r->nr_rows; i++) {
		if (i)
			fputs(",\n", out);
		print_json_row(out, r, &r->rows[i]);
	}
	fputs("]}\n", out);
}
