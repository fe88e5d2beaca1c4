/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring contract between kernel and subscriber, as a model for spin.
 *
 *	kernel.pml	under the ring's lock: making room, KEEP, break, close
 *	publish.pml	fan-out, waking, waiting for room
 *	subscriber.pml	a thread of the library on a mapped ring
 *	recv.pml	a thread in RECV
 *	hostile.pml	kill -9, and a program that writes what it likes
 *	check		the configurations, and the mutations that must be caught
 *
 * Every access to a word that the other side uses is one step; what lies between
 * two such accesses is private to its owner (the kernel under the ring's lock,
 * the library in its critical section) and shares a step with one of them.
 *
 * Memory is multi-copy atomic, as on x86-64 and arm64: an access takes effect
 * for everyone at once, and what a missing barrier allows is that a thread's
 * own accesses take effect in another order.  So a barrier is the order of two
 * steps, and the mutation that removes it lets them happen in the other one.
 * Where a store has to be seen before a later load of the same thread (G, H, I,
 * J), it goes through a store buffer of one entry (the sb_ fields), which
 * drains when it likes and at the latest at the thread's full barrier.
 *
 * The letters are those of the table in the uapi header.
 *
 *   subscriber				  kernel
 *
 *					  write descriptors	   write_one()
 *   load-acquire claim
 *   load-acquire prod		B <-> A	  store-release prod	   deliver()
 *   copy descriptors
 *   CAS claim (acq_rel)	C <-> D	  load-acquire claim	   read_words()
 *     with its registration		  or CAS claim, acquire;   drop_oldest()
 *					    load-acquire claim	   load_claim_again()
 *					    when it fails
 *   use the payload
 *   store-release release	E <-> F	  load-acquire release	   read_words()
 *					    before claim
 *   store need_wakeup			  store prod
 *   full fence			H <-> G	  full barrier		   wake()
 *   load claim, prod; sleep		  load need_wakeup; wake
 *   store release			  join the queue, store blocked
 *   full fence			J <-> I	  full barrier		   ask_kick()
 *   load blocked; kick			  load release, claim; sleep
 *
 * What breaks without each (each is a mutation that ./check runs):
 *   A, B	a descriptor is copied that was not written yet
 *   C		a descriptor is copied from a slot that was written again
 *   D		release, read once more, is older than the claim: lost as `held`
 *   E		a run is used again under its reader
 *   F		release > claim: an honest ring is taken for a broken one
 *   G, H	a message waits and every thread sleeps
 *   I, J	there is room and the publisher sleeps
 * H is not needed before WAIT, whose own barrier and second look do its work.
 *
 * A message stands for its run: one reference for each entry, held or kept
 * record that names it.  A run may be used again from the moment its last
 * reference is put, so it is that moment at which nobody may be reading it.
 * Stretches put later than this, never sooner.
 *
 * Not here: queue groups, TTL, eviction, budgets of time, the timer that makes
 * a kick a courtesy.
 */

/* Policies */
#define OLDEST	1
#define NEWEST	2
#define BLOCK	3

/* What became of a message in a ring; reasons of loss as STATS names them. */
#define PENDING		0	/* delivered to the ring, not settled yet */
#define RECEIVED	1
#define LOST_OLDEST	2
#define LOST_FULL	3
#define LOST_HELD	4
#define LOST_CONTENDED	5
#define LOST_CLOSED	6
#define LOST_BROKEN	7
/* Further places that ./check wants to see reached */
#define SEEN_KEPT_HELD	8	/* KEEP found the entry in the held list */
#define SEEN_RETRIED	9	/* RECV again of one whose copy had failed */

/* The configuration: ./check overrides these. */
#ifndef N
#define N	2	/* entries of a ring */
#endif
#ifndef HELD
#define HELD	1	/* held bound of the kernel's list */
#endif
#ifndef BOUND
#define BOUND	HELD	/* what the library claims at once */
#endif
#ifndef K
#define K	1	/* entries in one claim, 1 or 2 */
#endif
#ifndef M
#define M	4	/* messages of one publisher */
#endif
#ifndef PUBS
#define PUBS	1	/* publishers, each of a topic of its own */
#endif
#ifndef RINGS
#define RINGS	1
#endif
#ifndef THREADS
#define THREADS	2	/* threads of each ring's subscriber */
#endif
#ifndef POLICY
#define POLICY	OLDEST
#endif
#ifndef CHUNK
#define CHUNK	1	/* messages fanned out under one lock hold, 1 or 2 */
#endif
#ifndef CONTEND
#define CONTEND	4	/* failed compare-and-swaps before `contended` */
#endif
#ifndef QUARTER
#define QUARTER	1	/* how far on a publisher that waits wants to be kicked */
#endif
#ifndef GIVES_UP
#define GIVES_UP	1	/* publisher that may not wait for room */
#endif
#ifndef LOW
#define LOW	1	/* low-water mark of thread 0 */
#endif
#ifndef LOW_OTHERS
#define LOW_OTHERS LOW	/* and of the others: not below it */
#endif
#ifndef EAGER
#define EAGER	0	/* 1: the kernel may read the words without need */
#endif
#ifndef REACHED
#define REACHED	255	/* the place that must be shown to be reachable */
#endif
/*
 * And PINS, the runs that a ring may pin.  Flags:
 *   SPIN	threads do not sleep but look for ever; stores are seen at once
 *   WAIT	they sleep in WAIT; else in an edge-triggered poll
 *   RECV	they use RECV
 *   HOLD	thread 0 holds its first claim until all is published
 *   STUCK	thread 0 may hold a claim for ever
 *   KEEP	claimed messages may be kept
 *   GREEDY	BOUND is above HELD, on purpose
 *   KILL	the subscriber may unsubscribe, and is killed
 *   HOSTILE	so is the subscriber of ring 0
 *   JOIN	the last ring hears the last publisher from some moment on
 */

#define TOTAL		(M * PUBS)
#define LOW_OF(t)	((t) -> LOW_OTHERS : LOW)
#ifdef MUT_BOUND_IN_USE
#define OUT_MAX		TOTAL
#else
#define OUT_MAX		BOUND
#endif
#define POLLS(t)		(THREADS > 1 && (t) == THREADS - 1)
#define SLOT(i)		((i) % N)
#define THREAD(r, i)	((r) * THREADS + (i))
#define REACH(where)	assert(REACHED != (where))

typedef Ring {
	/* The control page: written by the subscriber, claim also by D. */
	byte claim;
	byte release;
	byte need_wakeup;

	/* Written by the kernel, read by the subscriber. */
	byte prod;
	byte blocked;		/* index, 0: nobody waits for room */
	byte slot[N];		/* message + 1 */

	/* Stores that nobody else sees yet: value + 1, 0 for none. */
	byte sb_prod;
	byte sb_blocked;
	byte sb_release;
	byte sb_need_wakeup;

	/* The kernel's own, under the lock. */
	bit lock;
	bit broken;
	bit closed;
	bit unsubscribed;	/* the subscription of the odd messages */
	bit joined;		/* the one that JOIN is about */
	bit asking;		/* pins count */
	bit elsewhere;		/* other rings of the user pin a run */
	byte kprod;
	byte tail;
	byte claim_seen;
	byte release_seen;
	byte entry[N];		/* message + 1 of the record, 0: none */
	byte nheld;
	byte held_at[HELD];
	byte held_run[HELD];
	byte latch;		/* RECV: message + 1 that is being copied, or was not */
	byte latch_at;		/* and where it stood */

	/* The library's own, in its critical section: outstanding claims. */
	byte nout;
	byte out_end[OUT_MAX];
	byte out_size[OUT_MAX];
	bit out_done[OUT_MAX];
	byte outstanding;	/* entries claimed and not passed by release */
	byte sleepers;
	byte mark;		/* what need_wakeup was set to */

	/* For the properties only. */
	byte was[TOTAL];	/* message + 1 that was written at an index */
	byte fate[TOTAL];
	byte sent;		/* messages counted as delivered-to */
	byte got;		/* messages that a claim or RECV obtained */
	byte using;		/* messages whose payload is being used */
};

Ring ring[RINGS];
#define R		ring[r]
#define USED(m)		(((ring[0].using | ring[RINGS - 1].using) >> (m)) & 1)

byte ref[TOTAL];		/* references on each message's run */
byte kept[THREADS];		/* KEEP's records: message + 1 */

bit event[RINGS * THREADS];	/* an edge that the thread has not consumed */
bit queued[RINGS * THREADS];	/* WAIT only: is in the wait queue */
byte asleep[RINGS];
byte alive[RINGS];
bit block_lock;
bit kicked[PUBS];
byte waits_on[PUBS];		/* ring + 1 that the publisher sleeps on */

byte published;			/* publishers that are done */
bit stop;			/* nothing happens any more: threads may leave */
bit dead;			/* kill -9 of the subscriber */
bit stuck;			/* thread 0 uses a message for ever */

#ifdef HOSTILE
#define IS_HOSTILE(r)	((r) == 0)
#else
#define IS_HOSTILE(r)	0
#endif

/* A store that a later load of the same thread may overtake, and its fence. */
#ifdef SPIN
#define STORE(word, value)	R.word = (value)
#define DRAINED(word)		true
#else
#define STORE(word, value)	R.sb_##word = (value) + 1
#define DRAINED(word)		(R.sb_##word == 0)
#endif

#include "kernel.pml"
#include "publish.pml"
#include "subscriber.pml"
#ifdef RECV
#include "recv.pml"
#endif
#include "hostile.pml"

#ifndef SPIN
#define DRAIN(word)	\
	d_step { R.sb_##word -> R.word = R.sb_##word - 1; R.sb_##word = 0 }

/* The store buffers drain when they like. */
proctype memory(byte r)
{
end:	do
	:: DRAIN(prod)
	:: DRAIN(blocked)
	:: DRAIN(release)
	:: DRAIN(need_wakeup)
	od
}
#endif

/* Nobody can move: then no thread sleeps beside messages that should wake it. */
inline check_wakeups()
{
	if
	:: alive[r] == stuck || R.broken || (stuck && R.outstanding == BOUND) -> skip
	:: else ->
#ifdef RECV
		assert(!R.latch);
#elif !defined(SPIN)
		assert(asleep[r] == alive[r] - stuck);
#endif
		assert(R.kprod - R.claim < LOW)
	fi
}

/*
 * All is over: each message that was delivered to the ring was received or is
 * counted as lost, never both; nothing is lost as `held` by who claims no more
 * than the bound; and who was alive to the end has the newest.
 */
inline check_counts()
{
	m = 0;
	do
	:: m < TOTAL ->
		assert(((R.sent >> m) & 1) == (R.fate[m] != PENDING));
		if
		:: IS_HOSTILE(r) -> skip
		:: else -> assert(((R.got >> m) & 1) == (R.fate[m] == RECEIVED))
		fi;
#ifndef GREEDY
		assert(IS_HOSTILE(r) || R.fate[m] != LOST_HELD);
#endif
#if POLICY == OLDEST && LOW == 1 && !defined(GREEDY) && !defined(KILL) && !defined(RECV)
		assert(IS_HOSTILE(r) || m < TOTAL - N || R.fate[m] == RECEIVED ||
		       R.fate[m] == LOST_CONTENDED);
#endif
#if POLICY == BLOCK && !defined(KILL)
		assert(R.fate[m] == RECEIVED || !((R.sent >> m) & 1));
#endif
#if POLICY == BLOCK && !defined(JOIN)
		assert(R.sent == ring[0].sent);
#endif
		m++
	:: else -> break
	od
}

inline check_references()
{
	m = 0;
	do
	:: m < THREADS ->
		if
		:: kept[m] -> put(kept[m])
		:: else -> skip
		fi;
		m++
	:: else -> break
	od;
	m = 0;
	do
	:: m < TOTAL -> assert(ref[m] == 0); m++
	:: else -> break
	od
}

init {
	byte r, m, t;

	atomic {
		do
		:: r < RINGS ->
#ifndef SPIN
			R.need_wakeup = 1;
			run memory(r);
#endif
			t = 0;
			do
			:: t < THREADS && !IS_HOSTILE(r) ->
				alive[r]++;
				run reader(r, THREAD(r, t));
				t++
			:: else -> break
			od;
#ifdef HOSTILE
			if
			:: IS_HOSTILE(r) -> run hostile(r)
			:: else -> skip
			fi;
#endif
			r++
		:: else -> break
		od;
#ifdef KILL
		run killer(0);
#endif
#ifdef JOIN
		run joiner(RINGS - 1);
#endif
		do
		:: m < PUBS -> run publisher(m); m++
		:: else -> break
		od;
		r = 0; m = 0; t = 0
	}

	published == PUBS;
	timeout;
	d_step {
		stop = 1;
		do
		:: r < RINGS ->
			if
			:: IS_HOSTILE(r) -> skip
			:: else -> check_wakeups()
			fi;
			r++
		:: else -> break
		od;
		r = 0
	}
	do
	:: r < RINGS ->
		alive[r] == 0;
		d_step {
			!R.lock;
			close_ring();
			R.using = 0;
			r++
		}
	:: else -> break
	od;
	r = 0;
	d_step {
		check_references();
		do
		:: r < RINGS -> check_counts(); r++
		:: else -> break
		od
	}
}
