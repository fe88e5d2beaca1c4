// SPDX-License-Identifier: GPL-2.0
/*
 * UTF-8 (RFC 3629) and base64 (RFC 4648, section 4).
 */
#include "text.h"

#define UTF8_LAST	0x10ffff
#define SURROGATE_FIRST	0xd800
#define SURROGATE_LAST	0xdfff

size_t utf8_char(const unsigned char *s, size_t len, uint32_t *code)
{
	/* Smallest code that needs so many bytes. */
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t need, i;
	uint32_t c;

	if (s[0] < 0x80) {
		*code = s[0];
		return 1;
	}
	if ((s[0] & 0xe0) == 0xc0)
		need = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		need = 3;
	else if ((s[0] & 0xf8) == 0xf0)
		need = 4;
	else
		return 0;
	if (need > len)
		return 0;

	c = s[0] & (0x7f >> need);
	for (i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[need] || c > UTF8_LAST || (c >= SURROGATE_FIRST && c <= SURROGATE_LAST))
		return 0;
	*code = c;
	return need;
}

bool utf8_valid(const void *data, size_t len)
{
	const unsigned char *s = data;
	uint32_t code;
	size_t n;

	for (; len; s += n, len -= n) {
		n = utf8_char(s, len, &code);
		if (!n)
			return false;
	}
	return true;
}

void base64_group(const unsigned char *in, size_t len, char *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = (uint32_t)in[0] << 16;

	if (len > 1)
		bits |= (uint32_t)in[1] << 8;
	if (len > 2)
		bits |= in[2];

	out[0] = digits[bits >> 18];
	out[1] = digits[bits >> 12 & 0x3f];
	out[2] = len > 1 ? digits[bits >> 6 & 0x3f] : '=';
	out[3] = len > 2 ? digits[bits & 0x3f] : '=';
}
