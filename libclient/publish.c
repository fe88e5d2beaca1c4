// SPDX-License-Identifier: LGPL-2.1+
/* Publishing by name, by handle and in batches; topic handles. */
#include <errno.h>
#include <string.h>

#include "endpoint.h"

/* Number, from 1, of the first token that is a wildcard elsewhere; 0: none is. */
static uint32_t subject_wildcard(const char *subject, size_t len)
{
	uint32_t token = 1;
	size_t i;

	for (i = 0; i < len; i++) {
		if (subject[i] == '.') {
			token++;
			continue;
		}
		if (subject[i] != '*' && subject[i] != '>')
			continue;
		if ((!i || subject[i - 1] == '.') && (i + 1 == len || subject[i + 1] == '.'))
			return token;
	}
	return 0;
}

/* All else that is wrong with a subject the kernel knows better. */
static int subject_check(const struct blipmq *b, const char *subject, size_t len)
{
	uint32_t token;

	if (b->flags & BLIPMQ_OPEN_LITERAL)
		return 0;
	token = subject_wildcard(subject, len);
	return token ? blipmq__fail(-EINVAL, BLIPMQ_REASON_WILDCARD, token) : 0;
}

int blipmq_topic_open_typed(struct blipmq *b, const char *subject, unsigned int flags,
			    uint64_t type, const char *name, struct blipmq_handle *handle)
{
	struct blipmq_topic topic = {
		.head = { .size = sizeof(topic), .flags = flags },
		.subject = (uintptr_t)subject,
		.subject_len = blipmq__u32(strlen(subject)),
		.type = type,
		.type_name = (uintptr_t)name,
		.type_name_len = blipmq__u32(name ? strlen(name) : 0),
	};
	int error;

	error = subject_check(b, subject, topic.subject_len);
	if (!error)
		error = blipmq__call(b, BLIPMQ_IOC_TOPIC, &topic.head);
	if (error)
		return error;
	handle->handle = topic.handle;
	handle->subject_len = topic.subject_len;
	handle->topic = topic.topic;
	return 0;
}

int blipmq_topic_open(struct blipmq *b, const char *subject, unsigned int flags,
		      struct blipmq_handle *handle)
{
	return blipmq_topic_open_typed(b, subject, flags, 0, NULL, handle);
}

int blipmq_topic_type(struct blipmq *b, uint64_t topic, uint64_t *type, char *name,
		      size_t size)
{
	struct blipmq_type query = {
		.head.size = sizeof(query),
		.topic = topic,
		.name = (uintptr_t)name,
		.name_size = size ? blipmq__u32(size - 1) : 0,
	};
	int error = blipmq__call(b, BLIPMQ_IOC_TYPE, &query.head);

	if (error)
		return error;
	*type = query.type;
	if (size)
		name[query.name_len < query.name_size ? query.name_len : query.name_size] = '\0';
	return 0;
}

int blipmq_topic_close(struct blipmq *b, const struct blipmq_handle *topic)
{
	struct blipmq_topic_close close = {
		.head.size = sizeof(close),
		.handle = topic->handle,
	};

	return blipmq__call(b, BLIPMQ_IOC_TOPIC_CLOSE, &close.head);
}

/* Writes what was recorded last into the result of the message it belongs to. */
static void result_refuse(struct blipmq_result *result)
{
	const struct blipmq_error *why = blipmq_last_error();

	result->seq = 0;
	result->delivered = 0;
	result->error = why->error;
	result->reason = why->reason;
}

/*
 * One system call. @elements are @nr messages or, with BLIPMQ_PUBLISH_BLOCKS,
 * blocks of @messages messages together. Returns how many were published, and if
 * those are not all, has recorded why, also in @results; or the error.
 */
int blipmq__publish(const struct blipmq *b, uint32_t flags, const void *elements,
		    unsigned int nr, unsigned int messages, struct blipmq_result *results)
{
	struct blipmq_publish publish = {
		.head = { .size = sizeof(publish), .flags = flags },
		.messages = (uintptr_t)elements,
		.nr = nr,
		.results = (uintptr_t)results,
	};
	int error;

	if (b->flags & BLIPMQ_OPEN_NONBLOCK)
		publish.head.flags |= BLIPMQ_PUBLISH_NONBLOCK;
	error = blipmq__ioctl(b->fd, BLIPMQ_IOC_PUBLISH, &publish.head);
	if (!error && publish.done == messages)
		return messages;
	if (error)
		publish.done = 0;
	else
		error = publish.error;
	blipmq__fail(error, publish.head.reason, publish.head.detail);
	if (results)
		result_refuse(&results[publish.done]);
	return publish.done ? (int)publish.done : error;
}

/* How many of the first @n messages may be handed to the kernel. */
static unsigned int batch_check(const struct blipmq *b, const struct blipmq_message *messages,
				unsigned int n)
{
	const char *subject;
	unsigned int i;

	for (i = 0; i < n; i++) {
		subject = (const char *)(uintptr_t)messages[i].subject;
		if (subject && subject_check(b, subject, messages[i].subject_len))
			break;
	}
	return i;
}

int blipmq_publish_batch(struct blipmq *b, const struct blipmq_message *messages,
			 unsigned int n, struct blipmq_result *results)
{
	unsigned int done, chunk;
	int ret = 0;

	for (done = 0; done < n; done += ret) {
		chunk = n - done < BLIPMQ_BATCH_MAX ? n - done : BLIPMQ_BATCH_MAX;
		chunk = batch_check(b, messages + done, chunk);
		if (!chunk) {
			ret = blipmq_last_error()->error;
			if (results)
				result_refuse(&results[done]);
			break;
		}
		ret = blipmq__publish(b, 0, messages + done, chunk, chunk,
				      results ? results + done : NULL);
		if (ret < (int)chunk) {
			done += ret > 0 ? ret : 0;
			break;
		}
	}
	return done ? (int)done : ret;
}

static int publish_one(struct blipmq *b, struct blipmq_message *message, size_t length,
		       struct blipmq_result *result)
{
	int ret;

	/* Too long stays too long, and is refused. */
	message->length = blipmq__u32(length);
	ret = blipmq_publish_batch(b, message, 1, result);
	return ret < 0 ? ret : 0;
}

int blipmq_publish(struct blipmq *b, const char *subject, const void *data,
		   size_t length, struct blipmq_result *result)
{
	struct blipmq_message message = blipmq_message_subject(subject, strlen(subject), data, 0);

	return publish_one(b, &message, length, result);
}

int blipmq_publish_topic(struct blipmq *b, const struct blipmq_handle *topic,
			 const void *data, size_t length, struct blipmq_result *result)
{
	struct blipmq_message message = blipmq_message_topic(topic, data, 0);

	return publish_one(b, &message, length, result);
}
