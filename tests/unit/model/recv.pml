/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring contract for RECV and read(2): the words are the kernel's own, used
 * under the ring's lock.
 *
 * A message that is to be copied is latched: it leaves the ring, so that no drop
 * takes it meanwhile, with a reference of its own, and stays the first one if the
 * copy fails.  It counts as received when its copy succeeded.
 *
 * A reader has `read_lock` while it latches and copies.  Of those that wait one
 * sleeps in the queue, with `read_turn`.  The last of several threads does not wait,
 * but looks at the edges of a poll.
 */

/* Somebody has to go on where a publisher waits. */
#define MAY_LEAVE	(POLICY != BLOCK)

byte read_lock;			/* thread + 1 */
bit read_turn;

inline use_latched()
{
	R.using = R.using | (1 << (R.latch - 1))
}

inline latch_message()
{
	d_step {
		!R.lock && DRAINED(prod) ->
		ok = 1;
		if
		:: R.latch -> REACH(SEEN_RETRIED); use_latched()
		:: R.latch == 0 && R.claim < R.kprod ->
			R.latch_at = R.claim;
			R.latch = R.slot[SLOT(R.claim)];
#ifndef MUT_LATCH_UNPINNED
			ref[R.latch - 1]++;
#endif
			use_latched();
#ifndef MUT_LATCH_STAYS
			leave_ring()
#endif
		:: else -> ok = 0
		fi;
#ifndef MUT_RECV_NO_KICK
		take_blocked()
#endif
	}
	kick_if_due()
}

inline leave_ring()
{
	R.claim++;
	R.release = R.claim;
	R.claim_seen = R.claim;
	R.release_seen = R.release;
	put_released()
}

inline unlatch()
{
	d_step {
		!R.lock ->
#ifdef MUT_LATCH_STAYS
		assert(R.claim == R.latch_at);
		leave_ring();
#endif
		obtain(R.latch, R.latch_at);
		unuse(R.latch);
		account(R.latch, RECEIVED);
#ifdef MUT_LATCH_UNPINNED
		R.latch = 0;
#else
		put(R.latch);
#endif
		R.latch_at = 0
	}
}

/* With the mutex, ok if there is a message. */
inline latch_locked()
{
	latch_message();
	if
	:: !ok -> read_lock = 0
	:: ok -> skip
	fi
}

/* Somebody else's copy is waited for; who sleeps does not have the mutex. */
inline lock_reader()
{
	assert(!read_lock || !queued[read_lock - 1]);
	d_step { read_lock == 0 -> read_lock = t + 1 }
}

/* One that does not wait: it does for a copy, if there is something behind it. */
inline latch_nonblock()
{
	if
	:: d_step { read_lock == 0 -> read_lock = t + 1 }
		latch_locked()
	:: read_lock ->
		if
		:: !(R.claim < R.prod) -> skip
		:: R.claim < R.prod -> lock_reader(); latch_locked()
		fi
	fi
}

/* The poll's own look drops an edge for which there is nothing. */
inline poll_sleep()
{
	do
	:: d_step { event[t] -> event[t] = 0 }
		d_step { !R.lock -> ok = (R.latch || R.claim < R.kprod) }
		if
		:: ok -> ok = 0; break
		:: !ok -> skip
		fi
	:: stop -> leaves = 1; break
	od
}

/* Joins the queue, H, looks. */
inline read_sleep()
{
	d_step { queued[t] = 1; assert(!asleep[r]) }
#ifdef MUT_RECV_SLEEPS_LOCKED
	d_step { read_lock == 0 -> read_lock = t + 1 }
#endif
	ok = (R.claim < R.prod);
#ifndef MUT_LATCH_UNSEEN
	ok = ok || R.latch;
#endif
#ifdef MUT_RECV_BLIND
	ok = 0;
#endif
	if
	:: ok -> skip
	:: !ok ->
		asleep[r]++;
		if
		:: event[t]
		:: event[t] && MAY_LEAVE -> leaves = 1	/* a signal came with it */
		:: stop -> leaves = 1
		fi;
		asleep[r]--
	fi;
#ifdef MUT_RECV_SLEEPS_LOCKED
	read_lock = 0;
#endif
	d_step { queued[t] = 0; event[t] = 0; ok = 0 }
}

inline latch_wait()
{
	if
#ifdef MUT_NO_TURN
	:: true
#else
	:: d_step { read_turn == 0 -> read_turn = 1 }
#endif
		do
		:: lock_reader();
			latch_locked();
			if
			:: ok -> break
			:: !ok -> read_sleep()
			fi;
			if
			:: leaves -> break
			:: !leaves -> skip
			fi
		od;
		read_turn = 0
	:: stop -> leaves = 1
	fi
}

/* The copy failed: the buffer was not there, or too short.  Perhaps nobody tries again. */
inline copy_failed()
{
	unuse(R.latch);
	read_lock = 0;
	if
	:: true -> skip
	:: MAY_LEAVE -> leaves = 1
	fi;
#ifndef MUT_RECV_FAILS_SILENTLY
	d_step { wake_threads(); h = 0 }
#endif
}

proctype reader(byte r; byte t)
{
	bit ok, leaves, kick_due;

	do
	:: leaves -> break
	:: !leaves ->
		if
		:: POLLS(t) -> latch_nonblock()
		:: !POLLS(t) -> latch_wait()
		fi;
		if
		:: ok && !leaves ->
			ok = 0;
			if
			:: true -> unlatch(); read_lock = 0
			:: true -> copy_failed()
			fi
		:: !ok && !leaves && POLLS(t) -> poll_sleep()
		:: else -> skip
		fi
	od;
	alive[r]--
}
