// SPDX-License-Identifier: GPL-2.0
/* Subjects, patterns and the trie against a slow obvious matcher. */
#include <stdio.h>

#include "kmod/match.h"
#include "test.h"
#include "uapi/linux/blipmq.h"

#define PATTERNS	64
#define TEXT		32

static unsigned int seed = 1;

static unsigned int below(unsigned int limit)
{
	return rand_r(&seed) % limit;
}

/* A right subject or pattern of up to four tokens over few letters. */
static unsigned int random_text(char *text, bool pattern)
{
	static const char *const tokens[] = { "a", "b", "ab", "ba", "*", ">" };
	unsigned int i, nr = 1 + below(4);

	*text = '\0';
	for (i = 0; i < nr; i++) {
		/* As the last token only, '>' is right in a pattern. */
		unsigned int kinds = pattern && i + 1 < nr ? 5 : 6;

		strcat(text, i ? "." : "");
		strcat(text, tokens[below(kinds)]);
	}
	return strlen(text);
}

/* Token by token, recursively, on NUL-terminated copies. */
static bool obvious(const char *pattern, const char *subject)
{
	size_t p = strcspn(pattern, "."), s = strcspn(subject, ".");

	if (!*pattern || !*subject)
		return !*pattern && !*subject;
	if (p == 1 && *pattern == '>')
		return true;
	if (!(p == 1 && *pattern == '*') &&
	    (p != s || strncmp(pattern, subject, p)))
		return false;
	return obvious(pattern + p + (pattern[p] == '.'),
		       subject + s + (subject[s] == '.'));
}

struct refusal {
	const char *text;
	int reason;
	u32 detail;
};

static void test_refusals(void)
{
	static const struct refusal subjects[] = {
		{ "", BLIPMQ_REASON_SUBJECT_LENGTH, BLIPMQ_SUBJECT_MAX },
		{ ".", BLIPMQ_REASON_SUBJECT_TOKEN, 1 },
		{ ".a", BLIPMQ_REASON_SUBJECT_TOKEN, 1 },
		{ "a.", BLIPMQ_REASON_SUBJECT_TOKEN, 2 },
		{ "a..b", BLIPMQ_REASON_SUBJECT_TOKEN, 2 },
		{ "a.b..", BLIPMQ_REASON_SUBJECT_TOKEN, 3 },
		{ "a b", BLIPMQ_REASON_SUBJECT_CHAR, 1 },
		{ "ab.\x7f", BLIPMQ_REASON_SUBJECT_CHAR, 3 },
		{ "\x01", BLIPMQ_REASON_SUBJECT_CHAR, 0 },
		{ "a.>.b", BLIPMQ_REASON_NONE, 0 },
		{ "\xc3\xa4.b", BLIPMQ_REASON_NONE, 0 },
	};
	u32 i, detail;

	for (i = 0; i < ARRAY_SIZE(subjects); i++) {
		const struct refusal *want = &subjects[i];

		detail = ~0u;
		EXPECT(bmq_subject_check(want->text, strlen(want->text), &detail) ==
		       want->reason);
		EXPECT(detail == want->detail);
	}
	detail = ~0u;
	EXPECT(bmq_pattern_check("a.>.b", 5, &detail) == BLIPMQ_REASON_PATTERN_TAIL);
	EXPECT(detail == 2);
	EXPECT(bmq_pattern_check(">.>", 3, &detail) == BLIPMQ_REASON_PATTERN_TAIL);
	EXPECT(detail == 1);
	EXPECT(!bmq_pattern_check("a.*.>", 5, &detail));
	test_done("subjects and patterns that are refused");
}

static void test_length(void)
{
	char text[BLIPMQ_SUBJECT_MAX + 1];
	u32 detail;

	memset(text, 'a', sizeof(text));
	EXPECT(!bmq_subject_check(text, BLIPMQ_SUBJECT_MAX, &detail));
	EXPECT(bmq_subject_check(text, BLIPMQ_SUBJECT_MAX + 1, &detail) ==
	       BLIPMQ_REASON_SUBJECT_LENGTH);
	test_done("the longest subject");
}

static void test_match(void)
{
	char pattern[TEXT], subject[TEXT];
	unsigned int i, plen, slen, hits = 0;

	for (i = 0; i < 200000; i++) {
		bool want;

		plen = random_text(pattern, true);
		slen = random_text(subject, false);
		want = obvious(pattern, subject);
		hits += want;
		EXPECT(bmq_pattern_match(pattern, plen, subject, slen) == want);
	}
	EXPECT(hits > 1000);
	test_done("a pattern against a subject, %u of them match", hits);
}

/* ---- The trie ---- */

struct known {
	char text[TEXT];
	bool in;
	bool found;
};

static int found(void *value, void *arg)
{
	struct known *known = value;

	EXPECT(known->in && !known->found);
	known->found = true;
	(*(unsigned int *)arg)++;
	return 0;
}

static void check_lookup(struct bmq_trie *trie, struct known *known)
{
	unsigned int i, want = 0, got = 0, len;
	char subject[TEXT];

	len = random_text(subject, false);
	for (i = 0; i < PATTERNS; i++) {
		known[i].found = false;
		want += known[i].in && obvious(known[i].text, subject);
	}
	EXPECT(!bmq_trie_lookup(trie, subject, len, found, &got));
	EXPECT(got == want);
	for (i = 0; i < PATTERNS; i++)
		EXPECT(!known[i].found || obvious(known[i].text, subject));
}

static bool known_already(const struct known *known, const char *text)
{
	unsigned int i;

	for (i = 0; i < PATTERNS; i++) {
		if (known[i].in && !strcmp(known[i].text, text))
			return true;
	}
	return false;
}

static void toggle(struct bmq_trie *trie, struct known *known, struct known *one)
{
	char text[TEXT];
	unsigned int len;

	if (one->in) {
		bmq_trie_remove(trie, one->text, strlen(one->text));
		one->in = false;
		return;
	}
	len = random_text(text, true);
	if (!bmq_pattern_is_wild(text, len) || known_already(known, text))
		return;
	strcpy(one->text, text);
	if (below(8) == 0)
		shim_fail_in = below(4);
	one->in = !bmq_trie_insert(trie, text, len, one);
	shim_fail_in = -1;
}

static void test_trie(void)
{
	static struct known known[PATTERNS];
	static struct bmq_trie trie;
	unsigned int i;

	bmq_trie_init(&trie);
	for (i = 0; i < 50000; i++) {
		toggle(&trie, known, &known[below(PATTERNS)]);
		check_lookup(&trie, known);
	}
	for (i = 0; i < PATTERNS; i++) {
		if (known[i].in)
			bmq_trie_remove(&trie, known[i].text, strlen(known[i].text));
	}
	EXPECT(!trie.root.children && !shim_allocated);
	test_done("the trie, with patterns coming and going and memory failing");
}

static int count(void *value, void *arg)
{
	(void)value;
	(*(unsigned int *)arg)++;
	return 0;
}

/* All 2^tokens ways to put stars: a look-up ends at its bound, and says so. */
static void test_steps(void)
{
	static struct bmq_trie trie;
	unsigned int bits, i, seen = 0;
	char text[TEXT];

	bmq_trie_init(&trie);
	for (bits = 1; bits < 1 << 10; bits++) {
		for (i = 0; i < 10; i++)
			sprintf(text + 2 * i, "%c.", bits >> i & 1 ? '*' : 'a');
		EXPECT(!bmq_trie_insert(&trie, text, 19, &trie));
	}
	EXPECT(bmq_trie_lookup(&trie, "a.a.a.a.a.a.a.a.a.a", 19, count, &seen) == -E2BIG);
	EXPECT(seen < BMQ_TRIE_STEPS);
	seen = 0;
	EXPECT(!bmq_trie_lookup(&trie, "b.b.b.b.b.b.b.b.b.b", 19, count, &seen));
	EXPECT(seen == 1);
	for (bits = 1; bits < 1 << 10; bits++) {
		for (i = 0; i < 10; i++)
			sprintf(text + 2 * i, "%c.", bits >> i & 1 ? '*' : 'a');
		bmq_trie_remove(&trie, text, 19);
	}
	EXPECT(!shim_allocated);
	test_done("look-ups are bounded");
}

/* Nodes in the fullest bucket. */
static unsigned int fullest(struct bmq_trie *trie)
{
	unsigned int i, nr, max = 0;
	struct bmq_trie_node *node;

	for (i = 0; i < BMQ_TRIE_BUCKETS; i++) {
		nr = 0;
		hlist_for_each_entry(node, &trie->bucket[i], hash)
			nr++;
		max = nr > max ? nr : max;
	}
	return max;
}

/* Tokens of @letters letters and two digits, one for each bucket: they spread. */
static void check_spread(struct bmq_trie *trie, int letters)
{
	char text[TEXT];
	unsigned int i;

	for (i = 0; i < BMQ_TRIE_BUCKETS; i++) {
		sprintf(text, "%.*s%02x.>", letters, "prefixofsome", i);
		EXPECT(!bmq_trie_insert(trie, text, strlen(text), trie));
	}
	EXPECT(fullest(trie) <= 16);
	for (i = 0; i < BMQ_TRIE_BUCKETS; i++) {
		sprintf(text, "%.*s%02x.>", letters, "prefixofsome", i);
		bmq_trie_remove(trie, text, strlen(text));
	}
}

static void test_spread(void)
{
	static struct bmq_trie trie;
	int letters;

	bmq_trie_init(&trie);
	for (letters = 0; letters <= 12; letters++)
		check_spread(&trie, letters);
	EXPECT(!shim_allocated);
	test_done("tokens that begin alike do not share a bucket");
}

int main(void)
{
	test_refusals();
	test_length();
	test_match();
	test_trie();
	test_steps();
	test_spread();
	return test_end();
}
