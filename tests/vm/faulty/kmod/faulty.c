// SPDX-License-Identifier: GPL-2.0
/*
 * A module that does wrong on request, in the place of the real one: whatever is written to
 * its device names the fault. tests/vm/selftest shows with it that tests/vm/run sees each.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define FAULTY_SIZE	100

static int budget;
module_param(budget, int, 0444);
MODULE_PARM_DESC(budget, "a number, for a test of parameters");

static DEFINE_MUTEX(faulty_a);
static DEFINE_MUTEX(faulty_b);
static void *faulty_kept;

static void faulty_overrun(void)
{
	char *p = kmalloc(FAULTY_SIZE, GFP_KERNEL);

	if (!p)
		return;
	OPTIMIZER_HIDE_VAR(p);
	p[FAULTY_SIZE] = 1;
	kfree(p);
}

static void faulty_deadlock(void)
{
	mutex_lock(&faulty_a);
	mutex_lock(&faulty_b);
	mutex_unlock(&faulty_b);
	mutex_unlock(&faulty_a);
	mutex_lock(&faulty_b);
	mutex_lock(&faulty_a);
	mutex_unlock(&faulty_a);
	mutex_unlock(&faulty_b);
}

static void faulty_leak(void)
{
	char *p = kmalloc(FAULTY_SIZE, GFP_KERNEL);

	/* An allocation that is not used is none: the compiler leaves it out. */
	if (p)
		WRITE_ONCE(*p, 1);
}

static void faulty_do(const char *fault)
{
	if (!strcmp(fault, "warning"))
		WARN(1, "a planted warning\n");
	else if (!strcmp(fault, "oops"))
		WRITE_ONCE(*(int *)sizeof(int), 0);
	else if (!strcmp(fault, "reference"))
		__module_get(THIS_MODULE);
	else if (!strcmp(fault, "overrun"))
		faulty_overrun();
	else if (!strcmp(fault, "deadlock"))
		faulty_deadlock();
	else if (!strcmp(fault, "leak"))
		faulty_leak();
	else if (!strcmp(fault, "forget"))
		WRITE_ONCE(faulty_kept, kmalloc(FAULTY_SIZE, GFP_KERNEL));
}

static ssize_t faulty_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	char fault[16] = "";

	if (len >= sizeof(fault) || copy_from_user(fault, from, len))
		return -EINVAL;
	faulty_do(strim(fault));
	return len;
}

static const struct file_operations faulty_fops = {
	.owner = THIS_MODULE,
	.write = faulty_write,
};

static struct miscdevice faulty_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "blipmq",
	.fops = &faulty_fops,
};

module_misc_device(faulty_device);

MODULE_DESCRIPTION("does wrong on request");
MODULE_LICENSE("GPL");
