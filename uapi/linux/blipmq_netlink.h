/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/blipmq.yaml */
/* YNL-GEN uapi header */
/* To regenerate run: tests/lint/generated -w */

#ifndef _UAPI_LINUX_BLIPMQ_NETLINK_H
#define _UAPI_LINUX_BLIPMQ_NETLINK_H

#define BLIPMQ_FAMILY_NAME	"blipmq"
#define BLIPMQ_FAMILY_VERSION	1

enum {
	BLIPMQ_A_BUS_NAME = 1,
	BLIPMQ_A_BUS_ID,
	BLIPMQ_A_BUS_OWNER,
	BLIPMQ_A_BUS_GROUP,
	BLIPMQ_A_BUS_MODE,
	BLIPMQ_A_BUS_SHARE,
	BLIPMQ_A_BUS_BLOCK_BUDGET,
	BLIPMQ_A_BUS_BUDGET,
	BLIPMQ_A_BUS_MAX_BUDGET,

	__BLIPMQ_A_BUS_MAX,
	BLIPMQ_A_BUS_MAX = (__BLIPMQ_A_BUS_MAX - 1)
};

enum {
	BLIPMQ_CMD_BUS_NEW = 1,
	BLIPMQ_CMD_BUS_GET,
	BLIPMQ_CMD_BUS_SET,
	BLIPMQ_CMD_BUS_DEL,

	__BLIPMQ_CMD_MAX,
	BLIPMQ_CMD_MAX = (__BLIPMQ_CMD_MAX - 1)
};

#endif /* _UAPI_LINUX_BLIPMQ_NETLINK_H */
