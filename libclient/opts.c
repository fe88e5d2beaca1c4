// SPDX-License-Identifier: LGPL-2.1+
/* Structs of options: their first member is their size as the caller knows it. */
#include <errno.h>
#include <string.h>

#include "endpoint.h"

/*
 * Fills @known, of @size bytes, from the caller's @opts, which may be older or newer;
 * or with zero if there are none. What this library does not know must be zero.
 */
int blipmq__opts_read(const void *opts, void *known, size_t size)
{
	const unsigned char *byte = opts;
	size_t given, i;

	memset(known, 0, size);
	if (!opts)
		return 0;
	memcpy(&given, opts, sizeof(given));
	if (given < sizeof(given))
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_OPTIONS, 0);
	for (i = size; i < given; i++)
		if (byte[i])
			return blipmq__fail(-EINVAL, BLIPMQ_REASON_OPTIONS, 0);
	memcpy(known, opts, given < size ? given : size);
	return 0;
}
