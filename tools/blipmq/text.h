/* SPDX-License-Identifier: GPL-2.0 */
/*
 * UTF-8 and base64.
 */
#ifndef BLIPMQ_TEXT_H
#define BLIPMQ_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at @s, of which @len are there: 1 to 4, or 0 if it is not
 * well-formed UTF-8 (overlong forms, surrogates, beyond U+10FFFF). @len at least 1.
 */
size_t utf8_char(const unsigned char *s, size_t len, uint32_t *code);

bool utf8_valid(const void *data, size_t len);

#define BASE64_IN	3	/* bytes that make ... */
#define BASE64_OUT	4	/* ... characters */

/* @len (1 to BASE64_IN) bytes as BASE64_OUT characters, padded with '='. */
void base64_group(const unsigned char *in, size_t len, char *out);

#endif /* BLIPMQ_TEXT_H */
