/* SPDX-License-Identifier: LGPL-2.1+ */
/*
 * libblipmq: publish and subscribe through the kernel's message bus.
 *
 * An endpoint (struct blipmq) is one open file on one bus. It publishes; and,
 * once it has a ring, it receives what its subscriptions match.
 *
 *	struct blipmq *b;
 *	struct blipmq_view view;
 *
 *	blipmq_open(NULL, 0, &b);
 *	blipmq_subscribe(b, "sensors.>", 0, NULL);
 *	blipmq_publish(b, "sensors.cabin.temp", "21.5", 4, NULL);
 *	if (blipmq_next(b, &view, BLIPMQ_FOREVER) == 1) {
 *		use(view.data, view.length);
 *		blipmq_release(b, &view, 1);
 *	}
 *	blipmq_close(b);
 *
 * Errors. A function that can fail returns a negative errno, and nothing in
 * errno. Why, as a code of the kernel's or the library's and as a sentence, says
 * blipmq_last_error() to the thread that made the call. Two codes mean the same
 * everywhere, and call for trying again:
 *   -EAGAIN  nothing came in time, or (publishing) the call would have to wait
 *   -EINTR   a signal interrupted the wait
 * A null or stale pointer is a fault, not an error.
 *
 * A bus ends when it is deleted, and with its network namespace. Then calls return
 * -ENODEV, and touching a view is SIGBUS. Buses are made, changed and deleted by what
 * <blipmq/admin.h> has. A right that is taken away counts from the next call on:
 * without x touching a view is SIGBUS, without r receiving is -EACCES.
 *
 * Threads. All functions may be called by any thread at any time on one
 * endpoint, but for blipmq_close() (the last one out) and the functions of one
 * writer (struct blipmq_writer: one thread at a time). There is no hidden thread,
 * and no global state but the last error of each thread.
 *
 * Processes. Mappings do not survive fork(): a child opens an endpoint of its own
 * and uses the inherited one not even for closing it. The file is close-on-exec.
 *
 * Times are nanoseconds unless the name says otherwise. A timeout is counted from
 * the call: 0 does not wait, BLIPMQ_FOREVER (any negative one) has no end.
 */
#ifndef BLIPMQ_H
#define BLIPMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <linux/blipmq.h>

#ifdef __cplusplus
extern "C" {
/* Some functions are called like the contract's structs, as stat(2) is. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#pragma GCC visibility push(default)

/* Of this header; blipmq_version() tells the library's. */
#define BLIPMQ_LIB_MAJOR	0
#define BLIPMQ_LIB_MINOR	1
#define BLIPMQ_LIB_PATCH	0

#define BLIPMQ_DEVICE		"/dev/blipmq"
#define BLIPMQ_URL_DEFAULT	"blipmq:default"

#define BLIPMQ_FOREVER		((int64_t)-1)
#define BLIPMQ_USEC		((int64_t)1000)
#define BLIPMQ_MSEC		((int64_t)1000000)
#define BLIPMQ_SEC		((int64_t)1000000000)

struct blipmq;			/* an endpoint */
struct blipmq_reader;		/* its mapped ring: <blipmq/reader.h> */
struct blipmq_writer;		/* a staging room for publishing in place */

/**
 * struct blipmq_headers - user headers in memory of the caller's: <blipmq/headers.h>
 * @data: where
 * @size: bytes there
 * @len:  of these, used
 */
struct blipmq_headers {
	void *data;
	size_t size;
	size_t len;
};

/* ---- Errors ---- */

/*
 * Reasons of the library's own, beside the kernel's enum blipmq_reason and never
 * equal to one of it. The detail is in brackets. A code is never reused. They fit
 * struct blipmq_result.
 */
enum blipmq_lib_reason {
	BLIPMQ_REASON_URL = 0x8000,	/* not blipmq:BUS */
	BLIPMQ_REASON_URL_NAME,		/* bus name empty or too long [longest] */
	BLIPMQ_REASON_TRANSPORT,	/* tcp:// is not there yet */
	BLIPMQ_REASON_DEVICE_NONE,	/* no /dev/blipmq: the module is not loaded */
	BLIPMQ_REASON_DEVICE_ACCESS,	/* /dev/blipmq may not be opened */
	BLIPMQ_REASON_WILDCARD,		/* published subject has a wildcard [token, from 1] */
	BLIPMQ_REASON_OPTIONS,		/* unknown flag, or unknown options not zero */
	BLIPMQ_REASON_SPIN,		/* spin_us above the limit [limit] */
	BLIPMQ_REASON_COPYING,		/* ring is not mapped: blipmq_recv() only */
	BLIPMQ_REASON_CLAIMS,		/* views out reached the held bound [bound] */
	BLIPMQ_REASON_VIEW,		/* view is not out (released twice?) [which, from 0] */
	BLIPMQ_REASON_WAIT_MIN,		/* waiting for more than the ring has [entries] */
	BLIPMQ_REASON_BLOCK_SIZE,	/* block size no multiple of the unit, or out of range */
	BLIPMQ_REASON_STAGE_SIZE,	/* larger than a staging block holds [most payload bytes] */
	BLIPMQ_REASON_STAGE_FULL,	/* staging room is full: flush */
	BLIPMQ_REASON_STAGE_OPEN,	/* a reservation is open: commit or abort it */
	BLIPMQ_REASON_STAGE_NONE,	/* no reservation is open */
	BLIPMQ_REASON_STAGE_GREW,	/* commits more than was reserved [reserved bytes] */
	BLIPMQ_REASON_TIMEOUT,		/* no message came in time */
	BLIPMQ_REASON_SIGNAL,		/* a signal interrupted the wait */
	BLIPMQ_REASON_ADMIN_NONE,	/* no netlink family: the module is not loaded */
	BLIPMQ_REASON_KERNEL,		/* refused with a sentence: blipmq_strerror() has it */
	BLIPMQ_REASON_CHANGING,		/* what was to be listed changed each time */
	BLIPMQ_REASON_HEADER_NAME,	/* name of a user header: empty, or not to be sent */
	BLIPMQ_REASON_HEADER_ROOM,	/* no room for a user header */
	BLIPMQ_REASON_HEADER_FORM,	/* what follows is no user header [offset] */
};

/**
 * struct blipmq_error - why a call failed
 * @error:  the negative errno that it returned
 * @reason: enum blipmq_reason or enum blipmq_lib_reason, BLIPMQ_REASON_NONE if the
 *          errno says all there is
 * @detail: number that belongs to the reason
 */
struct blipmq_error {
	int error;
	uint32_t reason;
	uint32_t detail;
};

/**
 * blipmq_last_error() - the calling thread's latest failure in this library
 *
 * A success does not clear it.
 *
 * Returns a pointer that is good for the life of the thread; never NULL; @error
 * is 0 if nothing failed yet.
 */
const struct blipmq_error *blipmq_last_error(void);

/**
 * blipmq_strerror() - blipmq_last_error() as one sentence
 *
 * It names the rule and what changes it: "subject token 3 is empty: write one
 * word between two dots". No newline, no capital at its beginning.
 *
 * Returns a string that is the library's, good until this thread's next call.
 */
const char *blipmq_strerror(void);

/**
 * blipmq_error_text() - any failure as one sentence, for instance a result's
 * @error:  errno, positive or negative, used where @reason says nothing
 * @reason: code
 * @detail: its number; 0 if it is not known (struct blipmq_result has none)
 * @text:   where the sentence goes, cut to fit and always terminated
 * @size:   bytes there; 256 are enough
 *
 * Returns @text.
 */
const char *blipmq_error_text(int error, uint32_t reason, uint32_t detail,
			      char *text, size_t size);

/**
 * blipmq_reason_name() - short stable name of a reason, for scripts: "subject-token"
 *
 * Returns a constant string, "unknown" for a code that the library does not know.
 */
const char *blipmq_reason_name(uint32_t reason);

/* The same for enum blipmq_drop ("oldest"), enum blipmq_event ("broken") and
 * enum blipmq_policy ("drop-oldest"); NULL past the last known one.
 */
const char *blipmq_drop_name(unsigned int drop);
const char *blipmq_event_name(unsigned int event);
const char *blipmq_policy_name(unsigned int policy);

/* What a drop means, as a sentence, "" past the last known one: constant. */
const char *blipmq_drop_text(unsigned int drop);

/* Version of the library in use, "0.1.0": constant. */
const char *blipmq_version(void);

/* ---- Endpoints ---- */

/* Publishing never waits: -EAGAIN instead. (Receiving has timeouts.) */
#define BLIPMQ_OPEN_NONBLOCK	(1u << 0)
/* '*' and '>' are letters in subjects that this endpoint publishes to. */
#define BLIPMQ_OPEN_LITERAL	(1u << 1)

/**
 * blipmq_open() - open an endpoint and bind it to its bus
 * @url:   "blipmq:BUS"; NULL stands for BLIPMQ_URL_DEFAULT
 * @flags: BLIPMQ_OPEN_*
 * @b:     out: the endpoint, for blipmq_close(); NULL on failure
 *
 * Maps nothing. Rights are those that the bus grants to the process that opens, whoever
 * uses the endpoint then.
 *
 * Returns 0 or
 *   -ENOENT           no device (the module is not loaded), or no such bus
 *   -EACCES           no right on the device or on the bus
 *   -EPROTONOSUPPORT  another kind of address
 *   -EINVAL           malformed @url, unknown flag
 *   -EMFILE, -ENFILE  too many endpoints or files of the user, of the bus or host
 *   -ENOMEM, -ENODEV
 */
int blipmq_open(const char *url, unsigned int flags, struct blipmq **b);

/**
 * blipmq_close() - close an endpoint
 * @b: endpoint or NULL
 *
 * Its views, kept ones too, its reader, its handles and subscriptions end with it;
 * its writers must have been closed before. Nobody may be inside a call on it.
 */
void blipmq_close(struct blipmq *b);

/**
 * blipmq_fd() - file descriptor for an event loop
 *
 * Readable when blipmq_low_water() messages wait (unless set, one); writable
 * unless a publish was refused with -EAGAIN and still would be. EPOLLERR and
 * EPOLLHUP: nothing more is to be had; blipmq_info() fails and says why if the bus is
 * gone, otherwise blipmq_wait() does: the ring is broken, or r was taken away. Level
 * and edge triggered polls hold. After an edge take messages until -EAGAIN.
 *
 * Returns the descriptor, which stays the endpoint's: do not close it. It does not
 * fail.
 */
int blipmq_fd(struct blipmq *b);

/**
 * blipmq_info() - what the kernel, the bus and this endpoint are
 * @info: out: as the contract has it: rights, limits, name of the bus
 * @size: sizeof(*info) as the caller knows it
 *
 * Returns 0, or -ENODEV.
 */
int blipmq_info(struct blipmq *b, struct blipmq_info *info, size_t size);

/**
 * blipmq_stats() - exact counters
 * @kind:  enum blipmq_stats_kind
 * @id:    of the subscription for BLIPMQ_STATS_SUBSCRIPTION, else 0
 * @stats: out: as the contract has it, losses by enum blipmq_drop
 * @size:  sizeof(*stats) as the caller knows it
 *
 * Returns 0, -ENOENT (no such subscription), -ENXIO (no ring), -EINVAL (@kind, or @id
 * for another kind than a subscription), -ENODEV.
 */
int blipmq_stats(struct blipmq *b, unsigned int kind, uint32_t id,
		 struct blipmq_stats *stats, size_t size);

/* ---- Subscribing ---- */

#define BLIPMQ_ENTRIES_DEFAULT	1024	/* of a ring */
#define BLIPMQ_SPIN_US_MAX	10000	/* longest look at a ring before sleeping */

/* Do not map the ring; receive by blipmq_recv() only. */
#define BLIPMQ_RING_COPY	(1u << 0)
/*
 * A receiving call lets others have the processor once before it sleeps. On a machine
 * with more to do than processors more messages wait when it comes back, and nobody has
 * to wake it; but a message that comes meanwhile waits for the scheduler. Mapped rings
 * only.
 */
#define BLIPMQ_RING_YIELD	(1u << 1)

/**
 * struct blipmq_ring_opts - how to make a ring; zero stands for the default
 * @sz:      sizeof(struct blipmq_ring_opts)
 * @flags:   BLIPMQ_RING_*
 * @entries: messages that it can hold unread: a power of two, 1 to
 *           BLIPMQ_ENTRIES_MAX (BLIPMQ_ENTRIES_DEFAULT)
 * @held:    views that may be out at once, 1 to @entries (a quarter of the ring,
 *           at least 1)
 * @policy:  enum blipmq_policy (drop-oldest)
 * @spin_us: microseconds for which a receiving call that may wait looks at the
 *           ring before it sleeps, 0 to BLIPMQ_SPIN_US_MAX (0). Costs a CPU, saves
 *           the wake-up. Mapped rings only
 */
struct blipmq_ring_opts {
	size_t sz;
	uint32_t flags;
	uint32_t entries;
	uint32_t held;
	uint32_t policy;
	uint32_t spin_us;
	uint32_t reserved;
};

/**
 * blipmq_ring() - make the endpoint's ring; once, for its life
 * @opts: NULL for all defaults
 *
 * Maps it, and the bus's messages read-only, if the opener may (x on the bus).
 * Otherwise, with BLIPMQ_RING_COPY, and on 32-bit machines without an 8-byte
 * compare-and-swap the ring is consumed by copying: blipmq_recv() works, what
 * gives views is -EACCES. If it cannot be mapped for another reason, the endpoint
 * is of no more use for receiving.
 *
 * Returns 0, -EEXIST (there is one), -EACCES (no right to subscribe, or block
 * without the right to publish), -EINVAL (entries, held, policy, options),
 * -ENOMEM, -ENODEV.
 */
int blipmq_ring(struct blipmq *b, const struct blipmq_ring_opts *opts);

/**
 * blipmq_held() - views that may be out at once; 0 without a mapped ring
 */
unsigned int blipmq_held(const struct blipmq *b);

/**
 * blipmq_subscribe() - receive what is published to a subject or pattern
 * @pattern: tokens separated by '.'; '*' stands for one token, '>' as the last
 *           for one or more
 * @cookie:  comes back with each of its messages
 * @id:      out: of the subscription, from 1; may be NULL
 *
 * Makes a ring with the defaults if there is none. Every publish that begins
 * after it returned is delivered. A message that matches two subscriptions of an
 * endpoint arrives twice.
 *
 * Returns 0, -EACCES, -EINVAL (pattern), -ENOSPC (a limit), -EINTR, -EIO (ring is
 * broken), -ENOMEM, -ENODEV, or what blipmq_ring() returned.
 */
int blipmq_subscribe(struct blipmq *b, const char *pattern, uint64_t cookie, uint32_t *id);

/* Ends a subscription; what is in the ring stays there. -ENOENT: no such @id. */
int blipmq_unsubscribe(struct blipmq *b, uint32_t id);

/* ---- Receiving in place ---- */

/**
 * struct blipmq_view - a message in the bus's own memory, until it is released
 * @data:   payload, 64-byte aligned, read-only
 * @header: who sent it and when; read-only
 * @cookie: of the subscription
 * @index:  of the ring's entry
 * @length: bytes of the payload
 * @flags:  BLIPMQ_DESC_*: BLIPMQ_DESC_GAP, the subscription lost messages before
 *          this one
 */
struct blipmq_view {
	const void *data;
	const struct blipmq_header *header;
	uint64_t cookie;
	uint64_t index;
	uint32_t length;
	uint32_t flags;
};

/**
 * blipmq_next_batch() - take the next messages, without copying
 * @views:   out: for up to @n messages, oldest first
 * @n:       at least 1
 * @timeout: how long to wait for the first
 *
 * Takes what is there: does not wait for the @n-th. A message goes to one thread.
 * At most blipmq_held() views are out at once, over all threads: the call gives
 * fewer than @n, or, when all are out, -ENOBUFS at once, before it waits.
 *
 * Returns how many views were written, 1 to @n, or
 *   -EAGAIN   no message came in time
 *   -ENOBUFS  all views are out: release some
 *   -EACCES   the ring is not mapped: use blipmq_recv()
 *   -EINTR    a signal came
 *   -ENXIO    no ring; -EIO  it is broken; -ENODEV  the namespace is gone
 */
int blipmq_next_batch(struct blipmq *b, struct blipmq_view *views, unsigned int n,
		      int64_t timeout);

/* As blipmq_next_batch() with one view: returns 1 or the error. */
int blipmq_next(struct blipmq *b, struct blipmq_view *view, int64_t timeout);

/**
 * blipmq_release() - done with views: their memory may be used again
 * @views: in any order, by any thread, from several calls of blipmq_next*()
 * @n:     how many
 *
 * Each view once. The kernel gets entries back in order: a view that is out keeps
 * those behind it, and blipmq_held() bounds them.
 *
 * Returns 0, or -EINVAL: one is not out, detail says which; those before it are
 * released, those from it on are not.
 */
int blipmq_release(struct blipmq *b, const struct blipmq_view *views, unsigned int n);

/**
 * blipmq_wait() - sleep until messages wait
 * @min:          how many, 1 to the ring's entries; 0 stands for 1
 * @max_delay_us: longest that one may wait for the others, microseconds; 0: no
 *                bound
 * @timeout:      longest sleep
 *
 * Takes nothing. A high @min with a bound on the delay trades latency for rate:
 * the publisher wakes this thread so much more seldom. Waiting for more than one
 * needs a mapped ring.
 *
 * Returns 0 (@min wait, or one waited @max_delay_us; another thread may take them
 * first), -EAGAIN (not in time), -EINTR, -EINVAL (@min), -EACCES (@min above 1,
 * not mapped), -ENXIO, -EIO, -ENODEV.
 */
int blipmq_wait(struct blipmq *b, uint32_t min, uint32_t max_delay_us, int64_t timeout);

/**
 * blipmq_low_water() - how many waiting messages make blipmq_fd() readable
 * @min: 1 (as it starts) to the ring's entries; 0 stands for 1
 *
 * For event loops with a timer of their own. While a thread sleeps in another
 * call the smallest wish holds.
 *
 * Returns 0, -EINVAL (@min), -EACCES (@min above 1, not mapped), -ENXIO (no ring).
 */
int blipmq_low_water(struct blipmq *b, uint32_t min);

/**
 * blipmq_keep() - hold one message beyond its release
 * @view: out, not released yet
 * @id:   out: for blipmq_drop()
 *
 * @view->data and @view->header stay good until blipmq_drop() or blipmq_close(), no
 * longer, even if the view is still out. It must still be released, as any other.
 *
 * Returns 0, -ENOSPC (too many, or too many pages), -EINVAL (not out, or kept),
 * -EACCES, -ENXIO, -EIO, -ENOMEM, -ENODEV.
 */
int blipmq_keep(struct blipmq *b, const struct blipmq_view *view, uint64_t *id);

/* Lets a kept message go, once. -ENOENT: no such @id. */
int blipmq_drop(struct blipmq *b, uint64_t id);

/**
 * blipmq_view_subject() - subject of a message: not terminated
 * @len: out: its bytes
 */
static inline const char *blipmq_view_subject(const struct blipmq_view *view, size_t *len)
{
	size_t trailer = ((size_t)view->length + BLIPMQ_TRAILER_ALIGN - 1) &
			 ~(size_t)(BLIPMQ_TRAILER_ALIGN - 1);

	*len = view->header->subject_len;
	return (const char *)view->data + trailer;
}

/* Where in a trailer that begins with @subject_len bytes of subject headers begin. */
static inline size_t blipmq_headers_offset(size_t subject_len)
{
	return (subject_len + BLIPMQ_TRAILER_ALIGN - 1) & ~(size_t)(BLIPMQ_TRAILER_ALIGN - 1);
}

/**
 * blipmq_reader() - the mapped ring, for the inline calls of <blipmq/reader.h>
 *
 * Returns NULL if the endpoint has no ring or it is not mapped.
 */
struct blipmq_reader *blipmq_reader(struct blipmq *b);

/* ---- Receiving a copy ---- */

/**
 * struct blipmq_received - what blipmq_recv() says about a message
 * @header:      as the kernel wrote it
 * @cookie:      of the subscription
 * @length:      bytes of the whole payload
 * @flags:       BLIPMQ_DESC_*
 * @subject_len: bytes of @subject
 * @subject:     terminated
 */
struct blipmq_received {
	struct blipmq_header header;
	uint64_t cookie;
	uint32_t length;
	uint32_t flags;
	uint32_t subject_len;
	char subject[BLIPMQ_SUBJECT_MAX + 1];
};

/**
 * blipmq_recv() - take the next message as a copy
 * @data:    where its payload goes
 * @size:    bytes there
 * @message: out: what it is; may be NULL
 * @timeout: how long to wait for it
 *
 * Works with and without the right to map. Nothing to release.
 *
 * Returns the bytes of the payload, or
 *   -EMSGSIZE  @size is too small: @message says its length, detail too; the
 *              message stays first (in a mapped ring until the policy drops it)
 *   -EFAULT    @data cannot be written; the message stays first (in a mapped ring
 *              that is a fault of the caller's)
 *   and what blipmq_next_batch() returns, but -EACCES.
 */
int64_t blipmq_recv(struct blipmq *b, void *data, size_t size,
		    struct blipmq_received *message, int64_t timeout);

/**
 * blipmq_recv_headers() - as blipmq_recv(), with the user headers
 * @headers: in: room for them, in which the subject takes its place, too:
 *           BLIPMQ_TRAILER_MAX bytes do for all. out: @len of them, at @data. With too
 *           little room @len is 0, and @message->header.headers_len tells how many they are
 */
int64_t blipmq_recv_headers(struct blipmq *b, void *data, size_t size,
			    struct blipmq_received *message,
			    struct blipmq_headers *headers, int64_t timeout);

/* ---- Publishing ---- */

/**
 * blipmq_publish() - publish one message
 * @subject: tokens separated by '.', at most BLIPMQ_SUBJECT_MAX bytes, no wildcard
 *           (but see BLIPMQ_OPEN_LITERAL)
 * @data:    payload; NULL if @length is 0
 * @length:  its bytes, 0 to the bus's max_message
 * @result:  out: number in the topic and how many subscriptions got it; may be NULL
 *
 * Waits for block rings that are full, unless BLIPMQ_OPEN_NONBLOCK.
 *
 * Returns 0, -EACCES (no right), -EINVAL (subject), -EMSGSIZE, -EAGAIN (would
 * wait), -EINTR, -ENOBUFS (the budget, or the user's share, is used up by what
 * others hold), -ENOSPC (topics), -ENOMEM, -EFAULT, -ENODEV.
 */
int blipmq_publish(struct blipmq *b, const char *subject, const void *data,
		   size_t length, struct blipmq_result *result);

/**
 * struct blipmq_handle - a topic opened for publishing; a plain value
 * @handle:      number, for struct blipmq_message
 * @subject_len: bytes of the subject
 * @topic:       id, as in struct blipmq_header
 */
struct blipmq_handle {
	uint32_t handle;
	uint32_t subject_len;
	uint64_t topic;
};

/**
 * blipmq_topic_open() - a handle: publishing by it is cheaper than by name
 * @subject: as for blipmq_publish()
 * @flags:   0, or BLIPMQ_TOPIC_WRITE: write(2) on blipmq_fd() publishes to it
 * @topic:   out
 *
 * Returns 0, -EACCES, -EINVAL, -ENOSPC (topics, handles), -ENOMEM, -ENODEV.
 */
int blipmq_topic_open(struct blipmq *b, const char *subject, unsigned int flags,
		      struct blipmq_handle *topic);

/**
 * blipmq_type_id() - a number for a type: a hash of a text that describes it
 * @text: anything that changes when messages can no longer be read as before, such as
 *        "sample: u64 time, double value"
 *
 * 64-bit FNV-1a of its bytes, or 1 where that is 0; the same on every machine and in
 * every language.
 */
static inline uint64_t blipmq_type_id(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3ULL;
	return hash ? hash : 1;
}

/**
 * blipmq_topic_open_typed() - as blipmq_topic_open(), and say what the messages are
 * @type: not 0: of blipmq_type_id(), or any number that those who read them agree on
 * @name: of the type, for people: at most BLIPMQ_TYPE_NAME_MAX bytes, no control
 *        characters; NULL for none
 *
 * The topic has the type of the first who states one. blipmq_topic_open() and publishing
 * by name state none, and are never refused for it.
 *
 * Returns what blipmq_topic_open() does, -EPROTOTYPE (the topic has another type, or one
 * of that number and another name), -EINVAL also for @name.
 */
int blipmq_topic_open_typed(struct blipmq *b, const char *subject, unsigned int flags,
			    uint64_t type, const char *name, struct blipmq_handle *topic);

/**
 * blipmq_topic_type() - what the messages of a topic are
 * @topic: its id: in struct blipmq_header, struct blipmq_handle
 * @type:  out: the topic's type, 0 if nobody stated one
 * @name:  out: its name, cut to fit and terminated; NULL: not wanted
 * @size:  bytes there; BLIPMQ_TYPE_NAME_MAX + 1 are enough. 0 if @name is NULL
 *
 * A system call: ask once for each topic. It never changes once there is a type.
 *
 * Returns 0, -ENOENT (the endpoint has neither a handle of the topic, and may publish, nor
 * a subscription that it matches, or the topic is gone), -ENODEV.
 */
int blipmq_topic_type(struct blipmq *b, uint64_t topic, uint64_t *type, char *name,
		      size_t size);

/* Gives a handle back. -ENOENT: there is none of that number. */
int blipmq_topic_close(struct blipmq *b, const struct blipmq_handle *topic);

/* As blipmq_publish() to an open topic; -ENOENT if it was closed. */
int blipmq_publish_topic(struct blipmq *b, const struct blipmq_handle *topic,
			 const void *data, size_t length, struct blipmq_result *result);

/* One message of a batch, to an open topic. @data must outlive the publish. */
static inline struct blipmq_message
blipmq_message_topic(const struct blipmq_handle *topic, const void *data, uint32_t length)
{
	struct blipmq_message message;

	memset(&message, 0, sizeof(message));
	message.data = (uintptr_t)data;
	message.length = length;
	message.handle = topic->handle;
	return message;
}

/* The same by name; @subject need not be terminated and must outlive it too. */
static inline struct blipmq_message
blipmq_message_subject(const char *subject, size_t subject_len, const void *data,
		       uint32_t length)
{
	struct blipmq_message message;

	memset(&message, 0, sizeof(message));
	message.data = (uintptr_t)data;
	message.length = length;
	message.subject = (uintptr_t)subject;
	/* Too long stays too long, and is refused. */
	message.subject_len = subject_len < UINT16_MAX ? (uint16_t)subject_len : UINT16_MAX;
	return message;
}

/**
 * blipmq_publish_batch() - publish many messages with few system calls
 * @messages: made by blipmq_message_topic() or blipmq_message_subject(); topics
 *            may differ
 * @n:        how many, at least 1, at most INT_MAX; more than BLIPMQ_BATCH_MAX
 *            take several system calls
 * @results:  out: @n results, or NULL. Written for those published and the first
 *            one that was not
 *
 * Order is kept. No transaction: others' messages come between.
 *
 * Returns how many were published. Fewer than @n: the next one was refused, and
 * blipmq_last_error() says why. If that was the first, its error, as of
 * blipmq_publish().
 */
int blipmq_publish_batch(struct blipmq *b, const struct blipmq_message *messages,
			 unsigned int n, struct blipmq_result *results);

/* ---- Publishing in place ---- */

/* Bytes of a staging block: a compromise, see struct blipmq_writer_opts. */
#define BLIPMQ_BLOCK_DEFAULT	65536
#define BLIPMQ_BLOCKS_DEFAULT	16	/* staging blocks of a writer */
#define BLIPMQ_BLOCK_UNIT	4096	/* block sizes are multiples of this */

/**
 * struct blipmq_writer_opts - size of a writer; zero stands for the default
 * @sz:         sizeof(struct blipmq_writer_opts)
 * @block_size: bytes of a block, a multiple of BLIPMQ_BLOCK_UNIT up to
 *              BLIPMQ_BLOCK_MAX (BLIPMQ_BLOCK_DEFAULT). Larger ones are cheaper
 *              to publish; but a block occupies memory of the bus until the last
 *              message in it is released by all
 * @blocks:     blocks, 1 to BLIPMQ_BATCH_MAX (BLIPMQ_BLOCKS_DEFAULT)
 */
struct blipmq_writer_opts {
	size_t sz;
	uint32_t block_size;
	uint32_t blocks;
};

/**
 * blipmq_writer_open() - room in which messages are written as they will lie
 * @opts: NULL for the defaults
 * @w:    out: for blipmq_writer_close()
 *
 * Saves, for small messages, most of the cost of copying them one by one. A
 * writer is used by one thread at a time; an endpoint may have many. Messages of
 * different writers have no order.
 *
 * Returns 0, -EINVAL (options), -ENOMEM.
 */
int blipmq_writer_open(struct blipmq *b, const struct blipmq_writer_opts *opts,
		       struct blipmq_writer **w);

/**
 * blipmq_writer_close() - flush what is committed, then free the writer
 * @w: writer or NULL
 *
 * Returns how many messages were thrown away because the flush could not publish
 * them (blipmq_last_error() says why), normally 0.
 */
unsigned int blipmq_writer_close(struct blipmq_writer *w);

/**
 * blipmq_reserve() - room for one message of a topic, to be written in place
 * @topic:  open on the writer's endpoint
 * @length: most payload bytes
 * @data:   out: 64-byte aligned, not cleared, good until the commit or abort
 *
 * No system call.
 *
 * Returns 0 or
 *   -ENOBUFS   the writer is full: blipmq_flush() and try again
 *   -EMSGSIZE  more than a block holds: blipmq_publish_topic() it, which costs no
 *              more for a message of that size
 *   -EBUSY     the one before is neither committed nor aborted
 */
int blipmq_reserve(struct blipmq_writer *w, const struct blipmq_handle *topic,
		   size_t length, void **data);

/**
 * struct blipmq_extras - what a message may have beside its payload; zero: has not
 * @sz:      sizeof(struct blipmq_extras)
 * @headers: user headers; not used after the call
 */
struct blipmq_extras {
	size_t sz;
	const struct blipmq_headers *headers;
};

/**
 * blipmq_reserve_with() - as blipmq_reserve(), for a message that is more than a payload
 * @extras: NULL for nothing
 *
 * Returns what blipmq_reserve() does, and -EINVAL (@extras).
 */
int blipmq_reserve_with(struct blipmq_writer *w, const struct blipmq_handle *topic,
			size_t length, const struct blipmq_extras *extras, void **data);

/* Ends the reservation with @length payload bytes, at most those reserved: it goes
 * with the next flush. -EINVAL: more, or no reservation is open.
 */
int blipmq_commit(struct blipmq_writer *w, size_t length);

/* Gives the reservation up. -EINVAL: none is open. */
int blipmq_abort(struct blipmq_writer *w);

/* How many messages are committed and not yet published. */
unsigned int blipmq_staged(const struct blipmq_writer *w);

/**
 * blipmq_flush() - publish what is committed, with one system call
 * @results: out: blipmq_staged() results, or NULL; written as by
 *           blipmq_publish_batch()
 *
 * Returns how many were published; 0 if nothing was committed. Fewer than there
 * were: the next one was refused, blipmq_last_error() says why, and it and those
 * behind it stay for the next flush. If that was the first, its error:
 * as of blipmq_publish_topic(), and -EBUSY while a reservation is open.
 */
int blipmq_flush(struct blipmq_writer *w, struct blipmq_result *results);

/**
 * blipmq_discard() - throw away the first committed messages
 * @n: at most how many
 *
 * For one that the kernel refuses for good. Aborts an open reservation. Returns how
 * many went.
 */
unsigned int blipmq_discard(struct blipmq_writer *w, unsigned int n);

#pragma GCC visibility pop
#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif /* BLIPMQ_H */
