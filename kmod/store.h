/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pages of a bus, handed out as runs.
 *
 * A *run* is a number of consecutive page indexes with one reference count. It
 * is live while somebody holds a reference: an endpoint its current run, a
 * publisher what it is filling, a ring a stretch, a held or a kept message. At
 * zero it is idle: it belongs to its account still, which takes it again as it
 * is. An idle run that nobody wants is given back: unmapped everywhere, its pages
 * freed, its indexes free.
 *
 * A page that somebody kept (a pin, a pipe) is never waited for. When that may be
 * somebody who must not see what comes (bmq_store_escape()), the store's *epoch*
 * ends: no run of an earlier one is taken again, so that its pages show nothing but
 * what they had; they are given back with it, and fresh ones take their place.
 *
 * Ownership. The store owns its runs; bmq_store.slot[] finds them. A run holds
 * a reference on its account. References are taken from a reference one has, or
 * by bmq_store_take().
 *
 * Locking. @map_sem: slot[] changes under write, together with the unmapping of
 * what was there; faults read it. @index_lock: the bitmap of indexes in use. The
 * purse's lock: the lists of idle runs. Order: index_lock, map_sem, purse lock.
 * slot[] of a run that one holds a reference on is stable without any of them.
 */
#ifndef _BLIPMQ_STORE_H
#define _BLIPMQ_STORE_H

#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>

#include <uapi/linux/blipmq.h>

#include "account.h"

#define BMQ_SMALL_PAGES		1	/* of a run that small messages share */
#define BMQ_UNITS_PER_PAGE	(PAGE_SIZE / BLIPMQ_ALIGN)

struct bmq_store;

/**
 * struct bmq_run - consecutive pages with one count
 * @refs:     0: idle
 * @first:    index of the first page
 * @nr:       pages
 * @idle_at:  jiffies at which it became idle
 * @epoch:    the store's when its pages were allocated; fixed
 * @account:  who pays; fixed
 * @in_store: while idle: in bmq_store.idle
 * @in_account: while idle: in bmq_account.idle
 * @pages:    the pages
 */
struct bmq_run {
	refcount_t refs;
	u32 first;
	u32 nr;
	unsigned long idle_at;
	u32 epoch;
	struct bmq_account *account;
	struct list_head in_store;
	struct list_head in_account;
	struct page *pages[];
};

/**
 * struct bmq_store - the pages of one bus
 * @purse:      what the bus may take
 * @max:        page indexes there are: up to what the budget may be set; fixed
 * @epoch:      see above; guarded by the purse's lock, but for bmq_run_stale()
 * @slot:       run that has this page, or NULL
 * @map_sem:    see above
 * @index_lock: see above
 * @used:       bitmap of page indexes
 * @low:        no index below is free
 * @idle:       idle runs, longest idle first
 * @idle_pages: pages of these
 * @zap:        unmaps pages from every process
 */
struct bmq_store {
	struct bmq_purse purse;
	unsigned long max;
	u32 epoch;
	struct bmq_run **slot;
	struct rw_semaphore map_sem;
	struct mutex index_lock;
	unsigned long *used;
	unsigned long low;
	struct list_head idle;
	unsigned long idle_pages;
	void (*zap)(struct bmq_store *store, unsigned long first,
		    unsigned long nr);
};

int bmq_store_init(struct bmq_store *store, unsigned long max,
		   unsigned long budget, unsigned int share);
void bmq_store_destroy(struct bmq_store *store);

struct bmq_run *bmq_store_take(struct bmq_store *store,
			       struct bmq_account *account,
				     unsigned int nr, int *reason, u32 *detail);
void bmq_run_put(struct bmq_store *store, struct bmq_run *run,
		 unsigned int nr);
bool bmq_store_trim(struct bmq_store *store, unsigned long before,
		    unsigned long keep);
void bmq_store_escape(struct bmq_store *store);

/*
 * Is it of an earlier epoch? An endpoint must not keep it as its current run: whoever
 * ends an epoch takes it away, holding the lock under which it is made that.
 */
static inline bool bmq_run_stale(const struct bmq_store *store,
				 const struct bmq_run *run)
{
	return run->epoch != READ_ONCE(store->epoch);
}

static inline void bmq_run_get(struct bmq_run *run, unsigned int nr)
{
	refcount_add(nr, &run->refs);
}

/* Pages that are idle: of one user, or of all if NULL. A hint. */
static inline unsigned long bmq_store_idle(const struct bmq_store *store,
					   const struct bmq_user *only)
{
	return only ? READ_ONCE(only->idle) : READ_ONCE(store->idle_pages);
}

/* Offset of a byte of a run in the store, in units of BLIPMQ_ALIGN. */
static inline u32 bmq_run_units(const struct bmq_run *run, unsigned long offset)
{
	return run->first * BMQ_UNITS_PER_PAGE + offset / BLIPMQ_ALIGN;
}

/* Kernel address of a byte of a run; good up to the end of its page. */
static inline void *bmq_run_at(const struct bmq_run *run,
			       unsigned long offset)
{
	return page_address(run->pages[offset >> PAGE_SHIFT]) +
	       (offset & ~PAGE_MASK);
}

#endif /* _BLIPMQ_STORE_H */
