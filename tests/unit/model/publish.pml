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

/* A subscription of its own may join the last publisher's topic, in the last ring. */
#ifdef JOIN
#define DEAF	(r == RINGS - 1 && p == PUBS - 1 && !R.joined)
#else
#define DEAF	0
#endif
#define ABSENT	(R.closed || R.broken || DEAF || (R.unsubscribed && (m & 1)))

/* A subscription of a block ring that this fan-out did not ask for is no part of it. */
#if POLICY == BLOCK && !defined(MUT_JOINER_SERVED)
#define ASKED	((asked >> r) & 1)
#else
#define ASKED	1
#endif

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
		if
		:: ABSENT || !ASKED -> next = GONE; put_unused()
		:: else ->
			R.sent = R.sent | (((1 << n) - 1) << m);
#ifdef MUT_PINS_REFUSED
			R.asking = 1;
#endif
			touch(n);
#ifdef MUT_PINS_REFUSED
			R.asking = 0;
#endif
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
			wakes = wakes | ((take != 0) << r);
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
#if defined(RECV)
		x = THREAD(r, h);
		event[x] = event[x] || queued[x] || POLLS(x);
#elif defined(WAIT)
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

/* G, then the mark, and how many wait. */
inline wake()
{
	d_step {
#ifndef MUT_G
		DRAINED(prod) ->
#endif
#ifndef MUT_G_EARLY
		mark = R.need_wakeup
#else
		skip
#endif
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
/*
 * Phase 1, under the bus's block lock: the prefix of the chunk that every ring can
 * take.  A ring that is absent takes any, and is not stamped: what joins it now is no
 * part of this fan-out.  `asked` is local, for no other fan-out has the same stamp.
 */
inline ask_room()
{
	do
	:: r < RINGS && n ->
		d_step {
			!R.lock ->
#ifdef MUT_ASKED_DEAF
			asked = asked | (1 << r);
#endif
			if
			:: ABSENT -> next = GONE
			:: else ->
				asked = asked | (1 << r);
				R.asking = 1;
				touch(n)
			fi
		}
		make_room(n);
		if
		:: next == GONE -> d_step { next = DONE; r++ }
		:: else ->
			d_step {
				if
#ifdef MUT_ASKS_ONE
				:: r -> skip
#endif
#ifdef MUT_UNCUT
				:: take -> skip
#endif
				:: else -> n = take
				fi;
				R.asking = 0;
				R.lock = 0;
				take = 0;
				why = 0;
				r = r + (n > 0)
			}
		fi
	:: else -> break
	od
}

/*
 * Blocked, I, and a look.  Who asked before and was not kicked keeps his index if it
 * is the lower one.  Who waits only if there is no room takes back what he asked.
 * Leaves in `room` whether there is.
 */
inline ask_kick(leaves)
{
	d_step {
		!R.lock && DRAINED(blocked) ->
		R.lock = 1;
		R.asking = 1;
		next = (R.closed -> DONE : READ);
		others = R.blocked;
		x = QUARTER;
#ifndef MUT_BLOCKED_BEYOND
		/* no further than what can be released */
		if
		:: x > R.kprod - R.release_seen && R.kprod > R.release_seen ->
			x = R.kprod - R.release_seen
		:: x > 1 && R.kprod == R.release_seen -> x = 1
		:: else -> skip
		fi;
#endif
		x = x + R.release_seen;
		if
#ifdef MUT_BLOCKED_RAISED
		:: true -> STORE(blocked, x)
#else
		:: others == 0 || x < others -> STORE(blocked, x)
		:: else -> skip
#endif
		fi
	}
#ifndef MUT_I
	DRAINED(blocked);
#endif
	make_room(1);
	DRAINED(blocked);
	d_step {
		room = (why == 0);
		if
		:: room && leaves ->
#ifdef MUT_LEAVE_CLEARS
			R.blocked = 0
#else
			R.blocked = others
#endif
		:: else -> skip
		fi;
		others = 0;
		why = 0;
		take = 0;
		R.asking = 0;
		R.lock = 0
	}
}

/* In the queue first, then a look. */
inline wait_for_room()
{
#ifndef MUT_JOIN_LATE
	waits_on[p] = r + 1;
#endif
	ask_kick(1);
	if
	:: room -> skip
#ifdef MUT_JOIN_LATE
	:: !room -> waits_on[p] = r + 1; kicked[p]
#else
	:: !room -> kicked[p]
#endif
	fi;
	d_step { room = 0; kicked[p] = 0; waits_on[p] = 0 }
}

/* -EAGAIN: is to be kicked, and may poll, but promised nothing. */
inline refused()
{
	ask_kick(0);
	if
	:: true -> skip
	:: true -> ask_kick(1)
	fi;
	room = 0
}

/* What other rings of the user pin between the phases. */
inline pin_elsewhere()
{
#ifdef PINS
	if
	:: true -> skip
	:: true -> ring[0].elsewhere = 1
	fi
#else
	skip
#endif
}

inline block_unlock()
{
#ifdef PINS
	ring[0].elsewhere = 0;
#endif
	block_lock = 0
}
#endif

proctype publisher(byte p)
{
	byte m, n, r, rel, claim, fails, drops, why, next, take, done, mark, early;
	byte asked, others, wakes;
	bit fresh, room;

	m = p * M;
	do
	:: m < (p + 1) * M ->
		n = 1;
		if
		:: true -> skip
		:: CHUNK == 2 && m + 1 < (p + 1) * M -> n = 2
		fi;
#if POLICY == BLOCK
#ifndef MUT_NO_BLOCK_LOCK
		d_step { block_lock == 0 -> block_lock = 1 }
#endif
		ask_room();
		if
		:: n == 0 ->
			d_step { block_unlock(); asked = 0 }
			if
			:: true -> wait_for_room(); goto next_chunk
			:: p == GIVES_UP ->
				refused();
				if
				:: true -> goto next_chunk
				:: true -> n = 1; goto next_chunk	/* not published */
				fi
			fi
		:: else -> pin_elsewhere()
		fi;
#ifdef MUT_LOCK_BETWEEN
		block_lock = 0;
		d_step { block_lock == 0 -> block_lock = 1 }
#endif
#endif
#ifndef MUT_RAISED_LATE
		d_step { raise_references() }
#endif
		r = 0;
		do
		:: r < RINGS -> deliver(); r++
		:: else -> break
		od;
		r = 0;
#ifdef MUT_RAISED_LATE
		d_step { raise_references() }
#endif
#if POLICY == BLOCK
		d_step { block_unlock(); asked = 0 }
#endif
#ifndef SPIN
		do
		:: r < RINGS ->
			if
			:: (wakes >> r) & 1 -> wake()
			:: else -> skip
			fi;
			r++
		:: else -> break
		od;
#endif
next_chunk:	r = 0;
		d_step { wakes = 0; m = m + n; n = 0 }
	:: else -> break
	od;
	m = 0;
	published++
}
