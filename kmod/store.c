// SPDX-License-Identifier: GPL-2.0
/* Runs of pages: taking, putting, giving back. See store.h. */
#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "store.h"

/* The publisher pays, fails rather than wakes the OOM killer, shows nothing old. */
#define PAGE_GFP	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

#define FIT_STEPS	16	/* idle runs looked at for a fit */
#define FIT_WASTE	8	/* of a run that is reused at most 1/8 is spare */

/* The user may pick the size, up to a part of the host's memory. */
#define TABLE_GFP	(GFP_KERNEL_ACCOUNT | __GFP_NOWARN)

int bmq_store_init(struct bmq_store *store, unsigned long max,
		   unsigned long budget, unsigned int share)
{
	bmq_purse_init(&store->purse, budget, share);
	store->max = max;
	init_rwsem(&store->map_sem);
	mutex_init(&store->index_lock);
	INIT_LIST_HEAD(&store->idle);
	store->slot = kvcalloc(max, sizeof(*store->slot), TABLE_GFP);
	store->used = kvcalloc(BITS_TO_LONGS(max), sizeof(long), TABLE_GFP);
	if (store->slot && store->used)
		return 0;

	kvfree(store->slot);
	kvfree(store->used);
	return -ENOMEM;
}

/* ---- Page indexes ---- */

/*
 * Find @nr free indexes: a page from the lowest, a larger run from the highest,
 * so that neither cuts up the other's end.
 *
 * Return: the first of them, or store->max if there are none.
 */
static unsigned long index_find(struct bmq_store *store, unsigned int nr)
{
	unsigned long start, bit;

	lockdep_assert_held(&store->index_lock);
	if (nr == 1)
		return find_next_zero_bit(store->used, store->max, store->low);
	if (nr > store->max)
		return store->max;

	for (start = store->max - nr;; start = bit - nr) {
		bit = find_next_bit(store->used, start + nr, start);
		if (bit >= start + nr)
			return start;
		if (bit < nr)
			return store->max;
	}
}

/* Return: whether @nr indexes are ours from *@first on. */
static bool index_take(struct bmq_store *store, unsigned int nr,
		       unsigned long *first)
{
	bool found;

	mutex_lock(&store->index_lock);
	*first = index_find(store, nr);
	found = *first < store->max;
	if (found) {
		bitmap_set(store->used, *first, nr);
		if (nr == 1)
			store->low = *first + 1;
	}
	mutex_unlock(&store->index_lock);
	return found;
}

static void index_put(struct bmq_store *store, unsigned long first,
		      unsigned int nr)
{
	mutex_lock(&store->index_lock);
	bitmap_clear(store->used, first, nr);
	store->low = min(store->low, first);
	mutex_unlock(&store->index_lock);
}

/* ---- Idle runs ---- */

static void idle_unlink(struct bmq_store *store, struct bmq_run *run)
{
	lockdep_assert_held(&store->purse.lock);
	list_del(&run->in_store);
	list_del(&run->in_account);
	store->idle_pages -= run->nr;
	run->account->user->idle -= run->nr;
}

/* Take an idle run of this very account that fits, as it is. */
static struct bmq_run *idle_take(struct bmq_store *store,
				 struct bmq_account *account,
				    unsigned int nr)
{
	struct bmq_run *run, *fit = NULL;
	unsigned int steps = 0;

	spin_lock(&store->purse.lock);
	list_for_each_entry(run, &account->idle[nr > 1], in_account) {
		if (run->nr >= nr && run->nr - nr <= nr / FIT_WASTE &&
		    !bmq_run_stale(store, run)) {
			fit = run;
			break;
		}
		if (++steps == FIT_STEPS)
			break;
	}
	if (fit) {
		idle_unlink(store, fit);
		refcount_set(&fit->refs, 1);
	}
	spin_unlock(&store->purse.lock);
	return fit;
}

/* Unmap, free, uncharge a run that is in no list and that nobody refers to. */
static void run_free(struct bmq_store *store, struct bmq_run *run)
{
	unsigned int i;

	down_write(&store->map_sem);
	for (i = 0; i < run->nr; i++)
		store->slot[run->first + i] = NULL;
	store->zap(store, run->first, run->nr);
	up_write(&store->map_sem);

	for (i = 0; i < run->nr; i++)
		put_page(run->pages[i]);
	index_put(store, run->first, run->nr);
	bmq_account_uncharge(run->account, run->nr);
	kvfree(run);
}

/* The idle run whose going serves best to satisfy a limit of @user. */
static struct bmq_run *idle_of_user(struct bmq_store *store,
				    const struct bmq_user *user)
{
	struct bmq_account *account;
	int large;

	lockdep_assert_held(&store->purse.lock);
	list_for_each_entry(account, &store->purse.accounts, node) {
		if (account->user != user)
			continue;
		for (large = 1; large >= 0; large--) {
			if (!list_empty(&account->idle[large]))
				return list_last_entry(&account->idle[large],
						       struct bmq_run,
						       in_account);
		}
	}
	return NULL;
}

/*
 * Give back one idle run: one of @user's, or the longest idle one if @user is
 * NULL. Another account's pages go to nobody but the kernel, so that charges of
 * memory cgroups follow use.
 *
 * Return: whether there was one.
 */
static bool idle_give_back(struct bmq_store *store, struct bmq_user *user)
{
	struct bmq_run *run;

	spin_lock(&store->purse.lock);
	run = user ? idle_of_user(store, user) :
		     list_first_entry_or_null(&store->idle, struct bmq_run,
					      in_store);
	if (run)
		idle_unlink(store, run);
	spin_unlock(&store->purse.lock);
	if (run)
		run_free(store, run);
	return run;
}

/**
 * bmq_store_trim() - give back what is idle for long
 * @store:  the store
 * @before: jiffies; runs that became idle later stay
 * @keep:   pages that may stay idle
 *
 * Return: whether more than @keep pages are idle still.
 */
bool bmq_store_trim(struct bmq_store *store, unsigned long before,
		    unsigned long keep)
{
	struct bmq_run *run;
	bool more;

	for (;;) {
		spin_lock(&store->purse.lock);
		run = list_first_entry_or_null(&store->idle, struct bmq_run,
					       in_store);
		more = store->idle_pages > keep;
		if (!more || !run || time_after(run->idle_at, before)) {
			spin_unlock(&store->purse.lock);
			return more;
		}
		idle_unlink(store, run);
		spin_unlock(&store->purse.lock);
		run_free(store, run);
		cond_resched();
	}
}

/**
 * bmq_store_escape() - who must not see what comes may have kept pages
 * @store: the store
 *
 * The caller saw to it that faults of such mappings fail from now on. It takes the
 * current runs of endpoints away next.
 */
void bmq_store_escape(struct bmq_store *store)
{
	spin_lock(&store->purse.lock);
	WRITE_ONCE(store->epoch, store->epoch + 1);
	spin_unlock(&store->purse.lock);

	down_write(&store->map_sem);
	store->zap(store, 0, store->max);
	up_write(&store->map_sem);
	bmq_store_trim(store, jiffies, 0);
}

/* ---- Taking and putting ---- */

/* Charge, giving back idle runs of whoever the limit is about. */
static int charge(struct bmq_store *store, struct bmq_account *account,
		  unsigned int nr, u32 *detail)
{
	struct bmq_user *user;
	int reason;

	do {
		reason = bmq_account_charge(account, nr, detail);
		user = reason == BLIPMQ_REASON_SHARE ||
		       reason == BLIPMQ_REASON_HOST_USER ? account->user : NULL;
	} while (reason && idle_give_back(store, user));
	return reason;
}

static struct bmq_run *run_alloc(unsigned int nr)
{
	struct bmq_run *run;
	unsigned int i;

	run = kvzalloc(struct_size(run, pages, nr), PAGE_GFP);
	if (!run)
		return NULL;
	for (i = 0; i < nr; i++) {
		run->pages[i] = alloc_page(PAGE_GFP | __GFP_ZERO);
		if (!run->pages[i])
			goto err;
	}
	run->nr = nr;
	return run;
err:
	while (i--)
		put_page(run->pages[i]);
	kvfree(run);
	return NULL;
}

static void run_insert(struct bmq_store *store, struct bmq_run *run)
{
	unsigned int i;

	down_write(&store->map_sem);
	for (i = 0; i < run->nr; i++)
		store->slot[run->first + i] = run;
	up_write(&store->map_sem);
}

/**
 * bmq_store_take() - get a run with one reference
 * @store:   the store
 * @account: who pays; a page charge lands in the caller's memory cgroup, which
 *           must be the account's
 * @nr:      pages
 * @reason:  out: why not: a limit, or BLIPMQ_REASON_MEMORY
 * @detail:  out: the limit
 *
 * An idle run of the account is taken as it is, contents and all, and may be a
 * little larger; otherwise pages are allocated, zeroed. May sleep.
 *
 * Return: the run, or NULL.
 */
struct bmq_run *bmq_store_take(struct bmq_store *store,
			       struct bmq_account *account,
				     unsigned int nr, int *reason, u32 *detail)
{
	struct bmq_run *run;
	unsigned long first;
	u32 epoch;

	run = idle_take(store, account, nr);
	if (run)
		return run;

	*reason = charge(store, account, nr, detail);
	if (*reason)
		return NULL;
	while (!index_take(store, nr, &first)) {
		if (!idle_give_back(store, NULL)) {
			*reason = BLIPMQ_REASON_BUDGET;
			*detail = store->max;
			goto err_uncharge;
		}
	}
	epoch = READ_ONCE(store->epoch);
	run = run_alloc(nr);
	if (!run) {
		*reason = BLIPMQ_REASON_MEMORY;
		goto err_index;
	}
	run->first = first;
	run->epoch = epoch;
	run->account = account;
	refcount_set(&run->refs, 1);
	run_insert(store, run);
	return run;

err_index:
	index_put(store, first, nr);
err_uncharge:
	bmq_account_uncharge(account, nr);
	return NULL;
}

/* Put @nr references. The last one makes the run idle. Any context that locks. */
void bmq_run_put(struct bmq_store *store, struct bmq_run *run,
		 unsigned int nr)
{
	struct bmq_account *account = run->account;

	if (!nr || !refcount_sub_and_test(nr, &run->refs))
		return;

	spin_lock(&store->purse.lock);
	run->idle_at = jiffies;
	list_add(&run->in_account, &account->idle[run->nr > 1]);
	list_add_tail(&run->in_store, &store->idle);
	store->idle_pages += run->nr;
	account->user->idle += run->nr;
	spin_unlock(&store->purse.lock);
}

/* All runs are idle and nothing is mapped: the bus has no file left. */
void bmq_store_destroy(struct bmq_store *store)
{
	while (idle_give_back(store, NULL))
		cond_resched();
	WARN_ON_ONCE(store->purse.pages);
	bmq_purse_destroy(&store->purse);
	kvfree(store->slot);
	kvfree(store->used);
}
