// SPDX-License-Identifier: GPL-2.0
/*
 * Publishing: messages from user memory into runs, chunk by chunk.
 *
 * A chunk is consecutive messages of one topic. Room is handed out under a short
 * lock, together with a reference; the copy is outside every lock, since user
 * memory can stall for ever; a copy that fails leaves a hole. Whatever stops a
 * batch, the messages before it are published.
 */
#include <linux/cgroup.h>
#include <linux/ktime.h>
#include <linux/memcontrol.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "publish.h"

#define EVICT_TRIES	64	/* evictions for one run */

/* Where a payload comes from. */
struct source {
	const void __user *user;
	struct iov_iter *iter;	/* if not NULL */
};

/**
 * union extras - what few messages have beside payload and subject
 * @reserved:    0
 * @headers_len: bytes of user headers
 * @trailer_len: 0
 * @any:         all of it, as it lies in a header; 0: a plain message
 */
union extras {
	struct {
		u32 reserved;
		u16 headers_len;
		u16 trailer_len;
	};
	u64 any;
};

static int refuse(struct bmq_batch *batch, int err, int reason, u32 detail)
{
	batch->reason = reason;
	batch->detail = detail;
	return err;
}

static int errno_of(int reason)
{
	switch (reason) {
	case BLIPMQ_REASON_MEMORY:
		return -ENOMEM;
	case BLIPMQ_REASON_BUDGET:
	case BLIPMQ_REASON_SHARE:
	case BLIPMQ_REASON_HOST:
	case BLIPMQ_REASON_HOST_USER:
		return -ENOBUFS;
	default:
		return -ENOSPC;
	}
}

/* ---- Who pays ---- */

/* Id of the caller's memory cgroup, which page allocations are charged to. */
static u64 current_cgroup(void)
{
	u64 id = 0;
#ifdef CONFIG_MEMCG
	rcu_read_lock();
	id = cgroup_id(task_css(current, memory_cgrp_id)->cgroup);
	rcu_read_unlock();
#endif
	return id;
}

/* The endpoint keeps the accounts it publishes from until it closes. */
static struct bmq_account *account_of(struct bmq_endpoint *ep)
{
	u64 cgroup = current_cgroup();
	struct bmq_account *account, *old;

	account = xa_load(&ep->accounts, cgroup);
	if (account)
		return account;
	account = bmq_account_get(ep->user, cgroup);
	if (!account)
		return NULL;
	old = xa_cmpxchg(&ep->accounts, cgroup, NULL, account, GFP_KERNEL_ACCOUNT);
	if (!old)
		return account;
	bmq_account_put(account);
	return xa_is_err(old) ? NULL : old;
}

/* ---- Room in runs ---- */

static struct bmq_run *run_take(struct bmq_batch *batch, unsigned int nr)
{
	struct bmq_bus *bus = batch->ep->bus;
	struct bmq_run *run;
	unsigned int tries;

	for (tries = 0; tries < EVICT_TRIES; tries++) {
		run = bmq_store_take(&bus->store, batch->account, nr,
				     &batch->reason, &batch->detail);
		if (run || batch->reason == BLIPMQ_REASON_MEMORY)
			return run;
		if (!bmq_evict(bus, batch->ep->user, nr))
			return NULL;
	}
	return NULL;
}

/* Room in the endpoint's current run, if it has as much and pays with the account. */
static bool current_room(struct bmq_batch *batch, u32 size, struct bmq_msg *msg,
			 u32 *at)
{
	struct bmq_endpoint *ep = batch->ep;
	struct bmq_run *run = ep->run;

	lockdep_assert_held(&ep->pub_lock);
	if (!run || run->account != batch->account ||
	    ep->used + size > run->nr * PAGE_SIZE)
		return false;
	if (!batch->nr || batch->msg[batch->nr - 1].run != run)
		bmq_run_get(run, 1);
	msg->run = run;
	*at = ep->used;
	ep->used += size;
	ep->used_at = jiffies;
	return true;
}

/* Room for a message of @size bytes at @at of a run; the batch has a reference. */
static int msg_room(struct bmq_batch *batch, u32 size, struct bmq_msg *msg, u32 *at)
{
	struct bmq_endpoint *ep = batch->ep;
	struct bmq_run *run, *spare = NULL;
	bool found;

	if (size > BMQ_SMALL_PAGES * PAGE_SIZE) {
		*at = 0;
		msg->run = run_take(batch, DIV_ROUND_UP(size, PAGE_SIZE));
		return msg->run ? 0 : errno_of(batch->reason);
	}

	spin_lock(&ep->pub_lock);
	found = current_room(batch, size, msg, at);
	spin_unlock(&ep->pub_lock);
	if (found)
		return 0;

	run = run_take(batch, BMQ_SMALL_PAGES);
	if (!run)
		return errno_of(batch->reason);
	spin_lock(&ep->pub_lock);
	found = current_room(batch, size, msg, at);
	if (found) {
		spare = run;	/* another thread was faster */
	} else if (bmq_run_stale(&ep->bus->store, run)) {
		msg->run = run;	/* for this message, which began before */
		*at = 0;
	} else {
		spare = ep->run;
		ep->run = run;
		ep->used = 0;
		current_room(batch, size, msg, at);
	}
	spin_unlock(&ep->pub_lock);
	if (spare)
		bmq_run_put(&ep->bus->store, spare, 1);
	return 0;
}

/* The message is not, or no longer, part of the batch: put its reference. */
static void msg_forget(struct bmq_batch *batch, const struct bmq_msg *msg)
{
	if (!batch->nr || batch->msg[batch->nr - 1].run != msg->run)
		bmq_run_put(&batch->ep->bus->store, msg->run, 1);
}

/* ---- Contents ---- */

static int run_fill(const struct bmq_run *run, unsigned long at, u32 len,
		    struct source *from)
{
	while (len) {
		u32 n = min_t(u32, len, PAGE_SIZE - (at & ~PAGE_MASK));
		void *to = bmq_run_at(run, at);

		if (from->iter ? !copy_from_iter_full(to, n, from->iter) :
				 copy_from_user(to, from->user, n))
			return -EFAULT;
		if (!from->iter)
			from->user += n;
		at += n;
		len -= n;
	}
	return 0;
}

/* For so few a call, or a string instruction, takes longer. */
static __always_inline void words_copy(u64 *to, const u64 *word, u32 len)
{
	u32 i;

	for (i = 0; i < len / sizeof(*word); i++)
		WRITE_ONCE(to[i], word[i]);
}

/* Words, of which none lies across a page's end; less than a page of them. */
static void run_write(const struct bmq_run *run, unsigned long at, const u64 *word,
		      u32 len)
{
	u32 fit = min_t(u32, len, PAGE_SIZE - (at & ~PAGE_MASK));

	words_copy(bmq_run_at(run, at), word, fit);
	if (fit < len)
		words_copy(bmq_run_at(run, at + fit), word + fit / sizeof(*word),
			   len - fit);
}

/* Where in a trailer the user headers begin. */
static u32 headers_at(u32 subject_len)
{
	return ALIGN(subject_len, BLIPMQ_TRAILER_ALIGN);
}

static u32 trailer_size(u32 subject_len, union extras extras)
{
	if (likely(!extras.headers_len))
		return subject_len;
	return headers_at(subject_len) + extras.headers_len;
}

/* Bytes of a message in its run: header, payload, trailer. */
static u32 msg_size(u32 length, u32 trailer_len)
{
	return ALIGN(sizeof(struct blipmq_header) + ALIGN(length, BLIPMQ_TRAILER_ALIGN) +
		     trailer_len, BLIPMQ_ALIGN);
}

/* What all messages of the chunk have in common, before they go out. */
static void header_prepare(struct bmq_batch *batch)
{
	const struct bmq_endpoint *ep = batch->ep;
	u32 len = batch->topic->named.len;

	batch->trailer_len = ALIGN(len, sizeof(batch->trailer[0]));
	batch->trailer[batch->trailer_len / sizeof(batch->trailer[0]) - 1] = 0;
	memcpy(batch->trailer, batch->topic->text, len);
	batch->header = (struct blipmq_header){
		.sender = ep->id,
		.uid = ep->uid,
		.gid = ep->gid,
		.pid = ep->pid,
		.trailer_len = len,
		.version = BLIPMQ_HEADER_VERSION,
		.subject_len = len,
	};
}

/*
 * The message whose payload lies in its run, behind @header at @at, is one more of the
 * chunk: header and subject. Number, time and topic follow under the topic's lock.
 */
static void msg_ready(struct bmq_batch *batch, struct blipmq_header *header, u32 at,
		      u32 length)
{
	struct bmq_msg *msg = &batch->msg[batch->nr++];

	*header = batch->header;
	header->length = length;
	msg->header = header;
	msg->offset = bmq_run_units(msg->run, at + sizeof(*header));
	msg->length = length;
	run_write(msg->run, at + sizeof(*header) + ALIGN(length, BLIPMQ_TRAILER_ALIGN),
		  batch->trailer, batch->trailer_len);
}

/* The message that was added last is no plain one. */
static void msg_extend(struct bmq_batch *batch, union extras extras)
{
	struct blipmq_header *header = batch->msg[batch->nr - 1].header;

	header->headers_len = extras.headers_len;
	header->trailer_len = trailer_size(header->subject_len, extras);
}

/* The user headers of @in to where they belong in the message at @at of @run. */
static int headers_fill(const struct bmq_batch *batch, const struct bmq_run *run, u32 at,
			const struct blipmq_message *in)
{
	struct source from = { .user = u64_to_user_ptr(in->headers) };

	at += sizeof(struct blipmq_header) + ALIGN(in->length, BLIPMQ_TRAILER_ALIGN) +
	      headers_at(batch->topic->named.len);
	return run_fill(run, at, in->headers_len, &from);
}

/* One more of the chunk: the payload of @from, all else of @in. */
static int msg_add(struct bmq_batch *batch, const struct blipmq_message *in,
		   struct source *from)
{
	union extras extras = { .headers_len = in->headers_len };
	struct bmq_msg *msg = &batch->msg[batch->nr];
	u32 at, size;
	int err;

	size = msg_size(in->length, trailer_size(batch->topic->named.len, extras));
	err = msg_room(batch, size, msg, &at);
	if (err)
		return err;
	err = run_fill(msg->run, at + sizeof(struct blipmq_header), in->length, from);
	if (unlikely(extras.any) && !err)
		err = headers_fill(batch, msg->run, at, in);
	if (err) {
		msg_forget(batch, msg);
		return refuse(batch, err, BLIPMQ_REASON_FAULT, 0);
	}
	msg_ready(batch, bmq_run_at(msg->run, at), at, in->length);
	if (unlikely(extras.any))
		msg_extend(batch, extras);
	return 0;
}

/* ---- Topics ---- */

static struct bmq_topic *topic_by_handle(struct bmq_endpoint *ep, u32 handle)
{
	struct bmq_topic *topic;

	rcu_read_lock();
	topic = xa_load(&ep->handles, handle);
	if (topic && !kref_get_unless_zero(&topic->ref))
		topic = NULL;
	rcu_read_unlock();
	return topic;
}

/* The topic of a message: a reference, or NULL and why. */
static struct bmq_topic *topic_of(struct bmq_batch *batch,
				  const struct blipmq_message *in, int *err)
{
	struct bmq_endpoint *ep = batch->ep;
	struct bmq_topic *topic;
	int reason;

	if (in->handle) {
		topic = topic_by_handle(ep, in->handle);
		if (!topic)
			*err = refuse(batch, -ENOENT, BLIPMQ_REASON_HANDLE, in->handle);
		return topic;
	}
	if (!in->subject_len || in->subject_len > BLIPMQ_SUBJECT_MAX) {
		*err = refuse(batch, -EINVAL, BLIPMQ_REASON_SUBJECT_LENGTH,
			      BLIPMQ_SUBJECT_MAX);
		return NULL;
	}
	if (copy_from_user(batch->subject, u64_to_user_ptr(in->subject),
			   in->subject_len)) {
		*err = refuse(batch, -EFAULT, BLIPMQ_REASON_FAULT, 0);
		return NULL;
	}
	reason = bmq_subject_check(batch->subject, in->subject_len, &batch->detail);
	if (reason) {
		*err = refuse(batch, -EINVAL, reason, batch->detail);
		return NULL;
	}
	topic = bmq_topic_get(ep->bus, ep->user, batch->subject, in->subject_len,
			      false, &batch->reason, &batch->detail);
	if (!topic)
		*err = errno_of(batch->reason);
	return topic;
}

/* Make @topic, a reference, the chunk's. Return: false if it is another one's turn. */
static bool chunk_topic(struct bmq_batch *batch, struct bmq_topic *topic)
{
	if (!batch->topic) {
		batch->topic = topic;
		header_prepare(batch);
		return true;
	}
	bmq_topic_put(topic);
	return batch->topic == topic;
}

/* ---- Out ---- */

/* A topic by name was reaped under us: the next of that name is another topic. */
static int topic_again(struct bmq_batch *batch)
{
	struct bmq_topic *dead = batch->topic;

	batch->topic = bmq_topic_get(batch->ep->bus, batch->ep->user, dead->text,
				     dead->named.len, false, &batch->reason,
				     &batch->detail);
	bmq_topic_put(dead);
	return batch->topic ? 0 : errno_of(batch->reason);
}

/* A block ring is full. Return: 0 to try again. */
static int chunk_wait(struct bmq_batch *batch, u64 *since)
{
	struct bmq_endpoint *full = batch->full;
	int err;

	batch->full = NULL;
	batch->reason = BLIPMQ_REASON_ROOM;
	batch->detail = 0;
	if (!full)
		return 0;	/* it closed meanwhile */
	if (batch->nonblock) {
		bmq_room_refused(batch->ep, full, &batch->need);
		return -EAGAIN;
	}
	if (!*since)
		*since = ktime_get_ns();
	err = bmq_room_wait(full, &batch->need, *since);
	if (READ_ONCE(batch->ep->bus->dead))
		return refuse(batch, -ENODEV, READ_ONCE(batch->ep->bus->dead), 0);
	return err;
}

/* Count the @nr messages that fan-out has just published, and note the results. */
static void chunk_count(struct bmq_batch *batch, unsigned int first, unsigned int nr)
{
	struct bmq_endpoint *ep = batch->ep;
	unsigned int i, lonely = 0;
	u32 taken = 0;
	u64 bytes = 0;

	for (i = 0; i < nr; i++) {
		taken += batch->chunk.taken[i];
		lonely += !taken;
		bytes += batch->chunk.msgs[i].length;
		if (batch->wanted)
			batch->result[first + i] = (struct blipmq_result){
				.seq = batch->seq + i,
				.delivered = taken,
			};
	}
	atomic64_add(nr, &ep->published);
	atomic64_add(bytes, &ep->bytes);
	if (lonely)
		atomic64_add(lonely, &ep->lonely);
}

/* Put what the chunk holds; the next one begins. */
static void chunk_end(struct bmq_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		if (!i || batch->msg[i].run != batch->msg[i - 1].run)
			bmq_run_put(&batch->ep->bus->store, batch->msg[i].run, 1);
	}
	if (batch->topic)
		bmq_topic_put(batch->topic);
	batch->topic = NULL;
	batch->nr = 0;
}

/*
 * Publish the chunk. Return: messages published, which is all of them unless *err.
 */
static unsigned int chunk_publish(struct bmq_batch *batch, int *err)
{
	unsigned int done = 0;
	u64 since = 0;
	int nr, stop = 0;

	while (done < batch->nr && !stop) {
		nr = bmq_fanout(batch, done);
		if (nr > 0) {
			chunk_count(batch, done, nr);
			done += nr;
			since = 0;
		} else {
			stop = nr == -ESTALE ? topic_again(batch) :
					       chunk_wait(batch, &since);
		}
	}
	if (stop)
		*err = stop;
	return done;
}

/* ---- A batch ---- */

static struct bmq_batch *batch_begin(struct bmq_endpoint *ep, bool nonblock)
{
	struct bmq_batch *batch = xchg(&ep->spare, NULL);

	if (!batch)
		batch = kvmalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT);
	if (!batch)
		return NULL;
	batch->ep = ep;
	batch->topic = NULL;
	batch->full = NULL;
	batch->nr = 0;
	batch->reason = BLIPMQ_REASON_NONE;
	batch->detail = 0;
	batch->nonblock = nonblock;
	batch->wanted = false;
	batch->delivered = 0;
	batch->account = account_of(ep);
	if (batch->account)
		return batch;
	kvfree(batch);
	return NULL;
}

static void batch_end(struct bmq_batch *batch)
{
	struct bmq_endpoint *ep = batch->ep;

	if (!delayed_work_pending(&ep->bus->idle_work))
		bmq_bus_arm_idle(ep->bus);
	kvfree(xchg(&ep->spare, batch));
}

/* Payload and user headers together are at most @max, what a payload alone may be. */
static int size_check(struct bmq_batch *batch, u32 length, u16 headers_len, u32 max)
{
	if (length > max || unlikely(headers_len > max - length))
		return refuse(batch, -EMSGSIZE, BLIPMQ_REASON_MESSAGE_SIZE, max);
	if (unlikely(headers_len > BLIPMQ_HEADERS_MAX))
		return refuse(batch, -EMSGSIZE, BLIPMQ_REASON_HEADERS_SIZE,
			      BLIPMQ_HEADERS_MAX);
	return 0;
}

static int message_check(struct bmq_batch *batch, const struct blipmq_message *in)
{
	if (in->ttl || in->reply || in->correlation)
		return refuse(batch, -EINVAL, BLIPMQ_REASON_RESERVED, 0);
	if (in->handle && (in->subject || in->subject_len))
		return refuse(batch, -EINVAL, BLIPMQ_REASON_RESERVED, 0);
	return size_check(batch, in->length, in->headers_len,
			  bmq_bus_max_message(batch->ep->bus));
}

/* Lay out a chunk from the array. Return: 0, or why the next message is not in it. */
static int chunk_from_array(struct bmq_batch *batch, unsigned int *at, unsigned int nr)
{
	const struct blipmq_message *last = NULL;
	int err = 0;

	for (; *at < nr; last = &batch->in[(*at)++]) {
		const struct blipmq_message *in = &batch->in[*at];
		struct source from = { .user = u64_to_user_ptr(in->data) };
		struct bmq_topic *topic;

		err = message_check(batch, in);
		if (err)
			break;
		if (!last || !in->handle || in->handle != last->handle) {
			topic = topic_of(batch, in, &err);
			if (!topic)
				break;
			if (!chunk_topic(batch, topic))
				break;
		}
		err = msg_add(batch, in, &from);
		if (err)
			break;
	}
	return err;
}

/* Where results go; a fault there undoes nothing, and nobody is told. */
static void results_out(const struct blipmq_publish *args, const struct bmq_batch *batch,
			unsigned int nr)
{
	u64 to = args->results + args->done * sizeof(struct blipmq_result);

	if (args->results && nr &&
	    copy_to_user(u64_to_user_ptr(to), batch->result, nr * sizeof(batch->result[0])))
		return;
}

/*
 * Publish what is laid out and tell; then end the chunk. *err says why the next
 * message is not in it, unless one of it is not published either.
 */
static void chunk_out(struct bmq_batch *batch, struct blipmq_publish *args, int *err)
{
	int stop = 0, reason = batch->reason;
	u32 detail = batch->detail;
	unsigned int nr = chunk_publish(batch, &stop);

	if (stop)
		*err = stop;
	else
		refuse(batch, *err, reason, detail);
	results_out(args, batch, nr);
	args->done += nr;
	chunk_end(batch);
}

static int publish_array(struct bmq_batch *batch, struct blipmq_publish *args)
{
	unsigned int base, nr, at;
	int err = 0;

	for (base = 0; base < args->nr && !err; base += nr) {
		nr = min_t(unsigned int, args->nr - base, BMQ_CHUNK);
		if (copy_from_user(batch->in,
				   u64_to_user_ptr(args->messages) +
				   base * sizeof(batch->in[0]),
				   nr * sizeof(batch->in[0])))
			return refuse(batch, -EFAULT, BLIPMQ_REASON_FAULT, 0);
		for (at = 0; at < nr && !err;) {
			err = chunk_from_array(batch, &at, nr);
			chunk_out(batch, args, &err);
		}
	}
	return err;
}

/* ---- Blocks ---- */

/* By words: for each byte it would take longer. */
static u64 header_word(const struct blipmq_header *header, size_t at)
{
	return ((const u64 *)header)[at / sizeof(u64)];
}

/* Beside extras only length and topic may be set. */
static bool header_clean(const struct blipmq_header *header)
{
	return !(header->seq | header->time | header->sender | header->uid |
		 header_word(header, offsetof(struct blipmq_header, gid)) |
		 header_word(header, offsetof(struct blipmq_header, version)));
}

static union extras header_extras(const struct blipmq_header *header)
{
	return (union extras){
		.any = header_word(header, offsetof(struct blipmq_header, ttl)),
	};
}

/* Is what begins at @at of a copied block a message? */
static int block_check(struct bmq_batch *batch, const struct blipmq_header *header,
		       const struct blipmq_block *block, u32 at, u32 max)
{
	union extras extras = header_extras(header);

	if (!header_clean(header) || header->length > block->length)
		return refuse(batch, -EINVAL, BLIPMQ_REASON_BLOCK, at);
	if (unlikely(extras.any) && (extras.reserved || extras.trailer_len))
		return refuse(batch, -EINVAL, BLIPMQ_REASON_BLOCK, at);
	if (!header->topic || header->topic > U32_MAX)
		return refuse(batch, -ENOENT, BLIPMQ_REASON_HANDLE, header->topic);
	return size_check(batch, header->length, extras.headers_len, max);
}

/* Lay out a chunk from a block that is copied. @at moves on past its messages. */
static int chunk_from_block(struct bmq_batch *batch, struct bmq_run *run,
			    const struct blipmq_block *block, u32 *at,
			    unsigned int *left)
{
	u32 max = bmq_bus_max_message(batch->ep->bus), size;
	u64 handle = 0;
	int err = 0;

	for (; *left && batch->nr < BMQ_CHUNK; (*left)--, *at += size) {
		struct blipmq_header *header;
		union extras extras;

		/* At the end of the block, where the run may end, too, is none. */
		if (*at + sizeof(*header) > block->length)
			return refuse(batch, -EINVAL, BLIPMQ_REASON_BLOCK, *at);
		header = bmq_run_at(run, *at);
		err = block_check(batch, header, block, *at, max);
		if (err)
			return err;
		if (header->topic != handle) {
			struct blipmq_message in = { .handle = header->topic };
			struct bmq_topic *topic = topic_of(batch, &in, &err);

			if (!topic)
				return err;
			handle = header->topic;
			if (!chunk_topic(batch, topic))
				return 0;
		}
		extras = header_extras(header);
		size = msg_size(header->length,
				trailer_size(batch->topic->named.len, extras));
		if (size > block->length - *at ||
		    (*left == 1 && size != block->length - *at))
			return refuse(batch, -EINVAL, BLIPMQ_REASON_BLOCK, *at);
		if (!batch->nr)
			bmq_run_get(run, 1);
		batch->msg[batch->nr].run = run;
		msg_ready(batch, header, *at, header->length);
		if (unlikely(extras.any))
			msg_extend(batch, extras);
	}
	return 0;
}

static int publish_block(struct bmq_batch *batch, struct blipmq_publish *args,
			 const struct blipmq_block *block)
{
	struct source from = { .user = u64_to_user_ptr(block->data) };
	unsigned int left = block->nr;
	struct bmq_run *run;
	u32 at = 0;
	int err;

	if (!block->length || block->length % BLIPMQ_ALIGN || !block->nr ||
	    block->length > BLIPMQ_BLOCK_MAX)
		return refuse(batch, -EINVAL, BLIPMQ_REASON_BLOCK, 0);
	if (block->nr > BLIPMQ_BATCH_MAX - args->done)
		return refuse(batch, -EINVAL, BLIPMQ_REASON_BATCH, BLIPMQ_BATCH_MAX);
	run = run_take(batch, DIV_ROUND_UP(block->length, PAGE_SIZE));
	if (!run)
		return errno_of(batch->reason);
	err = run_fill(run, 0, block->length, &from);
	if (err)
		refuse(batch, err, BLIPMQ_REASON_FAULT, 0);
	while (!err && left) {
		err = chunk_from_block(batch, run, block, &at, &left);
		chunk_out(batch, args, &err);
	}
	bmq_run_put(&batch->ep->bus->store, run, 1);
	return err;
}

static int publish_blocks(struct bmq_batch *batch, struct blipmq_publish *args)
{
	const struct blipmq_block __user *from = u64_to_user_ptr(args->messages);
	struct blipmq_block block;
	unsigned int i;
	int err = 0;

	for (i = 0; i < args->nr && !err; i++) {
		if (copy_from_user(&block, &from[i], sizeof(block)))
			return refuse(batch, -EFAULT, BLIPMQ_REASON_FAULT, 0);
		err = publish_block(batch, args, &block);
	}
	return err;
}

/* ---- Entry ---- */

/* Tell of the first message that was not done. */
static void publish_error(struct bmq_batch *batch, struct blipmq_publish *args, int err)
{
	batch->result[0] = (struct blipmq_result){
		.error = err,
		.reason = batch->reason,
	};
	results_out(args, batch, 1);
	args->error = err;
	args->head.reason = batch->reason;
	args->head.detail = batch->detail;
}

/**
 * bmq_publish() - PUBLISH
 * @ep:       a bound endpoint that may publish
 * @args:     checked for size, flags and reserved fields
 * @nonblock: do not wait for room
 *
 * Return: as struct blipmq_publish says.
 */
int bmq_publish(struct bmq_endpoint *ep, struct blipmq_publish *args, bool nonblock)
{
	struct bmq_batch *batch;
	int err;

	args->done = 0;
	args->delivered = 0;
	args->error = 0;
	if (!args->nr || args->nr > BLIPMQ_BATCH_MAX) {
		args->head.reason = BLIPMQ_REASON_BATCH;
		args->head.detail = BLIPMQ_BATCH_MAX;
		return -EINVAL;
	}
	batch = batch_begin(ep, nonblock);
	if (!batch) {
		args->head.reason = BLIPMQ_REASON_MEMORY;
		return -ENOMEM;
	}
	batch->wanted = args->results;
	err = args->head.flags & BLIPMQ_PUBLISH_BLOCKS ? publish_blocks(batch, args) :
							 publish_array(batch, args);
	if (err)
		publish_error(batch, args, err);
	args->delivered = batch->delivered;
	batch_end(batch);
	return args->done ? 0 : err;
}

/**
 * bmq_publish_iter() - write(2): one message to the endpoint's bound topic
 * @ep:       a bound endpoint that may publish
 * @from:     the payload
 * @nonblock: do not wait for room
 *
 * Return: bytes, or a negative errno.
 */
ssize_t bmq_publish_iter(struct bmq_endpoint *ep, struct iov_iter *from, bool nonblock)
{
	size_t length = iov_iter_count(from);
	struct blipmq_message in = { .length = length };
	struct source source = { .iter = from };
	struct bmq_topic *topic;
	struct bmq_batch *batch;
	int err = 0;

	if (length > bmq_bus_max_message(ep->bus))
		return -EMSGSIZE;
	batch = batch_begin(ep, nonblock);
	if (!batch)
		return -ENOMEM;
	topic = topic_by_handle(ep, READ_ONCE(ep->write_topic));
	if (topic && chunk_topic(batch, topic))
		err = msg_add(batch, &in, &source);
	else
		err = -EDESTADDRREQ;
	chunk_publish(batch, &err);
	chunk_end(batch);
	batch_end(batch);
	return err ? err : length;
}
