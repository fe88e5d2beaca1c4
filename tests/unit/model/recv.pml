/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring contract for RECV and read(2): the words are the kernel's own, used
 * under the ring's lock, and the readers of an endpoint are serialised.
 *
 * What is to be copied is claimed first, so that no drop takes it meanwhile, and
 * stays the first one if the copy fails.  It counts as received, and is released,
 * when its copy succeeded.
 */

bit recv_mutex;
byte first_at;			/* index of what was taken and not copied yet */
byte first_run;			/* its message + 1: a copy of the descriptor */

inline recv_take()
{
	d_step {
		!R.lock ->
		ok = 1;
		if
		:: first_run -> REACH(SEEN_RETRIED)
		:: else ->
			if
			:: R.claim < R.kprod ->
				first_at = R.claim;
				first_run = R.slot[SLOT(R.claim)];
#ifdef MUT_RECV_CLAIMS_LATE
				ref[first_run - 1]++
#else
				R.claim++
#endif
			:: else -> ok = 0
			fi
		fi;
		if
		:: ok -> R.using = R.using | (1 << (first_run - 1))
		:: else -> skip
		fi
	}
}

inline recv_done()
{
	d_step {
		!R.lock ->
#ifdef MUT_RECV_CLAIMS_LATE
		assert(R.claim == first_at);
		R.claim++;
		ref[first_run - 1]--;
#endif
		obtain(first_run, first_at);
		unuse(first_run);
		account(first_run, RECEIVED);
		R.release = first_at + 1;
		first_at = 0;
		first_run = 0
	}
}

/* The buffer was not there, or too short. */
inline recv_failed()
{
	d_step {
		unuse(first_run);
#ifdef MUT_RECV_CLAIMS_LATE
		ref[first_run - 1]--;
		first_run = 0;
		first_at = 0
#endif
	}
}

/* After joining the queue: ok if there is something to take. */
inline recv_look()
{
	d_step { recv_mutex = 0; queued[t] = 1 }
	d_step {
		!R.lock ->
		ok = (first_run || R.claim < R.kprod);
#ifdef MUT_RECV_BLIND
		ok = 0;
#endif
		if
		:: ok -> queued[t] = 0; event[t] = 0
		:: else -> asleep[r]++
		fi
	}
}

proctype reader(byte r; byte t)
{
	bit ok;

	do
	:: d_step { recv_mutex == 0 -> recv_mutex = 1 }
		recv_take();
		if
		:: ok -> ok = 0; recv_done(); recv_mutex = 0
		:: ok -> ok = 0; recv_failed(); recv_mutex = 0
		:: ok -> ok = 0; recv_failed(); recv_mutex = 0; break	/* for good */
		:: !ok ->
			recv_look();
			if
			:: ok -> ok = 0
			:: !ok ->
				if
				:: d_step { event[t] -> event[t] = 0; asleep[r]-- }
				:: stop -> break
				fi
			fi
		fi
	od;
	alive[r]--
}
