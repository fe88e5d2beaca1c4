// SPDX-License-Identifier: GPL-2.0
/* Runs, accounts and limits against an obvious record of who has what. */
#include <stdio.h>

#include "kmod/store.h"
#include "test.h"

#define BUDGET		16384		/* pages: 64 MiB */
#define SHARE		75
#define ACCOUNTS	6		/* of three users */
#define USERS		3
#define RUNS		400
#define LARGE		4097		/* pages of a message of 16 MiB */

static unsigned int seed = 2;
static unsigned long zapped;		/* pages, all together */

static unsigned int below(unsigned int limit)
{
	return rand_r(&seed) % limit;
}

static void count_zap(struct bmq_store *store, unsigned long first, unsigned long nr)
{
	unsigned long i;

	lockdep_assert_held(&store->map_sem);
	for (i = 0; i < nr; i++)
		EXPECT(!store->slot[first + i]);
	zapped += nr;
}

/* All of them at once, live or not. */
static void count_all(struct bmq_store *store, unsigned long first, unsigned long nr)
{
	lockdep_assert_held(&store->map_sem);
	(void)first;
	zapped += nr;
}

struct bench {
	struct bmq_store store;
	struct bmq_user *user[USERS];
	struct bmq_account *account[ACCOUNTS];
};

static void bench_begin(struct bench *b, unsigned long budget, unsigned int share)
{
	unsigned int i;

	memset(b, 0, sizeof(*b));
	bmq_host.limit = 4 * BUDGET;
	b->store.zap = count_zap;
	EXPECT(!bmq_store_init(&b->store, budget, budget, share));
	for (i = 0; i < USERS; i++)
		b->user[i] = bmq_user_get(&b->store.purse, 1000 + i);
	for (i = 0; i < ACCOUNTS; i++)
		b->account[i] = bmq_account_get(b->user[i % USERS], 1 + i / USERS);
	jiffies = 1000;
}

/* Everything is put: the store gives all back, and nothing is left. */
static void bench_end(struct bench *b)
{
	unsigned int i;

	EXPECT(b->store.purse.pages == b->store.idle_pages);
	EXPECT(!bmq_store_trim(&b->store, jiffies, 0));
	EXPECT(!b->store.purse.pages && !bmq_host.pages);
	for (i = 0; i < ACCOUNTS; i++)
		bmq_account_put(b->account[i]);
	for (i = 0; i < USERS; i++)
		bmq_user_put(b->user[i]);
	bmq_store_destroy(&b->store);
	EXPECT(!shim_allocated);
	EXPECT(list_empty(&bmq_host.users));
}

static struct bmq_run *take(struct bench *b, unsigned int account, unsigned int nr,
			    int *reason)
{
	u32 detail = ~0u;

	*reason = 0;
	return bmq_store_take(&b->store, b->account[account], nr, reason, &detail);
}

/* ---- Random takers ---- */

struct taken {
	struct bmq_run *run;
	unsigned int account;
	unsigned int asked;
	unsigned int refs;
};

static void stamp(const struct taken *t, unsigned char byte)
{
	unsigned int i;

	for (i = 0; i < t->run->nr; i++)
		memset(bmq_run_at(t->run, i * PAGE_SIZE), byte, 64);
}

/* What is in a run taken anew: zeros, or what this very account had there. */
static void check_contents(const struct taken *t)
{
	unsigned int i;

	for (i = 0; i < t->run->nr; i++) {
		unsigned char byte = *(unsigned char *)bmq_run_at(t->run, i * PAGE_SIZE);

		EXPECT(!byte || byte == t->account + 1);
	}
}

static void check_indexes(const struct bench *b, const struct taken *taken)
{
	static unsigned char owner[BUDGET];
	unsigned long live = 0;
	unsigned int i, j;

	memset(owner, 0, sizeof(owner));
	for (i = 0; i < RUNS; i++) {
		const struct bmq_run *run = taken[i].run;

		if (!run)
			continue;
		EXPECT(run->refs.refs == (int)taken[i].refs);
		EXPECT(run->first + run->nr <= b->store.max);
		for (j = 0; j < run->nr; j++) {
			EXPECT(!owner[run->first + j]);
			owner[run->first + j] = 1;
			EXPECT(b->store.slot[run->first + j] == run);
		}
		live += run->nr;
	}
	EXPECT(b->store.purse.pages == live + b->store.idle_pages);
	EXPECT(b->store.purse.pages <= b->store.purse.budget);
	EXPECT(b->user[0]->pages + b->user[1]->pages + b->user[2]->pages ==
	       b->store.purse.pages);
	EXPECT(b->user[0]->idle + b->user[1]->idle + b->user[2]->idle ==
	       b->store.idle_pages);
	EXPECT(bmq_host.pages == b->store.purse.pages);
}

static void take_random(struct bench *b, struct taken *t)
{
	unsigned int bits = below(13);
	int reason;

	t->account = below(ACCOUNTS);
	t->asked = 1 + (below(2) ? below(1u << bits) : 0);
	if (below(50) == 0)
		shim_fail_in = below(t->asked + 2);
	t->run = take(b, t->account, t->asked, &reason);
	shim_fail_in = -1;
	if (!t->run) {
		EXPECT(reason);
		return;
	}
	t->refs = 1;
	EXPECT(t->run->nr >= t->asked && t->run->nr <= t->asked + t->asked / 8);
	EXPECT(t->run->account == b->account[t->account]);
	check_contents(t);
	stamp(t, t->account + 1);
}

static void put_random(struct bench *b, struct taken *t, bool all)
{
	unsigned int nr = all ? t->refs : 1 + below(t->refs);

	bmq_run_put(&b->store, t->run, nr);
	t->refs -= nr;
	if (!t->refs)
		t->run = NULL;
}

static void test_random(void)
{
	static struct taken taken[RUNS];
	static struct bench b;
	unsigned int i, n;

	bench_begin(&b, BUDGET, SHARE);
	for (n = 0; n < 20000; n++) {
		struct taken *t = &taken[below(RUNS)];

		jiffies += below(3);
		if (!t->run) {
			take_random(&b, t);
		} else if (below(3) == 0) {
			bmq_run_get(t->run, 2);
			t->refs += 2;
		} else {
			put_random(&b, t, false);
		}
		if (below(500) == 0)
			bmq_store_trim(&b.store, jiffies - 100, 16);
		if (n % 64 == 0)
			check_indexes(&b, taken);
	}
	for (i = 0; i < RUNS; i++) {
		if (taken[i].run)
			put_random(&b, &taken[i], true);
	}
	bench_end(&b);
	EXPECT(zapped > BUDGET);
	test_done("random takers: indexes, charges, references, contents");
}

/* ---- Promises ---- */

/* After messages of all sizes came and went, the largest one fits. */
static void test_fragments(void)
{
	struct bmq_run *run[RUNS] = { };
	static struct bench b;
	unsigned int n;
	int reason;

	bench_begin(&b, BUDGET, 100);
	for (n = 0; n < 100000; n++) {
		struct bmq_run **one = &run[below(RUNS)];

		if (*one) {
			bmq_run_put(&b.store, *one, 1);
			*one = NULL;
		} else {
			*one = take(&b, below(ACCOUNTS), 1 + below(1u << below(11)), &reason);
		}
	}
	for (n = 0; n < RUNS; n++) {
		if (run[n])
			bmq_run_put(&b.store, run[n], 1);
	}
	run[0] = take(&b, 0, LARGE, &reason);
	EXPECT(run[0]);
	if (run[0])
		bmq_run_put(&b.store, run[0], 1);
	bench_end(&b);
	test_done("16 MiB fit after 100,000 runs of random sizes");
}

/* One page that stays does not keep a large run from the rest. */
static void test_low_and_high(void)
{
	struct bmq_run *small, *large;
	static struct bench b;
	int reason;

	bench_begin(&b, BUDGET, 100);
	small = take(&b, 0, 1, &reason);
	large = take(&b, 0, 100, &reason);
	EXPECT(small->first == 0);
	EXPECT(large->first == BUDGET - 100);
	bmq_run_put(&b.store, small, 1);
	bmq_run_put(&b.store, large, 1);
	bench_end(&b);
	test_done("pages from the lowest index, large runs from the highest");
}

static void test_limits(void)
{
	struct bmq_run *mine, *yours;
	static struct bench b;
	int reason;

	bench_begin(&b, 1000, 50);
	EXPECT(!take(&b, 0, 501, &reason));
	EXPECT(reason == BLIPMQ_REASON_SHARE);
	mine = take(&b, 0, 500, &reason);
	EXPECT(mine);
	/* Half of what others left. */
	EXPECT(!take(&b, 1, 251, &reason));
	EXPECT(reason == BLIPMQ_REASON_SHARE);
	yours = take(&b, 1, 250, &reason);
	EXPECT(yours);
	EXPECT(!take(&b, 2, 251, &reason));
	EXPECT(reason == BLIPMQ_REASON_BUDGET);
	bmq_host.limit = 800;
	EXPECT(!take(&b, 2, 100, &reason));
	EXPECT(reason == BLIPMQ_REASON_HOST);
	bmq_host.limit = 1200;
	b.store.purse.share = 100;
	EXPECT(!take(&b, 0, 110, &reason));
	EXPECT(reason == BLIPMQ_REASON_HOST_USER);
	bmq_run_put(&b.store, mine, 1);
	bmq_run_put(&b.store, yours, 1);
	bench_end(&b);
	test_done("share, budget, host and real user, each with its reason");
}

/* A budget that is set counts from the next page on; indexes go up to the largest. */
static void test_budget_set(void)
{
	struct bmq_run *run, *more;
	static struct bench b;
	int reason;

	bench_begin(&b, 100, 100);
	bmq_purse_set(&b.store.purse, 50, 100);
	EXPECT(!take(&b, 0, 51, &reason));
	EXPECT(reason == BLIPMQ_REASON_BUDGET);
	bmq_purse_set(&b.store.purse, 100, 50);
	EXPECT(!take(&b, 0, 51, &reason));
	EXPECT(reason == BLIPMQ_REASON_SHARE);
	bmq_purse_set(&b.store.purse, 100, 100);
	run = take(&b, 0, 90, &reason);
	EXPECT(run);
	/* Below what is taken: that stays, and nobody gets more. */
	bmq_purse_set(&b.store.purse, 20, 100);
	EXPECT(!take(&b, 1, 1, &reason));
	EXPECT(!take(&b, 0, 1, &reason));
	EXPECT(bmq_user_over_share(b.user[0], 0));
	bmq_run_put(&b.store, run, 1);
	/* What is free and too much goes before anybody is refused. */
	more = take(&b, 1, 20, &reason);
	EXPECT(more && b.store.purse.pages == 20);
	bmq_run_put(&b.store, more, 1);
	bench_end(&b);
	test_done("a budget that is set, below and above what is taken");
}

/* Once somebody may have kept pages none is used again. */
static void test_escaped(void)
{
	struct bmq_run *current, *busy, *run;
	struct page *page;
	static struct bench b;
	int reason;

	bench_begin(&b, BUDGET, 100);
	run = take(&b, 0, 1, &reason);
	busy = take(&b, 0, 1, &reason);
	page = busy->pages[0];
	bmq_run_put(&b.store, run, 1);
	zapped = 0;
	b.store.zap = count_all;
	bmq_store_escape(&b.store);
	b.store.zap = count_zap;
	EXPECT(zapped == BUDGET + 1);	/* all, and the page that was free */
	EXPECT(b.store.purse.pages == 1 && !b.store.idle_pages);
	EXPECT(bmq_run_stale(&b.store, busy));
	bmq_run_put(&b.store, busy, 1);
	EXPECT(b.store.idle_pages == 1);
	current = take(&b, 0, 1, &reason);
	EXPECT(current != busy && current->pages[0] != page);
	EXPECT(!bmq_run_stale(&b.store, current));
	/* What is taken from now on is used again as ever. */
	page = current->pages[0];
	bmq_run_put(&b.store, current, 1);
	EXPECT(take(&b, 0, 1, &reason) == current && current->pages[0] == page);
	bmq_run_put(&b.store, current, 1);
	bench_end(&b);
	test_done("after an escape: no page is used again");
}

/* An idle run is its account's; another one gets other pages. */
static void test_replaced(void)
{
	struct bmq_run *run;
	static struct bench b;
	unsigned long before;
	int reason;

	bench_begin(&b, 100, 100);
	run = take(&b, 0, 100, &reason);
	memset(bmq_run_at(run, 0), 0x55, PAGE_SIZE);
	bmq_run_put(&b.store, run, 1);
	before = zapped;
	EXPECT(take(&b, 0, 100, &reason) == run);
	EXPECT(zapped == before);
	EXPECT(*(unsigned char *)bmq_run_at(run, 0) == 0x55);
	bmq_run_put(&b.store, run, 1);
	/* Same user, other memory cgroup. */
	run = take(&b, USERS, 100, &reason);
	EXPECT(run && !*(unsigned char *)bmq_run_at(run, 0));
	EXPECT(zapped == before + 100);
	bmq_run_put(&b.store, run, 1);
	bench_end(&b);
	test_done("an idle run is taken by its account only, replaced for others");
}

static void test_trim(void)
{
	struct bmq_run *run[40];
	static struct bench b;
	unsigned int i;
	int reason;

	bench_begin(&b, BUDGET, 100);
	for (i = 0; i < ARRAY_SIZE(run); i++)
		run[i] = take(&b, 0, 1, &reason);
	for (i = 0; i < ARRAY_SIZE(run); i++)
		bmq_run_put(&b.store, run[i], 1);
	EXPECT(bmq_store_trim(&b.store, jiffies - 1, 16));
	EXPECT(b.store.idle_pages == 40);
	jiffies += 10;
	EXPECT(!bmq_store_trim(&b.store, jiffies - 5, 16));
	EXPECT(b.store.idle_pages == 16);
	bench_end(&b);
	test_done("what is idle for long is given back, down to the mark");
}

/* ---- Users ---- */

#define SECOND	1000000000ULL

static void test_block_budget(void)
{
	struct bmq_user *user;
	static struct bench b;
	u64 now = ktime_get_ns(), budget = 5 * SECOND;
	unsigned int i;

	bench_begin(&b, BUDGET, SHARE);
	user = bmq_user_get(&b.store.purse, 7);
	EXPECT(!bmq_user_block_charge(user, now, now + 2 * SECOND, budget));
	/* The same two seconds, seen by other publishers. */
	for (i = 0; i < 8; i++)
		EXPECT(!bmq_user_block_charge(user, now, now + 2 * SECOND, budget));
	EXPECT(!bmq_user_block_spent(user, now + 2 * SECOND, budget));
	EXPECT(bmq_user_block_charge(user, now + SECOND, now + 6 * SECOND, budget));
	EXPECT(!bmq_user_block_charge(user, now, now + 7 * SECOND, budget));
	EXPECT(bmq_user_block_spent(user, now + 7 * SECOND, budget));

	/* Leaving and coming back gains nothing. */
	bmq_user_put(user);
	EXPECT(bmq_user_get(&b.store.purse, 7) == user);
	EXPECT(bmq_user_block_spent(user, now + 7 * SECOND, budget));
	EXPECT(!bmq_user_block_spent(user, now + 100 * SECOND, budget));
	EXPECT(!bmq_user_block_charge(user, now + 99 * SECOND, now + 100 * SECOND, budget));
	EXPECT(!bmq_user_block_spent(user, now + 100 * SECOND, budget));
	bmq_user_put(user);
	bench_end(&b);
	test_done("the block budget of a minute, also for who comes again");
}

static void test_pin_limits(void)
{
	static struct bench b;
	unsigned int i;

	bench_begin(&b, 800, SHARE);
	bmq_user_add_ring(b.user[0]);
	EXPECT(bmq_pin_part(b.user[0]) == 400);
	EXPECT(bmq_pin_limit(b.user[0]) == 100);
	for (i = 0; i < 7; i++)
		bmq_user_add_ring(b.user[0]);
	EXPECT(bmq_pin_limit(b.user[0]) == 50);
	bmq_user_add_ring(b.user[1]);
	EXPECT(bmq_pin_part(b.user[0]) == 200 && bmq_pin_part(b.user[1]) == 200);
	EXPECT(bmq_pin_limit(b.user[0]) == 25 && bmq_pin_limit(b.user[1]) == 100);
	bmq_user_del_ring(b.user[1]);
	for (i = 0; i < 8; i++)
		bmq_user_del_ring(b.user[0]);
	EXPECT(!b.store.purse.ringers);
	bench_end(&b);
	test_done("pins: half the budget, by user, by ring");
}

int main(void)
{
	test_limits();
	test_replaced();
	test_budget_set();
	test_escaped();
	test_trim();
	test_low_and_high();
	test_fragments();
	test_random();
	test_block_budget();
	test_pin_limits();
	return test_end();
}
