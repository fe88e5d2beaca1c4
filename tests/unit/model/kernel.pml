/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring contract, kernel side: what happens under the ring's lock to make
 * room, to KEEP, to break and to close.
 *
 * An inline that has no step of its own is called from within a d_step; `h` and
 * `x` are its scratch variables.
 */

hidden byte h, x;

/* What a touch of the ring does next. */
#define DONE	0
#define READ	1
#define REREAD	2
#define CAS	3
#define RELOAD	4
#define GONE	5

#define ROOM	(N - (R.kprod - R.tail))
#ifdef PINS
/*
 * All runs are of one page, and the ring has two entries.  Pins count where room is
 * asked for: what is written then is not refused for them any more.
 */
#define FREE_PINS	\
	(PINS - R.nheld - (R.entry[0] != 0) - (R.entry[1] != 0) - R.elsewhere)
#define PINS_FIT(need)	(!R.asking || FREE_PINS >= need)
#else
#define PINS_FIT(need)	1
#endif
#define HAS_ROOM(need)	(ROOM >= need && PINS_FIT(need))

/* Puts one reference and clears its owner's record: the only one that does. */
inline put(record)
{
	assert(record);
	assert(ref[record - 1] > 0);
	ref[record - 1]--;
	assert(ref[record - 1] > 0 || !USED(record - 1));
	record = 0
}

/* Settles, once, what became of a message in this ring. */
inline account(record, what)
{
	assert(R.fate[record - 1] == PENDING);
	R.fate[record - 1] = what;
	REACH(what)
}

/* A mapped message is received when it is claimed, one of RECV when copied. */
inline account_claimed(record)
{
#ifdef RECV
	skip
#else
	account(record, RECEIVED)
#endif
}

/* The record at h leaves the held list, which stays in order. */
inline forget_held()
{
	do
	:: h + 1 < R.nheld ->
		R.held_at[h] = R.held_at[h + 1];
		R.held_run[h] = R.held_run[h + 1];
		h++
	:: else -> break
	od;
	R.nheld--;
	R.held_at[R.nheld] = 0;
	R.held_run[R.nheld] = 0
}

inline put_released()
{
	do
	:: R.nheld && R.held_at[0] < R.release_seen ->
		put(R.held_run[0]);
		h = 0;
		forget_held()
	:: else -> break
	od;
	do
	:: R.tail < R.release_seen ->
		if
		:: R.entry[SLOT(R.tail)] ->
			account_claimed(R.entry[SLOT(R.tail)]);
			put(R.entry[SLOT(R.tail)])
		:: else -> skip
		fi;
		R.tail++
	:: else -> break
	od
}

#ifdef MUT_MOVE_UNCHECKED
#define MAY_MOVE	(R.tail < R.kprod)
#else
#define MAY_MOVE	(R.tail < R.claim_seen)
#endif
#ifdef MUT_HELD_UNBOUNDED
#define HELD_ROOM	1
#else
#define HELD_ROOM	(R.nheld < HELD)
#endif

/* Claimed entries leave their slots, no more of them than space needs. */
inline move_claimed(need)
{
	do
	:: ROOM < need && MAY_MOVE && R.entry[SLOT(R.tail)] == 0 ->
		R.tail++
	:: ROOM < need && MAY_MOVE && R.entry[SLOT(R.tail)] && HELD_ROOM ->
		account_claimed(R.entry[SLOT(R.tail)]);
		R.held_at[R.nheld] = R.tail;
		R.held_run[R.nheld] = R.entry[SLOT(R.tail)];
		R.entry[SLOT(R.tail)] = 0;
		R.nheld++;
		R.tail++
	:: else -> break
	od
}

inline settle(need)
{
	put_released();
	move_claimed(need);
	assert(R.tail <= R.claim_seen && R.claim_seen <= R.kprod);
	assert(R.kprod - R.tail <= N && R.nheld <= HELD)
}

/* Everything that the ring still refers to; what is unread is lost as `why`. */
inline empty_ring(why)
{
#ifdef RECV
	if
	:: R.latch -> account(R.latch, why); put(R.latch)
	:: else -> skip
	fi;
#endif
	do
	:: R.nheld ->
		put(R.held_run[0]);
		h = 0;
		forget_held()
	:: else -> break
	od;
	do
	:: R.tail < R.kprod ->
		if
		:: R.entry[SLOT(R.tail)] ->
			x = why;
#if !defined(MUT_CLOSE_COUNTS_TAIL) && !defined(RECV)
			if
			:: R.tail < R.claim_seen -> x = RECEIVED
			:: else -> skip
			fi;
#endif
			account(R.entry[SLOT(R.tail)], x);
			put(R.entry[SLOT(R.tail)])
		:: else -> skip
		fi;
		R.tail++
	:: else -> break
	od
}

inline break_ring()
{
	assert(IS_HOSTILE(r));
	R.broken = 1;
	empty_ring(LOST_BROKEN)
}

#ifdef MUT_CLAIM_REWOUND
#define CLAIM_VALID(claim)	((claim) <= R.kprod)
#elif defined(MUT_CLAIM_BEYOND)
#define CLAIM_VALID(claim)	((claim) >= R.claim_seen)
#else
#define CLAIM_VALID(claim)	((claim) >= R.claim_seen && (claim) <= R.kprod)
#endif
#ifdef MUT_RELEASE_BEYOND
#define RELEASE_VALID(release, claim)	((release) >= R.release_seen)
#else
#define RELEASE_VALID(release, claim)	\
	((release) >= R.release_seen && (release) <= (claim))
#endif

/* Takes what was read, once each, into the private copies, if it is valid. */
inline accept(new_release, new_claim, need)
{
	if
	:: CLAIM_VALID(new_claim) && RELEASE_VALID(new_release, new_claim) ->
		R.claim_seen = new_claim;
		R.release_seen = new_release;
		settle(need)
	:: else -> break_ring()
	fi
}

/* Room in the held list is decided before any drop. */
#ifdef MUT_HELD_AFTER_DROP
#define HELD_DECIDED	(R.claim_seen < R.kprod && !drops)
#else
#define HELD_DECIDED	(R.tail == R.claim_seen)
#endif
#ifdef MUT_NO_REREAD
#define MAY_REREAD	0
#else
#define MAY_REREAD	(!fresh)
#endif
#ifdef MUT_NEVER_CONTENDED
#define CONTENDED	0
#else
#define CONTENDED	(fails == CONTEND)
#endif

/* What comes next for `need` entries; why: what cannot be had is lost as. */
inline decide(need)
{
	next = DONE;
	if
	:: R.broken -> why = LOST_BROKEN
	:: else ->
		if
		:: HAS_ROOM(need) -> why = 0
		:: else ->
			if
			:: !HELD_DECIDED ->
				why = LOST_HELD;
				if
				:: MAY_REREAD -> next = REREAD
				:: else -> skip
				fi
			:: else ->
				why = LOST_FULL;
				if
				:: POLICY == OLDEST && CONTENDED ->
					why = LOST_CONTENDED
				:: POLICY == OLDEST && !CONTENDED ->
					next = CAS
				:: else -> skip
				fi
			fi
		fi
	fi;
	if
	:: next == DONE -> room_made(need)
	:: else -> skip
	fi
}

/*
 * What was dropped was dropped for an entry that can be written now, and nothing is
 * lost while a claimed entry could make way for it.
 */
inline room_made(need)
{
	assert(R.broken || drops <= ROOM);
	assert(R.broken || ROOM >= need || R.tail == R.claim_seen || !HELD_ROOM);
	take = need;
	if
	:: R.broken -> take = 0
	:: !R.broken && ROOM < need -> take = ROOM
	:: else -> skip
	fi;
	if
	:: !R.broken && !PINS_FIT(take) -> take = 0
	:: else -> skip
	fi;
	fails = 0;
	drops = 0;
	fresh = 0
}

/* F, then D: the other order takes an honest ring for a broken one. */
inline read_words(need)
{
#ifdef MUT_F
	claim = R.claim;
	d_step {
		rel = R.release;
#else
	rel = R.release;
#ifdef MUT_D
	early = R.release + 1;
#endif
	d_step {
		claim = R.claim;
#endif
#ifdef MUT_DOUBLE_FETCH
		skip
	}
	d_step {
		if
		:: CLAIM_VALID(claim) && RELEASE_VALID(rel, claim) ->
			R.claim_seen = claim;
			R.release_seen = R.release;
			settle(need)
		:: else -> break_ring()
		fi;
#else
		accept(rel, claim, need);
#endif
		fresh = 0;
		decide(need);
		rel = 0;
		claim = 0
	}
}

/* Once more before a loss is counted as `held`; D came before. */
inline read_release_again(need)
{
	d_step {
#if defined(MUT_D) || defined(MUT_D_FAILED)
		if
		:: early -> rel = early - 1
		:: else -> rel = R.release
		fi;
		early = 0;
#else
		rel = R.release;
#endif
#ifndef MUT_NO_CLAMP
		if
		:: rel > R.claim_seen -> rel = R.claim_seen
		:: else -> skip
		fi;
#endif
		fresh = 1;
		if
		:: rel >= R.release_seen ->
			R.release_seen = rel;
			settle(need)
		:: else -> break_ring()
		fi;
		decide(need);
		rel = 0
	}
}

/* The unclaimed head, no more of it than is needed. */
inline drop_head(count)
{
	h = 0;
	do
	:: h < count ->
		x = SLOT(R.claim_seen);
		if
		:: R.entry[x] ->
			account(R.entry[x], LOST_OLDEST);
#ifdef MUT_DROP_KEEPS_RECORD
			ref[R.entry[x] - 1]--;
#else
			put(R.entry[x])
#endif
		:: else -> skip
		fi;
		R.claim_seen++;
		h++
	:: else -> break
	od;
	if
	:: R.tail == R.claim_seen - count -> R.tail = R.claim_seen
	:: else -> skip
	fi;
	drops = drops + count
}

/* One compare-and-swap.  One that fails orders nothing. */
inline drop_oldest(need)
{
#ifdef MUT_D_FAILED
	early = R.release + 1;
#endif
	d_step {
#ifdef MUT_DROP_STORE
		if
		:: true ->
#else
		if
		:: R.claim == R.claim_seen ->
#endif
			R.claim = R.claim_seen + (need - ROOM);
			drop_head(need - ROOM);
			decide(need)
		:: else ->
			fails++;
			assert(fails <= CONTEND);
			next = RELOAD
		fi
	}
}

/*
 * D again: what is read after it is not older than the claim.  What was claimed makes
 * room, after the last failure as well, before anything is lost.
 */
inline load_claim_again(need)
{
	d_step {
#if defined(MUT_NO_REVALIDATION)
		R.claim_seen = R.claim;
		settle(need);
#elif defined(MUT_CONTENDED_UNMOVED)
		R.claim_seen = R.claim;
		if
		:: !CONTENDED -> settle(need)
		:: else -> skip
		fi;
#else
		accept(R.release_seen, R.claim, need);
#endif
		fresh = 0;
#ifdef MUT_CONTENDED_UNMOVED
		if
		:: CONTENDED -> why = LOST_CONTENDED; next = DONE; room_made(need)
		:: else -> decide(need)
		fi
#else
		decide(need)
#endif
	}
}

/* Takes the lock and looks whether the words have to be read at all. */
inline touch(need)
{
	R.lock = 1;
	if
	:: HAS_ROOM(need) -> next = DONE; room_made(need)
	:: else -> next = READ
	fi
}

/* Room for `need` entries, or why not. */
inline make_room(need)
{
	if
	:: EAGER && next == DONE -> next = READ
	:: true -> skip
	fi;
	do
	:: next == DONE || next == GONE -> break
	:: next == READ -> read_words(need)
	:: next == REREAD -> read_release_again(need)
	:: next == CAS -> drop_oldest(need)
	:: next == RELOAD -> load_claim_again(need)
	od
}

inline write_one(message)
{
	assert(R.kprod - R.tail < N);
	assert(R.entry[SLOT(R.kprod)] == 0);
	R.entry[SLOT(R.kprod)] = (message) + 1;
	R.slot[SLOT(R.kprod)] = (message) + 1;
	R.was[R.kprod] = (message) + 1;
	R.kprod++
}

/* KEEP(index): the reference moves to a record of the endpoint's own. */
inline keep(index, record)
{
	claim = R.claim;
	if
	:: index < R.tail ->
		h = 0;
		do
		:: h < R.nheld && R.held_at[h] != index -> h++
		:: else -> break
		od;
		if
		:: h < R.nheld ->
			record = R.held_run[h];
			forget_held();
			REACH(SEEN_KEPT_HELD)
		:: else -> skip
		fi
	:: else ->
		if
		:: index < claim && index < R.kprod ->	/* claim may be anything */
			record = R.entry[SLOT(index)];
			if
			:: record -> account(record, RECEIVED)
			:: else -> skip
			fi;
#ifndef MUT_KEEP_COPIES
			R.entry[SLOT(index)] = 0
#endif
		:: else -> skip
		fi
	fi;
	claim = 0
}

/* Wakes the publishers that wait for room in this ring. */
inline kick()
{
	h = 0;
	do
#ifdef MUT_KICK_ONE
	:: h < PUBS && waits_on[h] == r + 1 && !kicked[h] -> kicked[h] = 1; break
	:: h < PUBS && (waits_on[h] != r + 1 || kicked[h]) -> h++
#else
	:: h < PUBS -> kicked[h] = kicked[h] || waits_on[h] == r + 1; h++
#endif
	:: else -> break
	od
}

/* Under the lock: release reached what was asked for, so a kick is due. */
inline take_blocked()
{
	kick_due = (R.blocked && R.release >= R.blocked);
	if
	:: kick_due -> R.blocked = 0
	:: else -> skip
	fi
}

/* And after it. */
inline kick_if_due()
{
	if
	:: kick_due -> d_step { kick(); kick_due = 0 }
	:: else -> skip
	fi
}

/* ->release: nobody writes the words any more. */
inline close_ring()
{
	R.using = 0;
	if
	:: !R.closed && !R.broken && CLAIM_VALID(R.claim) && RELEASE_VALID(R.release, R.claim) ->
		R.claim_seen = R.claim;
		R.release_seen = R.release;
		put_released()
	:: else -> skip
	fi;
	if
	:: !R.closed ->
		R.closed = 1;
		empty_ring(LOST_CLOSED);
#ifndef MUT_CLOSE_SILENT
		kick()
#endif
	:: else -> skip
	fi
}
