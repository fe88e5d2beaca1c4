/* SPDX-License-Identifier: GPL-2.0 */
/* Before 6.6 what is known of a dump had a type of its own. */
#include_next <net/genetlink.h>

#ifndef _BLIPMQ_COMPAT_GENETLINK_H
#define _BLIPMQ_COMPAT_GENETLINK_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define genl_info_dump(cb)	genl_dumpit_info(cb)
#endif

#endif /* _BLIPMQ_COMPAT_GENETLINK_H */
