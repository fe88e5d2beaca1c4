// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/blipmq: from system calls to what does the work. Structs are copied in and
 * checked here, and copied back whatever came of it.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "dev.h"
#include "endpoint.h"
#include "map.h"
#include "publish.h"
#include "receive.h"
#include "stats.h"
#include "type.h"

#define FEATURES	(BLIPMQ_FEATURE_TYPES | BLIPMQ_FEATURE_HEADERS | \
			 BLIPMQ_FEATURE_NETLINK)

/* Any of the structs. */
union args {
	struct blipmq_head head;
	struct blipmq_info info;
	struct blipmq_bind bind;
	struct blipmq_ring ring;
	struct blipmq_subscribe subscribe;
	struct blipmq_unsubscribe unsubscribe;
	struct blipmq_topic topic;
	struct blipmq_topic_close topic_close;
	struct blipmq_publish publish;
	struct blipmq_wait wait;
	struct blipmq_keep keep;
	struct blipmq_drop_kept drop;
	struct blipmq_recv recv;
	struct blipmq_stats stats;
	struct blipmq_type type;
};

static bool is_nonblock(const struct file *file)
{
	return READ_ONCE(file->f_flags) & O_NONBLOCK;
}

/* ---- ioctls ---- */

static int do_info(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	struct bmq_bus *bus = bmq_endpoint_bus(ep);
	struct blipmq_info *info = &args->info;

	memset_after(info, 0, head);
	info->version = BLIPMQ_VERSION;
	info->features = FEATURES;
	info->max_message = BLIPMQ_MESSAGE_MAX;
	info->max_entries = BLIPMQ_ENTRIES_MAX;
	info->max_batch = BLIPMQ_BATCH_MAX;
	info->page_size = PAGE_SIZE;
	if (!bus)
		return 0;
	if (READ_ONCE(bus->dead))
		return bmq_refuse(&args->head, -ENODEV, READ_ONCE(bus->dead), 0);
	info->rights = READ_ONCE(ep->rights);
	info->endpoint = ep->id;
	info->max_message = bmq_bus_max_message(bus);
	info->store_size = (u64)bus->store.max << PAGE_SHIFT;
	info->budget = (u64)READ_ONCE(bus->store.purse.budget) << PAGE_SHIFT;
	strscpy(info->bus, bus->name, sizeof(info->bus));
	return 0;
}

static int do_bind(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	struct blipmq_bind *bind = &args->bind;
	size_t len;

	len = strnlen(bind->bus, sizeof(bind->bus));
	if (len == sizeof(bind->bus) ||
	    memchr_inv(bind->bus + len, 0, sizeof(bind->bus) - len))
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_BUS_NAME, 0);
	return bmq_endpoint_bind(ep, file, bind->bus, &args->head);
}

static int do_ring(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_endpoint_ring(ep, &args->ring);
}

static int do_subscribe(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_endpoint_subscribe(ep, &args->subscribe);
}

static int do_unsubscribe(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_endpoint_unsubscribe(ep, &args->unsubscribe);
}

static int do_topic(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_endpoint_topic(ep, &args->topic);
}

static int do_topic_close(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_endpoint_topic_close(ep, &args->topic_close);
}

static bool may_publish(struct bmq_endpoint *ep)
{
	if (READ_ONCE(ep->rights) & BLIPMQ_RIGHT_PUBLISH)
		return true;
	bmq_bus_event(ep->bus, BLIPMQ_EVENT_DENIED);
	return false;
}

static int do_publish(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	struct blipmq_publish *publish = &args->publish;

	if (!may_publish(ep))
		return bmq_refuse(&args->head, -EACCES, BLIPMQ_REASON_RIGHT_PUBLISH, 0);
	return bmq_publish(ep, publish, is_nonblock(file) ||
			   (args->head.flags & BLIPMQ_PUBLISH_NONBLOCK));
}

static int do_wait(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_wait(ep, &args->wait);
}

static int do_keep(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_endpoint_keep(ep, &args->keep);
}

static int do_drop(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_endpoint_drop(ep, &args->drop);
}

static int do_recv(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	bool nonblock = is_nonblock(file) || (args->head.flags & BLIPMQ_RECV_NONBLOCK);

	return bmq_recv(ep, &args->recv, nonblock ? BMQ_READ_NONBLOCK : BMQ_READ_BLOCK);
}

static int do_stats(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_stats(ep, &args->stats);
}

static int do_type(struct bmq_endpoint *ep, struct file *file, union args *args)
{
	return bmq_type_query(ep, &args->type);
}

/**
 * struct call - an ioctl
 * @fn:    does it
 * @end:   ends what @fn did, once it is known whether its struct was copied out, or NULL
 * @size:  of its struct
 * @first: likewise, as first published; 0: the same
 * @flags: known ones
 * @zero:  first byte that is reserved or of a later feature, and the first behind
 * @unbound: does not need a bus
 */
struct call {
	int (*fn)(struct bmq_endpoint *ep, struct file *file, union args *args);
	void (*end)(struct bmq_endpoint *ep, bool done);
	u32 size;
	u32 first;
	u32 flags;
	u32 zero[2];
	bool unbound;
};

/* From a field to the end of another. */
#define ZERO(type, first, last) \
	.zero = { offsetof(struct type, first), offsetofend(struct type, last) }

#define CALL(nr, func, type, ...) \
	[_IOC_NR(nr)] = { .fn = func, .size = sizeof(struct type), __VA_ARGS__ }

static const struct call calls[] = {
	CALL(BLIPMQ_IOC_INFO, do_info, blipmq_info, .unbound = true,
	     ZERO(blipmq_info, reserved, reserved)),
	CALL(BLIPMQ_IOC_BIND, do_bind, blipmq_bind, .unbound = true,
	     ZERO(blipmq_bind, name, reserved)),
	CALL(BLIPMQ_IOC_RING, do_ring, blipmq_ring,
	     ZERO(blipmq_ring, reserved, reserved)),
	CALL(BLIPMQ_IOC_SUBSCRIBE, do_subscribe, blipmq_subscribe,
	     ZERO(blipmq_subscribe, history, reserved)),
	CALL(BLIPMQ_IOC_UNSUBSCRIBE, do_unsubscribe, blipmq_unsubscribe,
	     ZERO(blipmq_unsubscribe, reserved, reserved)),
	CALL(BLIPMQ_IOC_TOPIC, do_topic, blipmq_topic, .flags = BLIPMQ_TOPIC_WRITE,
	     .first = BLIPMQ_TOPIC_SIZE_VER0, ZERO(blipmq_topic, reserved, reserved)),
	CALL(BLIPMQ_IOC_TOPIC_CLOSE, do_topic_close, blipmq_topic_close,
	     ZERO(blipmq_topic_close, reserved, reserved)),
	CALL(BLIPMQ_IOC_PUBLISH, do_publish, blipmq_publish,
	     .flags = BLIPMQ_PUBLISH_BLOCKS | BLIPMQ_PUBLISH_NONBLOCK,
	     ZERO(blipmq_publish, reserved, reserved)),
	CALL(BLIPMQ_IOC_WAIT, do_wait, blipmq_wait),
	CALL(BLIPMQ_IOC_KEEP, do_keep, blipmq_keep),
	CALL(BLIPMQ_IOC_DROP, do_drop, blipmq_drop_kept),
	CALL(BLIPMQ_IOC_RECV, do_recv, blipmq_recv, .flags = BLIPMQ_RECV_NONBLOCK,
	     .end = bmq_read_end),
	CALL(BLIPMQ_IOC_STATS, do_stats, blipmq_stats),
	CALL(BLIPMQ_IOC_TYPE, do_type, blipmq_type),
};

/* Copy a struct in. Return: 0, or the errno, with a reason unless it is -EFAULT. */
static int args_in(union args *args, const void __user *from, const struct call *call,
		   u32 *size)
{
	int err;

	if (get_user(*size, (const u32 __user *)from))
		return -EFAULT;
	if (*size < (call->first ?: call->size))
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_SIZE, call->size);
	if (*size > BLIPMQ_STRUCT_MAX)
		return bmq_refuse(&args->head, -E2BIG, BLIPMQ_REASON_SIZE, call->size);
	err = copy_struct_from_user(args, call->size, from, *size);
	args->head.size = *size;
	args->head.reason = BLIPMQ_REASON_NONE;
	args->head.detail = 0;
	if (err == -E2BIG)
		return bmq_refuse(&args->head, err, BLIPMQ_REASON_TAIL, call->size);
	if (err)
		return err;
	if (args->head.flags & ~call->flags)
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_FLAGS,
				  args->head.flags & ~call->flags);
	if (memchr_inv((char *)args + call->zero[0], 0, call->zero[1] - call->zero[0]))
		return bmq_refuse(&args->head, -EINVAL, BLIPMQ_REASON_RESERVED, 0);
	return 0;
}

/* A caller too old or too new for the struct still learns the reason. */
static int head_out(const union args *args, void __user *to)
{
	struct blipmq_head __user *head = to;

	if (put_user(args->head.reason, &head->reason) ||
	    put_user(args->head.detail, &head->detail))
		return -EFAULT;
	return 0;
}

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct bmq_endpoint *ep = file->private_data;
	void __user *user = (void __user *)arg;
	const struct call *call;
	union args args;
	bool copied;
	u32 size;
	int err;

	if (_IOC_TYPE(cmd) != BLIPMQ_IOC_MAGIC || _IOC_NR(cmd) >= ARRAY_SIZE(calls) ||
	    cmd != _IO(BLIPMQ_IOC_MAGIC, _IOC_NR(cmd)))
		return -ENOTTY;
	call = &calls[array_index_nospec(_IOC_NR(cmd), ARRAY_SIZE(calls))];

	err = args_in(&args, user, call, &size);
	if (err == -EFAULT)
		return err;
	if (err)
		return head_out(&args, user) ? -EFAULT : err;
	if (!call->unbound)
		err = bmq_endpoint_ready(ep, file, &args.head);
	if (!err)
		err = call->fn(ep, file, &args);
	copied = !copy_to_user(user, &args, min(size, call->size));
	if (err)
		return err;
	if (call->end)
		call->end(ep, copied);
	return copied ? 0 : -EFAULT;
}

/* ---- read, write, poll, mmap ---- */

static ssize_t dev_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	struct bmq_endpoint *ep = file->private_data;
	struct blipmq_head head = { };
	int err = bmq_endpoint_ready(ep, file, &head);

	if (err)
		return err;
	return bmq_read_iter(ep, to, iocb->ki_flags & IOCB_NOWAIT ? BMQ_READ_NOWAIT :
			     is_nonblock(file) ? BMQ_READ_NONBLOCK : BMQ_READ_BLOCK);
}

static ssize_t dev_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	struct bmq_endpoint *ep = file->private_data;
	struct blipmq_head head = { };
	int err = bmq_endpoint_ready(ep, file, &head);

	if (err)
		return err;
	if (!may_publish(ep))
		return -EACCES;
	return bmq_publish_iter(ep, from, is_nonblock(file) ||
				(iocb->ki_flags & IOCB_NOWAIT));
}

static __poll_t dev_poll(struct file *file, poll_table *table)
{
	struct bmq_endpoint *ep = file->private_data;
	struct blipmq_head head = { };
	int err = bmq_endpoint_ready(ep, file, &head);

	if (err)
		return err == -ENODEV ? EPOLLHUP | EPOLLERR : EPOLLERR;
	return bmq_poll(ep, file, table);
}

static unsigned long dev_get_unmapped_area(struct file *file, unsigned long address,
					   unsigned long len, unsigned long pgoff,
					   unsigned long flags)
{
	return bmq_map_area(file->private_data, file, address, len, pgoff, flags);
}

static int dev_mmap(struct file *file, struct vm_area_struct *vma)
{
	return bmq_map(file->private_data, vma);
}

static int dev_open(struct inode *inode, struct file *file)
{
	struct bmq_endpoint *ep = bmq_endpoint_new(file->f_cred);

	if (!ep)
		return -ENOMEM;
	file->private_data = ep;
	file->f_mode |= FMODE_NOWAIT;
	return stream_open(inode, file);
}

static int dev_release(struct inode *inode, struct file *file)
{
	bmq_endpoint_close(file->private_data);
	return 0;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.open = dev_open,
	.release = dev_release,
	.unlocked_ioctl = dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read_iter = dev_read_iter,
	.write_iter = dev_write_iter,
	.poll = dev_poll,
	.get_unmapped_area = dev_get_unmapped_area,
	.mmap = dev_mmap,
};

static struct miscdevice dev_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "blipmq",
	.fops = &dev_fops,
	.mode = 0666,
};

int __init bmq_dev_init(void)
{
	return misc_register(&dev_misc);
}

void bmq_dev_exit(void)
{
	misc_deregister(&dev_misc);
}
