// SPDX-License-Identifier: GPL-2.0
/* Subjects, patterns and the trie of wildcard patterns. See match.h. */
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/stringhash.h>

#include <uapi/linux/blipmq.h>

#include "match.h"

#define CHAR_DELETE	0x7f

/* ---- Subjects and patterns ---- */

/* Bytes of the token that begins at @pos. */
static unsigned int token_len(const char *s, unsigned int len, unsigned int pos)
{
	const char *dot = memchr(s + pos, '.', len - pos);

	return dot ? dot - (s + pos) : len - pos;
}

static bool token_is(const char *token, unsigned int len, char c)
{
	return len == 1 && *token == c;
}

/**
 * bmq_subject_check() - is this a subject?
 * @subject: its bytes
 * @len:     how many
 * @detail:  out: what belongs to the reason
 *
 * Return: BLIPMQ_REASON_NONE, _SUBJECT_LENGTH, _SUBJECT_CHAR or _SUBJECT_TOKEN.
 */
int bmq_subject_check(const char *subject, unsigned int len, u32 *detail)
{
	unsigned int i, token = 1, start = 0;

	*detail = BLIPMQ_SUBJECT_MAX;
	if (!len || len > BLIPMQ_SUBJECT_MAX)
		return BLIPMQ_REASON_SUBJECT_LENGTH;
	for (i = 0; i < len; i++) {
		unsigned char c = subject[i];

		if (c <= ' ' || c == CHAR_DELETE) {
			*detail = i;
			return BLIPMQ_REASON_SUBJECT_CHAR;
		}
		if (c != '.')
			continue;
		if (i == start)
			break;
		start = i + 1;
		token++;
	}
	*detail = token;
	if (i < len || start == len)
		return BLIPMQ_REASON_SUBJECT_TOKEN;
	*detail = 0;
	return BLIPMQ_REASON_NONE;
}

/* As bmq_subject_check(); and _PATTERN_TAIL if '>' is not the last token. */
int bmq_pattern_check(const char *pattern, unsigned int len, u32 *detail)
{
	unsigned int pos, n, token = 1;
	int reason = bmq_subject_check(pattern, len, detail);

	if (reason)
		return reason;
	for (pos = 0; pos < len; pos += n + 1, token++) {
		n = token_len(pattern, len, pos);
		if (token_is(pattern + pos, n, '>') && pos + n < len) {
			*detail = token;
			return BLIPMQ_REASON_PATTERN_TAIL;
		}
	}
	return BLIPMQ_REASON_NONE;
}

/* Has a (right) pattern a token '*' or '>'? */
bool bmq_pattern_is_wild(const char *pattern, unsigned int len)
{
	unsigned int pos, n;

	for (pos = 0; pos < len; pos += n + 1) {
		n = token_len(pattern, len, pos);
		if (token_is(pattern + pos, n, '*') || token_is(pattern + pos, n, '>'))
			return true;
	}
	return false;
}

/* Does a (right) pattern match a (right) subject? */
bool bmq_pattern_match(const char *pattern, unsigned int plen,
		       const char *subject, unsigned int slen)
{
	unsigned int p = 0, s = 0;

	while (p < plen && s < slen) {
		unsigned int pn = token_len(pattern, plen, p);
		unsigned int sn = token_len(subject, slen, s);

		if (token_is(pattern + p, pn, '>'))
			return true;
		if (!token_is(pattern + p, pn, '*') &&
		    (pn != sn || memcmp(pattern + p, subject + s, pn)))
			return false;
		p += pn + 1;
		s += sn + 1;
	}
	return p >= plen && s >= slen;
}

/* ---- The trie ---- */

/* By the top bits: low ones know only the first bytes of a token shorter than a word. */
static struct hlist_head *bucket_of(struct bmq_trie *trie,
				    const struct bmq_trie_node *parent,
				    const char *token, unsigned int len)
{
	u32 hash = full_name_hash(parent, token, len);

	return &trie->bucket[hash >> (32 - BMQ_TRIE_BITS)];
}

static struct bmq_trie_node *child_find(struct bmq_trie *trie,
					struct bmq_trie_node *parent,
					   const char *token, unsigned int len)
{
	struct bmq_trie_node *node;

	hlist_for_each_entry(node, bucket_of(trie, parent, token, len), hash) {
		if (node->parent == parent && node->len == len &&
		    !memcmp(node->token, token, len))
			return node;
	}
	return NULL;
}

/* The child that a token of a pattern leads to. */
static struct bmq_trie_node *child_step(struct bmq_trie *trie,
					struct bmq_trie_node *parent,
					   const char *token, unsigned int len)
{
	if (token_is(token, len, '*'))
		return parent->star;
	return child_find(trie, parent, token, len);
}

static struct bmq_trie_node *child_add(struct bmq_trie *trie,
				       struct bmq_trie_node *parent,
					  const char *token, unsigned int len)
{
	struct bmq_trie_node *node;

	node = kzalloc(struct_size(node, token, len), BMQ_GFP_LOCKED);
	if (!node)
		return NULL;
	node->parent = parent;
	node->len = len;
	memcpy(node->token, token, len);
	if (token_is(token, len, '*'))
		parent->star = node;
	else
		hlist_add_head(&node->hash, bucket_of(trie, parent, token, len));
	parent->children++;
	return node;
}

/* Free a node, and its parents, as far up as nothing needs them. */
static void node_prune(struct bmq_trie_node *node)
{
	while (node->parent && !node->children && !node->leaf && !node->rest) {
		struct bmq_trie_node *parent = node->parent;

		if (parent->star == node)
			parent->star = NULL;
		else
			hlist_del(&node->hash);
		parent->children--;
		kfree(node);
		node = parent;
	}
}

void bmq_trie_init(struct bmq_trie *trie)
{
	memset(trie, 0, sizeof(*trie));
}

/**
 * bmq_trie_insert() - add a wildcard pattern
 * @trie:    the trie
 * @pattern: a right pattern that is not in the trie
 * @len:     its bytes
 * @value:   what look-ups find, not NULL
 *
 * Return: 0 or -ENOMEM.
 */
int bmq_trie_insert(struct bmq_trie *trie, const char *pattern,
		    unsigned int len, void *value)
{
	struct bmq_trie_node *child, *node = &trie->root;
	unsigned int pos, n;

	for (pos = 0; pos < len; pos += n + 1) {
		n = token_len(pattern, len, pos);
		if (token_is(pattern + pos, n, '>')) {
			node->rest = value;
			return 0;
		}
		child = child_step(trie, node, pattern + pos, n);
		if (!child)
			child = child_add(trie, node, pattern + pos, n);
		if (!child) {
			node_prune(node);
			return -ENOMEM;
		}
		node = child;
	}
	node->leaf = value;
	return 0;
}

/* Take out a pattern that is in the trie. */
void bmq_trie_remove(struct bmq_trie *trie, const char *pattern,
		     unsigned int len)
{
	struct bmq_trie_node *node = &trie->root;
	unsigned int pos, n;

	for (pos = 0; pos < len; pos += n + 1) {
		n = token_len(pattern, len, pos);
		if (token_is(pattern + pos, n, '>')) {
			node->rest = NULL;
			node_prune(node);
			return;
		}
		node = child_step(trie, node, pattern + pos, n);
	}
	node->leaf = NULL;
	node_prune(node);
}

/* What comes next at a node of the path that a look-up stands on. */
enum trie_turn { TURN_ARRIVE, TURN_STAR, TURN_BACK };

/**
 * bmq_trie_lookup() - find every wildcard pattern that matches a subject
 * @trie:    the trie
 * @subject: a right subject; its tokens '*' and '>' are literal
 * @len:     its bytes
 * @found:   called for each value; what it returns other than 0 ends the look-up
 * @arg:     for @found
 *
 * Depth first, back along the parents. Visits BMQ_TRIE_STEPS nodes at most:
 * patterns that overlap in every way would let it visit 2^tokens.
 *
 * Return: 0, -E2BIG: too many nodes, or what @found returned.
 */
int bmq_trie_lookup(struct bmq_trie *trie, const char *subject,
		    unsigned int len,
		       int (*found)(void *value, void *arg), void *arg)
{
	struct bmq_trie_node *node = &trie->root, *child;
	u8 turn[BMQ_TOKENS_MAX + 1] = { TURN_ARRIVE };
	u16 at[BMQ_TOKENS_MAX + 1] = { 0 };
	unsigned int depth = 0, steps = 0, n = 0;
	int err = 0;

	for (;;) {
		bool more = at[depth] < len;

		child = NULL;
		if (more)
			n = token_len(subject, len, at[depth]);
		switch (turn[depth]++) {
		case TURN_ARRIVE:
			if (++steps > BMQ_TRIE_STEPS)
				return -E2BIG;
			if (more && node->rest)
				err = found(node->rest, arg);
			else if (!more && node->leaf)
				err = found(node->leaf, arg);
			if (err)
				return err;
			if (more)
				child = child_find(trie, node, subject + at[depth], n);
			break;
		case TURN_STAR:
			if (more)
				child = node->star;
			break;
		default:
			if (!depth)
				return 0;
			node = node->parent;
			depth--;
			continue;
		}
		if (child) {
			at[depth + 1] = at[depth] + n + 1;
			turn[depth + 1] = TURN_ARRIVE;
			node = child;
			depth++;
		}
	}
}
