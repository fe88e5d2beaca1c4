/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring contract against a program that joins while others publish, one that is
 * killed, and one that writes what it likes.
 */

#ifdef JOIN
proctype joiner(byte r)
{
	d_step { !R.lock -> R.joined = 1 }
}
#endif

#ifdef KILL
/* May unsubscribe, and is killed at any time: then ->release. */
proctype killer(byte r)
{
	if
	:: d_step { !R.lock -> R.unsubscribed = 1 }
	:: true -> skip
	fi;
	dead = 1;
	alive[r] == 0;
	d_step { !R.lock && DRAINED(need_wakeup) && DRAINED(release) -> close_ring() }
}
#endif

#ifdef HOSTILE
/* Any claim and any release at any time; KEEP of any index, and DROP. */
proctype hostile(byte r)
{
	byte claim;

	do
	:: d_step { R.claim = (R.claim + 1) % (TOTAL + 2) }
	:: d_step { R.release = (R.release + 1) % (TOTAL + 2) }
#ifdef KEEP
	:: d_step { !R.lock && !R.broken && kept[0] == 0 -> keep(R.release, kept[0]) }
	:: d_step { kept[0] -> put(kept[0]) }
#endif
	:: published == PUBS -> break
	od
}
#endif
