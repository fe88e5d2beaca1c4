/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * BlipMQ: a message bus in the kernel. The whole contract with user space.
 *
 * Open /dev/blipmq, make a ring, map it, subscribe; or open it and publish.
 * One open file is one *endpoint*. An endpoint is bound to one *bus*: by
 * BLIPMQ_IOC_BIND, or to "default" by the first call that needs one. Buses are
 * administered through generic netlink: <linux/blipmq_netlink.h>.
 *
 * Every ioctl takes a pointer to a struct that begins with struct blipmq_head.
 * The caller sets head.size to the size of the struct it was compiled with and
 * zeroes what it does not use. The kernel refuses
 *   -EINVAL  a size below the first published one, an unknown flag, a field
 *            marked reserved that is not zero,
 *   -E2BIG   a size above the kernel's own with a tail that is not zero, or
 *            above BLIPMQ_STRUCT_MAX,
 *   -EFAULT  memory that cannot be read (nothing was done) or written,
 *   -ENOTTY  an unknown number,
 *   -ENODEV  a bus that was deleted, or whose network namespace is gone.
 * On success and on failure alike head.reason and head.detail are written: the
 * rule that was broken (enum blipmq_reason) and a number that belongs to it.
 * Layouts are the same for 32-bit callers. All integers are native endian.
 */
#ifndef _UAPI_LINUX_BLIPMQ_H
#define _UAPI_LINUX_BLIPMQ_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define BLIPMQ_VERSION		1	/* of this contract */
#define BLIPMQ_STRUCT_MAX	4096	/* no struct of ours is larger */

#define BLIPMQ_SUBJECT_MAX	255	/* bytes of a subject or pattern */
#define BLIPMQ_NAME_MAX		64	/* bytes of a bus name, with its NUL */
#define BLIPMQ_TYPE_NAME_MAX	255	/* bytes of the name of a topic's type */
#define BLIPMQ_HEADERS_MAX	65024	/* bytes of a message's user headers */
#define BLIPMQ_TRAILER_MAX	65535	/* bytes of a trailer */
#define BLIPMQ_MESSAGE_MAX	(16u << 20)	/* payload bytes; a bus may allow less */
#define BLIPMQ_ENTRIES_MAX	65536	/* descriptors of a ring */
#define BLIPMQ_BATCH_MAX	1024	/* messages of one PUBLISH */
#define BLIPMQ_BLOCK_MAX	65536	/* bytes of one block */
#define BLIPMQ_ALIGN		64	/* of headers and payloads in the store */
#define BLIPMQ_TRAILER_ALIGN	8	/* of the trailer behind the payload */

/* mmap offsets. All lie below 2^44, so that 32-bit callers reach them. */
#define BLIPMQ_OFF_RING		0x0000000000ULL	/* descriptors: read only */
#define BLIPMQ_OFF_CONTROL	0x0100000000ULL	/* control page: read and write */
#define BLIPMQ_OFF_STORE	0x10000000000ULL	/* messages: read only */
#define BLIPMQ_OFF_LOAN		0x20000000000ULL	/* kept for loans */

/* Feature bits of BLIPMQ_IOC_INFO. A kernel without one refuses its fields. */
#define BLIPMQ_FEATURE_TTL	(1ULL << 0)
#define BLIPMQ_FEATURE_HISTORY	(1ULL << 1)
#define BLIPMQ_FEATURE_GROUPS	(1ULL << 2)
#define BLIPMQ_FEATURE_NAMES	(1ULL << 3)
#define BLIPMQ_FEATURE_REPLY	(1ULL << 4)
#define BLIPMQ_FEATURE_WILL	(1ULL << 5)
#define BLIPMQ_FEATURE_TYPES	(1ULL << 6)
#define BLIPMQ_FEATURE_HEADERS	(1ULL << 7)
#define BLIPMQ_FEATURE_LOANS	(1ULL << 8)
#define BLIPMQ_FEATURE_SPLICE	(1ULL << 9)
#define BLIPMQ_FEATURE_NETLINK	(1ULL << 10)

/* What the opener may do on the bus. */
#define BLIPMQ_RIGHT_MAP	(1u << 0)	/* x: map the store */
#define BLIPMQ_RIGHT_PUBLISH	(1u << 1)	/* w */
#define BLIPMQ_RIGHT_SUBSCRIBE	(1u << 2)	/* r */

/**
 * enum blipmq_reason - why a call was refused; head.detail in brackets
 *
 * A code is never reused. libblipmq has a sentence for each.
 */
enum blipmq_reason {
	BLIPMQ_REASON_NONE,
	BLIPMQ_REASON_SIZE,		/* head.size [the kernel's size] */
	BLIPMQ_REASON_TAIL,		/* tail beyond what the kernel knows is not zero */
	BLIPMQ_REASON_FLAGS,		/* unknown flag [the unknown bits] */
	BLIPMQ_REASON_RESERVED,		/* a reserved field, or one of a later feature */
	BLIPMQ_REASON_BUS_NAME,		/* no bus of that name */
	BLIPMQ_REASON_BOUND,		/* the file has a bus already */
	BLIPMQ_REASON_RIGHT_SUBSCRIBE,	/* the opener lacks, or lost, r on the bus */
	BLIPMQ_REASON_RIGHT_PUBLISH,	/* the opener lacks w on the bus */
	BLIPMQ_REASON_RIGHT_MAP,	/* the opener lacks x on the bus */
	BLIPMQ_REASON_RING_EXISTS,	/* an endpoint has one ring */
	BLIPMQ_REASON_RING_NONE,	/* make a ring first */
	BLIPMQ_REASON_RING_ENTRIES,	/* no power of two from 1 to the limit [limit] */
	BLIPMQ_REASON_RING_HELD,	/* held bound above the entries [entries] */
	BLIPMQ_REASON_RING_POLICY,	/* unknown policy [highest known] */
	BLIPMQ_REASON_RING_MODE,	/* consumed the other way (mapping or read) */
	BLIPMQ_REASON_RING_BROKEN,	/* the consumer stored impossible indexes */
	BLIPMQ_REASON_SUBJECT_LENGTH,	/* 0 or above the limit [limit] */
	BLIPMQ_REASON_SUBJECT_TOKEN,	/* an empty token [which, from 1] */
	BLIPMQ_REASON_SUBJECT_CHAR,	/* white space or control character [offset] */
	BLIPMQ_REASON_PATTERN_TAIL,	/* > is not the last token [which, from 1] */
	BLIPMQ_REASON_SUBSCRIPTION,	/* no subscription of that id */
	BLIPMQ_REASON_HANDLE,		/* no topic handle of that number */
	BLIPMQ_REASON_NOT_BOUND,	/* write(2) needs a bound topic */
	BLIPMQ_REASON_BATCH,		/* more messages or blocks than the limit [limit] */
	BLIPMQ_REASON_BLOCK,		/* a block's size or layout [offset in the block] */
	BLIPMQ_REASON_MESSAGE_SIZE,	/* payload and user headers above the bus's limit [limit] */
	BLIPMQ_REASON_BUFFER,		/* receive buffer too short [bytes needed] */
	BLIPMQ_REASON_INDEX,		/* index is not claimed, or is released */
	BLIPMQ_REASON_KEPT,		/* no kept message of that id */
	BLIPMQ_REASON_FAULT,		/* message memory cannot be read */
	BLIPMQ_REASON_MEMORY,		/* the kernel or the memory cgroup has none */
	BLIPMQ_REASON_BUDGET,		/* the bus's budget [pages] */
	BLIPMQ_REASON_SHARE,		/* the user's share of the bus [pages] */
	BLIPMQ_REASON_HOST,		/* the host's pages for all buses [pages] */
	BLIPMQ_REASON_HOST_USER,	/* the real user's pages on all buses [pages] */
	BLIPMQ_REASON_ROOM,		/* a block ring is full (would wait) */
	BLIPMQ_REASON_LIMIT_TOPICS,	/* topics of the bus [limit] */
	BLIPMQ_REASON_LIMIT_USER_TOPICS,	/* topics of the user, all in use [limit] */
	BLIPMQ_REASON_LIMIT_ENDPOINTS,	/* endpoints of the bus [limit] */
	BLIPMQ_REASON_LIMIT_USER_ENDPOINTS,	/* of the user [limit] */
	BLIPMQ_REASON_LIMIT_SUBSCRIPTIONS,	/* of the endpoint [limit] */
	BLIPMQ_REASON_LIMIT_PATTERNS,	/* wildcard patterns of the bus [limit] */
	BLIPMQ_REASON_LIMIT_USER_PATTERNS,	/* wildcard patterns of the user [limit] */
	BLIPMQ_REASON_LIMIT_HANDLES,	/* topic handles of the endpoint [limit] */
	BLIPMQ_REASON_LIMIT_KEPT,	/* kept messages of the endpoint [limit] */
	BLIPMQ_REASON_LIMIT_KEPT_PINS,	/* pages that the ring may pin [pages] */
	BLIPMQ_REASON_FANOUT,		/* subscriptions that match one topic [limit] */
	BLIPMQ_REASON_FANOUT_USER,	/* of one user [limit] */
	BLIPMQ_REASON_FANOUT_RING,	/* of one ring [limit] */
	BLIPMQ_REASON_MATCH_STEPS,	/* too many overlapping patterns [limit] */
	BLIPMQ_REASON_STATS,		/* unknown kind of statistics */
	BLIPMQ_REASON_NAMESPACE,	/* the network namespace is gone */
	BLIPMQ_REASON_RIGHT_NONE,	/* the opener has no right at all on the bus */
	BLIPMQ_REASON_LIMIT_WILD,	/* subscriptions to wildcard patterns of the bus [limit] */
	BLIPMQ_REASON_LIMIT_USER_WILD,	/* of the user [limit] */
	BLIPMQ_REASON_TYPE,		/* the topic has another type */
	BLIPMQ_REASON_TYPE_NAME,	/* too long, a control character, or no type [limit] */
	BLIPMQ_REASON_TOPIC,		/* no topic of that id that the endpoint has to do with */
	BLIPMQ_REASON_DELETED,		/* the bus was deleted */
	BLIPMQ_REASON_HEADERS_SIZE,	/* user headers above the limit [limit] */
	BLIPMQ_NR_REASONS,
};

/**
 * enum blipmq_drop - why a message did not stay in, or reach, a ring
 *
 * Indexes of the counters. For each subscription, at quiescence,
 * delivered = received + the sum of these, exactly.
 */
enum blipmq_drop {
	BLIPMQ_DROP_OLDEST,	/* drop-oldest: made room for a newer one */
	BLIPMQ_DROP_FULL,	/* no room: drop-newest, or more slots than the ring has */
	BLIPMQ_DROP_HELD,	/* the claimed and unreleased ones reached the held bound */
	BLIPMQ_DROP_CONTENDED,	/* the consumer moved claim under the kernel each time */
	BLIPMQ_DROP_PINS,	/* the ring may pin no more pages */
	BLIPMQ_DROP_EVICTED,	/* its memory was needed by a publisher */
	BLIPMQ_DROP_FANOUT,	/* the topic had more subscriptions than may match */
	BLIPMQ_DROP_BROKEN,	/* unread when the ring broke */
	BLIPMQ_DROP_CLOSED,	/* unread when the endpoint closed */
	BLIPMQ_DROP_EXPIRED,	/* kept for time to live */
	BLIPMQ_NR_DROPS,
	BLIPMQ_DROPS_MAX = 16,	/* room in the structs */
};

/* Counted occurrences on a bus; later also sent as netlink events. */
enum blipmq_event {
	BLIPMQ_EVENT_BROKEN,	/* a ring broke */
	BLIPMQ_EVENT_BLOCKED,	/* a user's block rings fell back to drop-oldest */
	BLIPMQ_EVENT_EVICTING,	/* a publisher's need evicted messages */
	BLIPMQ_EVENT_DENIED,	/* an operation was refused for lack of a right */
	BLIPMQ_EVENT_FANOUT,	/* a topic was born under too many subscriptions */
	BLIPMQ_NR_EVENTS,
	BLIPMQ_EVENTS_MAX = 8,
};

/**
 * struct blipmq_head - how every ioctl struct begins
 * @size:   bytes of the whole struct as the caller knows it
 * @flags:  of the call; unknown ones are refused
 * @reason: out: enum blipmq_reason, BLIPMQ_REASON_NONE on success
 * @detail: out: a number that belongs to the reason
 */
struct blipmq_head {
	__u32 size;
	__u32 flags;
	__u32 reason;
	__u32 detail;
};

/* ---- Messages and descriptors: what a reader finds in the mappings ---- */

#define BLIPMQ_HEADER_VERSION	1

/**
 * struct blipmq_header - the 64 bytes before a payload; the kernel writes them
 * @seq:         number in the topic, from 1, without gaps
 * @time:        CLOCK_MONOTONIC nanoseconds at which it was published
 * @topic:       id of the topic, never reused
 * @sender:      id of the sender's endpoint, never reused
 * @length:      bytes of the payload
 * @uid:         opener's effective uid, in the bus's user namespace
 * @gid:         opener's effective gid, likewise
 * @pid:         opener's process in the bus's pid namespace, 0 if not visible
 * @ttl:         milliseconds from @time, 0 for ever
 * @headers_len: bytes of user headers in the trailer
 * @trailer_len: bytes of the trailer, which begins behind the payload at the
 *               next multiple of BLIPMQ_TRAILER_ALIGN: the subject, the user
 *               headers, then what @flags announce. What there is of these begins
 *               at multiples of BLIPMQ_TRAILER_ALIGN in the trailer
 * @version:     BLIPMQ_HEADER_VERSION
 * @subject_len: bytes of the subject
 * @flags:       extensions in the trailer; none yet
 * @priority:    reserved
 * @fds:         reserved
 * @reserved:    zero
 */
struct blipmq_header {
	__aligned_u64 seq;
	__aligned_u64 time;
	__aligned_u64 topic;
	__aligned_u64 sender;
	__u32 length;
	__u32 uid;
	__u32 gid;
	__u32 pid;
	__u32 ttl;
	__u16 headers_len;
	__u16 trailer_len;
	__u8 version;
	__u8 subject_len;
	__u16 flags;
	__u8 priority;
	__u8 fds;
	__u16 reserved;
};

/**
 * struct blipmq_user_header - how a user header begins
 * @name_len:  bytes of the name, at least 1
 * @value_len: bytes of the value
 *
 * Name and value follow, without NUL, and then at once the next user header: nothing is
 * aligned. Together they are @headers_len bytes. So libblipmq and the gateway have them;
 * the kernel does not look into them, and who reads them checks their lengths.
 */
struct blipmq_user_header {
	__u16 name_len;
	__u16 value_len;
};

#define BLIPMQ_DESC_LENGTH	0x03ffffffu	/* payload bytes: the low 26 bits */
#define BLIPMQ_DESC_REDELIVERED	(1u << 26)	/* kept for later use */
#define BLIPMQ_DESC_GAP		(1u << 27)	/* the subscription lost messages since
						 * the descriptor before
						 */
#define BLIPMQ_DESC_DIED	(1u << 28)	/* kept for later use */

/**
 * struct blipmq_desc - one delivery in a ring
 * @offset: of the payload in the store, in units of BLIPMQ_ALIGN bytes; the
 *          header is the BLIPMQ_ALIGN bytes before it
 * @length: payload bytes and BLIPMQ_DESC_* flags
 * @cookie: of the subscription
 */
struct blipmq_desc {
	__u32 offset;
	__u32 length;
	__aligned_u64 cookie;
};

/*
 * ---- The ring ----
 *
 * A ring has a mapping that the kernel writes and the subscriber reads
 * (BLIPMQ_OFF_RING: struct blipmq_ring_page, descriptors) and a control page
 * that the subscriber writes and the kernel reads (BLIPMQ_OFF_CONTROL: struct
 * blipmq_control). Indexes count entries for ever; entry i is descriptor
 * i & (entries - 1). Use the offsets that BLIPMQ_IOC_RING reports.
 *
 *   release <= claim <= prod
 *
 * [release, claim) is claimed: the subscriber uses these messages in place.
 * [claim, prod) waits. Both sides move claim: the subscriber to take messages,
 * the kernel to drop the oldest; so it moves by compare-and-swap only.
 *
 *   subscriber, to receive                kernel, to deliver (ring lock held)
 *
 *   c = load_acquire(claim)               r = load_acquire(release)     (F)
 *   p = load_acquire(prod)          (B)   c = load_acquire(claim)       (D)
 *   copy descriptors [c, c + k)           validate; put, move, drop:
 *   cmpxchg_acq_rel(claim, c, c + k) (C)    cmpxchg(claim, c, c + n)    (D)
 *     failed: the copies mean nothing     write descriptors
 *   use the messages                      store_release(prod)           (A)
 *   store_release(release, r)       (E)
 *
 *   subscriber, to sleep                  kernel, to wake (no lock held)
 *
 *   store(need_wakeup, n)                 full barrier                  (G)
 *   full fence                      (H)   n = load(need_wakeup)
 *   look at prod again; sleep if fewer    wake if n and n or more wait
 *     than n wait
 *
 *   subscriber of a block ring, after E   publisher that waits for room
 *
 *   full fence                      (J)   store(blocked, index)
 *   b = load(blocked)                     full barrier                  (I)
 *   if b and release >= b: WAIT with      look at release again; sleep
 *     deadline 0, which kicks               (10 ms at most)
 *
 * A pairs with B: a reader that sees prod sees the descriptors and, through
 *   them, whole messages. Without it a descriptor of an earlier lap is read.
 * C pairs with D: who claims decides; the copies are ordered before the claim.
 *   Without it a descriptor that the kernel overwrote could be used. claim is
 *   loaded before prod, so that prod - claim is never negative.
 * E pairs with F: the kernel reuses a message only after its reader's last
 *   load. F comes before D, so that release <= claim for an honest ring.
 * G pairs with H: of a publisher and a subscriber going to sleep at least one
 *   sees the other. Acquire and release do not order a store before a load.
 * I pairs with J: likewise for a publisher that waits for room.
 *
 * A ring whose words break release_seen <= release <= claim <= prod, or whose
 * claim or release goes back, is *broken*: EPOLLERR, -EIO, and its messages go.
 */

/**
 * struct blipmq_ring_page - head of the ring mapping; written by the kernel
 * @prod:    entries ever written
 * @blocked: 0, or a publisher waits until release reaches this
 * @broken:  1 once the ring is broken
 * @drops:   losses of all subscriptions, by enum blipmq_drop
 */
struct blipmq_ring_page {
	__aligned_u64 prod;
	__aligned_u64 blocked;
	__u32 broken;
	__u32 reserved[11];
	__aligned_u64 drops[BLIPMQ_DROPS_MAX];
};

/**
 * struct blipmq_control - the control page; written by the subscriber
 * @claim:       entries ever claimed (and, by compare-and-swap, by the kernel)
 * @release:     entries that the subscriber is done with; never goes back
 * @need_wakeup: low-water mark: 0 awake, n: wake me when n wait; starts at 1
 */
struct blipmq_control {
	__aligned_u64 claim;
	__aligned_u64 release;
	__aligned_u64 reserved1[6];
	__u32 need_wakeup;
	__u32 reserved2[15];
};

/* ---- ioctls ---- */

#define BLIPMQ_IOC_MAGIC	0xBB
#define BLIPMQ_IOC_INFO		_IO(BLIPMQ_IOC_MAGIC, 0x00)
#define BLIPMQ_IOC_BIND		_IO(BLIPMQ_IOC_MAGIC, 0x01)
#define BLIPMQ_IOC_RING		_IO(BLIPMQ_IOC_MAGIC, 0x02)
#define BLIPMQ_IOC_SUBSCRIBE	_IO(BLIPMQ_IOC_MAGIC, 0x03)
#define BLIPMQ_IOC_UNSUBSCRIBE	_IO(BLIPMQ_IOC_MAGIC, 0x04)
#define BLIPMQ_IOC_TOPIC	_IO(BLIPMQ_IOC_MAGIC, 0x05)
#define BLIPMQ_IOC_TOPIC_CLOSE	_IO(BLIPMQ_IOC_MAGIC, 0x06)
#define BLIPMQ_IOC_PUBLISH	_IO(BLIPMQ_IOC_MAGIC, 0x07)
#define BLIPMQ_IOC_WAIT		_IO(BLIPMQ_IOC_MAGIC, 0x08)
#define BLIPMQ_IOC_KEEP		_IO(BLIPMQ_IOC_MAGIC, 0x09)
#define BLIPMQ_IOC_DROP		_IO(BLIPMQ_IOC_MAGIC, 0x0a)
#define BLIPMQ_IOC_RECV		_IO(BLIPMQ_IOC_MAGIC, 0x0b)
#define BLIPMQ_IOC_STATS	_IO(BLIPMQ_IOC_MAGIC, 0x0c)
#define BLIPMQ_IOC_TYPE		_IO(BLIPMQ_IOC_MAGIC, 0x0d)

/**
 * struct blipmq_info - BLIPMQ_IOC_INFO: what this kernel and this file are
 * @version:     out: BLIPMQ_VERSION
 * @rights:      out: BLIPMQ_RIGHT_*; 0 while the file has no bus
 * @features:    out: BLIPMQ_FEATURE_*
 * @endpoint:    out: id of this endpoint; 0 while the file has no bus
 * @max_message: out: bytes of payload and user headers that the bus allows now (the
 *               contract's limit while the file has no bus)
 * @store_size:  out: bytes of the store mapping; 0 while the file has no bus
 * @budget:      out: bytes that messages may take now; 0 while the file has no bus
 * @max_entries: out: largest ring
 * @max_batch:   out: most messages of one PUBLISH
 * @page_size:   out: bytes of a page, the unit of memory accounting
 * @bus:         out: name of the bus, empty while the file has none
 *
 * Does not bind the file.
 */
struct blipmq_info {
	struct blipmq_head head;
	__u32 version;
	__u32 rights;
	__aligned_u64 features;
	__aligned_u64 endpoint;
	__aligned_u64 max_message;
	__aligned_u64 store_size;
	__aligned_u64 budget;
	__u32 max_entries;
	__u32 max_batch;
	__u32 page_size;
	__u32 reserved;
	char bus[BLIPMQ_NAME_MAX];
};

/**
 * struct blipmq_bind - BLIPMQ_IOC_BIND: give the file its bus, once
 * @bus:  name, padded with NUL bytes; "default" exists in every namespace
 * @name: kept for named endpoints, zero
 *
 * -EBUSY  it has one; -EINVAL  not a name; -ENOENT  no such bus; -EACCES  the
 * opener has no right on it; -EMFILE, -ENFILE  endpoints of the user, of the bus;
 * -ENOMEM.
 */
struct blipmq_bind {
	struct blipmq_head head;
	char bus[BLIPMQ_NAME_MAX];
	__aligned_u64 name;
	__u32 name_len;
	__u32 reserved;
};

/* When a ring is full ... */
enum blipmq_policy {
	BLIPMQ_POLICY_DROP_OLDEST,	/* the oldest unclaimed messages go */
	BLIPMQ_POLICY_DROP_NEWEST,	/* the new message misses this ring */
	BLIPMQ_POLICY_BLOCK,		/* the publisher waits; needs the right to publish */
	BLIPMQ_NR_POLICIES,
};

/**
 * struct blipmq_ring - BLIPMQ_IOC_RING: make the endpoint's ring
 * @entries:     1 to BLIPMQ_ENTRIES_MAX, a power of two
 * @held:        in: how many claimed and unreleased messages may leave their
 *               slots, at most @entries; 0 for the default, a quarter of the
 *               ring, at least 1. out: the bound in force; a consumer that
 *               claims more at once loses the newest while it reads
 * @policy:      enum blipmq_policy
 * @reserved:    zero
 * @ring_size:   out: bytes to map at BLIPMQ_OFF_RING, read only, shared
 * @control_size: out: bytes to map at BLIPMQ_OFF_CONTROL, read and write, shared
 * @desc:        out: offset of the descriptors in the ring mapping
 * @prod:        out: offset of prod there
 * @blocked:     out: offset of blocked there
 * @broken:      out: offset of broken there
 * @drops:       out: offset of the drop counters there
 * @claim:       out: offset of claim in the control page
 * @release:     out: offset of release there
 * @need_wakeup: out: offset of need_wakeup there
 *
 * Fixed for the life of the endpoint. The first of a mapping of the control page
 * and read(2) or RECV decides how it is consumed; the other is -EBUSY then.
 * -EEXIST  there is one; -EACCES; -EINVAL  entries, held or policy; -ENOMEM.
 */
struct blipmq_ring {
	struct blipmq_head head;
	__u32 entries;
	__u32 held;
	__u32 policy;
	__u32 reserved;
	__aligned_u64 ring_size;
	__aligned_u64 control_size;
	__u32 desc;
	__u32 prod;
	__u32 blocked;
	__u32 broken;
	__u32 drops;
	__u32 claim;
	__u32 release;
	__u32 need_wakeup;
};

/**
 * struct blipmq_subscribe - BLIPMQ_IOC_SUBSCRIBE: feed a pattern to the ring
 * @pattern:     address of the pattern: tokens separated by '.', '*' stands for
 *               one token, '>' as the last for the rest (one token at least)
 * @pattern_len: bytes, 1 to BLIPMQ_SUBJECT_MAX, no NUL
 * @id:          out: number of the subscription on this endpoint, from 1
 * @cookie:      returned with each of its messages
 * @history:     kept for history, zero
 * @group:       kept for queue groups, zero
 * @group_len:   zero
 * @reserved:    zero
 *
 * When it returns, every publish that begins later is delivered. A message that
 * matches two subscriptions of a ring arrives twice.
 * -ENXIO  no ring; -EACCES; -EINVAL  pattern; -ENOSPC  a limit (reason, detail);
 * -EINTR  killed while joining the topics; -EIO  broken; -ENOMEM.
 */
struct blipmq_subscribe {
	struct blipmq_head head;
	__aligned_u64 pattern;
	__u32 pattern_len;
	__u32 id;
	__aligned_u64 cookie;
	__aligned_u64 history;
	__aligned_u64 group;
	__u32 group_len;
	__u32 reserved;
};

/**
 * struct blipmq_unsubscribe - BLIPMQ_IOC_UNSUBSCRIBE
 * @id:       of the subscription; -ENOENT if there is none
 * @reserved: zero
 *
 * What is in the ring stays there.
 */
struct blipmq_unsubscribe {
	struct blipmq_head head;
	__u32 id;
	__u32 reserved;
};

#define BLIPMQ_TOPIC_WRITE	(1u << 0)	/* write(2) publishes to it from now on */
#define BLIPMQ_TOPIC_SIZE_VER0	48		/* of the struct as first published */

/**
 * struct blipmq_topic - BLIPMQ_IOC_TOPIC: a handle for publishing
 * @subject:     address of the subject; '*' and '>' are taken literally
 * @subject_len: bytes, 1 to BLIPMQ_SUBJECT_MAX, no NUL
 * @handle:      out: from 1
 * @topic:       out: id of the topic
 * @type:        in: what its messages are, by any number that those who read them
 *               agree on, a hash for instance; 0: not stated. out: the topic's type
 * @type_name:   address of a name of the type, for people, or 0
 * @type_name_len: its bytes, 0 to BLIPMQ_TYPE_NAME_MAX, no control characters; 0
 *               if @type is
 * @reserved:    zero
 *
 * The topic comes to exist. The handle pins it until TOPIC_CLOSE or close(2). Its type
 * is that of the first who states one, for as long as the topic exists; the kernel does
 * not look into messages.
 * -EACCES; -EINVAL  subject, name of the type; -EPROTOTYPE  the topic has another type,
 * or one of the same number and another name; -ENOSPC  a limit; -EFAULT; -ENOMEM.
 */
struct blipmq_topic {
	struct blipmq_head head;
	__aligned_u64 subject;
	__u32 subject_len;
	__u32 handle;
	__aligned_u64 topic;
	__aligned_u64 type;
	__aligned_u64 type_name;
	__u32 type_name_len;
	__u32 reserved;
};

/**
 * struct blipmq_topic_close - BLIPMQ_IOC_TOPIC_CLOSE
 * @handle:   -ENOENT if there is none
 * @reserved: zero
 */
struct blipmq_topic_close {
	struct blipmq_head head;
	__u32 handle;
	__u32 reserved;
};

/**
 * struct blipmq_message - one message of a PUBLISH
 * @data:        address of the payload
 * @length:      its bytes, with @headers_len at most the bus's limit
 * @handle:      of the topic, or 0: by name
 * @subject:     address of the subject if @handle is 0, else 0
 * @subject_len: its bytes, else 0
 * @headers_len: bytes of user headers, 0 to BLIPMQ_HEADERS_MAX
 * @ttl:         kept for time to live, zero
 * @headers:     address of the user headers, struct blipmq_user_header
 * @reply:       kept for request and reply, zero
 * @correlation: likewise
 */
struct blipmq_message {
	__aligned_u64 data;
	__u32 length;
	__u32 handle;
	__aligned_u64 subject;
	__u16 subject_len;
	__u16 headers_len;
	__u32 ttl;
	__aligned_u64 headers;
	__aligned_u64 reply;
	__aligned_u64 correlation;
};

/**
 * struct blipmq_block - messages already laid out as they will lie in the store
 * @data:   address, any alignment
 * @length: bytes, a multiple of BLIPMQ_ALIGN, at most BLIPMQ_BLOCK_MAX
 * @nr:     messages in it, at least 1
 *
 * A message is a struct blipmq_header with @length, @headers_len and, in @topic, a
 * handle, all else zero; the payload; at the next multiple of BLIPMQ_TRAILER_ALIGN room
 * for the subject; if it has user headers, these at the next such multiple; the next
 * message begins at the next multiple of BLIPMQ_ALIGN, and there the last one ends the
 * block. The kernel copies the block once, checks its copy, and writes the headers and
 * subjects there. Cheaper than an array of messages, and shaped by it.
 */
struct blipmq_block {
	__aligned_u64 data;
	__u32 length;
	__u32 nr;
};

/**
 * struct blipmq_result - what became of one message
 * @seq:       its number in the topic, 0 if it was not published
 * @delivered: subscriptions whose rings took it
 * @error:     0, or a negative errno
 * @reason:    enum blipmq_reason
 */
struct blipmq_result {
	__aligned_u64 seq;
	__u32 delivered;
	__s16 error;
	__u16 reason;
};

#define BLIPMQ_PUBLISH_BLOCKS	(1u << 0)	/* @messages is an array of blocks */
#define BLIPMQ_PUBLISH_NONBLOCK	(1u << 1)	/* as if the file had O_NONBLOCK */

/**
 * struct blipmq_publish - BLIPMQ_IOC_PUBLISH: one message or a batch
 * @messages:  address of an array of struct blipmq_message or struct blipmq_block
 * @nr:        its elements, 1 to BLIPMQ_BATCH_MAX; with blocks their messages
 *             together are at most BLIPMQ_BATCH_MAX too
 * @done:      out: messages published; they are the first ones
 * @results:   address of an array of struct blipmq_result, one for each message
 *             of the batch in order, or 0. Written for those done and the first
 *             one that is not; a fault there does not undo a publish
 * @delivered: out: subscriptions whose rings took a message, all together
 * @error:     out: why the first message not done was not: negative errno, or 0;
 *             head.reason and head.detail belong to it, also if the call returns 0
 * @reserved:  zero
 *
 * Returns 0 if at least one message was published, else the error. A batch is no
 * transaction: others' messages may come between its own. Order is kept.
 * -EACCES; -EINVAL  topic or layout; -ENOENT  handle; -EMSGSIZE; -EFAULT;
 * -ENOMEM; -ENOBUFS  budget, share or host pages; -ENOSPC  topics; -EAGAIN  a
 * block ring is full and the call must not wait; -EINTR  a signal while waiting.
 */
struct blipmq_publish {
	struct blipmq_head head;
	__aligned_u64 messages;
	__u32 nr;
	__u32 done;
	__aligned_u64 results;
	__aligned_u64 delivered;
	__s32 error;
	__u32 reserved;
};

#define BLIPMQ_WAIT_FOREVER	(~0ULL)

/**
 * struct blipmq_wait - BLIPMQ_IOC_WAIT: sleep until messages wait
 * @deadline:  CLOCK_MONOTONIC nanoseconds; BLIPMQ_WAIT_FOREVER; 0 looks only
 * @min:       messages to wait for, at most the ring's entries; 0 stands for 1
 * @max_delay: microseconds that a message may wait for others, 0: no bound
 * @prod:      out: entries ever written
 *
 * The caller stores release, and need_wakeup = @min, before it calls. The kernel
 * takes back what is released and kicks publishers that wait for room, also with
 * deadline 0. Returns 0: @min wait, or one waited @max_delay.
 * -ETIME  the deadline passed; -EINTR  a signal; -EIO  broken; -ENXIO  no ring;
 * -EBUSY  the ring is consumed by read(2); -EINVAL  @min; -EACCES  the opener lost r.
 */
struct blipmq_wait {
	struct blipmq_head head;
	__aligned_u64 deadline;
	__u32 min;
	__u32 max_delay;
	__aligned_u64 prod;
};

/**
 * struct blipmq_keep - BLIPMQ_IOC_KEEP: hold a claimed message beyond its release
 * @index: of a claimed entry that is not released
 * @id:    out: for BLIPMQ_IOC_DROP
 *
 * From now on the message is held by this record alone, whether the index is
 * released or not, until DROP or close(2).
 * -EINVAL  not claimed, released, or kept before; -ENOSPC  too many kept, or the
 * ring may pin no more pages; -EIO  broken; -ENXIO  no ring; -EBUSY  read(2);
 * -ENOMEM.
 */
struct blipmq_keep {
	struct blipmq_head head;
	__aligned_u64 index;
	__aligned_u64 id;
};

/**
 * struct blipmq_drop_kept - BLIPMQ_IOC_DROP: let a kept message go
 * @id: from KEEP; -ENOENT if there is none
 */
struct blipmq_drop_kept {
	struct blipmq_head head;
	__aligned_u64 id;
};

#define BLIPMQ_RECV_NONBLOCK	(1u << 0)	/* as if the file had O_NONBLOCK */

/**
 * struct blipmq_recv - BLIPMQ_IOC_RECV: copy the next message out
 * @payload:      address for the payload
 * @trailer:      address for the trailer (subject first), or 0: not wanted
 * @payload_size: bytes there
 * @trailer_size: bytes there, 0 if @trailer is 0
 * @desc:         out: the descriptor; @desc.length says how much was copied
 * @header:       out: the header; of @header.trailer_len bytes @trailer has as many
 *                as it has room for
 *
 * The subject is whole, or the call fails: BLIPMQ_SUBJECT_MAX bytes do for it. What
 * follows it in a trailer, user headers for instance, is cut off where @trailer ends and
 * does not make the call fail; BLIPMQ_TRAILER_MAX bytes have room for every trailer.
 *
 * Needs no right to map. A message is consumed once its copy succeeded. Of several
 * callers each gets another message; one that must not wait for a message waits for
 * another's copy only while a further message waits behind it.
 * -EMSGSIZE  no room for the payload, or the subject (detail: for how many bytes):
 * @desc and @header are written, the message stays first; -EAGAIN; -EINTR; -ENXIO
 * no ring; -EBUSY  consumed through the mapping; -EINVAL  @trailer_size without
 * @trailer; -EFAULT: the message stays first; -EACCES  the opener lost r.
 */
struct blipmq_recv {
	struct blipmq_head head;
	__aligned_u64 payload;
	__aligned_u64 trailer;
	__u32 payload_size;
	__u32 trailer_size;
	struct blipmq_desc desc;
	struct blipmq_header header;
};

enum blipmq_stats_kind {
	BLIPMQ_STATS_RING,		/* this endpoint and its ring */
	BLIPMQ_STATS_SUBSCRIPTION,	/* one of this endpoint's: @id */
	BLIPMQ_STATS_BUS,		/* the bus; needs one right on it */
	BLIPMQ_NR_STATS,
};

/**
 * struct blipmq_stats - BLIPMQ_IOC_STATS: counters since the object was made
 * @kind:       enum blipmq_stats_kind
 * @id:         of the subscription, else 0
 * @delivered:  out: messages addressed to it (bus: to all)
 * @drops:      out: of these, lost, by enum blipmq_drop
 * @queued:     out: messages in the ring that nobody claimed yet
 * @held:       out: claimed, not released, out of their slots
 * @kept:       out: messages kept
 * @pinned:     out: pages of runs that ring, held and kept messages pin
 * @wakeups:    out: times that a publisher woke a reader
 * @published:  out: messages published by this endpoint (bus: by all)
 * @bytes:      out: their payload bytes
 * @lonely:     out: messages published that no subscription matched
 * @pages:      out (bus): pages of the store, idle ones included
 * @idle:       out (bus): of these, pages of runs without a message
 * @topics, @patterns, @subscriptions, @endpoints: out (bus): how many exist
 * @events:     out (bus): by enum blipmq_event; of a ring BLIPMQ_EVENT_BROKEN alone
 *
 * A subscription has @delivered, @drops and @queued. What does not belong to
 * the kind is 0, and so is what belongs to a ring on an endpoint that has none.
 * -EINVAL  kind, or @id that is none of a subscription; -ENOENT  id; -ENXIO  a
 * subscription is asked for and there is no ring.
 */
struct blipmq_stats {
	struct blipmq_head head;
	__u32 kind;
	__u32 id;
	__aligned_u64 delivered;
	__aligned_u64 drops[BLIPMQ_DROPS_MAX];
	__aligned_u64 queued;
	__aligned_u64 held;
	__aligned_u64 kept;
	__aligned_u64 pinned;
	__aligned_u64 wakeups;
	__aligned_u64 published;
	__aligned_u64 bytes;
	__aligned_u64 lonely;
	__aligned_u64 pages;
	__aligned_u64 idle;
	__aligned_u64 topics;
	__aligned_u64 patterns;
	__aligned_u64 subscriptions;
	__aligned_u64 endpoints;
	__aligned_u64 events[BLIPMQ_EVENTS_MAX];
};

/**
 * struct blipmq_type - BLIPMQ_IOC_TYPE: what the messages of a topic are
 * @topic:     its id, as in headers
 * @type:      out: what the first publisher who stated one said, 0: nobody did
 * @name:      address for the name of the type, or 0: not wanted
 * @name_size: bytes there, 0 if @name is 0
 * @name_len:  out: bytes of the name; as many of them as fit are written, no NUL
 *
 * For those who have a handle of the topic, and w still, or a subscription that it
 * matches.
 * -ENOENT  no such topic, none of theirs, or it is gone; -EINVAL  @name_size without
 * @name; -EFAULT.
 */
struct blipmq_type {
	struct blipmq_head head;
	__aligned_u64 topic;
	__aligned_u64 type;
	__aligned_u64 name;
	__u32 name_size;
	__u32 name_len;
};

#endif /* _UAPI_LINUX_BLIPMQ_H */
