/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring contract, subscriber side: a thread of the library on a mapped ring.
 *
 * The library's critical section is a d_step: it has one access to a word that
 * the kernel uses.  What it stores there is visible before another thread's
 * critical section, hence the waiting for DRAINED() where one begins.
 */

/* A copy of the descriptor at `index` means something: message + 1. */
inline obtain(copy, index)
{
	assert(copy && copy == R.was[index]);
	assert(ref[copy - 1] > 0);
	/* each once, and in the order in which they were published */
	assert(PUBS > 1 || (R.got >> (copy - 1)) == 0);
	assert(((R.got >> (copy - 1)) & 1) == 0);
	R.got = R.got | (1 << (copy - 1));
	R.using = R.using | (1 << (copy - 1))
}

inline unuse(copy)
{
	if
	:: copy -> R.using = R.using & ~(1 << (copy - 1))
	:: else -> skip
	fi
}

inline register()
{
	R.out_end[R.nout] = c + k;
	R.out_size[R.nout] = k;
	R.out_done[R.nout] = 0;
	R.nout++;
	R.outstanding = R.outstanding + k
}

inline obtain_copies()
{
	obtain(a, c);
	if
	:: k == 2 -> obtain(b, c + 1)
	:: else -> skip
	fi
}

inline copy_descriptors()
{
	a = R.slot[SLOT(c)];
	if
	:: k == 2 -> b = R.slot[SLOT(c + 1)]
	:: else -> skip
	fi
}

inline forget()
{
	c = 0;
	p = 0;
	k = 0;
	a = 0;
	b = 0;
	ok = 0
}

/* C: only if it succeeds do the copies mean anything. */
inline claim_entries()
{
	d_step {
		R.outstanding < BOUND && DRAINED(release) ->
		if
		:: R.outstanding + k > BOUND -> k = 1; b = 0
		:: else -> skip
		fi;
		ok = (R.claim == c);
#ifdef MUT_CLAIM_STORE
		ok = 1;
#endif
		if
		:: ok -> R.claim = c + k
		:: else -> skip
		fi;
#ifdef MUT_COPIES_ANYHOW
		ok = 1;
#endif
		if
		:: ok ->
#ifndef MUT_SPLIT_SECTION
			register();
#endif
#ifdef MUT_C
			skip
#else
			obtain_copies()
#endif
		:: else -> forget()
		fi
	}
#ifdef MUT_SPLIT_SECTION
	if
	:: ok -> d_step { register() }
	:: else -> skip
	fi
#endif
}

/* Marks one's own claim and leaves the end of the finished prefix in `rel`. */
inline finish()
{
	rel = 0;
	i = 0;
	do
	:: R.out_end[i] != c + k -> i++
	:: else -> break
	od;
	R.out_done[i] = 1;
#ifdef MUT_BOUND_IN_USE
	R.outstanding = R.outstanding - R.out_size[i];
	R.out_size[i] = 0;
#endif
	do
	:: R.nout && R.out_done[0] ->
		rel = R.out_end[0];
		R.outstanding = R.outstanding - R.out_size[0];
		R.nout--;
		i = 0;
		do
		:: i < R.nout ->
			R.out_end[i] = R.out_end[i + 1];
			R.out_size[i] = R.out_size[i + 1];
			R.out_done[i] = R.out_done[i + 1];
			i++
		:: else -> break
		od;
		R.out_end[R.nout] = 0;
		R.out_size[R.nout] = 0;
		R.out_done[R.nout] = 0
	:: else -> break
	od;
#ifdef MUT_RELEASE_UNFINISHED
	rel = c + k;
#endif
	i = 0
}

inline store_release()
{
	if
	:: rel ->
		STORE(release, rel);
#if POLICY != BLOCK
		rel = 0
#endif
	:: else -> skip
	fi
}

/* A call is due if a publisher waits for an index that was passed; the kernel looks again. */
inline kick_publisher()
{
	if
	:: rel ->
		d_step {
#ifndef MUT_J
			DRAINED(release) ->
#endif
			kick_due = (R.blocked && rel >= R.blocked);
			rel = 0
		}
		if
		:: kick_due -> d_step { !R.lock && DRAINED(release) -> take_blocked() }
		:: else -> skip
		fi;
		kick_if_due()
	:: else -> skip
	fi
}

/* E: the payload is not touched any more when release is seen. */
inline release_entries()
{
#if defined(MUT_E)
	d_step { finish(); store_release() }
	d_step { unuse(a); unuse(b); forget() }
#elif defined(MUT_RELEASE_OUTSIDE)
	d_step { unuse(a); unuse(b); finish() }
	d_step { store_release(); forget() }
#else
	d_step {
		DRAINED(release) ->
		unuse(a);
		unuse(b);
		finish();
		store_release();
		forget()
	}
#endif
#if POLICY == BLOCK
	kick_publisher()
#endif
}

/* In the critical section, as setting it is. */
inline leave_sleep()
{
	d_step {
		DRAINED(need_wakeup) ->
		R.sleepers--;
		ok = (R.sleepers == 0);
#ifdef MUT_CLEAR_UNDER_SLEEPER
		ok = 1;
#endif
#ifdef MUT_CLEAR_OUTSIDE
	}
	d_step {
#endif
		if
		:: ok -> R.need_wakeup = 0
		:: else -> skip
		fi;
		ok = 0
	}
}

/* The mark is the smallest of those who sleep. */
inline arm_wakeup()
{
	d_step {
		DRAINED(need_wakeup) ->
		if
		:: R.sleepers && R.mark < LOW_OF(t) -> skip
		:: else -> R.mark = LOW_OF(t)
		fi;
#ifdef MUT_MARK_OF_LAST
		R.mark = LOW_OF(t);
#endif
		R.sleepers++;
#ifdef MUT_ARMED_ONCE
		if
		:: !armed -> STORE(need_wakeup, R.mark); armed = 1
		:: else -> skip
		fi
#else
		STORE(need_wakeup, R.mark)
#endif
	}
}

/* In WAIT: after joining the queue, reclaim under the lock, and look again. */
inline wait_look()
{
	queued[t] = 1;
	d_step { !R.lock -> R.lock = 1 }
	read_words(0);
	d_step {
		ok = (R.kprod - R.claim_seen >= LOW_OF(t));
#ifdef MUT_WAIT_BLIND
		ok = 0;
#endif
		R.lock = 0;
		take = 0;
		if
		:: ok -> asleep[r]--; queued[t] = 0; event[t] = 0
		:: else -> skip
		fi
	}
}

/* Sets need_wakeup, H, looks again: ok if there is something. */
inline prepare_sleep()
{
	arm_wakeup();
	d_step {
#ifndef MUT_H
		DRAINED(need_wakeup) ->
#endif
		c = R.claim
	}
	d_step {
		p = R.prod;
		ok = (p - c >= LOW_OF(t));
#ifdef MUT_NO_SECOND_LOOK
		ok = 0;
#endif
		if
		:: ok -> skip
		:: else -> asleep[r]++
		fi;
		c = 0;
		p = 0
	}
}

/* An edge-triggered poll, or WAIT. */
inline sleep()
{
#ifdef WAIT
	DRAINED(need_wakeup);
	wait_look();
	if
	:: ok -> skip
	:: !ok ->
#else
	if
	:: true ->
#endif
		if
		:: d_step { event[t] -> event[t] = 0; asleep[r]-- }
		:: stop -> break
		fi
	fi
}

/* In its hands until everything else has passed. */
inline hold_first()
{
	if
	:: t == 0 && !holding -> published == PUBS; holding = 1
	:: else -> skip
	fi
}

/* Uses its message until nothing else happens any more. */
inline be_stuck()
{
	if
	:: true -> skip
	:: t == 0 && !stop -> stuck = 1; stop; stuck = 0
	fi
}

/* What is kept stays in use beyond its release. */
inline keep_one()
{
	if
	:: true -> skip
	:: kept[t] == 0 ->
		d_step {
			!R.lock ->
			keep(c, kept[t]);
			assert(kept[t] == a);
			mine = a;
			a = 0
		}
	fi
}

inline drop_one()
{
	if
	:: true -> skip
	:: kept[t] -> d_step { unuse(mine); mine = 0; put(kept[t]) }
	fi
}

#ifndef RECV
proctype reader(byte r; byte t)
{
	byte c, p, k, a, b, rel, i, mine;
	bit ok, armed, holding, kick_due;
	/* of the kernel's inlines, when this thread is in WAIT or KEEP */
	byte claim, next, why, fails, drops, take, early;
	bit fresh;

	do
	::
#if defined(MUT_PROD_FIRST)
		p = R.prod;
		d_step { c = R.claim; assert(p >= c) };
#elif defined(MUT_B)
		c = R.claim;
		k = 1;
		copy_descriptors();
		p = R.prod;
#else
		c = R.claim;
		d_step { p = R.prod; assert(p >= c) };
#endif
		if
		:: p == c ->
			forget();
#ifdef SPIN
			if
			:: R.prod != R.claim -> skip
			:: stop -> break
			fi
#else
			prepare_sleep();
			if
			:: ok -> skip
			:: !ok -> sleep()
			fi;
			leave_sleep()
#endif
		:: else ->
			if
			:: p > c -> k = 1
			:: K == 2 && p > c + 1 -> k = 2
			fi;
			p = 0;
#if !defined(MUT_B) && !defined(MUT_C)
			copy_descriptors();
#endif
			claim_entries();
			if
			:: !ok -> skip
			:: else ->
#ifdef MUT_C
				copy_descriptors();
				d_step { obtain_copies() };
#endif
#ifdef HOLD
				hold_first();
#endif
#ifdef STUCK
				be_stuck();
#endif
#ifdef KEEP
				keep_one();
				release_entries();
				drop_one()
#else
				release_entries()
#endif
			fi
		fi
	od unless { dead };
	alive[r]--
}
#endif
