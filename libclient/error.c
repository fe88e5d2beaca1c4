// SPDX-License-Identifier: LGPL-2.1+
/* The last error of each thread. */
#include <stdio.h>

#include "endpoint.h"

#define TEXT_SIZE	256

static __thread struct blipmq_error last_error;
static __thread char last_text[TEXT_SIZE];
static __thread char kernel_text[TEXT_SIZE];	/* of the latest BLIPMQ_REASON_KERNEL */

const struct blipmq_error *blipmq_last_error(void)
{
	return &last_error;
}

const char *blipmq_strerror(void)
{
	if (last_error.reason == BLIPMQ_REASON_KERNEL)
		return kernel_text;
	return blipmq_error_text(last_error.error, last_error.reason, last_error.detail,
				 last_text, sizeof(last_text));
}

/* Records a failure. Returns @error. */
int blipmq__fail(int error, uint32_t reason, uint32_t detail)
{
	last_error.error = error;
	last_error.reason = reason;
	last_error.detail = detail;
	return error;
}

/* Records a failure that the kernel explains, in a sentence. Returns @error. */
int blipmq__fail_kernel(int error, const char *sentence)
{
	snprintf(kernel_text, sizeof(kernel_text), "%s", sentence);
	return blipmq__fail(error, BLIPMQ_REASON_KERNEL, 0);
}

/* Returns 0, or a negative errno, which it records with the kernel's reason. */
int blipmq__call(const struct blipmq *b, unsigned long request, struct blipmq_head *head)
{
	int error = blipmq__ioctl(b->fd, request, head);

	return error ? blipmq__fail(error, head->reason, head->detail) : 0;
}
