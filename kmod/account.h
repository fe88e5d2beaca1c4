/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who pays for memory, and how much each may take.
 *
 * Ownership. The host has one record; it lists the real users of all buses. A
 * bus has *users* (one for each uid) and *accounts* (one for each user and
 * memory cgroup). An endpoint, a topic and a pattern hold a reference on the
 * user that made them; an account holds one on its user. An endpoint holds a
 * reference on the account it publishes from; every run that belongs to an
 * account holds one too, live or idle.
 *
 * Locking. bmq_purse.lock guards all counters and lists of a bus; inside it
 * bmq_host.lock guards those of the host. Both are leaves, never held over an
 * allocation.
 */
#ifndef _BLIPMQ_ACCOUNT_H
#define _BLIPMQ_ACCOUNT_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>

/**
 * struct bmq_host - what all buses of the machine take together
 * @lock:  guards the rest
 * @limit: pages that all buses may have; one real user may have half
 * @pages: pages that they have
 * @users: struct bmq_host_user
 */
struct bmq_host {
	spinlock_t lock;
	unsigned long limit;
	unsigned long pages;
	struct list_head users;
};

extern struct bmq_host bmq_host;

struct bmq_host_user {
	struct list_head node;
	u32 uid;
	unsigned int refs;
	unsigned long pages;
};

/**
 * struct bmq_purse - the memory accounts of one bus
 * @lock:     guards all that follows, and idle lists of the store
 * @users:    struct bmq_user
 * @accounts: struct bmq_account
 * @budget:   pages that messages may take; read without the lock for pin limits
 * @share:    percent of what other users left free that one user may take
 * @pages:    pages taken
 * @ringers:  users that have a ring; read without the lock, a stale value only
 *            shifts a pin limit by one user for one delivery
 */
struct bmq_purse {
	spinlock_t lock;
	struct list_head users;
	struct list_head accounts;
	unsigned long budget;
	unsigned int share;
	unsigned long pages;
	unsigned int ringers;
};

/**
 * struct bmq_user - one uid on one bus
 * @node:      in bmq_purse.users
 * @purse:     of the bus
 * @host_user: the same uid, over all buses
 * @uid:       as the initial user namespace has it
 * @refs:      guarded by the purse's lock; at 0 the user stays, to be found again,
 *             until the minute of the block budget that it used is over
 * @pages:     of all its accounts
 * @rings:     read without the lock, as bmq_purse.ringers is
 * @endpoints: how many it has
 * @idle:    of @pages, those of runs without a message
 * @pinned:  pages of runs that its rings pin, as often as they pin them
 * @topics:   topics it made; guarded by the bus's match lock
 * @patterns: wildcard patterns it made; likewise
 * @wild_subs: its subscriptions to wildcard patterns; likewise
 * @exact_subs: most subscriptions it ever had to one exact pattern; likewise
 * @fanout:   scratch for counting its subscriptions on one topic; likewise
 * @block_end: when the present minute of the block budget ends, ns
 * @block_used: what of the budget is used, ns
 * @block_until: up to when stalls are charged already, ns
 */
struct bmq_user {
	struct list_head node;
	struct bmq_purse *purse;
	struct bmq_host_user *host_user;
	u32 uid;
	unsigned int refs;
	unsigned long pages;
	unsigned int rings;
	unsigned int endpoints;
	unsigned long idle;
	atomic_long_t pinned;
	unsigned int topics;
	unsigned int patterns;
	unsigned int wild_subs;
	unsigned int exact_subs;
	unsigned int fanout;
	u64 block_end;
	u64 block_used;
	u64 block_until;
};

/**
 * struct bmq_account - what one user takes from one memory cgroup
 * @node:   in bmq_purse.accounts
 * @user:   who
 * @cgroup: id of the memory cgroup, never reused
 * @refs:   endpoints and runs
 * @idle:   runs without a message, last freed first: page-sized, larger ones
 */
struct bmq_account {
	struct list_head node;
	struct bmq_user *user;
	u64 cgroup;
	unsigned int refs;
	struct list_head idle[2];
};

void bmq_purse_destroy(struct bmq_purse *purse);
void bmq_purse_init(struct bmq_purse *purse, unsigned long budget,
		    unsigned int share);
void bmq_purse_set(struct bmq_purse *purse, unsigned long budget,
		   unsigned int share);

struct bmq_user *bmq_user_get(struct bmq_purse *purse, u32 uid);
void bmq_user_hold(struct bmq_user *user);
void bmq_user_put(struct bmq_user *user);
int bmq_user_add_endpoint(struct bmq_user *user, unsigned int limit);
void bmq_user_del_endpoint(struct bmq_user *user);
void bmq_user_add_ring(struct bmq_user *user);
void bmq_user_del_ring(struct bmq_user *user);

bool bmq_user_block_charge(struct bmq_user *user, u64 from, u64 now,
			   u64 budget);
bool bmq_user_block_spent(const struct bmq_user *user, u64 now,
			  u64 budget);

struct bmq_account *bmq_account_get(struct bmq_user *user, u64 cgroup);
void bmq_account_put(struct bmq_account *account);
void bmq_account_put_locked(struct bmq_account *account,
			    struct bmq_account **dead);
void bmq_account_free(struct bmq_account *account);

int bmq_account_charge(struct bmq_account *account, unsigned int nr,
		       u32 *detail);
void bmq_account_uncharge(struct bmq_account *account, unsigned int nr);
bool bmq_user_over_share(struct bmq_user *user, unsigned int nr);

/**
 * bmq_pin_part() - pages of runs that all rings of a user may pin
 *
 * An equal part of half the budget for each user with rings: all together never
 * pin more than half, but for one run that every user may have.
 */
static inline unsigned long bmq_pin_part(const struct bmq_user *user)
{
	unsigned long ringers = READ_ONCE(user->purse->ringers);

	return READ_ONCE(user->purse->budget) / 2 / (ringers ? ringers : 1);
}

/* Of these, one ring: an equal part, and at most an eighth of the budget. */
static inline unsigned long bmq_pin_limit(const struct bmq_user *user)
{
	unsigned long rings = READ_ONCE(user->rings);
	unsigned long limit = bmq_pin_part(user) / (rings ? rings : 1);
	unsigned long most = READ_ONCE(user->purse->budget) / 8;

	return limit < most ? limit : most;
}

#endif /* _BLIPMQ_ACCOUNT_H */
