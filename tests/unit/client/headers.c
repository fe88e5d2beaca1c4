// SPDX-License-Identifier: GPL-2.0
/* User headers: made, found again, and read from bytes of any kind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <blipmq/headers.h>

#include "test.h"

#define ROOM	70000

static bool error_is(int error, uint32_t reason, uint32_t detail)
{
	const struct blipmq_error *last = blipmq_last_error();

	return last->error == error && last->reason == reason && last->detail == detail;
}

static bool field_is(const struct blipmq_field *field, const char *name, const char *value,
		     size_t length)
{
	return field->name_len == strlen(name) && !memcmp(field->name, name, field->name_len) &&
	       field->length == length && !memcmp(field->value, value, length);
}

static void test_layout(void)
{
	static const char expected[] = "\3\0\5\0oneva\0ue\1\0\0\0002";
	struct blipmq_user_header start;
	struct blipmq_headers h;
	char room[32];

	memset(room, 0xcc, sizeof(room));
	h = (struct blipmq_headers){ .data = room, .size = sizeof(room) };
	EXPECT(!blipmq_headers_add(&h, "one", "va\0ue", 5) && h.len == 12);
	EXPECT(!blipmq_headers_add(&h, "2", NULL, 0) && h.len == 17);
	memcpy(&start, room, sizeof(start));
	EXPECT(start.name_len == 3 && start.value_len == 5);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	EXPECT(!memcmp(room, expected, 17));
#endif
	EXPECT((unsigned char)room[17] == 0xcc);
	test_done("headers: the layout, byte by byte");
}

static void test_names(void)
{
	static const char *const bad[] = {
		"", ":", "a:", ":a", "a b", " a", "a\n", "\r", "gr\303\274n"
	};
	char room[300], name[2] = "";
	struct blipmq_headers h = { .data = room, .size = sizeof(room) };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT(blipmq_headers_add(&h, bad[i], "v", 1) == -EINVAL && !h.len);
		EXPECT(error_is(-EINVAL, BLIPMQ_REASON_HEADER_NAME, 0));
	}
	for (i = 1; i < 256; i++) {
		bool good = i > ' ' && i < 0x7f && i != ':';

		name[0] = (char)i;
		h.len = 0;
		EXPECT(!blipmq_headers_add(&h, name, "v", 1) == good);
	}
	test_done("headers: names that are refused");
}

/* Of every size of the room, and at the limit of all. */
static void test_room(void)
{
	struct blipmq_headers h = { .data = malloc(ROOM) };
	static char value[ROOM];
	struct blipmq_field field;

	for (h.size = 0; h.size < 20; h.size++) {
		int expected = h.size >= 12 ? 0 : -EMSGSIZE;

		h.len = 0;
		EXPECT(blipmq_headers_add(&h, "name", "4711", 4) == expected);
		EXPECT(h.len == (expected ? 0 : 12));
		EXPECT(!expected || error_is(-EMSGSIZE, BLIPMQ_REASON_HEADER_ROOM, 0));
	}
	h.size = ROOM;
	h.len = 0;
	EXPECT(blipmq_headers_add(&h, "n", value, BLIPMQ_HEADERS_MAX - 4) == -EMSGSIZE);
	EXPECT(blipmq_headers_add(&h, "n", value, SIZE_MAX) == -EMSGSIZE);
	EXPECT(!blipmq_headers_add(&h, "n", value, BLIPMQ_HEADERS_MAX - 5));
	EXPECT(h.len == BLIPMQ_HEADERS_MAX);
	EXPECT(blipmq_headers_add(&h, "n", NULL, 0) == -EMSGSIZE);
	EXPECT(blipmq_headers_find(h.data, h.len, "n", &field) == 1);
	EXPECT(field.length == BLIPMQ_HEADERS_MAX - 5);
	h.len = ROOM + 1;
	EXPECT(blipmq_headers_add(&h, "n", NULL, 0) == -EMSGSIZE);
	free(h.data);
	test_done("headers: room that is not there");
}

static void test_find(void)
{
	char room[100];
	struct blipmq_headers h = { .data = room, .size = sizeof(room) };
	struct blipmq_field field;
	size_t at = 0;

	EXPECT(!blipmq_headers_find(NULL, 0, "one", &field));
	EXPECT(!blipmq_headers_next(NULL, 0, &at, &field));
	EXPECT(!blipmq_headers_add(&h, "one", "1", 1));
	EXPECT(!blipmq_headers_add(&h, "On", "2", 1));
	EXPECT(!blipmq_headers_add(&h, "one", "three", 5));
	EXPECT(blipmq_headers_find(room, h.len, "one", &field) == 1);
	EXPECT(field_is(&field, "one", "1", 1));
	EXPECT(blipmq_headers_find(room, h.len, "On", &field) == 1);
	EXPECT(field_is(&field, "On", "2", 1));
	EXPECT(!blipmq_headers_find(room, h.len, "on", &field));
	EXPECT(!blipmq_headers_find(room, h.len, "onet", &field));
	EXPECT(!blipmq_headers_find(room, h.len, "", &field));
	EXPECT(blipmq_headers_next(room, h.len, &at, &field) == 1 && at == 8);
	EXPECT(blipmq_headers_next(room, h.len, &at, &field) == 1);
	EXPECT(blipmq_headers_next(room, h.len, &at, &field) == 1);
	EXPECT(field_is(&field, "one", "three", 5) && at == h.len);
	EXPECT(!blipmq_headers_next(room, h.len, &at, &field) && at == h.len);
	test_done("headers: the first of a name, and all in order");
}

/* Cut anywhere, each length too long: what is before it is read, and no byte beyond. */
static void test_malformed(void)
{
	char room[100];
	struct blipmq_headers h = { .data = room, .size = sizeof(room) };
	struct blipmq_field field;
	size_t len, at, good;
	char *exact;
	int ret;

	EXPECT(!blipmq_headers_add(&h, "one", "11", 2) && !blipmq_headers_add(&h, "two", "2", 1));
	for (len = 0; len <= h.len; len++) {
		exact = malloc(len);
		memcpy(exact, room, len);
		good = 0;
		at = 0;
		while ((ret = blipmq_headers_next(exact, len, &at, &field)) == 1)
			good++;
		EXPECT(good == (len >= 17 ? 2 : len >= 9));
		EXPECT(ret == (len == 0 || len == 9 || len == 17 ? 0 : -EBADMSG));
		EXPECT(!ret || error_is(-EBADMSG, BLIPMQ_REASON_HEADER_FORM, len > 9 ? 9 : 0));
		free(exact);
	}
	EXPECT(blipmq_headers_find(room, 16, "one", &field) == 1);
	EXPECT(blipmq_headers_find(room, 16, "two", &field) == -EBADMSG);
	memset(room, 0, 4);
	EXPECT(blipmq_headers_find(room, h.len, "one", &field) == -EBADMSG);
	test_done("headers: what is cut, or has no name");
}

static void test_random(void)
{
	struct blipmq_field field;
	size_t len, at, before;
	unsigned int i, j;
	uint8_t *bytes;

	srand(1);
	for (i = 0; i < 200000; i++) {
		len = rand() % 40;
		bytes = malloc(len);
		for (j = 0; j < len; j++)
			bytes[j] = rand() % 4 ? 0 : rand() % 16;
		before = 0;
		at = 0;
		while (blipmq_headers_next(bytes, len, &at, &field) == 1) {
			EXPECT(at > before && at <= len && field.name_len);
			EXPECT(field.name == (char *)bytes + before + 4);
			EXPECT((char *)field.value + field.length == (char *)bytes + at);
			before = at;
		}
		EXPECT(at == before);
		free(bytes);
	}
	test_done("headers: random bytes");
}

int main(void)
{
	test_layout();
	test_names();
	test_room();
	test_find();
	test_malformed();
	test_random();
	return test_end();
}
