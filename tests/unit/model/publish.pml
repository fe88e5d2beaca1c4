/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring contract, publisher side: the fan-out of a chunk, waking, and waiting
 * for room in rings of policy `block`.
 */

/* What could not be written is lost for the reason that was found. */
inline lose(first, count)
{
	h = 0;
	do
	:: h < count ->
		x = (first) + h + 1;
		account(x, why);
		put(x);
		h++
	:: else -> break
	od
}

#define ABSENT	(R.closed || R.broken || (R.unsubscribed && (m & 1)))

/* Before the first descriptor is visible: one for each ring. */
inline raise_references()
{
	h = 0;
	do
	:: h < n -> ref[m + h] = ref[m + h] + RINGS; h++
	:: else -> break
	od
}

inline put_unused()
{
	h = 0;
	do
	:: h < n -> x = m + h + 1; put(x); h++
	:: else -> break
	od
}

/* The chunk [m, m + n) to one ring: descriptors, then A, in one hold. */
inline deliver()
{
	d_step {
		!R.lock ->
		R.reserved = R.reserved - RESERVES;
		if
		:: ABSENT -> next = GONE; put_unused()
		:: else ->
			R.sent = R.sent | (((1 << n) - 1) << m);
			touch(n);
			assert(POLICY != BLOCK || take == n)
		fi
	}
	make_room(n);
	if
	:: next == GONE -> next = DONE
	:: else ->
#ifdef MUT_G_EARLY
		mark = R.need_wakeup;
#endif
#ifdef MUT_A
		if
		:: take -> d_step { DRAINED(prod) -> STORE(prod, R.kprod + take) }
		:: else -> skip
		fi;
#endif
		do
		:: d_step { done < take -> write_one(m + done); done++ }
		:: done == take -> break
		od;
		done = 0;
		d_step {
			DRAINED(prod) ->
#ifndef MUT_A
			if
			:: take -> STORE(prod, R.kprod)
			:: else -> skip
			fi;
#endif
			lose(m + take, n - take);
			why = 0;
			take = 0;
			R.lock = 0
		}
	fi
}

inline wake_threads()
{
	h = 0;
	do
	:: h < THREADS ->
#ifdef WAIT
		x = THREAD(r, h);
		event[x] = event[x] || queued[x];
		queued[x] = 0;
#else
		event[THREAD(r, h)] = 1;
#endif
		h++
	:: else -> break
	od
}

/* G, then the mark; how many wait is asked only if one is not enough. */
inline wake()
{
	d_step {
#ifndef MUT_G
		DRAINED(prod) ->
#endif
#ifndef MUT_G_EARLY
		mark = R.need_wakeup;
#endif
		if
		:: mark == 1 -> mark = 0; wake_threads()
		:: else -> skip
		fi
	}
	if
	:: mark ->
		d_step {
			if
			:: R.kprod - R.claim >= mark -> wake_threads()
			:: else -> skip
			fi;
			mark = 0
		}
	:: else -> skip
	fi
}

#if POLICY == BLOCK
/* The i-th ring: publisher 1 takes them the other way round. */
#define ORDER(i)	((p & 1) * (RINGS - 1 - 2 * (i)) + (i))

/* What was reserved may be what somebody else sleeps for. */
inline give_back()
{
	do
	:: i ->
		d_step { i--; r = ORDER(i) };
		d_step {
			!R.lock ->
#ifndef MUT_UNDO_SILENT
			kick();
#endif
			R.reserved = R.reserved - RESERVES
		}
	:: else -> break
	od
}

/* In the queue first, then blocked, I, and a last look. */
inline wait_for_room()
{
	d_step {
		!R.lock && DRAINED(blocked) ->
#ifndef MUT_JOIN_LATE
		waits_on[p] = r + 1;
#endif
		x = R.tail + QUARTER;
#ifndef MUT_BLOCKED_BEYOND
		/* no further than what can be released */
		if
		:: x > R.kprod -> x = R.kprod
		:: else -> skip
		fi;
#endif
		STORE(blocked, x + 1)
	}
	d_step {
#ifdef MUT_I
		!R.lock ->
#else
		!R.lock && DRAINED(blocked) ->
#endif
		touch(1)
	}
	make_room(1);
	R.lock = 0;
	if
	:: why == 0 -> skip
#ifdef MUT_JOIN_LATE
	:: why -> waits_on[p] = r + 1; kicked[p]
#else
	:: why -> kicked[p]
#endif
	fi;
	d_step {
		!R.lock && DRAINED(blocked) ->
		why = 0;
		take = 0;
		kicked[p] = 0;
		waits_on[p] = 0;
		h = 0;
		do
		:: h < PUBS && waits_on[h] != r + 1 -> h++
		:: else -> break
		od;
#ifdef MUT_BLOCKED_CLEARED
		h = PUBS;
#endif
		if
		:: h == PUBS -> R.blocked = 0
		:: else -> skip
		fi
	}
}

/* -EAGAIN, or a signal: the chunk is not published. */
inline give_up()
{
	d_step {
		r = 0;
		do
		:: r < RINGS -> put_unused(); r++
		:: else -> break
		od
	}
}

/* Phase 1: a count in every ring, or in none. */
inline reserve()
{
	do
	:: i < RINGS ->
		r = ORDER(i);
		d_step { !R.lock -> touch(1) }
		make_room(1);
		take = 0;
		d_step {
			R.lock = 0;
			if
			:: why -> busy = r + 1; why = 0
			:: else -> R.reserved = R.reserved + RESERVES; i++
			fi
		}
		if
		:: busy ->
			give_back();
			r = busy - 1;
			busy = 0;
			if
			:: true -> wait_for_room()
			:: GIVES_UP(p) -> break
			fi
		:: else -> skip
		fi
	:: else -> break
	od
}
#endif

proctype publisher(byte p)
{
	byte m, n, r, rel, claim, fails, drops, why, next, take, done, mark, i, busy, early;
	bit fresh;

	m = p * M;
	do
	:: m < (p + 1) * M ->
		n = 1;
		if
		:: true -> skip
		:: CHUNK == 2 && m + 1 < (p + 1) * M -> n = 2
		fi;
#ifndef MUT_RAISED_LATE
		d_step { raise_references() }
#endif
#if POLICY == BLOCK
		reserve();
		if
		:: i < RINGS -> give_up(); goto next_chunk
		:: else -> i = 0
		fi;
#endif
		r = 0;
		do
		:: r < RINGS -> deliver(); r++
		:: else -> break
		od;
#ifdef MUT_RAISED_LATE
		r = 0;
		d_step { raise_references() }
#endif
#ifndef SPIN
		r = 0;
		do
		:: r < RINGS -> wake(); r++
		:: else -> break
		od;
#endif
next_chunk:	r = 0;
		m = m + n;
		n = 0
	:: else -> break
	od;
	m = 0;
	published++
}
