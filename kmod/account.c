// SPDX-License-Identifier: GPL-2.0
/* Users, accounts and the limits on what they take. See account.h. */
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include <uapi/linux/blipmq.h>

#include "account.h"

#define PERCENT		100
#define BLOCK_PERIOD	(60ULL * 1000 * 1000 * 1000)	/* ns: the budget is per minute */

struct bmq_host bmq_host = {
	.lock = __SPIN_LOCK_UNLOCKED(bmq_host.lock),
	.users = LIST_HEAD_INIT(bmq_host.users),
};

void bmq_purse_init(struct bmq_purse *purse, unsigned long budget,
		    unsigned int share)
{
	spin_lock_init(&purse->lock);
	INIT_LIST_HEAD(&purse->users);
	INIT_LIST_HEAD(&purse->accounts);
	purse->budget = budget;
	purse->share = share;
}

/* What is taken beyond them already stays until it is given back. */
void bmq_purse_set(struct bmq_purse *purse, unsigned long budget,
		   unsigned int share)
{
	spin_lock(&purse->lock);
	WRITE_ONCE(purse->budget, budget);
	purse->share = share;
	spin_unlock(&purse->lock);
}

/* Find or insert: @fresh is used, or freed by the caller if it is not. */
static struct bmq_host_user *host_user_get(u32 uid,
					   struct bmq_host_user *fresh)
{
	struct bmq_host_user *hu;

	spin_lock(&bmq_host.lock);
	list_for_each_entry(hu, &bmq_host.users, node) {
		if (hu->uid == uid) {
			hu->refs++;
			goto out;
		}
	}
	hu = fresh;
	hu->uid = uid;
	hu->refs = 1;
	list_add(&hu->node, &bmq_host.users);
out:
	spin_unlock(&bmq_host.lock);
	return hu;
}

static void host_user_put(struct bmq_host_user *hu)
{
	bool last;

	spin_lock(&bmq_host.lock);
	last = --hu->refs == 0;
	if (last)
		list_del(&hu->node);
	spin_unlock(&bmq_host.lock);
	if (last)
		kfree(hu);
}

static struct bmq_user *user_find(struct bmq_purse *purse, u32 uid)
{
	struct bmq_user *user;

	lockdep_assert_held(&purse->lock);
	list_for_each_entry(user, &purse->users, node) {
		if (user->uid == uid) {
			user->refs++;
			return user;
		}
	}
	return NULL;
}

void bmq_user_hold(struct bmq_user *user)
{
	spin_lock(&user->purse->lock);
	user->refs++;
	spin_unlock(&user->purse->lock);
}

static void user_free(struct bmq_user *user)
{
	host_user_put(user->host_user);
	kfree(user);
}

/*
 * A user that used of its block budget is not forgotten before the minute is over,
 * or who makes its rings again would have the budget again.
 */
static bool user_remembered(const struct bmq_user *user, u64 now)
{
	return user->block_used && now < user->block_end;
}

void bmq_user_put(struct bmq_user *user)
{
	struct bmq_purse *purse = user->purse;
	bool last;

	spin_lock(&purse->lock);
	last = --user->refs == 0 && !user_remembered(user, ktime_get_ns());
	if (last)
		list_del(&user->node);
	spin_unlock(&purse->lock);
	if (last)
		user_free(user);
}

/* Forget users that are only remembered: those whose minute is over by @now. */
static void users_forget(struct bmq_purse *purse, u64 now)
{
	struct bmq_user *user, *next;
	LIST_HEAD(gone);

	spin_lock(&purse->lock);
	list_for_each_entry_safe(user, next, &purse->users, node) {
		if (!user->refs && !user_remembered(user, now))
			list_move(&user->node, &gone);
	}
	spin_unlock(&purse->lock);
	list_for_each_entry_safe(user, next, &gone, node)
		user_free(user);
}

/* No user has anything any more. */
void bmq_purse_destroy(struct bmq_purse *purse)
{
	users_forget(purse, U64_MAX);
	WARN_ON_ONCE(!list_empty(&purse->users));
}

/**
 * bmq_user_get() - the record of a uid, made if there is none
 * @purse: of the bus
 * @uid:   as the initial user namespace has it
 *
 * Return: a reference, or NULL without memory.
 */
struct bmq_user *bmq_user_get(struct bmq_purse *purse, u32 uid)
{
	struct bmq_host_user *hu;
	struct bmq_user *user, *fresh;

	spin_lock(&purse->lock);
	user = user_find(purse, uid);
	spin_unlock(&purse->lock);
	if (user)
		return user;

	users_forget(purse, ktime_get_ns());
	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	hu = kzalloc(sizeof(*hu), GFP_KERNEL_ACCOUNT);
	if (!fresh || !hu) {
		kfree(fresh);
		kfree(hu);
		return NULL;
	}
	fresh->host_user = host_user_get(uid, hu);
	if (fresh->host_user != hu)
		kfree(hu);
	fresh->purse = purse;
	fresh->uid = uid;
	fresh->refs = 1;

	spin_lock(&purse->lock);
	user = user_find(purse, uid);
	if (!user)
		list_add(&fresh->node, &purse->users);
	spin_unlock(&purse->lock);
	if (!user)
		return fresh;

	host_user_put(fresh->host_user);
	kfree(fresh);
	return user;
}

/* Return: 0, or -EMFILE at the limit. */
int bmq_user_add_endpoint(struct bmq_user *user, unsigned int limit)
{
	int err = 0;

	spin_lock(&user->purse->lock);
	if (user->endpoints >= limit)
		err = -EMFILE;
	else
		user->endpoints++;
	spin_unlock(&user->purse->lock);
	return err;
}

void bmq_user_del_endpoint(struct bmq_user *user)
{
	spin_lock(&user->purse->lock);
	user->endpoints--;
	spin_unlock(&user->purse->lock);
}

void bmq_user_add_ring(struct bmq_user *user)
{
	struct bmq_purse *purse = user->purse;

	spin_lock(&purse->lock);
	if (!user->rings)
		WRITE_ONCE(purse->ringers, purse->ringers + 1);
	WRITE_ONCE(user->rings, user->rings + 1);
	spin_unlock(&purse->lock);
}

void bmq_user_del_ring(struct bmq_user *user)
{
	struct bmq_purse *purse = user->purse;

	spin_lock(&purse->lock);
	WRITE_ONCE(user->rings, user->rings - 1);
	if (!user->rings)
		WRITE_ONCE(purse->ringers, purse->ringers - 1);
	spin_unlock(&purse->lock);
}

/**
 * bmq_user_block_charge() - a block ring of the user stalled a publisher
 * @user:   whose ring
 * @from:   when the stall began, ns
 * @now:    up to when it lasted, ns
 * @budget: that a minute allows, ns
 *
 * Stalls that overlap, of several publishers or rings, are charged once.
 *
 * Return: true if this charge is the one that spent the budget.
 */
bool bmq_user_block_charge(struct bmq_user *user, u64 from, u64 now,
			   u64 budget)
{
	bool spent = false;

	spin_lock(&user->purse->lock);
	if (now >= user->block_end) {
		user->block_used = 0;
		WRITE_ONCE(user->block_end, now + BLOCK_PERIOD);
	}
	from = max(from, user->block_until);
	if (now > from) {
		spent = user->block_used < budget &&
			user->block_used + (now - from) >= budget;
		WRITE_ONCE(user->block_used, user->block_used + (now - from));
		user->block_until = now;
	}
	spin_unlock(&user->purse->lock);
	return spent;
}

/* Are the user's block rings drop-oldest until the minute ends? */
bool bmq_user_block_spent(const struct bmq_user *user, u64 now, u64 budget)
{
	return READ_ONCE(user->block_used) >= budget &&
	       now < READ_ONCE(user->block_end);
}

static struct bmq_account *account_find(struct bmq_user *user, u64 cgroup)
{
	struct bmq_account *account;

	lockdep_assert_held(&user->purse->lock);
	list_for_each_entry(account, &user->purse->accounts, node) {
		if (account->user == user && account->cgroup == cgroup) {
			account->refs++;
			return account;
		}
	}
	return NULL;
}

/**
 * bmq_account_get() - the account of a user in a memory cgroup
 * @user:   who
 * @cgroup: id of the memory cgroup
 *
 * Return: a reference, or NULL without memory.
 */
struct bmq_account *bmq_account_get(struct bmq_user *user, u64 cgroup)
{
	struct bmq_purse *purse = user->purse;
	struct bmq_account *account, *fresh;

	spin_lock(&purse->lock);
	account = account_find(user, cgroup);
	spin_unlock(&purse->lock);
	if (account)
		return account;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return NULL;
	fresh->user = user;
	fresh->cgroup = cgroup;
	fresh->refs = 1;
	INIT_LIST_HEAD(&fresh->idle[0]);
	INIT_LIST_HEAD(&fresh->idle[1]);

	spin_lock(&purse->lock);
	account = account_find(user, cgroup);
	if (!account) {
		list_add(&fresh->node, &purse->accounts);
		user->refs++;
	}
	spin_unlock(&purse->lock);
	if (!account)
		return fresh;

	kfree(fresh);
	return account;
}

/*
 * Put a reference under the purse's lock. The last one unlinks the account and
 * hands it out in @dead, for bmq_account_free() after the lock.
 */
void bmq_account_put_locked(struct bmq_account *account,
			    struct bmq_account **dead)
{
	lockdep_assert_held(&account->user->purse->lock);
	if (--account->refs)
		return;
	list_del(&account->node);
	*dead = account;
}

void bmq_account_free(struct bmq_account *account)
{
	if (!account)
		return;
	bmq_user_put(account->user);
	kfree(account);
}

void bmq_account_put(struct bmq_account *account)
{
	struct bmq_purse *purse = account->user->purse;
	struct bmq_account *dead = NULL;

	spin_lock(&purse->lock);
	bmq_account_put_locked(account, &dead);
	spin_unlock(&purse->lock);
	bmq_account_free(dead);
}

static unsigned long share_limit(const struct bmq_user *user)
{
	const struct bmq_purse *purse = user->purse;
	unsigned long others = purse->pages - user->pages;

	return (purse->budget - min(others, purse->budget)) * purse->share / PERCENT;
}

static int host_charge(struct bmq_host_user *hu, unsigned int nr, u32 *detail)
{
	unsigned long limit;
	int reason = BLIPMQ_REASON_NONE;

	spin_lock(&bmq_host.lock);
	limit = READ_ONCE(bmq_host.limit);
	if (bmq_host.pages + nr > limit) {
		reason = BLIPMQ_REASON_HOST;
		*detail = limit;
	} else if (hu->pages + nr > limit / 2) {
		reason = BLIPMQ_REASON_HOST_USER;
		*detail = limit / 2;
	} else {
		bmq_host.pages += nr;
		hu->pages += nr;
	}
	spin_unlock(&bmq_host.lock);
	return reason;
}

/**
 * bmq_account_charge() - take pages: of the user's share, the budget, the host
 * @account: who pays
 * @nr:      pages
 * @detail:  the limit that refused, in pages
 *
 * One charge with one undo: all counters move, or none.
 *
 * Return: BLIPMQ_REASON_NONE, or the limit that refused.
 */
int bmq_account_charge(struct bmq_account *account, unsigned int nr,
		       u32 *detail)
{
	struct bmq_user *user = account->user;
	struct bmq_purse *purse = user->purse;
	int reason;

	spin_lock(&purse->lock);
	if (purse->pages + nr > purse->budget) {
		reason = BLIPMQ_REASON_BUDGET;
		*detail = purse->budget;
	} else if (user->pages + nr > share_limit(user)) {
		reason = BLIPMQ_REASON_SHARE;
		*detail = share_limit(user);
	} else {
		reason = host_charge(user->host_user, nr, detail);
	}
	if (!reason) {
		purse->pages += nr;
		user->pages += nr;
		account->refs++;
	}
	spin_unlock(&purse->lock);
	return reason;
}

/* Undo a charge, once its pages are gone. */
void bmq_account_uncharge(struct bmq_account *account, unsigned int nr)
{
	struct bmq_user *user = account->user;
	struct bmq_purse *purse = user->purse;
	struct bmq_account *dead = NULL;

	spin_lock(&purse->lock);
	purse->pages -= nr;
	user->pages -= nr;
	spin_lock(&bmq_host.lock);
	bmq_host.pages -= nr;
	user->host_user->pages -= nr;
	spin_unlock(&bmq_host.lock);
	bmq_account_put_locked(account, &dead);
	spin_unlock(&purse->lock);
	bmq_account_free(dead);
}

/* Would @nr more pages put the user over its share? */
bool bmq_user_over_share(struct bmq_user *user, unsigned int nr)
{
	bool over;

	spin_lock(&user->purse->lock);
	over = user->pages + nr > share_limit(user);
	spin_unlock(&user->purse->lock);
	return over;
}
