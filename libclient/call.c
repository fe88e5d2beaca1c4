// SPDX-License-Identifier: LGPL-2.1+
/* The one way into the kernel for all but mapping. */
#include <errno.h>
#include <sys/ioctl.h>

#include "endpoint.h"

/* Returns 0 or a negative errno, which it does not record. */
int blipmq__ioctl(int fd, unsigned long request, struct blipmq_head *head)
{
	return ioctl(fd, request, head) < 0 ? -errno : 0;
}
