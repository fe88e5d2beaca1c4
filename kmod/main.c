// SPDX-License-Identifier: GPL-2.0
/* BlipMQ: a message bus in the kernel. Beginning and end of the module. */
#include <linux/module.h>

#include <uapi/linux/blipmq.h>

#include "bus.h"
#include "dev.h"
#include "netlink.h"

static int __init blipmq_init(void)
{
	int err;

	static_assert(sizeof(struct blipmq_header) == BLIPMQ_ALIGN);
	static_assert(sizeof(struct blipmq_desc) == 16);
	static_assert(sizeof(struct blipmq_message) == 56);
	static_assert(sizeof(struct blipmq_result) == 16);
	static_assert(sizeof(struct blipmq_block) == 16);

	err = bmq_bus_module_init();
	if (err)
		return err;
	err = bmq_net_module_init();
	if (err)
		goto err_bus;
	err = bmq_nl_init();
	if (err)
		goto err_net;
	err = bmq_dev_init();
	if (!err)
		return 0;

	bmq_nl_exit();
err_net:
	bmq_net_module_exit();
err_bus:
	bmq_bus_module_exit();
	return err;
}

/* Nobody has a file open, nor a dump under way: those hold the module. */
static void __exit blipmq_exit(void)
{
	bmq_dev_exit();
	bmq_nl_exit();
	bmq_net_module_exit();
	bmq_bus_module_exit();
}

module_init(blipmq_init);
module_exit(blipmq_exit);

MODULE_DESCRIPTION("BlipMQ message bus");
MODULE_AUTHOR("The BlipMQ developers");
MODULE_LICENSE("GPL");
MODULE_ALIAS("devname:blipmq");
