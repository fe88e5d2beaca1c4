// SPDX-License-Identifier: LGPL-2.1+
/* Endpoints: opening and closing, and what can be asked of one. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"

#define STRING(x)	#x
#define VERSION(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)

const char *blipmq_version(void)
{
	return VERSION(BLIPMQ_LIB_MAJOR, BLIPMQ_LIB_MINOR, BLIPMQ_LIB_PATCH);
}

/* Writes the name of the bus into @bus, which is zero. */
static int url_parse(const char *url, char bus[BLIPMQ_NAME_MAX])
{
	static const char local[] = "blipmq:", tcp[] = "tcp://";
	size_t len;

	if (!strncmp(url, tcp, sizeof(tcp) - 1))
		return blipmq__fail(-EPROTONOSUPPORT, BLIPMQ_REASON_TRANSPORT, 0);
	if (strncmp(url, local, sizeof(local) - 1))
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_URL, 0);
	url += sizeof(local) - 1;
	len = strlen(url);
	if (!len || len >= BLIPMQ_NAME_MAX)
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_URL_NAME, BLIPMQ_NAME_MAX - 1);
	memcpy(bus, url, len);
	return 0;
}

static int device_open(void)
{
	int fd = open(BLIPMQ_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return blipmq__fail(-ENOENT, BLIPMQ_REASON_DEVICE_NONE, 0);
	case EACCES:
	case EPERM:
		return blipmq__fail(-EACCES, BLIPMQ_REASON_DEVICE_ACCESS, 0);
	default:
		return blipmq__fail(-errno, BLIPMQ_REASON_NONE, 0);
	}
}

int blipmq_open(const char *url, unsigned int flags, struct blipmq **out)
{
	struct blipmq_bind bind = { .head.size = sizeof(bind) };
	struct blipmq *b;
	int error;

	*out = NULL;
	if (flags & ~(BLIPMQ_OPEN_NONBLOCK | BLIPMQ_OPEN_LITERAL))
		return blipmq__fail(-EINVAL, BLIPMQ_REASON_OPTIONS, 0);
	error = url_parse(url ? url : BLIPMQ_URL_DEFAULT, bind.bus);
	if (error)
		return error;

	b = calloc(1, sizeof(*b));
	if (!b)
		return blipmq__fail(-ENOMEM, BLIPMQ_REASON_NONE, 0);
	b->flags = flags;
	b->fd = device_open();
	if (b->fd < 0) {
		error = b->fd;
		goto err_free;
	}
	error = blipmq__call(b, BLIPMQ_IOC_BIND, &bind.head);
	if (error)
		goto err_close;
	error = -pthread_mutex_init(&b->lock, NULL);
	if (error) {
		blipmq__fail(error, BLIPMQ_REASON_NONE, 0);
		goto err_close;
	}
	*out = b;
	return 0;

err_close:
	close(b->fd);
err_free:
	free(b);
	return error;
}

void blipmq_close(struct blipmq *b)
{
	if (!b)
		return;
	blipmq__ring_exit(b);
	close(b->fd);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

int blipmq_info(struct blipmq *b, struct blipmq_info *info, size_t size)
{
	memset(info, 0, size);
	info->head.size = size;
	return blipmq__call(b, BLIPMQ_IOC_INFO, &info->head);
}

int blipmq_stats(struct blipmq *b, unsigned int kind, uint32_t id,
		 struct blipmq_stats *stats, size_t size)
{
	memset(stats, 0, size);
	stats->head.size = size;
	stats->kind = kind;
	stats->id = id;
	return blipmq__call(b, BLIPMQ_IOC_STATS, &stats->head);
}
