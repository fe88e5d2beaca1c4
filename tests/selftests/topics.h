/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of limits of topics and subscriptions share. */
#ifndef SELFTESTS_TOPICS_H
#define SELFTESTS_TOPICS_H

#include "common.h"
#include "harness.h"

/* Refused with this error, for this reason, by this limit. */
#define EXPECT_LIMIT(_err, _call, _arg, _reason, _detail) do { \
	const struct blipmq_head *__head = &(_arg).head; \
	EXPECT_EQ(_err, _call); \
	EXPECT_EQ(_reason, __head->reason); \
	EXPECT_EQ(_detail, __head->detail); \
} while (0)

static inline int try_subscribe(int fd, const char *pattern, struct blipmq_subscribe *sub)
{
	*sub = (struct blipmq_subscribe){
		.pattern = ptr_u64(pattern),
		.pattern_len = strlen(pattern),
	};
	return do_subscribe(fd, sub);
}

#endif /* SELFTESTS_TOPICS_H */
