/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small harness with the words of the kernel's kselftest_harness.h, so that a test reads
 * the same there. Each test runs in a forked child and process group of its own, which is
 * killed whole when the test ends or its time is over; output is TAP.
 *
 * EXPECT_* notes a failure and goes on; ASSERT_* goes to the teardown. Either may be followed
 * by a block, run when the check failed: ASSERT_EQ(0, x) { TH_LOG("..."); }. Both may stand in
 * forked children of a test, not in its threads. What a test means to leave unproved it says
 * with SKIP, which is printed with its reason. What must be put right even if a test is killed
 * a program does with AFTER_EACH, which there is not in the kernel's.
 *
 * SIGTERM ends the test that runs, as a timeout does, and the program.
 */
#ifndef SELFTESTS_HARNESS_H
#define SELFTESTS_HARNESS_H

#include <errno.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds, on the slowest kernel in the slowest guest; what takes longer hangs. */
#define TEST_TIMEOUT_DEFAULT	60
/* Failed checks of one test that are told of. */
#define TEST_FAILURES_SHOWN	20

enum harness_exit { KSFT_PASS, KSFT_FAIL };

/* What children of a test tell the parent. */
struct __test_results {
	int failed;
	int skipped;
	char reason[256];
};

struct __test_metadata {
	const char *name;
	void (*fn)(struct __test_metadata *_metadata);
	int timeout;
	struct __test_results *results;
	jmp_buf env;
	struct __test_metadata *next;
};

static struct __test_metadata *__tests;
static struct __test_metadata **__tests_tail = &__tests;

#define TH_LOG(fmt, ...) do { \
	if (_metadata->results->failed < TEST_FAILURES_SHOWN) \
		printf("# %s:%d:%s: " fmt "\n", __FILE__, __LINE__, _metadata->name, \
		       ##__VA_ARGS__); \
} while (0)

#define SKIP(statement, fmt, ...) do { \
	snprintf(_metadata->results->reason, sizeof(_metadata->results->reason), \
		 fmt, ##__VA_ARGS__); \
	_metadata->results->skipped = 1; \
	statement; \
} while (0)

static void __harness_add(struct __test_metadata *t)
{
	*__tests_tail = t;
	__tests_tail = &t->next;
}

#define __TEST_REGISTER(id, _fn, _timeout) \
	static struct __test_metadata __meta_##id = { \
		.name = #id, .fn = _fn, .timeout = _timeout, \
	}; \
	static void __attribute__((constructor)) __register_##id(void) \
	{ \
		__harness_add(&__meta_##id); \
	}

#define TEST(test_name) TEST_TIMEOUT(test_name, TEST_TIMEOUT_DEFAULT)

#define TEST_TIMEOUT(test_name, timeout) \
	static void __body_##test_name(struct __test_metadata *_metadata); \
	static void __run_##test_name(struct __test_metadata *_metadata) \
	{ \
		if (!setjmp(_metadata->env)) \
			__body_##test_name(_metadata); \
	} \
	__TEST_REGISTER(test_name, __run_##test_name, timeout) \
	static void __body_##test_name( \
		struct __test_metadata *_metadata __attribute__((unused)))

#define FIXTURE_DATA(fixture) struct _test_data_##fixture

#define FIXTURE(fixture) FIXTURE_DATA(fixture)

#define __FIXTURE_FN(fixture, fn) \
	static void fixture##_##fn( \
		struct __test_metadata *_metadata __attribute__((unused)), \
		struct _test_data_##fixture *self __attribute__((unused)))

#define FIXTURE_SETUP(fixture)		__FIXTURE_FN(fixture, setup)
#define FIXTURE_TEARDOWN(fixture)	__FIXTURE_FN(fixture, teardown)

#define TEST_F(fixture, test_name) \
	TEST_F_TIMEOUT(fixture, test_name, TEST_TIMEOUT_DEFAULT)

/* A failed ASSERT in the setup leaves out the test and the teardown, as there. */
#define TEST_F_TIMEOUT(fixture, test_name, timeout) \
	static void fixture##_##test_name(struct __test_metadata *_metadata, \
					  struct _test_data_##fixture *self); \
	static void __run_##fixture##_##test_name(struct __test_metadata *_metadata) \
	{ \
		static struct _test_data_##fixture self; \
		if (setjmp(_metadata->env)) \
			return; \
		fixture##_setup(_metadata, &self); \
		if (!_metadata->results->skipped && !setjmp(_metadata->env)) \
			fixture##_##test_name(_metadata, &self); \
		if (!setjmp(_metadata->env)) \
			fixture##_teardown(_metadata, &self); \
	} \
	__TEST_REGISTER(fixture##_##test_name, __run_##fixture##_##test_name, timeout) \
	__FIXTURE_FN(fixture, test_name)

/* ---- Checks ---- */

struct __value {
	const char *text;
	uint64_t bits;
	bool is_signed;
};

static inline struct __value __harness_value(const char *text, const void *p, size_t size,
					     bool is_signed)
{
	struct __value v = { .text = text, .is_signed = is_signed };

	if (size > sizeof(v.bits))
		size = sizeof(v.bits);
	memcpy(&v.bits, p, size);
	if (is_signed && size < sizeof(v.bits))
		v.bits = (uint64_t)((int64_t)(v.bits << (64 - 8 * size)) >> (64 - 8 * size));
	return v;
}

static inline void __harness_print(struct __value v)
{
	printf(v.is_signed ? "%s (%lld)" : "%s (%llu)", v.text, (long long)v.bits);
}

/* Note a failure. Is it to be told of? */
static inline bool __harness_fail(struct __test_metadata *t)
{
	t->results->failed++;
	if (t->results->failed == TEST_FAILURES_SHOWN)
		printf("# %s: failures beyond these are not shown\n", t->name);
	return t->results->failed < TEST_FAILURES_SHOWN;
}

static inline bool __harness_mismatch(struct __test_metadata *t, const char *file, int line,
				      struct __value expected, const char *op, struct __value seen)
{
	if (!__harness_fail(t))
		return true;
	printf("# %s:%d:%s: expected ", file, line, t->name);
	__harness_print(expected);
	printf(" %s ", op);
	__harness_print(seen);
	printf("\n");
	return true;
}

static inline bool __harness_str(struct __test_metadata *t, const char *file, int line,
				 const char *expected, const char *op, const char *seen, bool want)
{
	if (!strcmp(expected, seen) == want)
		return false;
	if (__harness_fail(t))
		printf("# %s:%d:%s: expected '%s' %s '%s'\n", file, line, t->name, expected, op,
		       seen);
	return true;
}

/* After the block of a failed check: end the loop that the check is. */
static inline bool __harness_bail(struct __test_metadata *t, bool fatal)
{
	if (fatal)
		longjmp(t->env, 1);
	return false;
}

#define __VALUE(text, x) \
	__harness_value(text, &(x), sizeof(x), (__typeof__(x))-1 < (__typeof__(x))1)

#define __CHECK_LOOP(failed, fatal) \
	for (bool __bad = (failed); __bad; __bad = __harness_bail(_metadata, fatal))

#define __CHECK(expected, op, seen, fatal) \
	__CHECK_LOOP(({ \
		__typeof__(expected) __exp = (expected); \
		__typeof__(seen) __seen = (seen); \
		!(__exp op __seen) && \
			__harness_mismatch(_metadata, __FILE__, __LINE__, \
					   __VALUE(#expected, __exp), #op, \
					   __VALUE(#seen, __seen)); \
	}), fatal)

#define __CHECK_STR(expected, op, seen, want, fatal) \
	__CHECK_LOOP(__harness_str(_metadata, __FILE__, __LINE__, expected, op, seen, want), fatal)

/* The usual arithmetic conversions apply, as they do there: EXPECT_EQ(-EINVAL, ret). */
#pragma GCC diagnostic ignored "-Wsign-compare"

#define ASSERT_EQ(expected, seen)	__CHECK(expected, ==, seen, true)
#define ASSERT_NE(expected, seen)	__CHECK(expected, !=, seen, true)
#define ASSERT_LT(expected, seen)	__CHECK(expected, <, seen, true)
#define ASSERT_LE(expected, seen)	__CHECK(expected, <=, seen, true)
#define ASSERT_GT(expected, seen)	__CHECK(expected, >, seen, true)
#define ASSERT_GE(expected, seen)	__CHECK(expected, >=, seen, true)
#define ASSERT_NULL(seen)		__CHECK((void *)NULL, ==, (const void *)(seen), true)
#define ASSERT_TRUE(seen)		__CHECK(false, !=, (bool)(seen), true)
#define ASSERT_FALSE(seen)		__CHECK(false, ==, (bool)(seen), true)
#define ASSERT_STREQ(expected, seen)	__CHECK_STR(expected, "==", seen, true, true)
#define ASSERT_STRNE(expected, seen)	__CHECK_STR(expected, "!=", seen, false, true)

#define EXPECT_EQ(expected, seen)	__CHECK(expected, ==, seen, false)
#define EXPECT_NE(expected, seen)	__CHECK(expected, !=, seen, false)
#define EXPECT_LT(expected, seen)	__CHECK(expected, <, seen, false)
#define EXPECT_LE(expected, seen)	__CHECK(expected, <=, seen, false)
#define EXPECT_GT(expected, seen)	__CHECK(expected, >, seen, false)
#define EXPECT_GE(expected, seen)	__CHECK(expected, >=, seen, false)
#define EXPECT_NULL(seen)		__CHECK((void *)NULL, ==, (const void *)(seen), false)
#define EXPECT_TRUE(seen)		__CHECK(false, !=, (bool)(seen), false)
#define EXPECT_FALSE(seen)		__CHECK(false, ==, (bool)(seen), false)
#define EXPECT_STREQ(expected, seen)	__CHECK_STR(expected, "==", seen, true, false)
#define EXPECT_STRNE(expected, seen)	__CHECK_STR(expected, "!=", seen, false, false)

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* ---- Running ---- */

static void (*__harness_after)(void);

/* Call fn after each test, whatever became of it: in the parent, which nobody kills. */
#define AFTER_EACH(fn) \
	static void __attribute__((constructor)) __register_after_each(void) \
	{ \
		__harness_after = fn; \
	}

/* Shared with the handlers of SIGALRM and SIGTERM. */
static pid_t __harness_child;
static bool __harness_late;
static bool __harness_stopped;

static void __harness_kill_child(void)
{
	pid_t pid = __atomic_load_n(&__harness_child, __ATOMIC_SEQ_CST);

	if (pid)
		kill(-pid, SIGKILL);
}

static void __harness_alarm(int sig __attribute__((unused)))
{
	__atomic_store_n(&__harness_late, true, __ATOMIC_SEQ_CST);
	__harness_kill_child();
}

static void __harness_term(int sig __attribute__((unused)))
{
	__atomic_store_n(&__harness_stopped, true, __ATOMIC_SEQ_CST);
	__harness_kill_child();
}

static void __harness_child_main(struct __test_metadata *t)
{
	signal(SIGALRM, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	setpgid(0, 0);
	t->fn(t);
	fflush(stdout);
	_exit(t->results->failed ? KSFT_FAIL : KSFT_PASS);
}

/* Why the test failed, or NULL. */
static const char *__harness_verdict(struct __test_metadata *t, int status)
{
	static char text[64];

	if (__atomic_load_n(&__harness_stopped, __ATOMIC_SEQ_CST))
		return "stopped";
	if (__atomic_load_n(&__harness_late, __ATOMIC_SEQ_CST))
		return "its time is over";
	if (WIFSIGNALED(status)) {
		snprintf(text, sizeof(text), "killed by signal %d", WTERMSIG(status));
		return text;
	}
	if (t->results->failed || WEXITSTATUS(status) != KSFT_PASS)
		return "a check failed";
	return NULL;
}

/* The test in a child: its status, when nothing of it is left. */
static int __harness_fork(struct __test_metadata *t, int seconds)
{
	int status;
	pid_t pid;

	fflush(stdout);
	__atomic_store_n(&__harness_late, false, __ATOMIC_SEQ_CST);
	signal(SIGALRM, __harness_alarm);
	signal(SIGTERM, __harness_term);
	pid = fork();
	if (!pid)
		__harness_child_main(t);
	setpgid(pid, pid);
	__atomic_store_n(&__harness_child, pid, __ATOMIC_SEQ_CST);
	/* Of a signal before that nobody told the child. */
	if (__atomic_load_n(&__harness_stopped, __ATOMIC_SEQ_CST))
		__harness_kill_child();
	alarm(seconds > t->timeout ? seconds : t->timeout);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	alarm(0);
	__harness_kill_child();
	__atomic_store_n(&__harness_child, 0, __ATOMIC_SEQ_CST);
	return status;
}

static bool __harness_run(struct __test_metadata *t, int number, int seconds)
{
	const char *why;
	int status;

	memset(t->results, 0, sizeof(*t->results));
	status = __harness_fork(t, seconds);
	if (__harness_after)
		__harness_after();
	why = __harness_verdict(t, status);
	if (why)
		printf("# %s: %s\n", t->name, why);
	printf("%sok %d %s%s%s\n", why ? "not " : "", number, t->name,
	       t->results->skipped ? " # SKIP " : "", t->results->reason);
	fflush(stdout);
	return !why;
}

static bool __harness_wanted(struct __test_metadata *t, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!fnmatch(argv[i], t->name, 0))
			return true;
	return argc < 2;
}

/* PROGRAM [PATTERN...]: run the tests that match one. SELFTEST_TIMEOUT raises all timeouts. */
static int test_harness_run(int argc, char **argv)
{
	const char *seconds = getenv("SELFTEST_TIMEOUT");
	int number = 0, failed = 0, skipped = 0, wanted = 0;
	struct __test_results *results;
	struct __test_metadata *t;

	results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
		return KSFT_FAIL;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (t = __tests; t; t = t->next)
		wanted += __harness_wanted(t, argc, argv);
	printf("TAP version 13\n1..%d\n", wanted);
	for (t = __tests; t; t = t->next) {
		if (!__harness_wanted(t, argc, argv))
			continue;
		if (__atomic_load_n(&__harness_stopped, __ATOMIC_SEQ_CST))
			return KSFT_FAIL;
		t->results = results;
		if (!__harness_run(t, ++number, seconds ? atoi(seconds) : 0))
			failed++;
		else
			skipped += results->skipped;
	}
	printf("# Totals: pass:%d fail:%d skip:%d\n", number - failed - skipped, failed, skipped);
	return failed || !wanted ? KSFT_FAIL : KSFT_PASS;
}

#define TEST_HARNESS_MAIN \
	int main(int argc, char **argv) \
	{ \
		exit(test_harness_run(argc, argv)); \
	}

#endif /* SELFTESTS_HARNESS_H */
