// SPDX-License-Identifier: GPL-2.0
/*
 * The ring against an obvious record of every message: who was to get it, and what
 * became of it. A payload carries its number, so reuse of what somebody holds shows.
 */
#include <sched.h>
#include <stdio.h>

#include "kmod/ring.h"
#include "test.h"

#define BUDGET		16384	/* pages */
#define SUBS		3
#define PUBLISHERS	6
#define MESSAGES	(1u << 20)
#define UNITS		4	/* of a message: header, payload, room */

static unsigned int seed = 3;

static unsigned int below(unsigned int limit)
{
	return rand_r(&seed) % limit;
}

static void no_zap(struct bmq_store *store, unsigned long first, unsigned long nr)
{
	(void)first;
	(void)nr;
	lockdep_assert_held(&store->map_sem);
}

/* A publisher and its current run. */
struct publisher {
	struct bmq_run *run;
	unsigned int used;	/* units */
};

/* What a message is addressed to and what the subscriber did with it. */
enum fate { FATE_NONE, FATE_WRITTEN, FATE_CLAIMED };

struct scene {
	struct bmq_store store;
	struct bmq_user *user;
	struct bmq_account *account;
	struct bmq_ring ring;
	struct bmq_sub *sub[SUBS];
	struct publisher publisher[PUBLISHERS];
	u64 addressed[SUBS];
	u64 received[SUBS];
	u32 next;			/* number of the next message */
	u32 newest[SUBS];		/* last number received */
	u32 last;			/* last number written */
};

static void scene_begin(struct scene *s, u32 entries, u32 held, u32 policy)
{
	unsigned int i;

	memset(s, 0, sizeof(*s));
	bmq_host.limit = 4 * BUDGET;
	s->store.zap = no_zap;
	EXPECT(!bmq_store_init(&s->store, BUDGET, BUDGET, 100));
	s->user = bmq_user_get(&s->store.purse, 1);
	s->account = bmq_account_get(s->user, 1);
	EXPECT(!bmq_ring_init(&s->ring, &s->store, s->user, entries, held, policy));
	for (i = 0; i < SUBS; i++) {
		s->sub[i] = shim_alloc(sizeof(*s->sub[i]));
		s->sub[i]->cookie = i;
		EXPECT(!bmq_ring_add_sub(&s->ring, s->sub[i], SUBS));
	}
	s->next = 1;
}

static u64 drops_of(const struct bmq_sub *sub)
{
	u64 sum = 0;
	unsigned int i;

	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		sum += sub->drops[i];
	return sum;
}

/* Close: every message is accounted for, every reference put. */
static void scene_end(struct scene *s)
{
	unsigned int i;
	u64 sum = 0;
	bool more;

	spin_lock(&s->ring.lock);
	bmq_ring_look(&s->ring);	/* what was claimed up to now was received */
	s->ring.closed = true;
	do {
		more = bmq_ring_drain(&s->ring);
	} while (more);
	spin_unlock(&s->ring.lock);
	for (i = 0; i < SUBS; i++) {
		EXPECT(s->sub[i]->delivered == s->addressed[i]);
		EXPECT(s->addressed[i] == s->received[i] + drops_of(s->sub[i]));
		EXPECT(!s->sub[i]->queued);
		sum += drops_of(s->sub[i]);
	}
	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		sum -= s->ring.page->drops[i];
	EXPECT(!sum);
	EXPECT(!s->ring.pinned && !atomic_long_read(&s->user->pinned));
	for (i = 0; i < PUBLISHERS; i++) {
		if (s->publisher[i].run) {
			EXPECT(s->publisher[i].run->refs.refs == 1);
			bmq_run_put(&s->store, s->publisher[i].run, 1);
		}
	}
	EXPECT(s->store.idle_pages == s->store.purse.pages);
	for (i = 0; i < SUBS; i++)
		bmq_ring_del_sub(&s->ring, s->sub[i]);
	bmq_ring_destroy(&s->ring);
	bmq_account_put(s->account);
	bmq_user_put(s->user);
	bmq_store_destroy(&s->store);
	EXPECT(!shim_allocated);
}

/* ---- The publisher's side ---- */

static void message_make(struct scene *s, struct publisher *p, struct bmq_msg *msg)
{
	int reason;
	u32 detail;

	if (!p->run || p->used + UNITS > BMQ_UNITS_PER_PAGE) {
		if (p->run)
			bmq_run_put(&s->store, p->run, 1);
		p->run = bmq_store_take(&s->store, s->account, 1, &reason, &detail);
		assert(p->run);
		p->used = 0;
	}
	msg->run = p->run;
	msg->header = bmq_run_at(p->run, p->used * BLIPMQ_ALIGN);
	msg->offset = bmq_run_units(p->run, (p->used + 1) * BLIPMQ_ALIGN);
	msg->length = sizeof(u32);
	memcpy(bmq_run_at(p->run, (p->used + 1) * BLIPMQ_ALIGN), &s->next, sizeof(u32));
	p->used += UNITS;
	s->next++;
}

/* As fan-out does: raise the runs, write, put what was not used. */
static unsigned int chunk_deliver(struct scene *s, struct bmq_chunk *chunk,
				  unsigned int subs, u32 policy)
{
	unsigned int i, nr = 0;

	for (i = 0; i < chunk->nr_parts; i++)
		bmq_run_get(chunk->msgs[chunk->part[i]].run, subs);
	for (i = 0; i < subs; i++) {
		spin_lock(&s->ring.lock);
		if (!s->ring.broken)
			s->addressed[i] += chunk->nr;
		nr += bmq_ring_deliver(&s->ring, s->sub[i], chunk, policy, subs);
		spin_unlock(&s->ring.lock);
	}
	for (i = 0; i < chunk->nr_parts; i++)
		bmq_run_put(&s->store, chunk->msgs[chunk->part[i]].run,
			    subs - chunk->used[i]);
	return nr;
}

/*
 * As a batch does, with references of its own: @nr messages, each of a random publisher
 * of the first few, to the first @subs.
 */
static unsigned int publish(struct scene *s, unsigned int nr, unsigned int publishers,
			    unsigned int subs)
{
	struct bmq_msg msg[BMQ_CHUNK];
	struct bmq_chunk chunk;
	unsigned int i, got, fit = nr;

	for (i = 0; i < nr; i++) {
		message_make(s, &s->publisher[below(publishers)], &msg[i]);
		if (!i || msg[i].run != msg[i - 1].run)
			bmq_run_get(msg[i].run, 1);
	}
	bmq_chunk_begin(&chunk, msg, nr);
	if (s->ring.policy == BLIPMQ_POLICY_BLOCK) {
		spin_lock(&s->ring.lock);
		fit = bmq_ring_capacity(&s->ring, &chunk, nr, subs);
		spin_unlock(&s->ring.lock);
		EXPECT(fit <= nr);
	}
	s->last = s->next - 1 - (nr - fit);
	if (fit)
		bmq_chunk_cut(&chunk, fit);
	got = fit ? chunk_deliver(s, &chunk, subs, s->ring.policy) : 0;
	for (i = 0; i < nr; i++) {
		if (!i || msg[i].run != msg[i - 1].run)
			bmq_run_put(&s->store, msg[i].run, 1);
	}
	return got;
}

/* ---- The subscriber's side ---- */

static u32 number_of(struct scene *s, const struct blipmq_desc *desc)
{
	u32 page = desc->offset / BMQ_UNITS_PER_PAGE, number;
	struct bmq_run *run = s->store.slot[page];

	assert(run && READ_ONCE(run->refs.refs) > 0);
	memcpy(&number, bmq_run_at(run, (desc->offset - run->first * BMQ_UNITS_PER_PAGE) *
				   BLIPMQ_ALIGN), sizeof(number));
	return number;
}

struct claimed {
	bool gone;	/* kept, and then dropped: the claim holds it no more */
	u64 index;
	struct blipmq_desc desc;
	u32 number;
};

static bool claim_one(struct scene *s, struct claimed *c)
{
	struct blipmq_control *control = s->ring.control;
	u64 claim = smp_load_acquire(&control->claim);		/* before prod */
	u64 prod = smp_load_acquire(&s->ring.page->prod);	/* B, matches A */
	const struct blipmq_desc *desc;

	if (claim == prod)
		return false;
	c->index = claim;
	desc = bmq_ring_desc(&s->ring, claim);
	c->desc.offset = READ_ONCE(desc->offset);
	c->desc.length = READ_ONCE(desc->length);
	c->desc.cookie = READ_ONCE(desc->cookie);
	return try_cmpxchg(&control->claim, &claim, claim + 1);	/* C, matches D */
}

static void take_one(struct scene *s, struct claimed *c)
{
	unsigned int sub = c->desc.cookie;

	c->gone = false;
	c->number = number_of(s, &c->desc);
	EXPECT((c->desc.length & BLIPMQ_DESC_LENGTH) == sizeof(u32));
	EXPECT(c->number > s->newest[sub]);
	s->newest[sub] = c->number;
	s->received[sub]++;
}

static void release_to(struct scene *s, u64 index)
{
	smp_store_release(&s->ring.control->release, index);	/* E, matches F */
}

/* ---- Random honest use ---- */

#define HOLD	64

struct holder {
	struct claimed c[HOLD];
	unsigned int nr;
	struct bmq_run *kept[8];
	struct claimed kept_c[8];
	unsigned int nr_kept;
};

static void check_held(struct scene *s, const struct holder *h)
{
	unsigned int i;

	for (i = 0; i < h->nr; i++)
		EXPECT(h->c[i].gone || number_of(s, &h->c[i].desc) == h->c[i].number);
	for (i = 0; i < h->nr_kept; i++)
		EXPECT(number_of(s, &h->kept_c[i].desc) == h->kept_c[i].number);
}

/* Release the oldest @nr of what is held. */
static void release_some(struct scene *s, struct holder *h, unsigned int nr)
{
	if (!nr)
		return;
	release_to(s, h->c[nr - 1].index + 1);
	h->nr -= nr;
	memmove(h->c, h->c + nr, h->nr * sizeof(h->c[0]));
}

static void keep_one(struct scene *s, struct holder *h)
{
	const struct claimed *c = &h->c[below(h->nr)];
	struct bmq_run *run;

	spin_lock(&s->ring.lock);
	run = bmq_ring_keep(&s->ring, c->index);
	if (!IS_ERR(run)) {
		EXPECT(IS_ERR(bmq_ring_keep(&s->ring, c->index)));
		h->kept_c[h->nr_kept] = *c;
		h->kept[h->nr_kept++] = run;
	}
	spin_unlock(&s->ring.lock);
}

static void unkeep_one(struct scene *s, struct holder *h)
{
	unsigned int i;

	for (i = 0; i < h->nr; i++)
		h->c[i].gone |= h->c[i].index == h->kept_c[h->nr_kept - 1].index;
	spin_lock(&s->ring.lock);
	bmq_ring_unkeep(&s->ring, h->kept[--h->nr_kept]);
	spin_unlock(&s->ring.lock);
}

static void random_step(struct scene *s, struct holder *h, unsigned int publishers,
			unsigned int subs)
{
	switch (below(6)) {
	case 0:
	case 1:
		publish(s, 1 + below(below(4) ? 4 : BMQ_CHUNK), publishers, subs);
		break;
	case 2:
	case 3:
		if (h->nr < min_t(u32, s->ring.held_max, HOLD) &&
		    claim_one(s, &h->c[h->nr]))
			take_one(s, &h->c[h->nr++]);
		break;
	case 4:
		release_some(s, h, below(h->nr + 1));
		break;
	default:
		if (h->nr && h->nr_kept < ARRAY_SIZE(h->kept) && below(4) == 0)
			keep_one(s, h);
		else if (h->nr_kept)
			unkeep_one(s, h);
	}
	check_held(s, h);
	EXPECT(!s->ring.broken);
}

static void run_random(u32 entries, u32 held, u32 policy, unsigned int publishers,
		       unsigned int subs, unsigned int steps)
{
	static struct scene s;
	struct holder h = { .nr = 0 };
	unsigned int i;

	scene_begin(&s, entries, held, policy);
	for (i = 0; i < steps; i++)
		random_step(&s, &h, publishers, subs);
	release_some(&s, &h, h.nr);
	while (h.nr_kept)
		unkeep_one(&s, &h);
	/* What is there is claimed and released: the ring is as new. */
	while (claim_one(&s, &h.c[0])) {
		take_one(&s, &h.c[0]);
		release_to(&s, h.c[0].index + 1);
	}
	if (policy == BLIPMQ_POLICY_BLOCK)
		EXPECT(s.received[0] == s.addressed[0]);
	if (policy == BLIPMQ_POLICY_DROP_OLDEST && subs <= entries)
		EXPECT(s.newest[subs - 1] == s.last ||
		       s.ring.page->drops[BLIPMQ_DROP_HELD]);
	scene_end(&s);
}

static void test_random(u32 policy, const char *name)
{
	static const u32 entries[] = { 1, 2, 8, 64, 1024 };
	unsigned int i, publishers, subs;

	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		for (publishers = 1; publishers <= PUBLISHERS; publishers += 5) {
			for (subs = 1; subs <= SUBS; subs += 2)
				run_random(entries[i], max(entries[i] / 4, 1u), policy,
					   publishers, subs, 20000);
		}
	}
	test_done("%s: random publishing, claiming, releasing, keeping", name);
}

/* ---- Promises ---- */

/* A reader with one message in its hands finds the newest ones afterwards. */
static void test_newest(void)
{
	static struct scene s;
	struct claimed c;
	unsigned int i;

	scene_begin(&s, 16, 4, BLIPMQ_POLICY_DROP_OLDEST);
	publish(&s, 1, 1, 1);
	EXPECT(claim_one(&s, &c));
	take_one(&s, &c);
	for (i = 0; i < 16 + 100; i++)
		EXPECT(publish(&s, 1, 1, 1) == 1);
	EXPECT(number_of(&s, &c.desc) == 1);
	for (i = 0; i < 16; i++) {
		EXPECT(claim_one(&s, &c));
		take_one(&s, &c);
		EXPECT(c.number == 1 + 100 + 1 + i);
	}
	EXPECT(!claim_one(&s, &c));
	release_to(&s, c.index + 1);
	EXPECT(s.sub[0]->drops[BLIPMQ_DROP_OLDEST] == 100);
	publish(&s, 1, 1, 1);
	scene_end(&s);
	test_done("one message in the hands, and the newest are there");
}

/* Claims beyond the held bound: the new ones are lost, those in use are not. */
static void test_held_bound(void)
{
	static struct scene s;
	struct claimed c[8];
	unsigned int i;

	scene_begin(&s, 8, 2, BLIPMQ_POLICY_DROP_OLDEST);
	publish(&s, 8, 1, 1);
	for (i = 0; i < 8; i++) {
		EXPECT(claim_one(&s, &c[i]));
		take_one(&s, &c[i]);
	}
	EXPECT(publish(&s, 4, 1, 1) == 2);
	EXPECT(s.sub[0]->drops[BLIPMQ_DROP_HELD] == 2);
	for (i = 0; i < 8; i++)
		EXPECT(number_of(&s, &c[i].desc) == c[i].number);
	release_to(&s, c[7].index + 1);
	EXPECT(publish(&s, 6, 1, 1) == 6);
	scene_end(&s);
	test_done("claims beyond the held bound lose the newest, reason held");
}

/* Each is broken alone, and puts every reference once. */
static void test_broken(void)
{
	static const struct { u64 claim, release; } words[] = {
		{ 100, 0 }, { 3, 4 }, { 1, 0 }, { 4, 1 }, { ~0ULL, ~0ULL }, { 0, 0 },
	};
	static struct scene s;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		scene_begin(&s, 8, 2, BLIPMQ_POLICY_DROP_OLDEST);
		publish(&s, 6, 2, 1);
		s.ring.control->claim = 3;
		s.ring.control->release = 2;
		publish(&s, 3, 2, 1);
		s.received[0] = 3;
		EXPECT(!s.ring.broken);
		s.ring.control->claim = words[i].claim;
		s.ring.control->release = words[i].release;
		publish(&s, 8, 2, 1);
		EXPECT(s.ring.broken && s.ring.page->broken == 1);
		publish(&s, 8, 2, 1);
		if (words[i].claim == 4)
			s.received[0] = 3;
		scene_end(&s);
	}
	test_done("impossible words break the ring, and nothing is put twice");
}

/* Any words at any time: whatever becomes of the ring, memory and counts are exact. */
static void test_hostile(void)
{
	static struct scene s;
	unsigned int round, i, policy;

	for (round = 0; round < 3000; round++) {
		policy = below(BLIPMQ_NR_POLICIES);
		scene_begin(&s, 1u << below(7), 1, policy);
		for (i = 0; i < 60; i++) {
			publish(&s, 1 + below(BMQ_CHUNK), PUBLISHERS, 1 + below(SUBS));
			s.ring.control->claim += below(3) ? below(9) : below(2) - 1;
			if (below(2))
				s.ring.control->release = s.ring.control->claim - below(5);
		}
		spin_lock(&s.ring.lock);
		bmq_ring_look(&s.ring);
		spin_unlock(&s.ring.lock);
		for (i = 0; i < SUBS; i++)
			s.received[i] = s.addressed[i];
		spin_lock(&s.ring.lock);
		s.ring.closed = true;
		while (bmq_ring_drain(&s.ring))
			;
		spin_unlock(&s.ring.lock);
		for (i = 0; i < SUBS; i++)
			s.received[i] -= drops_of(s.sub[i]);
		scene_end(&s);
	}
	test_done("random words in the control page");
}

/* 64-byte messages that hold a page each, between those of a busy publisher. */
static void test_pins(void)
{
	static struct scene s;
	unsigned int i;

	scene_begin(&s, 4096, 1024, BLIPMQ_POLICY_DROP_NEWEST);
	for (i = 0; i < 3000; i++) {
		struct publisher *p = &s.publisher[0];

		p->used = BMQ_UNITS_PER_PAGE;	/* its next message takes a page */
		publish(&s, 1, 1, 1);
		EXPECT(s.ring.pinned <= bmq_pin_limit(s.user));
	}
	EXPECT(s.sub[0]->drops[BLIPMQ_DROP_PINS] == 3000 - bmq_pin_limit(s.user));
	scene_end(&s);

	/* Few pages for many messages, though two publishers alternate. */
	scene_begin(&s, 4096, 1024, BLIPMQ_POLICY_DROP_NEWEST);
	for (i = 0; i < 1600; i++)
		publish(&s, 1, 2, 1);
	EXPECT(s.ring.pinned <= 2 + DIV_ROUND_UP(1600, BMQ_UNITS_PER_PAGE / UNITS));
	scene_end(&s);
	test_done("pins are counted in pages, and bounded");
}

/* A message that has a run of @pages to itself; the caller has a reference on it. */
static void message_make_large(struct scene *s, unsigned int pages, struct bmq_msg *msg)
{
	int reason;
	u32 detail;

	msg->run = bmq_store_take(&s->store, s->account, pages, &reason, &detail);
	assert(msg->run);
	msg->header = bmq_run_at(msg->run, 0);
	msg->offset = bmq_run_units(msg->run, BLIPMQ_ALIGN);
	msg->length = sizeof(u32);
	memcpy(bmq_run_at(msg->run, BLIPMQ_ALIGN), &s->next, sizeof(u32));
	s->next++;
}

static unsigned int publish_large(struct scene *s, unsigned int pages)
{
	struct bmq_chunk chunk;
	struct bmq_msg msg;
	unsigned int got;

	message_make_large(s, pages, &msg);
	bmq_chunk_begin(&chunk, &msg, 1);
	got = chunk_deliver(s, &chunk, 1, s->ring.policy);
	bmq_run_put(&s->store, msg.run, 1);
	return got;
}

/* What is held leaves too little for the new one: then no older one makes way for it. */
static void test_pins_held(void)
{
	static struct scene s;
	struct claimed held, c;
	unsigned int i;

	scene_begin(&s, 4, 4, BLIPMQ_POLICY_DROP_OLDEST);
	EXPECT(publish_large(&s, bmq_pin_limit(s.user) - 1) == 1);
	EXPECT(claim_one(&s, &held));
	take_one(&s, &held);
	EXPECT(publish(&s, 4, 1, 1) == 4);	/* the large one leaves its slot */
	for (i = 0; i < 3; i++) {
		EXPECT(claim_one(&s, &c));
		take_one(&s, &c);
	}
	EXPECT(!publish_large(&s, 2));
	EXPECT(s.sub[0]->drops[BLIPMQ_DROP_PINS] == 1);
	EXPECT(claim_one(&s, &c));
	take_one(&s, &c);
	EXPECT(number_of(&s, &held.desc) == 1 && c.number == 5);
	scene_end(&s);
	test_done("nothing is dropped for pins that what is held leaves no room for");
}

/* A block ring that was asked takes the message, whatever its user's rings pin since. */
static void test_pins_asked(void)
{
	static struct scene s;
	struct bmq_chunk chunk;
	struct bmq_msg msg;

	scene_begin(&s, 4, 2, BLIPMQ_POLICY_BLOCK);
	message_make_large(&s, 1, &msg);
	bmq_chunk_begin(&chunk, &msg, 1);
	spin_lock(&s.ring.lock);
	EXPECT(bmq_ring_capacity(&s.ring, &chunk, 1, 1) == 1);
	spin_unlock(&s.ring.lock);
	atomic_long_add(bmq_pin_part(s.user), &s.user->pinned);
	EXPECT(chunk_deliver(&s, &chunk, 1, BLIPMQ_POLICY_BLOCK) == 1);
	atomic_long_sub(bmq_pin_part(s.user), &s.user->pinned);
	bmq_run_put(&s.store, msg.run, 1);
	EXPECT(!drops_of(s.sub[0]));
	scene_end(&s);
	test_done("a block ring that was asked is not refused for pins");
}

static long keep_error(struct scene *s, u64 index)
{
	struct bmq_run *run;

	spin_lock(&s->ring.lock);
	run = bmq_ring_keep(&s->ring, index);
	if (!IS_ERR(run))
		bmq_ring_unkeep(&s->ring, run);
	spin_unlock(&s->ring.lock);
	return IS_ERR(run) ? PTR_ERR(run) : 0;
}

/* Only what is claimed and not released can be kept, in its slot or out of it. */
static void test_keep_bounds(void)
{
	static struct scene s;
	struct claimed c;
	unsigned int i;

	scene_begin(&s, 4, 2, BLIPMQ_POLICY_DROP_OLDEST);
	publish(&s, 4, 1, 1);
	for (i = 0; i < 3; i++) {
		EXPECT(claim_one(&s, &c));
		take_one(&s, &c);
	}
	release_to(&s, 1);
	EXPECT(keep_error(&s, 0) == -EINVAL);
	EXPECT(keep_error(&s, 3) == -EINVAL);
	EXPECT(keep_error(&s, ~0ULL) == -EINVAL);
	EXPECT(keep_error(&s, 2) == 0);
	EXPECT(keep_error(&s, 2) == -EINVAL);
	publish(&s, 3, 1, 1);	/* entry 1 leaves its slot */
	EXPECT(keep_error(&s, 1) == 0);
	EXPECT(keep_error(&s, 1) == -EINVAL);
	scene_end(&s);
	test_done("only what is claimed and not released can be kept, once");
}

static void test_latch(void)
{
	static struct scene s;
	unsigned int i;

	scene_begin(&s, 4, 1, BLIPMQ_POLICY_DROP_OLDEST);
	EXPECT(!bmq_ring_set_mode(&s.ring, BMQ_RING_READ));
	EXPECT(bmq_ring_set_mode(&s.ring, BMQ_RING_MAPPED) == -EBUSY);
	publish(&s, 2, 1, 1);
	spin_lock(&s.ring.lock);
	EXPECT(bmq_ring_latch(&s.ring));
	spin_unlock(&s.ring.lock);
	for (i = 0; i < 20; i++)
		publish(&s, 3, 1, 1);
	spin_lock(&s.ring.lock);
	EXPECT(bmq_ring_latch(&s.ring));
	EXPECT(number_of(&s, &s.ring.latch.desc) == 1);
	bmq_ring_unlatch(&s.ring);
	EXPECT(bmq_ring_latch(&s.ring));
	EXPECT(number_of(&s, &s.ring.latch.desc) == 2 + 60 - 4 + 1);
	spin_unlock(&s.ring.lock);
	s.received[0] = 1;
	scene_end(&s);
	test_done("a latched message stays first, and the newest follow");
}

/* ---- Threads ---- */

#define THREADED	20000

struct reader {
	struct scene *s;
	pthread_mutex_t lock;
	u64 got;
	u32 newest;
	bool stop;
};

/* Claim, look, release, one critical section: two of them share the ring. */
static void *read_thread(void *arg)
{
	struct reader *r = arg;
	struct claimed c;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		bool got;

		pthread_mutex_lock(&r->lock);
		got = claim_one(r->s, &c);
		if (got) {
			u32 number = number_of(r->s, &c.desc);

			EXPECT(number > r->newest);
			r->newest = number;
			r->got++;
			release_to(r->s, c.index + 1);
		}
		pthread_mutex_unlock(&r->lock);
		if (!got)
			sched_yield();
	}
	return NULL;
}

static void test_threads(u32 entries)
{
	static struct scene s;
	struct reader r = { .s = &s, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t thread[2];
	struct claimed c;
	unsigned int i;

	scene_begin(&s, entries, max(entries / 4, 1u), BLIPMQ_POLICY_DROP_OLDEST);
	for (i = 0; i < ARRAY_SIZE(thread); i++)
		pthread_create(&thread[i], NULL, read_thread, &r);
	for (i = 0; i < THREADED; i++)
		publish(&s, 1 + i % 7, 2, 1);
	__atomic_store_n(&r.stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < ARRAY_SIZE(thread); i++)
		pthread_join(thread[i], NULL);
	EXPECT(!s.ring.broken);
	while (claim_one(&s, &c)) {
		r.got++;
		release_to(&s, c.index + 1);
	}
	s.received[0] = r.got;
	scene_end(&s);
	test_done("two readers against the kernel, %u entries", entries);
}

int main(void)
{
	test_broken();
	test_hostile();
	test_newest();
	test_held_bound();
	test_pins();
	test_pins_held();
	test_pins_asked();
	test_keep_bounds();
	test_latch();
	test_random(BLIPMQ_POLICY_DROP_OLDEST, "drop-oldest");
	test_random(BLIPMQ_POLICY_DROP_NEWEST, "drop-newest");
	test_random(BLIPMQ_POLICY_BLOCK, "block");
	test_threads(1);
	test_threads(8);
	test_threads(1024);
	return test_end();
}
