// SPDX-License-Identifier: LGPL-2.1+
/*
 * Codes as words and sentences. In a sentence '%' stands for the detail, and what is
 * in braces is left out if there is none.
 */
#include <stdio.h>
#include <string.h>

#include <blipmq.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* First code of the library's own. */
#define LIB		BLIPMQ_REASON_URL

/* @rule is what was broken, @remedy what changes it, or NULL. */
struct reason {
	const char *name;
	const char *rule;
	const char *remedy;
};

static const struct reason kernel_reasons[BLIPMQ_NR_REASONS] = {
	[BLIPMQ_REASON_NONE] = { "none", "", NULL },
	[BLIPMQ_REASON_SIZE] = { "size",
		"the kernel module does not know a struct of this size{ (its own has % bytes)}",
		"library and module are of different versions" },
	[BLIPMQ_REASON_TAIL] = { "tail",
		"the call uses a field that this kernel module does not know",
		"load a newer module" },
	[BLIPMQ_REASON_FLAGS] = { "flags",
		"the call uses a flag that this kernel module does not know{ (%)}",
		"load a newer module" },
	[BLIPMQ_REASON_RESERVED] = { "reserved",
		"the call uses a feature that this kernel module does not have",
		"load a newer module" },
	[BLIPMQ_REASON_BUS_NAME] = { "bus-name",
		"this network namespace has no bus of that name",
		"'default' always exists, blipmq bus show lists them" },
	[BLIPMQ_REASON_BOUND] = { "bound",
		"the endpoint has a bus already",
		"open another endpoint for another bus" },
	[BLIPMQ_REASON_RIGHT_SUBSCRIBE] = { "right-subscribe",
		"no right to subscribe on this bus",
		"its owner can grant r (blipmq bus set --group, --mode)" },
	[BLIPMQ_REASON_RIGHT_PUBLISH] = { "right-publish",
		"no right to publish on this bus",
		"its owner can grant w (blipmq bus set --group, --mode)" },
	[BLIPMQ_REASON_RIGHT_MAP] = { "right-map",
		"no right to map this bus",
		"receive by copying, or have its owner grant x (blipmq bus set --group, --mode)" },
	[BLIPMQ_REASON_RING_EXISTS] = { "ring-exists",
		"the endpoint has its ring already, which cannot be changed",
		"make the ring first, then subscribe" },
	[BLIPMQ_REASON_RING_NONE] = { "ring-none",
		"the endpoint has no ring",
		"subscribe, or make a ring first" },
	[BLIPMQ_REASON_RING_ENTRIES] = { "ring-entries",
		"ring entries must be a power of two{ from 1 to %}", NULL },
	[BLIPMQ_REASON_RING_HELD] = { "ring-held",
		"the held bound must not be above the entries of the ring{ (%)}", NULL },
	[BLIPMQ_REASON_RING_POLICY] = { "ring-policy",
		"the policy must be drop-oldest, drop-newest or block", NULL },
	[BLIPMQ_REASON_RING_MODE] = { "ring-mode",
		"the ring is consumed the other way already",
		"by its mapping or by read and RECV, the first use decides" },
	[BLIPMQ_REASON_RING_BROKEN] = { "ring-broken",
		"the ring is broken, because something stored impossible indexes in it",
		"close the endpoint and open another" },
	[BLIPMQ_REASON_SUBJECT_LENGTH] = { "subject-length",
		"the subject or pattern is empty or too long{: it must have 1 to % bytes}", NULL },
	[BLIPMQ_REASON_SUBJECT_TOKEN] = { "subject-token",
		"subject token {% }is empty",
		"write a word between two dots, before the first and after the last" },
	[BLIPMQ_REASON_SUBJECT_CHAR] = { "subject-char",
		"the subject has white space or a control character{ at offset %}",
		"use printable characters" },
	[BLIPMQ_REASON_PATTERN_TAIL] = { "pattern-tail",
		"'>' stands for the rest of a subject and must be the last token{, not token %}",
		"use '*' for a single one" },
	[BLIPMQ_REASON_SUBSCRIPTION] = { "subscription",
		"the endpoint has no subscription of that number", NULL },
	[BLIPMQ_REASON_HANDLE] = { "handle",
		"the endpoint has no topic handle of that number",
		"open the topic again" },
	[BLIPMQ_REASON_NOT_BOUND] = { "not-bound",
		"write(2) needs a topic",
		"open one with BLIPMQ_TOPIC_WRITE first" },
	[BLIPMQ_REASON_BATCH] = { "batch",
		"the batch is empty or too long",
		"publish 1{ to %} messages or blocks at once" },
	[BLIPMQ_REASON_BLOCK] = { "block",
		"the block is not laid out as the contract says{ (at offset %)}", NULL },
	[BLIPMQ_REASON_MESSAGE_SIZE] = { "message-size",
		"the message is larger than the bus allows{ (% bytes)}",
		"split it, or raise the module parameter max_message and the bus's budget" },
	[BLIPMQ_REASON_BUFFER] = { "buffer",
		"the buffer is too short for the message{, which needs % bytes}",
		"give a larger one, the message is still there" },
	[BLIPMQ_REASON_INDEX] = { "index",
		"the message is not in use or kept already",
		"keep it once, after it was taken and before it is released" },
	[BLIPMQ_REASON_KEPT] = { "kept",
		"the endpoint keeps no message of that number", NULL },
	[BLIPMQ_REASON_FAULT] = { "fault",
		"the memory of the message cannot be read or written",
		"check its address and length" },
	[BLIPMQ_REASON_MEMORY] = { "memory",
		"the kernel or the memory cgroup has no memory left for it",
		"raise memory.max or free memory" },
	[BLIPMQ_REASON_BUDGET] = { "budget",
		"the bus's budget{ of % pages} is used up by messages not released yet",
		"read faster, or raise it (blipmq bus set --budget)" },
	[BLIPMQ_REASON_SHARE] = { "share",
		"the user's share of the bus{, % pages,} is used up by messages not released yet",
		"read faster, or raise it (blipmq bus set --share, --budget)" },
	[BLIPMQ_REASON_HOST] = { "host",
		"the pages for all buses of this host{ (%)} are used up",
		"raise the module parameter host_pages" },
	[BLIPMQ_REASON_HOST_USER] = { "host-user",
		"the user's pages on all buses of this host{ (%)} are used up",
		"raise the module parameter host_pages" },
	[BLIPMQ_REASON_ROOM] = { "room",
		"a subscriber with the policy block has a full ring",
		"wait until the endpoint is writable, or let the call wait" },
	[BLIPMQ_REASON_LIMIT_TOPICS] = { "limit-topics",
		"the bus has all the topics it may have{ (%)}",
		"use fewer subjects, or raise the module parameter max_topics" },
	[BLIPMQ_REASON_LIMIT_USER_TOPICS] = { "limit-user-topics",
		"all topics that the user may have{ (%)} are in use",
		"close handles, or raise the module parameter max_user_topics" },
	[BLIPMQ_REASON_LIMIT_ENDPOINTS] = { "limit-endpoints",
		"the bus has all the endpoints it may have{ (%)}",
		"close some, or raise the module parameter max_endpoints" },
	[BLIPMQ_REASON_LIMIT_USER_ENDPOINTS] = { "limit-user-endpoints",
		"the user has all the endpoints he may have on the bus{ (%)}",
		"close some, or raise the module parameter max_user_endpoints" },
	[BLIPMQ_REASON_LIMIT_SUBSCRIPTIONS] = { "limit-subscriptions",
		"the endpoint has all the subscriptions it may have{ (%)}",
		"use a wildcard, or raise the module parameter max_subscriptions" },
	[BLIPMQ_REASON_LIMIT_PATTERNS] = { "limit-patterns",
		"the bus has all the wildcard patterns it may have{ (%)}",
		"raise the module parameter max_patterns" },
	[BLIPMQ_REASON_LIMIT_USER_PATTERNS] = { "limit-user-patterns",
		"the user has all the wildcard patterns he may have on the bus{ (%)}",
		"use fewer, or raise the module parameter max_user_patterns" },
	[BLIPMQ_REASON_LIMIT_HANDLES] = { "limit-handles",
		"the endpoint has all the topic handles it may have{ (%)}",
		"close some, or publish by name" },
	[BLIPMQ_REASON_LIMIT_KEPT] = { "limit-kept",
		"the endpoint keeps all the messages it may keep{ (%)}",
		"drop some, or raise the module parameter max_kept" },
	[BLIPMQ_REASON_LIMIT_KEPT_PINS] = { "limit-kept-pins",
		"the endpoint may keep no more memory of the bus in use{ (% pages)}",
		"drop kept messages, or copy them" },
	[BLIPMQ_REASON_FANOUT] = { "fanout",
		"a topic of this pattern has all the subscriptions it may have{ (%)}",
		"raise the module parameter fanout" },
	[BLIPMQ_REASON_FANOUT_USER] = { "fanout-user",
		"a topic of this pattern has all the subscriptions it may have of one user{ (%)}",
		"raise the module parameter fanout_user" },
	[BLIPMQ_REASON_FANOUT_RING] = { "fanout-ring",
		"a topic of this pattern has all it may have of one endpoint{ (%)}",
		"use fewer patterns that overlap, or raise the module parameter fanout_ring" },
	[BLIPMQ_REASON_MATCH_STEPS] = { "match-steps",
		"too many patterns of the bus overlap on this subject{ (% steps)}",
		"use fewer wildcards before a common end" },
	[BLIPMQ_REASON_STATS] = { "stats",
		"this kernel module has no statistics of that kind", NULL },
	[BLIPMQ_REASON_NAMESPACE] = { "namespace",
		"the network namespace of the bus is gone",
		"close the endpoint" },
	[BLIPMQ_REASON_RIGHT_NONE] = { "right-none",
		"no right on this bus",
		"its owner can grant r, w or x (blipmq bus set --group, --mode)" },
	[BLIPMQ_REASON_LIMIT_WILD] = { "limit-wild",
		"the bus has all the subscriptions to wildcard patterns it may have{ (%)}",
		"subscribe to subjects, or raise the module parameter max_wild" },
	[BLIPMQ_REASON_LIMIT_USER_WILD] = { "limit-user-wild",
		"the user has all the subscriptions to wildcard patterns he may have{ (%)}",
		"subscribe to subjects, or raise the module parameter max_user_wild" },
	[BLIPMQ_REASON_TYPE] = { "type",
		"the topic has another type",
		"publish what it is for, or to another subject" },
	[BLIPMQ_REASON_TYPE_NAME] = { "type-name",
		"a type's name goes with a type and has{ at most % bytes and} no control characters",
		NULL },
	[BLIPMQ_REASON_TOPIC] = { "topic",
		"the endpoint has neither a handle of that topic nor a subscription that it matches",
		"ask while there is one" },
	[BLIPMQ_REASON_DELETED] = { "deleted",
		"the bus was deleted",
		"close the endpoint" },
	[BLIPMQ_REASON_HEADERS_SIZE] = { "headers-size",
		"the user headers of a message have{ at most % bytes} together",
		"put some of it in the payload" },
};

static const struct reason library_reasons[] = {
	[BLIPMQ_REASON_URL - LIB] = { "url",
		"the address of a bus is blipmq:BUS, for instance blipmq:default", NULL },
	[BLIPMQ_REASON_URL_NAME - LIB] = { "url-name",
		"the name of the bus is empty or too long{: it must have 1 to % bytes}", NULL },
	[BLIPMQ_REASON_TRANSPORT - LIB] = { "transport",
		"this library reaches buses of this host only, not tcp",
		"use blipmq:BUS" },
	[BLIPMQ_REASON_DEVICE_NONE - LIB] = { "device-none",
		"there is no /dev/blipmq",
		"load the kernel module (modprobe blipmq)" },
	[BLIPMQ_REASON_DEVICE_ACCESS - LIB] = { "device-access",
		"no permission to open /dev/blipmq",
		"its mode is normally 0666, the bus decides on rights" },
	[BLIPMQ_REASON_WILDCARD - LIB] = { "wildcard",
		"subject token {% }is a wildcard",
		"publish to one subject, or open the endpoint with BLIPMQ_OPEN_LITERAL" },
	[BLIPMQ_REASON_OPTIONS - LIB] = { "options",
		"an option or flag is unknown to this library, or sz was not set",
		"zero what is not used" },
	[BLIPMQ_REASON_SPIN - LIB] = { "spin",
		"the time to spin is too long{: it must be at most % microseconds}", NULL },
	[BLIPMQ_REASON_COPYING - LIB] = { "copying",
		"the ring is not mapped",
		"receive with blipmq_recv(), or have the bus's owner grant x and open again" },
	[BLIPMQ_REASON_CLAIMS - LIB] = { "claims",
		"as many messages are in use as may be at once{ (%)}",
		"release some, or make the ring with a higher held bound" },
	[BLIPMQ_REASON_VIEW - LIB] = { "view",
		"a view{ (number %)} is not in use",
		"release each once, on the endpoint it came from" },
	[BLIPMQ_REASON_WAIT_MIN - LIB] = { "wait-min",
		"the ring never holds so many messages",
		"wait for fewer{, at most %}" },
	[BLIPMQ_REASON_BLOCK_SIZE - LIB] = { "block-size",
		"a staging block must be a multiple of 4096 bytes, at most 65536", NULL },
	[BLIPMQ_REASON_STAGE_SIZE - LIB] = { "stage-size",
		"the message does not fit a staging block{, which takes % bytes of this topic}",
		"use blipmq_publish_topic()" },
	[BLIPMQ_REASON_STAGE_FULL - LIB] = { "stage-full",
		"the writer is full",
		"flush it and try again" },
	[BLIPMQ_REASON_STAGE_OPEN - LIB] = { "stage-open",
		"a reservation is open",
		"commit or abort it first" },
	[BLIPMQ_REASON_STAGE_NONE - LIB] = { "stage-none",
		"no reservation is open",
		"reserve first" },
	[BLIPMQ_REASON_STAGE_GREW - LIB] = { "stage-grew",
		"more bytes are committed than were reserved{ (%)}",
		"reserve the most, commit what was used" },
	[BLIPMQ_REASON_TIMEOUT - LIB] = { "timeout",
		"no message came in time", NULL },
	[BLIPMQ_REASON_SIGNAL - LIB] = { "signal",
		"a signal interrupted the wait", "call again" },
	[BLIPMQ_REASON_ADMIN_NONE - LIB] = { "admin-none",
		"this kernel has no BlipMQ to administer",
		"load the kernel module (modprobe blipmq)" },
	[BLIPMQ_REASON_KERNEL - LIB] = { "kernel",
		"the kernel refused, and said why in a sentence that is lost", NULL },
	[BLIPMQ_REASON_CHANGING - LIB] = { "changing",
		"what was to be listed changed each time",
		"try again" },
	[BLIPMQ_REASON_HEADER_NAME - LIB] = { "header-name",
		"the name of a user header has visible ASCII characters, no ':', and at least one",
		NULL },
	[BLIPMQ_REASON_HEADER_ROOM - LIB] = { "header-room",
		"there is no room for the user header",
		"give more, BLIPMQ_HEADERS_MAX bytes at most" },
	[BLIPMQ_REASON_HEADER_FORM - LIB] = { "header-form",
		"the user headers are not laid out as such{ from byte % on}",
		"their publisher is to use blipmq_headers_add()" },
};

static const char *const drop_names[BLIPMQ_NR_DROPS] = {
	[BLIPMQ_DROP_OLDEST] = "oldest",
	[BLIPMQ_DROP_FULL] = "full",
	[BLIPMQ_DROP_HELD] = "held",
	[BLIPMQ_DROP_CONTENDED] = "contended",
	[BLIPMQ_DROP_PINS] = "pins",
	[BLIPMQ_DROP_EVICTED] = "evicted",
	[BLIPMQ_DROP_FANOUT] = "fanout",
	[BLIPMQ_DROP_BROKEN] = "broken",
	[BLIPMQ_DROP_CLOSED] = "closed",
	[BLIPMQ_DROP_EXPIRED] = "expired",
};

static const char *const drop_texts[BLIPMQ_NR_DROPS] = {
	[BLIPMQ_DROP_OLDEST] = "made room for a newer message: a larger ring, or a faster reader",
	[BLIPMQ_DROP_FULL] = "found the ring full: a larger ring, or a faster reader",
	[BLIPMQ_DROP_HELD] =
		"found too many messages in use: release sooner, or a higher held bound",
	[BLIPMQ_DROP_CONTENDED] = "met a reader that was claiming each time: larger batches",
	[BLIPMQ_DROP_PINS] =
		"found the reader using all the memory it may: release sooner, a larger budget",
	[BLIPMQ_DROP_EVICTED] =
		"lay unread when a publisher needed memory: read sooner, or a larger budget",
	[BLIPMQ_DROP_FANOUT] =
		"belonged to a topic with more subscriptions than may match: raise fanout",
	[BLIPMQ_DROP_BROKEN] = "lay unread when the ring was broken by impossible indexes",
	[BLIPMQ_DROP_CLOSED] = "lay unread when the endpoint was closed",
	[BLIPMQ_DROP_EXPIRED] = "were older than their time to live",
};

static const char *const event_names[BLIPMQ_NR_EVENTS] = {
	[BLIPMQ_EVENT_BROKEN] = "broken",
	[BLIPMQ_EVENT_BLOCKED] = "blocked",
	[BLIPMQ_EVENT_EVICTING] = "evicting",
	[BLIPMQ_EVENT_DENIED] = "denied",
	[BLIPMQ_EVENT_FANOUT] = "fanout",
};

static const char *const policy_names[BLIPMQ_NR_POLICIES] = {
	[BLIPMQ_POLICY_DROP_OLDEST] = "drop-oldest",
	[BLIPMQ_POLICY_DROP_NEWEST] = "drop-newest",
	[BLIPMQ_POLICY_BLOCK] = "block",
};

static const struct reason *reason_find(uint32_t code)
{
	if (code < ARRAY_SIZE(kernel_reasons))
		return &kernel_reasons[code];
	if (code >= LIB && code - LIB < ARRAY_SIZE(library_reasons))
		return &library_reasons[code - LIB];
	return NULL;
}

const char *blipmq_reason_name(uint32_t code)
{
	const struct reason *reason = reason_find(code);

	return reason ? reason->name : "unknown";
}

/* A text that is cut where the room ends. */
struct text {
	char *begin;
	size_t size;
	size_t used;
};

static void append(struct text *text, const char *from, size_t len)
{
	if (len > text->size - 1 - text->used)
		len = text->size - 1 - text->used;
	memcpy(text->begin + text->used, from, len);
	text->used += len;
	text->begin[text->used] = '\0';
}

static void expand(struct text *text, const char *sentence, uint32_t detail)
{
	char number[sizeof("4294967295")];
	int digits = snprintf(number, sizeof(number), "%u", detail);

	for (; *sentence; sentence++) {
		if (*sentence == '%')
			append(text, number, digits);
		else if (*sentence == '{' && !detail)
			sentence = strchr(sentence, '}');
		else if (*sentence != '{' && *sentence != '}')
			append(text, sentence, 1);
	}
}

static void reason_text(const struct reason *reason, uint32_t detail, struct text *text)
{
	expand(text, reason->rule, detail);
	if (!reason->remedy)
		return;
	append(text, ": ", 2);
	expand(text, reason->remedy, detail);
}

const char *blipmq_error_text(int error, uint32_t code, uint32_t detail,
			      char *text, size_t size)
{
	const struct reason *reason = reason_find(code);

	if (!size)
		return "";
	if (code == BLIPMQ_REASON_NONE) {
		if (strerror_r(error < 0 ? -error : error, text, size))
			snprintf(text, size, "error %d", error);
	} else if (!reason) {
		snprintf(text, size, "reason %u, which this library does not know (error %d)",
			 code, error);
	} else {
		reason_text(reason, detail, &(struct text){ .begin = text, .size = size });
	}
	return text;
}

const char *blipmq_drop_name(unsigned int drop)
{
	return drop < ARRAY_SIZE(drop_names) ? drop_names[drop] : NULL;
}

const char *blipmq_drop_text(unsigned int drop)
{
	return drop < ARRAY_SIZE(drop_texts) ? drop_texts[drop] : "";
}

const char *blipmq_event_name(unsigned int event)
{
	return event < ARRAY_SIZE(event_names) ? event_names[event] : NULL;
}

const char *blipmq_policy_name(unsigned int policy)
{
	return policy < ARRAY_SIZE(policy_names) ? policy_names[policy] : NULL;
}
