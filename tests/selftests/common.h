/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the selftests share: calls that poison what the kernel is to write, a consumer of the
 * ring contract that is independent of libblipmq, and helpers for children, namespaces,
 * users and awkward memory. Functions return 0 or more, or a negative errno.
 */
#ifndef SELFTESTS_COMMON_H
#define SELFTESTS_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/blipmq.h>

#define DEVICE		"/dev/blipmq"
#define POISON		0xcc
#define POISON32	0xccccccccu
#define POISON64	0xccccccccccccccccULL
#define MSEC		1000000ULL	/* nanoseconds */
#define SEC		1000000000ULL

/* What this tree's module is to have, exactly. */
#define FEATURES	(BLIPMQ_FEATURE_TYPES | BLIPMQ_FEATURE_HEADERS | \
			 BLIPMQ_FEATURE_NETLINK)

/* An address that no process has: not NULL, above user space's end where there is one. */
#define NOWHERE		((__u64)-4096)

static inline __u64 ptr_u64(const void *p)
{
	return (uintptr_t)p;
}

/* ---- The device ---- */

int bus_open(int flags);
/* Open as another user, who is then the opener; groups: the gid only. The caller is root. */
int bus_open_as(uid_t uid, gid_t gid, int flags);
/* The ioctl as it stands, nothing filled in: 0 or more, or a negative errno. */
int raw_ioctl(int fd, unsigned long cmd, const void *arg);

/*
 * One for each ioctl. They set head.size, leave head.flags to the caller, and poison
 * head.reason, head.detail and every field that is only an output with POISON.
 */
int do_info(int fd, struct blipmq_info *info);
int do_bind(int fd, struct blipmq_bind *bind);
int do_ring(int fd, struct blipmq_ring *ring);
int do_subscribe(int fd, struct blipmq_subscribe *sub);
int do_unsubscribe(int fd, struct blipmq_unsubscribe *unsub);
int do_topic(int fd, struct blipmq_topic *topic);
int do_topic_close(int fd, struct blipmq_topic_close *close);
int do_publish(int fd, struct blipmq_publish *pub);
int do_wait(int fd, struct blipmq_wait *wait);
int do_keep(int fd, struct blipmq_keep *keep);
int do_drop(int fd, struct blipmq_drop_kept *drop);
int do_recv(int fd, struct blipmq_recv *recv);
int do_stats(int fd, struct blipmq_stats *stats);
int do_type(int fd, struct blipmq_type *type);

/* The same for the usual case. */
int bind_bus(int fd, const char *name);
int make_ring(int fd, __u32 entries, enum blipmq_policy policy);
int subscribe(int fd, const char *pattern, __u64 cookie);		/* the id */
int topic(int fd, const char *subject);					/* the handle */
int publish(int fd, const char *subject, const void *data, size_t len);	/* delivered */
int publish_on(int fd, __u32 handle, const void *data, size_t len);	/* delivered */
int publish_nonblock(int fd, const char *subject, const void *data, size_t len);
/* Sleep until min messages wait, or for ms milliseconds (-ETIME). */
int wait_for(int fd, __u32 min, unsigned int ms);
int ring_stats(int fd, struct blipmq_stats *stats);
int sub_stats(int fd, __u32 id, struct blipmq_stats *stats);
int bus_stats(int fd, struct blipmq_stats *stats);
__u64 sum_drops(const __u64 *drops);

/* ---- A mapped consumer ---- */

struct consumer {
	int fd;
	struct blipmq_ring info;	/* as the kernel filled it in */
	size_t store_size;
	/* Mappings, MAP_FAILED where there is none. */
	char *ring;
	char *control;
	const char *store;
};

/* An endpoint with a ring, all of it mapped. */
int consumer_open(struct consumer *c, __u32 entries, __u32 held, enum blipmq_policy policy);
/* Likewise for a file that is open; it then belongs to the consumer. */
int consumer_attach(struct consumer *c, int fd, __u32 entries, __u32 held,
		    enum blipmq_policy policy);
void consumer_unmap(struct consumer *c);
void consumer_close(struct consumer *c);

/*
 * Claim at most max messages, copying their descriptors; *index is that of the first. Returns
 * how many, 0 if none wait. One thread at a time, though the kernel may drop meanwhile.
 */
unsigned int consumer_claim(struct consumer *c, struct blipmq_desc *descs, unsigned int max,
			    __u64 *index);
/* All before index are done with. Kicks a publisher that waits for it. */
void consumer_release(struct consumer *c, __u64 index);
/* Claim, look at nothing, release: how many went. */
__u64 consumer_drain(struct consumer *c);
/* need_wakeup as it must be before any sleep. */
void consumer_arm(struct consumer *c, __u32 min);

__u64 consumer_load(const void *word);
void consumer_store(void *word, __u64 value);
__u64 consumer_prod(const struct consumer *c);
__u64 consumer_blocked(const struct consumer *c);
__u32 consumer_broken(const struct consumer *c);
__u64 *consumer_claim_word(const struct consumer *c);
__u64 *consumer_release_word(const struct consumer *c);
const __u64 *consumer_drops(const struct consumer *c);

const struct blipmq_header *consumer_header(const struct consumer *c,
					    const struct blipmq_desc *d);
const char *consumer_payload(const struct consumer *c, const struct blipmq_desc *d);
/* The subject in the trailer, terminated, in a buffer that the next call overwrites. */
const char *consumer_subject(const struct consumer *c, const struct blipmq_desc *d);
static inline __u32 desc_length(const struct blipmq_desc *d)
{
	return d->length & BLIPMQ_DESC_LENGTH;
}

/* ---- Blocks ---- */

/* Append a message to a block that lies at buf and has size bytes; the new size. */
size_t block_add(void *buf, size_t size, __u32 handle, const void *data, __u32 len,
		 __u32 subject_len);

/* ---- Children and time ---- */

/* Run fn(arg) in a child that exits with what it returns, at most 255. */
pid_t spawn(int (*fn)(void *arg), void *arg);
/* Its status as a shell has it: the exit code, or 128 and the signal. */
int reap(pid_t pid);
/* Likewise; -ETIME if it is still alive after ms milliseconds. */
int reap_within(pid_t pid, unsigned int ms);
/* Kill -9 and reap. */
int slay(pid_t pid);
/* Until the thread sleeps in the kernel; false if it never does. */
bool wait_asleep(pid_t tid);
/* Does it now? */
bool is_asleep(pid_t tid);
/* How often the thread went to sleep; -1 if there is none. */
long nr_sleeps(pid_t tid);
__u64 now_ns(void);
void sleep_ms(unsigned int ms);
/* Are the cases to go on for hours (SOAK)? */
bool soaking(void);
/* Seconds that a timed case goes on: 2, 3 on a debug kernel, a tenth of SOAK hours if set. */
double test_seconds(void);
bool debug_kernel(void);
int send_fd(int sock, int fd);
int recv_fd(int sock);

/* ---- Those who sleep when a bus ends ---- */

/**
 * struct ending - open files of a bus, one for each way to sleep
 * @c:      mapped; fewer messages wait than its ring has entries
 * @reader: has a ring that is consumed by read(2), with nothing in it
 * @pub:    for publishing "blocked", of which a block ring is full
 * @leave:  a descriptor that sleepers must not hold, or -1
 */
struct ending {
	struct consumer *c;
	int reader;
	int pub;
	int leave;
};

#define NR_SLEEPERS	6	/* WAIT, read, RECV, poll, PUBLISH, write */

/* A child in each of them. Returns NULL, or which one does not sleep. */
const char *sleepers_begin(const struct ending *e, pid_t pids[NR_SLEEPERS]);
/* All wake within ms milliseconds, with ENODEV. Returns NULL, or which one does not. */
const char *sleepers_told(const pid_t pids[NR_SLEEPERS], unsigned int ms);

/* ---- Namespaces and parameters ---- */

struct param {
	const char *name;
	const char *value;
};

/* Value of a module parameter, in a buffer that the next call overwrites. */
const char *param_get(const char *name);
int param_set(const char *name, const char *value);
/*
 * Go to a new network namespace, whose default bus is made with these parameters (an array
 * that ends with a NULL name, or NULL); then they are as before.
 */
int fresh_bus(const struct param *params);

/* ---- Awkward memory ---- */

size_t page_size(void);
/* size bytes that end where a page that is not mapped begins. */
char *before_hole(size_t size);
/* A page that can be read, not written. */
char *read_only_page(void);
/* Read a byte: 0, or the signal that came. */
int probe(const char *p);
/*
 * A page whose first touch sleeps until the process is killed or the userfaultfd, which
 * is returned, is closed.
 */
int stalling_page(char **page);
/* Likewise for a page of the caller's, anonymous and not touched yet. */
int stall_at(char *page);
/*
 * For spawn(): read one message of *fd into such a page. With slay() it ends: the copy
 * has failed then, and the message stays first.
 */
int read_stalling(void *fd);

#endif /* SELFTESTS_COMMON_H */
