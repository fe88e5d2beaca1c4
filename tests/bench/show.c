// SPDX-License-Identifier: GPL-2.0
/*
 * One show. The stage is memory that all its processes share: they meet there
 * before the clock starts, and leave there what they saw.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "futex.h"
#include "show.h"

#define NSEC_PER_SEC	1000000000ULL

/**
 * struct player - one process of the show
 * @begin: when it began to publish; nanoseconds of CLOCK_MONOTONIC
 * @end:   when it was done
 * @cpu:   seconds of processor time between
 * @sleeps: voluntary context switches between
 * @reason: why it failed
 * @pid:   0 once it has ended; written by the parent only
 */
struct player {
	uint64_t begin;
	uint64_t end;
	double cpu;
	long sleeps;
	char reason[REASON_SIZE];
	pid_t pid;
} __attribute__((aligned(CACHE_LINE)));

/**
 * struct stage - the shared memory; player 0 publishes
 * @ready:  players that have opened their side
 * @start:  1 once all have
 * @turn:   turns published, when they take turns
 * @passed: subscribers times turns that are read
 */
struct stage {
	uint32_t ready;
	uint32_t start;
	uint32_t turn;
	uint32_t passed;
	unsigned int players;
	struct player player[1 + MAX_SUBSCRIBERS];
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* Sleeps until *@word, which only grows, has reached @least. */
static void wait_word(uint32_t *word, uint32_t least)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) < least)
		futex_wait(word, seen);
}

static void raise_word(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_RELEASE);
	futex_wake_all(word);
}

static void meet(struct stage *stage)
{
	if (__atomic_add_fetch(&stage->ready, 1, __ATOMIC_ACQ_REL) == stage->players)
		raise_word(&stage->start);
	wait_word(&stage->start, 1);
}

static double cpu_seconds(const struct rusage *u)
{
	return u->ru_utime.tv_sec + u->ru_stime.tv_sec +
	       (u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static void player_begins(struct player *p)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	p->cpu = -cpu_seconds(&u);
	p->sleeps = -u.ru_nvcsw;
	p->begin = now();
}

static void player_ends(struct player *p)
{
	struct rusage u;

	p->end = now();
	getrusage(RUSAGE_SELF, &u);
	p->cpu += cpu_seconds(&u);
	p->sleeps += u.ru_nvcsw;
}

/* Messages of one turn: half a ring, so that none of it has to wait for room. */
static uint64_t turn_size(const struct transport *t, uint64_t messages)
{
	uint64_t half = t->work->entries / 2;

	if (!t->work->turns)
		return messages;
	return half ? half : 1;
}

static int make_source(struct transport *t)
{
	struct source *s = &t->source;
	size_t i;

	s->size = t->work->size;
	s->stride = round_up_line(s->size);
	s->data = aligned_alloc(CACHE_LINE, s->stride * MAX_BATCH);
	if (!s->data)
		return transport_fail(t, -ENOMEM, "messages");
	for (i = 0; i < s->stride * MAX_BATCH; i++)
		s->data[i] = i;
	return 0;
}

static int play_publisher(struct transport *t, struct stage *stage, uint64_t messages)
{
	uint64_t per_turn = turn_size(t, messages);
	uint64_t seq = 0, turn_end, nr;
	uint32_t turn;
	int rc;

	rc = make_source(t);
	if (!rc)
		rc = t->ops->open_publisher(t);
	if (rc)
		return rc;
	meet(stage);
	player_begins(&stage->player[0]);
	for (turn = 1; seq < messages; turn++) {
		turn_end = seq + per_turn < messages ? seq + per_turn : messages;
		for (; seq < turn_end; seq += nr) {
			nr = turn_end - seq < t->ops->batch ? turn_end - seq : t->ops->batch;
			rc = t->ops->publish(t, seq, nr);
			if (rc)
				return rc;
		}
		if (!t->work->turns)
			continue;
		raise_word(&stage->turn);
		wait_word(&stage->passed, turn * t->work->subscribers);
	}
	player_ends(&stage->player[0]);
	return 0;
}

static int play_subscriber(struct transport *t, struct stage *stage, unsigned int index,
			   uint64_t messages)
{
	struct check check = { .size = t->work->size };
	uint64_t per_turn = turn_size(t, messages);
	uint64_t turn_end;
	uint32_t turn;
	int rc;

	rc = t->ops->open_subscriber(t, index);
	if (rc)
		return rc;
	meet(stage);
	player_begins(&stage->player[1 + index]);
	for (turn = 1; check.next < messages; turn++) {
		turn_end = turn * per_turn < messages ? turn * per_turn : messages;
		if (t->work->turns)
			wait_word(&stage->turn, turn);
		while (check.next < turn_end) {
			rc = t->ops->receive(t, &check);
			if (rc)
				return rc;
		}
		if (t->work->turns)
			raise_word(&stage->passed);
	}
	player_ends(&stage->player[1 + index]);
	return 0;
}

static int start_player(struct transport *t, struct stage *stage, unsigned int i, uint64_t messages)
{
	struct player *p = &stage->player[i];
	pid_t pid;
	int rc;

	pid = fork();
	if (pid < 0)
		return transport_fail(t, -errno, "fork");
	if (pid) {
		p->pid = pid;
		return 0;
	}
	t->reason = p->reason;
	rc = i ? play_subscriber(t, stage, i - 1, messages) : play_publisher(t, stage, messages);
	_exit(rc ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void kill_players(struct stage *stage)
{
	unsigned int i;

	for (i = 0; i < stage->players; i++) {
		if (stage->player[i].pid > 0)
			kill(stage->player[i].pid, SIGKILL);
	}
}

/* Reaps who has ended; returns how many, or -1 if one of them failed. */
static int reap_players(struct transport *t, struct stage *stage, int flags)
{
	int reaped = 0, failed = 0, status;
	unsigned int i;

	for (i = 0; i < stage->players; i++) {
		struct player *p = &stage->player[i];

		if (p->pid <= 0 || waitpid(p->pid, &status, flags) != p->pid)
			continue;
		p->pid = 0;
		reaped++;
		if (status == 0 || t->reason[0])
			continue;
		failed = 1;
		if (WIFSIGNALED(status))
			snprintf(t->reason, REASON_SIZE, "killed by signal %d", WTERMSIG(status));
		else
			memcpy(t->reason, p->reason, REASON_SIZE);
	}
	return failed ? -1 : reaped;
}

static int wait_players(struct transport *t, struct stage *stage, unsigned int deadline)
{
	uint64_t until = now() + deadline * NSEC_PER_SEC, at;
	unsigned int left = stage->players;
	struct timespec timeout;
	sigset_t child;
	int reaped;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while (left) {
		at = now();
		if (at >= until) {
			snprintf(t->reason, REASON_SIZE, "not done after %u seconds", deadline);
			return -1;
		}
		timeout.tv_sec = (until - at) / NSEC_PER_SEC;
		timeout.tv_nsec = (until - at) % NSEC_PER_SEC;
		sigtimedwait(&child, NULL, &timeout);
		reaped = reap_players(t, stage, WNOHANG);
		if (reaped < 0)
			return -1;
		left -= reaped;
	}
	return 0;
}

static void add_up(const struct stage *stage, struct outcome *o)
{
	const struct player *publisher = &stage->player[0];
	uint64_t end = publisher->end;
	unsigned int i;

	o->publisher_cpu = publisher->cpu;
	o->publisher_sleeps = publisher->sleeps;
	for (i = 1; i < stage->players; i++) {
		const struct player *p = &stage->player[i];

		o->subscribers_cpu += p->cpu;
		o->sleeps += p->sleeps;
		if (p->end > end)
			end = p->end;
	}
	o->seconds = (end - publisher->begin) / (double)NSEC_PER_SEC;
}

static void play(struct transport *t, struct stage *stage, uint64_t messages, unsigned int deadline,
		 struct outcome *o)
{
	unsigned int i;
	int rc = 0;

	stage->players = 1 + t->work->subscribers;
	for (i = stage->players; !rc && i-- > 0;)
		rc = start_player(t, stage, i, messages);
	if (!rc)
		rc = wait_players(t, stage, deadline);
	if (rc) {
		kill_players(stage);
		reap_players(t, stage, 0);
		o->verdict = SHOW_FAILED;
		return;
	}
	add_up(stage, o);
	o->verdict = SHOW_OK;
}

void run_show(const struct transport_ops *ops, const struct workload *work, uint64_t messages,
	      unsigned int deadline, struct outcome *o)
{
	struct transport t = { .ops = ops, .work = work, .reason = o->reason };
	struct stage *stage;

	memset(o, 0, sizeof(*o));
	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	if (stage == MAP_FAILED) {
		transport_fail(&t, -errno, "stage");
		o->verdict = SHOW_FAILED;
		return;
	}
	if (ops->setup(&t)) {
		o->verdict = SHOW_MISSING;
	} else {
		play(&t, stage, messages, deadline, o);
		ops->teardown(&t);
	}
	munmap(stage, sizeof(*stage));
}
