/* SPDX-License-Identifier: GPL-2.0 */
/* The device node. */
#ifndef _BLIPMQ_DEV_H
#define _BLIPMQ_DEV_H

int bmq_dev_init(void);
void bmq_dev_exit(void);

#endif /* _BLIPMQ_DEV_H */
