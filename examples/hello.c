// SPDX-License-Identifier: LGPL-2.1+
#include <blipmq.h>
#include <stdio.h>

int main(void)
{
	struct blipmq *bus;
	struct blipmq_view message;

	if (blipmq_open("blipmq:default", 0, &bus) < 0 ||
	    blipmq_subscribe(bus, "greetings.*", 0, NULL) < 0 ||
	    blipmq_publish(bus, "greetings.world", "Hello, world", 12, NULL) < 0 ||
	    blipmq_next(bus, &message, BLIPMQ_SEC) < 0)
		return fprintf(stderr, "hello: %s\n", blipmq_strerror()), 1;
	printf("%.*s\n", (int)message.length, (const char *)message.data);
	blipmq_release(bus, &message, 1);
	blipmq_close(bus);
}
