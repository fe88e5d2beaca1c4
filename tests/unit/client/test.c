// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "test.h"

/* Failed expectations that are shown, of all threads. */
#define SHOWN	20

static unsigned int passed, failed;
static atomic_uint unexpected;

bool test_expect(bool ok, const char *what, const char *file, int line)
{
	if (!ok && atomic_fetch_add(&unexpected, 1) < SHOWN)
		fprintf(stderr, "# %s:%d: not so: %s\n", file, line, what);
	return ok;
}

void test_done(const char *name, ...)
{
	bool ok = !atomic_exchange(&unexpected, 0);
	va_list args;

	printf("%s %u - ", ok ? "ok" : "not ok", passed + failed + 1);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	if (ok)
		passed++;
	else
		failed++;
}

int test_end(void)
{
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? 1 : 0;
}
