/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the pure parts of the module use of the kernel, in user space.
 *
 * Included before everything else; the headers that the module names are empty here.
 * Locks know their owner, so that lockdep_assert_held() means something; allocations
 * and pages are counted, and can be made to fail.
 */
#ifndef SHIM_H
#define SHIM_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef int16_t s16;
typedef uint32_t u32;
typedef uint64_t u64;

#define U16_MAX		UINT16_MAX
#define U32_MAX		UINT32_MAX
#define U64_MAX		UINT64_MAX

#define ____cacheline_aligned	__attribute__((aligned(64)))
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#define WARN_ON_ONCE(condition)	assert(!(condition))
#define BUILD_BUG_ON(condition)	_Static_assert(!(condition), #condition)
#define cond_resched()		((void)0)

/* ---- Arithmetic ---- */

#define min(a, b)		({ __auto_type a_ = (a); __auto_type b_ = (b); \
				   a_ < b_ ? a_ : b_; })
#define max(a, b)		({ __auto_type a_ = (a); __auto_type b_ = (b); \
				   a_ > b_ ? a_ : b_; })
#define min_t(type, a, b)	min((type)(a), (type)(b))
#define max_t(type, a, b)	max((type)(a), (type)(b))
#define clamp(val, low, high)	min(max(val, low), high)
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define struct_size(ptr, member, nr) \
	(sizeof(*(ptr)) + sizeof((ptr)->member[0]) * (nr))

/* ---- Memory order ---- */

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, val)	__atomic_store_n(&(x), (val), __ATOMIC_RELAXED)
#define smp_load_acquire(ptr)	__atomic_load_n((ptr), __ATOMIC_ACQUIRE)
#define smp_store_release(ptr, val) __atomic_store_n((ptr), (val), __ATOMIC_RELEASE)
#define try_cmpxchg(ptr, old, new) \
	__atomic_compare_exchange_n((ptr), (old), (new), false, __ATOMIC_SEQ_CST, \
				    __ATOMIC_SEQ_CST)

typedef struct { long counter; } atomic_long_t;
#define atomic_long_read(v)	READ_ONCE((v)->counter)
#define atomic_long_add(n, v)	__atomic_add_fetch(&(v)->counter, (n), __ATOMIC_RELAXED)
#define atomic_long_sub(n, v)	__atomic_sub_fetch(&(v)->counter, (n), __ATOMIC_RELAXED)

typedef struct { int refs; } refcount_t;
#define refcount_set(r, n)	WRITE_ONCE((r)->refs, (n))

static inline void refcount_add(int nr, refcount_t *r)
{
	assert(__atomic_fetch_add(&r->refs, nr, __ATOMIC_RELAXED) > 0);
}

static inline bool refcount_sub_and_test(int nr, refcount_t *r)
{
	int left = __atomic_sub_fetch(&r->refs, nr, __ATOMIC_ACQ_REL);

	assert(left >= 0);
	return !left;
}

/* ---- Locks ---- */

struct shim_lock {
	pthread_mutex_t lock;
	pthread_t owner;
	bool held;
};

typedef struct shim_lock spinlock_t;
#define mutex			shim_lock
#define rw_semaphore		shim_lock
#define __SPIN_LOCK_UNLOCKED(name) { .lock = PTHREAD_MUTEX_INITIALIZER }

static inline void shim_lock_init(struct shim_lock *lock)
{
	pthread_mutex_init(&lock->lock, NULL);
	lock->held = false;
}

static inline void shim_lock_take(struct shim_lock *lock)
{
	pthread_mutex_lock(&lock->lock);
	lock->owner = pthread_self();
	lock->held = true;
}

static inline void shim_lock_put(struct shim_lock *lock)
{
	assert(lock->held && pthread_equal(lock->owner, pthread_self()));
	lock->held = false;
	pthread_mutex_unlock(&lock->lock);
}

#define spin_lock_init		shim_lock_init
#define spin_lock		shim_lock_take
#define spin_unlock		shim_lock_put
#define mutex_init		shim_lock_init
#define mutex_lock		shim_lock_take
#define mutex_unlock		shim_lock_put
#define init_rwsem		shim_lock_init
#define down_write		shim_lock_take
#define up_write		shim_lock_put
#define lockdep_assert_held(lock) \
	assert((lock)->held && pthread_equal((lock)->owner, pthread_self()))

/* ---- Lists ---- */

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD_INIT(name)	{ &(name), &(name) }
#define LIST_HEAD(name)		struct list_head name = LIST_HEAD_INIT(name)

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list;
	list->prev = list;
}

static inline void list_add(struct list_head *node, struct list_head *after)
{
	node->next = after->next;
	node->prev = after;
	after->next->prev = node;
	after->next = node;
}

static inline void list_add_tail(struct list_head *node, struct list_head *head)
{
	list_add(node, head->prev);
}

static inline void list_del(struct list_head *node)
{
	node->next->prev = node->prev;
	node->prev->next = node->next;
	node->next = NULL;
	node->prev = NULL;
}

static inline void list_move(struct list_head *node, struct list_head *head)
{
	list_del(node);
	list_add(node, head);
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

#define list_entry(ptr, type, member)	container_of(ptr, type, member)
#define list_last_entry(head, type, member) list_entry((head)->prev, type, member)
#define list_first_entry_or_null(head, type, member) \
	(list_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_for_each_entry(pos, head, member) \
	for (pos = list_entry((head)->next, __typeof__(*pos), member); \
	     &pos->member != (head); \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))
#define list_for_each_entry_safe(pos, n, head, member) \
	for (pos = list_entry((head)->next, __typeof__(*pos), member), \
	     n = list_entry(pos->member.next, __typeof__(*pos), member); \
	     &pos->member != (head); \
	     pos = n, n = list_entry(n->member.next, __typeof__(*pos), member))

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

static inline void hlist_add_head(struct hlist_node *node, struct hlist_head *head)
{
	node->next = head->first;
	node->pprev = &head->first;
	if (head->first)
		head->first->pprev = &node->next;
	head->first = node;
}

static inline void hlist_del(struct hlist_node *node)
{
	*node->pprev = node->next;
	if (node->next)
		node->next->pprev = node->pprev;
}

#define hlist_entry_safe(ptr, type, member) \
	({ __typeof__(ptr) p_ = (ptr); p_ ? container_of(p_, type, member) : NULL; })
#define hlist_for_each_entry(pos, head, member) \
	for (pos = hlist_entry_safe((head)->first, __typeof__(*pos), member); pos; \
	     pos = hlist_entry_safe(pos->member.next, __typeof__(*pos), member))

/* ---- Bitmaps ---- */

#define BITS_PER_LONG		(8 * sizeof(long))
#define BITS_TO_LONGS(nr)	DIV_ROUND_UP(nr, BITS_PER_LONG)

static inline bool test_bit(unsigned long bit, const unsigned long *map)
{
	return map[bit / BITS_PER_LONG] >> bit % BITS_PER_LONG & 1;
}

static inline void bitmap_set(unsigned long *map, unsigned long bit, unsigned int nr)
{
	for (; nr; nr--, bit++)
		map[bit / BITS_PER_LONG] |= 1UL << bit % BITS_PER_LONG;
}

static inline void bitmap_clear(unsigned long *map, unsigned long bit, unsigned int nr)
{
	for (; nr; nr--, bit++)
		map[bit / BITS_PER_LONG] &= ~(1UL << bit % BITS_PER_LONG);
}

static inline void __set_bit(unsigned long bit, unsigned long *map)
{
	bitmap_set(map, bit, 1);
}

static inline bool __test_and_clear_bit(unsigned long bit, unsigned long *map)
{
	bool old = test_bit(bit, map);

	bitmap_clear(map, bit, 1);
	return old;
}

static inline unsigned long find_next_bit(const unsigned long *map, unsigned long size,
					  unsigned long bit)
{
	while (bit < size && !test_bit(bit, map))
		bit++;
	return min(bit, size);
}

static inline unsigned long find_next_zero_bit(const unsigned long *map,
					       unsigned long size, unsigned long bit)
{
	while (bit < size && test_bit(bit, map))
		bit++;
	return min(bit, size);
}

/* ---- Allocation ---- */

typedef unsigned int gfp_t;
#define GFP_KERNEL_ACCOUNT	0u
#define GFP_NOWAIT		0u
#define __GFP_ACCOUNT		0u
#define __GFP_RETRY_MAYFAIL	0u
#define __GFP_NOWARN		0u
#define __GFP_ZERO		0u

extern long shim_allocated;	/* allocations and pages that are not freed */
extern long shim_fail_in;	/* the allocation after so many fails; -1: none */

void *shim_alloc(size_t size);
void shim_free(void *mem);

#define kzalloc(size, gfp)		shim_alloc(size)
#define kvzalloc(size, gfp)		shim_alloc(size)
#define kvcalloc(nr, size, gfp)		shim_alloc((size_t)(nr) * (size))
#define kfree(mem)			shim_free(mem)
#define kvfree(mem)			shim_free(mem)

struct rcu_head {
	int unused;
};

#define kfree_rcu(ptr, member)		shim_free(ptr)

/* ---- Pages ---- */

#define PAGE_SHIFT		12
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#define PAGE_MASK		(~(PAGE_SIZE - 1))

struct page {
	int refs;
};

struct page *shim_page(void);
void put_page(struct page *page);

/* The page's struct lies behind its memory. */
#define alloc_page(gfp)		shim_page()
#define page_address(page)	((void *)((char *)(page) - PAGE_SIZE))
#define virt_to_page(mem)	((struct page *)((char *)(mem) + PAGE_SIZE))

#define get_zeroed_page(gfp)	shim_zeroed_page()

static inline unsigned long shim_zeroed_page(void)
{
	struct page *page = shim_page();

	return page ? (unsigned long)page_address(page) : 0;
}

/* ---- Errors, time, hash ---- */

#define GOLDEN_RATIO_64		0x61C8864680B583EBULL

#define ERR_PTR(err)		((void *)(long)(err))
#define PTR_ERR(ptr)		((long)(ptr))
#define IS_ERR(ptr)		((unsigned long)(ptr) >= (unsigned long)-4095)

extern unsigned long jiffies;
#define time_after(a, b)	((long)((b) - (a)) < 0)

static inline u64 ktime_get_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static inline u64 shim_rol64(u64 word, unsigned int bits)
{
	return word << bits | word >> (64 - bits);
}

/* That of the kernel, of 64 bits: which tokens share a bucket is of interest. */
static inline unsigned int full_name_hash(const void *salt, const char *name,
					  unsigned int len)
{
	u64 x = 0, y = (uintptr_t)salt, word;

	for (; len >= sizeof(word); name += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, name, sizeof(word));
		x ^= word;
		y ^= x;
		x = shim_rol64(x, 12) + y;
		y = shim_rol64(y, 45) * 9;
	}
	word = 0;
	memcpy(&word, name, len);
	x ^= word;
	return ((y ^ x * GOLDEN_RATIO_64) * GOLDEN_RATIO_64) >> 32;
}

#endif /* SHIM_H */
