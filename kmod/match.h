/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Subjects, patterns, and the trie that finds the wildcard patterns of a subject.
 *
 * Ownership. The trie owns its nodes; the values belong to the caller.
 * Locking. The caller's: one at a time.
 */
#ifndef _BLIPMQ_MATCH_H
#define _BLIPMQ_MATCH_H

#include <linux/list.h>
#include <linux/types.h>

#define BMQ_TOKENS_MAX	128	/* in a subject of 255 bytes */
#define BMQ_TRIE_STEPS	1024	/* nodes visited in one look-up */
#define BMQ_TRIE_BITS	8
#define BMQ_TRIE_BUCKETS	(1 << BMQ_TRIE_BITS)

/* Of what is allocated with the match lock held: see bmq_match_refill(). */
#define BMQ_GFP_LOCKED	(GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN)

/**
 * struct bmq_trie_node - what patterns share up to a token
 * @hash:     among its siblings and cousins, by parent and token
 * @parent:   NULL at the root
 * @star:     child for the token '*'
 * @leaf:     value of the pattern that ends here
 * @rest:     value of the pattern that goes on with '>'
 * @children: nodes below, @star included
 * @len:      bytes of the token
 * @token:    the token
 */
struct bmq_trie_node {
	struct hlist_node hash;
	struct bmq_trie_node *parent;
	struct bmq_trie_node *star;
	void *leaf;
	void *rest;
	u32 children;
	u8 len;
	char token[];
};

struct bmq_trie {
	struct bmq_trie_node root;
	struct hlist_head bucket[BMQ_TRIE_BUCKETS];
};

int bmq_subject_check(const char *subject, unsigned int len, u32 *detail);
int bmq_pattern_check(const char *pattern, unsigned int len, u32 *detail);
bool bmq_pattern_is_wild(const char *pattern, unsigned int len);
bool bmq_pattern_match(const char *pattern, unsigned int plen,
		       const char *subject, unsigned int slen);

void bmq_trie_init(struct bmq_trie *trie);
int bmq_trie_insert(struct bmq_trie *trie, const char *pattern,
		    unsigned int len, void *value);
void bmq_trie_remove(struct bmq_trie *trie, const char *pattern,
		     unsigned int len);
int bmq_trie_lookup(struct bmq_trie *trie, const char *subject,
		    unsigned int len,
		       int (*found)(void *value, void *arg), void *arg);

#endif /* _BLIPMQ_MATCH_H */
