// SPDX-License-Identifier: GPL-2.0
/* Every code has a name and a sentence that reads well with and without a detail. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <blipmq.h>

#include "test.h"

#define LAST	BLIPMQ_REASON_HEADER_FORM
#define DETAIL	4711

static void check_sentence(uint32_t reason, uint32_t detail)
{
	char text[256];
	size_t len;

	memset(text, 0xcc, sizeof(text));
	EXPECT(blipmq_error_text(-EINVAL, reason, detail, text, sizeof(text)) == text);
	len = strnlen(text, sizeof(text));
	/* In the room that the header says is enough, whatever the detail. */
	if (EXPECT(len > 10 && len + strlen("4294967295") < sizeof(text)) &&
	    EXPECT(!strpbrk(text, "{}%\n") && !strstr(text, "  ") && !strstr(text, " ,")) &&
	    EXPECT(!isupper((unsigned char)text[0]) && !strchr(" .,:", text[len - 1])))
		return;
	fprintf(stderr, "# %s\n", text);
}

static void check_reason(uint32_t reason)
{
	check_sentence(reason, DETAIL);
	check_sentence(reason, 0);
	EXPECT(strcmp(blipmq_reason_name(reason), "unknown"));
}

static void test_sentences(void)
{
	uint32_t reason;

	for (reason = 1; reason < BLIPMQ_NR_REASONS; reason++)
		check_reason(reason);
	for (reason = BLIPMQ_REASON_URL; reason <= LAST; reason++)
		check_reason(reason);
	test_done("every reason has a sentence");
}

static bool name_is_unique(uint32_t reason, uint32_t from, uint32_t to)
{
	for (; from < to; from++)
		if (from != reason && !strcmp(blipmq_reason_name(from), blipmq_reason_name(reason)))
			return false;
	return true;
}

static void test_names(void)
{
	uint32_t reason;

	for (reason = 0; reason < BLIPMQ_NR_REASONS; reason++)
		EXPECT(name_is_unique(reason, 0, BLIPMQ_NR_REASONS));
	for (reason = BLIPMQ_REASON_URL; reason <= LAST; reason++) {
		EXPECT(name_is_unique(reason, 0, BLIPMQ_NR_REASONS));
		EXPECT(name_is_unique(reason, BLIPMQ_REASON_URL, LAST + 1));
	}
	EXPECT(!strcmp(blipmq_reason_name(BLIPMQ_NR_REASONS), "unknown"));
	EXPECT(!strcmp(blipmq_reason_name(LAST + 1), "unknown"));
	test_done("every reason has a name of its own");
}

static void test_text(void)
{
	char text[256];

	blipmq_error_text(-EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN, 3, text, sizeof(text));
	EXPECT(strstr(text, "subject token 3 is empty"));
	blipmq_error_text(-EINVAL, BLIPMQ_REASON_RING_ENTRIES, 65536, text, sizeof(text));
	EXPECT(strstr(text, "ring entries must be a power of two from 1 to 65536"));
	memset(text, 'x', sizeof(text));
	blipmq_error_text(-EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN, 3, text, 8);
	EXPECT(!strcmp(text, "subject") && text[8] == 'x');
	blipmq_error_text(-EINVAL, BLIPMQ_REASON_SUBJECT_TOKEN, 3, text, 1);
	EXPECT(!text[0]);
	EXPECT(!strcmp(blipmq_error_text(-EINVAL, 0, 0, text, 0), ""));
	blipmq_error_text(-ENOMEM, BLIPMQ_REASON_NONE, 0, text, sizeof(text));
	EXPECT(!strcmp(text, strerror(ENOMEM)));
	blipmq_error_text(-EIO, 0x7000, 0, text, sizeof(text));
	EXPECT(strstr(text, "28672"));
	test_done("sentences: the detail in its place, cut to fit, and unknown codes");
}

static void test_tables(void)
{
	unsigned int i;

	for (i = 0; i < BLIPMQ_NR_DROPS; i++)
		EXPECT(blipmq_drop_name(i) && *blipmq_drop_text(i));
	EXPECT(!blipmq_drop_name(BLIPMQ_NR_DROPS) && !*blipmq_drop_text(BLIPMQ_NR_DROPS));
	for (i = 0; i < BLIPMQ_NR_EVENTS; i++)
		EXPECT(blipmq_event_name(i));
	EXPECT(!blipmq_event_name(BLIPMQ_NR_EVENTS));
	for (i = 0; i < BLIPMQ_NR_POLICIES; i++)
		EXPECT(blipmq_policy_name(i));
	EXPECT(!blipmq_policy_name(BLIPMQ_NR_POLICIES));
	test_done("drops, events and policies have names");
}

int main(void)
{
	test_sentences();
	test_names();
	test_text();
	test_tables();
	return test_end();
}
