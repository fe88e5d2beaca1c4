// SPDX-License-Identifier: GPL-2.0
/*
 * The calls, a consumer of the ring contract, and blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

static int negative(int ret)
{
	return ret < 0 ? -errno : ret;
}

/* ---- The device ---- */

int bus_open(int flags)
{
	return negative(open(DEVICE, flags | O_CLOEXEC));
}

int bus_open_as(uid_t uid, gid_t gid, int flags)
{
	gid_t groups[64];
	int nr = getgroups(64, groups);
	int fd;

	if (nr < 0 || setgroups(0, NULL) || setegid(gid) || seteuid(uid))
		return -errno;
	fd = bus_open(flags);
	if (seteuid(0) || setegid(0) || setgroups(nr, groups))
		abort();
	return fd;
}

int raw_ioctl(int fd, unsigned long cmd, const void *arg)
{
	return negative(ioctl(fd, cmd, arg));
}

#define POISON_FIELD(field)	memset(&(field), POISON, sizeof(field))

static int call(int fd, unsigned long cmd, struct blipmq_head *head, __u32 size)
{
	head->size = size;
	head->reason = POISON32;
	head->detail = POISON32;
	return raw_ioctl(fd, cmd, head);
}

int do_info(int fd, struct blipmq_info *info)
{
	POISON_FIELD(info->version);
	POISON_FIELD(info->rights);
	POISON_FIELD(info->features);
	POISON_FIELD(info->endpoint);
	POISON_FIELD(info->max_message);
	POISON_FIELD(info->store_size);
	POISON_FIELD(info->budget);
	POISON_FIELD(info->max_entries);
	POISON_FIELD(info->max_batch);
	POISON_FIELD(info->page_size);
	POISON_FIELD(info->bus);
	return call(fd, BLIPMQ_IOC_INFO, &info->head, sizeof(*info));
}

int do_bind(int fd, struct blipmq_bind *bind)
{
	return call(fd, BLIPMQ_IOC_BIND, &bind->head, sizeof(*bind));
}

int do_ring(int fd, struct blipmq_ring *ring)
{
	POISON_FIELD(ring->ring_size);
	POISON_FIELD(ring->control_size);
	POISON_FIELD(ring->desc);
	POISON_FIELD(ring->prod);
	POISON_FIELD(ring->blocked);
	POISON_FIELD(ring->broken);
	POISON_FIELD(ring->drops);
	POISON_FIELD(ring->claim);
	POISON_FIELD(ring->release);
	POISON_FIELD(ring->need_wakeup);
	return call(fd, BLIPMQ_IOC_RING, &ring->head, sizeof(*ring));
}

int do_subscribe(int fd, struct blipmq_subscribe *sub)
{
	POISON_FIELD(sub->id);
	return call(fd, BLIPMQ_IOC_SUBSCRIBE, &sub->head, sizeof(*sub));
}

int do_unsubscribe(int fd, struct blipmq_unsubscribe *unsub)
{
	return call(fd, BLIPMQ_IOC_UNSUBSCRIBE, &unsub->head, sizeof(*unsub));
}

int do_topic(int fd, struct blipmq_topic *topic)
{
	POISON_FIELD(topic->handle);
	POISON_FIELD(topic->topic);
	return call(fd, BLIPMQ_IOC_TOPIC, &topic->head, sizeof(*topic));
}

int do_topic_close(int fd, struct blipmq_topic_close *close)
{
	return call(fd, BLIPMQ_IOC_TOPIC_CLOSE, &close->head, sizeof(*close));
}

int do_publish(int fd, struct blipmq_publish *pub)
{
	POISON_FIELD(pub->done);
	POISON_FIELD(pub->delivered);
	POISON_FIELD(pub->error);
	return call(fd, BLIPMQ_IOC_PUBLISH, &pub->head, sizeof(*pub));
}

int do_wait(int fd, struct blipmq_wait *wait)
{
	POISON_FIELD(wait->prod);
	return call(fd, BLIPMQ_IOC_WAIT, &wait->head, sizeof(*wait));
}

int do_keep(int fd, struct blipmq_keep *keep)
{
	POISON_FIELD(keep->id);
	return call(fd, BLIPMQ_IOC_KEEP, &keep->head, sizeof(*keep));
}

int do_drop(int fd, struct blipmq_drop_kept *drop)
{
	return call(fd, BLIPMQ_IOC_DROP, &drop->head, sizeof(*drop));
}

int do_recv(int fd, struct blipmq_recv *recv)
{
	POISON_FIELD(recv->desc);
	POISON_FIELD(recv->header);
	return call(fd, BLIPMQ_IOC_RECV, &recv->head, sizeof(*recv));
}

int do_stats(int fd, struct blipmq_stats *stats)
{
	memset((char *)stats + offsetof(struct blipmq_stats, delivered), POISON,
	       sizeof(*stats) - offsetof(struct blipmq_stats, delivered));
	return call(fd, BLIPMQ_IOC_STATS, &stats->head, sizeof(*stats));
}

int do_type(int fd, struct blipmq_type *type)
{
	POISON_FIELD(type->type);
	POISON_FIELD(type->name_len);
	return call(fd, BLIPMQ_IOC_TYPE, &type->head, sizeof(*type));
}

int bind_bus(int fd, const char *name)
{
	struct blipmq_bind bind = { };

	memcpy(bind.bus, name, strnlen(name, sizeof(bind.bus)));
	return do_bind(fd, &bind);
}

int make_ring(int fd, __u32 entries, enum blipmq_policy policy)
{
	struct blipmq_ring ring = { .entries = entries, .policy = policy };

	return do_ring(fd, &ring);
}

int subscribe(int fd, const char *pattern, __u64 cookie)
{
	struct blipmq_subscribe sub = {
		.pattern = ptr_u64(pattern),
		.pattern_len = strlen(pattern),
		.cookie = cookie,
	};
	int ret = do_subscribe(fd, &sub);

	return ret < 0 ? ret : (int)sub.id;
}

int topic(int fd, const char *subject)
{
	struct blipmq_topic topic = {
		.subject = ptr_u64(subject),
		.subject_len = strlen(subject),
	};
	int ret = do_topic(fd, &topic);

	return ret < 0 ? ret : (int)topic.handle;
}

static int publish_one(int fd, struct blipmq_message *m, __u32 flags)
{
	struct blipmq_publish pub = {
		.head.flags = flags,
		.messages = ptr_u64(m),
		.nr = 1,
	};
	int ret = do_publish(fd, &pub);

	return ret < 0 ? ret : (int)pub.delivered;
}

int publish(int fd, const char *subject, const void *data, size_t len)
{
	struct blipmq_message m = {
		.data = ptr_u64(data),
		.length = len,
		.subject = ptr_u64(subject),
		.subject_len = strlen(subject),
	};

	return publish_one(fd, &m, 0);
}

int publish_on(int fd, __u32 handle, const void *data, size_t len)
{
	struct blipmq_message m = { .data = ptr_u64(data), .length = len, .handle = handle };

	return publish_one(fd, &m, 0);
}

int publish_nonblock(int fd, const char *subject, const void *data, size_t len)
{
	struct blipmq_message m = {
		.data = ptr_u64(data),
		.length = len,
		.subject = ptr_u64(subject),
		.subject_len = strlen(subject),
	};

	return publish_one(fd, &m, BLIPMQ_PUBLISH_NONBLOCK);
}

int wait_for(int fd, __u32 min, unsigned int ms)
{
	struct blipmq_wait wait = { .deadline = now_ns() + ms * MSEC, .min = min };

	return do_wait(fd, &wait);
}

int ring_stats(int fd, struct blipmq_stats *stats)
{
	*stats = (struct blipmq_stats){ .kind = BLIPMQ_STATS_RING };
	return do_stats(fd, stats);
}

int sub_stats(int fd, __u32 id, struct blipmq_stats *stats)
{
	*stats = (struct blipmq_stats){ .kind = BLIPMQ_STATS_SUBSCRIPTION, .id = id };
	return do_stats(fd, stats);
}

int bus_stats(int fd, struct blipmq_stats *stats)
{
	*stats = (struct blipmq_stats){ .kind = BLIPMQ_STATS_BUS };
	return do_stats(fd, stats);
}

__u64 sum_drops(const __u64 *drops)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		sum += drops[i];
	return sum;
}

/* ---- A mapped consumer ---- */

static int consumer_map(struct consumer *c)
{
	struct blipmq_info info = { };
	int ret = do_info(c->fd, &info);

	if (ret)
		return ret;
	c->store_size = info.store_size;
	c->ring = mmap(NULL, c->info.ring_size, PROT_READ, MAP_SHARED, c->fd, BLIPMQ_OFF_RING);
	if (c->ring == MAP_FAILED)
		return -errno;
	c->control = mmap(NULL, c->info.control_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd,
			  BLIPMQ_OFF_CONTROL);
	if (c->control == MAP_FAILED)
		return -errno;
	c->store = mmap(NULL, c->store_size, PROT_READ, MAP_SHARED, c->fd, BLIPMQ_OFF_STORE);
	if (c->store == MAP_FAILED)
		return -errno;
	return 0;
}

int consumer_attach(struct consumer *c, int fd, __u32 entries, __u32 held,
		    enum blipmq_policy policy)
{
	int ret;

	*c = (struct consumer){
		.fd = fd,
		.info = { .entries = entries, .held = held, .policy = policy },
		.ring = MAP_FAILED,
		.control = MAP_FAILED,
		.store = MAP_FAILED,
	};
	if (fd < 0)
		return fd;
	ret = do_ring(fd, &c->info);
	if (!ret)
		ret = consumer_map(c);
	if (ret)
		consumer_close(c);
	return ret;
}

int consumer_open(struct consumer *c, __u32 entries, __u32 held, enum blipmq_policy policy)
{
	return consumer_attach(c, bus_open(O_RDWR), entries, held, policy);
}

void consumer_unmap(struct consumer *c)
{
	if (c->ring != MAP_FAILED)
		munmap(c->ring, c->info.ring_size);
	if (c->control != MAP_FAILED)
		munmap(c->control, c->info.control_size);
	if (c->store != MAP_FAILED)
		munmap((void *)c->store, c->store_size);
	c->ring = MAP_FAILED;
	c->control = MAP_FAILED;
	c->store = MAP_FAILED;
}

void consumer_close(struct consumer *c)
{
	consumer_unmap(c);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

__u64 consumer_load(const void *word)
{
	return __atomic_load_n((const __u64 *)word, __ATOMIC_ACQUIRE);
}

void consumer_store(void *word, __u64 value)
{
	__atomic_store_n((__u64 *)word, value, __ATOMIC_RELEASE);
}

__u64 consumer_prod(const struct consumer *c)
{
	return consumer_load(c->ring + c->info.prod);
}

__u64 consumer_blocked(const struct consumer *c)
{
	return consumer_load(c->ring + c->info.blocked);
}

__u32 consumer_broken(const struct consumer *c)
{
	return __atomic_load_n((const __u32 *)(c->ring + c->info.broken), __ATOMIC_ACQUIRE);
}

__u64 *consumer_claim_word(const struct consumer *c)
{
	return (__u64 *)(c->control + c->info.claim);
}

__u64 *consumer_release_word(const struct consumer *c)
{
	return (__u64 *)(c->control + c->info.release);
}

const __u64 *consumer_drops(const struct consumer *c)
{
	return (const __u64 *)(c->ring + c->info.drops);
}

unsigned int consumer_claim(struct consumer *c, struct blipmq_desc *descs, unsigned int max,
			    __u64 *index)
{
	const struct blipmq_desc *ring = (const struct blipmq_desc *)(c->ring + c->info.desc);
	__u64 *word = consumer_claim_word(c);
	__u64 claim, prod, i, n;

	do {
		claim = consumer_load(word);	/* before prod, see C */
		prod = consumer_prod(c);	/* B, pairs with A */
		n = prod - claim < max ? prod - claim : max;
		if (!n)
			return 0;
		for (i = 0; i < n; i++)
			descs[i] = ring[(claim + i) & (c->info.entries - 1)];
		*index = claim;
		/* C, pairs with D: only now do the copies mean anything */
	} while (!__atomic_compare_exchange_n(word, &claim, claim + n, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return n;
}

void consumer_release(struct consumer *c, __u64 index)
{
	struct blipmq_wait kick = { };
	__u64 blocked;

	consumer_store(consumer_release_word(c), index);	/* E, pairs with F */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);		/* J, pairs with I */
	blocked = consumer_blocked(c);
	if (blocked && index >= blocked)
		do_wait(c->fd, &kick);
}

__u64 consumer_drain(struct consumer *c)
{
	struct blipmq_desc descs[64];
	__u64 index, total = 0;
	unsigned int n;

	while ((n = consumer_claim(c, descs, 64, &index))) {
		consumer_release(c, index + n);
		total += n;
	}
	return total;
}

void consumer_arm(struct consumer *c, __u32 min)
{
	__atomic_store_n((__u32 *)(c->control + c->info.need_wakeup), min, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);		/* H, pairs with G */
}

const char *consumer_payload(const struct consumer *c, const struct blipmq_desc *d)
{
	return c->store + (size_t)d->offset * BLIPMQ_ALIGN;
}

const struct blipmq_header *consumer_header(const struct consumer *c,
					    const struct blipmq_desc *d)
{
	return (const struct blipmq_header *)(consumer_payload(c, d) - BLIPMQ_ALIGN);
}

static size_t round_up(size_t n, size_t align)
{
	return (n + align - 1) / align * align;
}

const char *consumer_subject(const struct consumer *c, const struct blipmq_desc *d)
{
	static char subject[BLIPMQ_SUBJECT_MAX + 1];
	__u8 len = consumer_header(c, d)->subject_len;

	memcpy(subject, consumer_payload(c, d) + round_up(desc_length(d), BLIPMQ_TRAILER_ALIGN),
	       len);
	subject[len] = 0;
	return subject;
}

/* ---- Blocks ---- */

size_t block_add(void *buf, size_t size, __u32 handle, const void *data, __u32 len,
		 __u32 subject_len)
{
	struct blipmq_header header = { .topic = handle, .length = len };
	char *p = (char *)buf + size;
	size_t whole = round_up(sizeof(header) + round_up(len, BLIPMQ_TRAILER_ALIGN) + subject_len,
				BLIPMQ_ALIGN);

	memset(p, 0, whole);
	memcpy(p, &header, sizeof(header));
	memcpy(p + sizeof(header), data, len);
	return size + whole;
}
