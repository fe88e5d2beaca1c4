/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs of this directory say and count. */
#ifndef TEST_H
#define TEST_H

#include <stdbool.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* A condition inside of a test, by any thread: says where it failed. Returns it. */
#define EXPECT(condition) test_expect((condition), #condition, __FILE__, __LINE__)
bool test_expect(bool ok, const char *what, const char *file, int line);

/* The test ends: "ok N - name", or "not ok N - name" if an EXPECT() failed in it. */
void test_done(const char *name, ...) __attribute__((format(printf, 1, 2)));

/* The closing line. Returns the exit status. */
int test_end(void);

#endif /* TEST_H */
