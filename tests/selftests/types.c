// SPDX-License-Identifier: GPL-2.0
/*
 * Types of topics: what of them is refused, whose counts, how long, and who may ask.
 */
#include <fcntl.h>
#include <pthread.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"types.one"
#define OTHER	"types.two"
#define TYPE	0x0123456789abcdefULL
#define NAME	"sample/2: u64 time, double value"

FIXTURE(file) {
	int fd;
	struct blipmq_topic open;	/* to be made, good as it is */
};

FIXTURE_SETUP(file)
{
	ASSERT_EQ(0, fresh_bus(NULL));
	self->fd = bus_open(O_RDWR);
	ASSERT_LE(0, self->fd);
	self->open = (struct blipmq_topic){
		.subject = ptr_u64(SUBJECT),
		.subject_len = strlen(SUBJECT),
		.type = TYPE,
		.type_name = ptr_u64(NAME),
		.type_name_len = strlen(NAME),
	};
}

FIXTURE_TEARDOWN(file)
{
	close(self->fd);
}

static __u64 nr_topics(int fd)
{
	struct blipmq_stats stats;

	return bus_stats(fd, &stats) ? ~0ULL : stats.topics;
}

/* The type of a topic as one endpoint is told it, with its name, terminated. */
static int ask(int fd, __u64 topic, __u64 *type, char *name)
{
	struct blipmq_type query = {
		.topic = topic, .name = ptr_u64(name), .name_size = BLIPMQ_TYPE_NAME_MAX,
	};
	int ret;

	memset(name, POISON, BLIPMQ_TYPE_NAME_MAX + 1);
	ret = do_type(fd, &query);
	*type = query.type;
	if (!ret)
		name[query.name_len] = 0;
	return ret;
}

#define EXPECT_TYPE(_type, _name, _fd, _topic) do { \
	char __name[BLIPMQ_TYPE_NAME_MAX + 1]; \
	__u64 __type; \
	EXPECT_EQ(0, ask(_fd, _topic, &__type, __name)); \
	EXPECT_EQ(_type, __type); \
	EXPECT_STREQ(_name, __name); \
} while (0)

#define EXPECT_OPEN(_error, _reason, _fd, _open) do { \
	struct blipmq_topic *__open = (_open); \
	EXPECT_EQ(_error, do_topic(_fd, __open)); \
	EXPECT_EQ(_reason, __open->head.reason); \
} while (0)

/* ---- Refusals: no topic comes to exist by them, no handle, no type ---- */

TEST_F(file, name_length)
{
	static const __u32 bad[] = { 256, 257, 65535, 65536, 65537, 1u << 31, ~0u };
	static char name[65537];

	memset(name, 'n', sizeof(name));
	self->open.type_name = ptr_u64(name);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		self->open.type_name_len = bad[i];
		EXPECT_OPEN(-EINVAL, BLIPMQ_REASON_TYPE_NAME, self->fd, &self->open);
		EXPECT_EQ(BLIPMQ_TYPE_NAME_MAX, self->open.head.detail);
	}
	EXPECT_EQ(0, nr_topics(self->fd));
	self->open.type_name_len = BLIPMQ_TYPE_NAME_MAX;
	EXPECT_OPEN(0, BLIPMQ_REASON_NONE, self->fd, &self->open);
	EXPECT_EQ(1, self->open.handle);
}

TEST_F(file, name_without_a_type)
{
	self->open.type = 0;
	EXPECT_OPEN(-EINVAL, BLIPMQ_REASON_TYPE_NAME, self->fd, &self->open);
	self->open.type_name_len = 1;
	EXPECT_OPEN(-EINVAL, BLIPMQ_REASON_TYPE_NAME, self->fd, &self->open);
	EXPECT_EQ(0, nr_topics(self->fd));
	self->open.type_name_len = 0;
	EXPECT_OPEN(0, BLIPMQ_REASON_NONE, self->fd, &self->open);
	EXPECT_TYPE(0, "", self->fd, self->open.topic);
}

TEST_F(file, name_characters)
{
	char name[] = "ab cd";

	self->open.type_name = ptr_u64(name);
	self->open.type_name_len = 5;
	for (int c = 0; c <= 0xff; c++) {
		bool bad = c < ' ' || c == 0x7f;
		int at = c % 5;
		char was = name[at];

		self->open.type = TYPE;
		name[at] = c;
		if (bad)
			EXPECT_OPEN(-EINVAL, BLIPMQ_REASON_TYPE_NAME, self->fd, &self->open);
		name[at] = was;
	}
	EXPECT_EQ(0, nr_topics(self->fd));
	for (int c = ' '; c <= 0xff; c++) {
		char subject[8];

		if (c == 0x7f)
			continue;
		snprintf(subject, sizeof(subject), "t.%d", c);
		self->open.subject = ptr_u64(subject);
		self->open.subject_len = strlen(subject);
		self->open.type = TYPE;
		name[1] = c;
		EXPECT_OPEN(0, BLIPMQ_REASON_NONE, self->fd, &self->open);
		EXPECT_TYPE(TYPE, name, self->fd, self->open.topic);
	}
}

TEST_F(file, name_nowhere)
{
	const __u64 nowhere[] = { 0, 8, NOWHERE, 1ULL << 63,
				  ptr_u64(before_hole(8) + 8 - strlen(NAME) + 1) };

	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
		self->open.type_name = nowhere[i];
		EXPECT_OPEN(-EFAULT, BLIPMQ_REASON_FAULT, self->fd, &self->open);
	}
	EXPECT_EQ(0, nr_topics(self->fd));
	/* Without a name its address does not matter. */
	self->open.type_name_len = 0;
	EXPECT_OPEN(0, BLIPMQ_REASON_NONE, self->fd, &self->open);
	EXPECT_TYPE(TYPE, "", self->fd, self->open.topic);
}

TEST_F(file, another_type)
{
	static const struct { __u64 type; const char *name; } bad[] = {
		{ TYPE + 1, NAME }, { TYPE + 1, "" }, { TYPE ^ 1ULL << 63, NAME }, { 1, "" },
		{ TYPE & ~0u, NAME }, { TYPE, NAME "x" }, { TYPE, "sample/2" }, { TYPE, "x" },
		{ TYPE, "Sample/2: u64 time, double value" },
	};
	struct blipmq_topic first = self->open, last;
	int other = bus_open(O_RDWR);

	ASSERT_EQ(0, do_topic(self->fd, &first));
	for (int who = 0; who < 2; who++)
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			self->open.type = bad[i].type;
			self->open.type_name = ptr_u64(bad[i].name);
			self->open.type_name_len = strlen(bad[i].name);
			EXPECT_OPEN(-EPROTOTYPE, BLIPMQ_REASON_TYPE, who ? other : self->fd,
				    &self->open);
			EXPECT_EQ(bad[i].type, self->open.type);
		}
	EXPECT_TYPE(TYPE, NAME, self->fd, first.topic);
	/* No handle was left behind. */
	last = (struct blipmq_topic){ .subject = first.subject, .subject_len = first.subject_len };
	ASSERT_EQ(0, do_topic(other, &last));
	EXPECT_EQ(1, last.handle);
	EXPECT_EQ(first.topic, last.topic);
	EXPECT_EQ(TYPE, last.type);
	close(other);
}

/* What write(2) publishes to is as before. */
TEST_F(file, another_type_to_write_to)
{
	struct blipmq_topic second = self->open;

	self->open.head.flags = BLIPMQ_TOPIC_WRITE;
	ASSERT_EQ(0, do_topic(self->fd, &self->open));
	second.subject = ptr_u64(OTHER);
	ASSERT_EQ(0, do_topic(self->fd, &second));
	second.head.flags = BLIPMQ_TOPIC_WRITE;
	second.type = 5;
	EXPECT_OPEN(-EPROTOTYPE, BLIPMQ_REASON_TYPE, self->fd, &second);
	ASSERT_EQ(0, make_ring(self->fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->fd, SUBJECT, 0));
	EXPECT_EQ(1, write(self->fd, "w", 1));
	EXPECT_EQ(1, publish(self->fd, SUBJECT, "m", 1));
	EXPECT_EQ(0, publish(self->fd, OTHER, "m", 1));
}

/* Arguments come first, then rights. */
TEST_F(file, without_the_right)
{
	const struct param params[] = { { "mode", "0774" }, { } };
	int fd;

	ASSERT_EQ(0, fresh_bus(params));
	fd = bus_open_as(65534, 65534, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_OPEN(-EACCES, BLIPMQ_REASON_RIGHT_PUBLISH, fd, &self->open);
	close(fd);
}

/* ---- Whose counts ---- */

TEST_F(file, the_first_who_states_one)
{
	struct blipmq_topic open = self->open;

	/* Who states none leaves it open, and is told. */
	open.type = 0;
	open.type_name_len = 0;
	ASSERT_EQ(0, do_topic(self->fd, &open));
	EXPECT_EQ(0, open.type);
	EXPECT_TYPE(0, "", self->fd, open.topic);
	ASSERT_EQ(0, do_topic(self->fd, &self->open));
	EXPECT_EQ(TYPE, self->open.type);
	EXPECT_TYPE(TYPE, NAME, self->fd, open.topic);
	ASSERT_EQ(0, do_topic(self->fd, &open));
	EXPECT_EQ(TYPE, open.type);
	/* By number alone, and once more in full. */
	ASSERT_EQ(0, do_topic(self->fd, &open));
	ASSERT_EQ(0, do_topic(self->fd, &self->open));
	EXPECT_TYPE(TYPE, NAME, self->fd, open.topic);
	EXPECT_EQ(0, publish(self->fd, SUBJECT, "m", 1));
	EXPECT_EQ(1, nr_topics(self->fd));
}

/* A type without a name stays so, whoever comes with one. */
TEST_F(file, number_only)
{
	struct blipmq_topic open = self->open;

	open.type_name_len = 0;
	ASSERT_EQ(0, do_topic(self->fd, &open));
	ASSERT_EQ(0, do_topic(self->fd, &self->open));
	EXPECT_TYPE(TYPE, "", self->fd, open.topic);
	self->open.type = 3;
	EXPECT_OPEN(-EPROTOTYPE, BLIPMQ_REASON_TYPE, self->fd, &self->open);
}

/* The first published struct has a type, but no name. */
TEST_F(file, an_older_program)
{
	struct blipmq_topic *old = (void *)before_hole(BLIPMQ_TOPIC_SIZE_VER0);

	memcpy(old, &self->open, BLIPMQ_TOPIC_SIZE_VER0);
	old->head.size = BLIPMQ_TOPIC_SIZE_VER0;
	EXPECT_EQ(0, raw_ioctl(self->fd, BLIPMQ_IOC_TOPIC, old));
	EXPECT_EQ(1, old->handle);
	EXPECT_TYPE(TYPE, "", self->fd, old->topic);
	old->type = 9;
	EXPECT_EQ(-EPROTOTYPE, raw_ioctl(self->fd, BLIPMQ_IOC_TOPIC, old));
	EXPECT_EQ(BLIPMQ_REASON_TYPE, old->head.reason);
}

/* It outlives who stated it, and goes with the topic. */
TEST(how_long)
{
	const struct param params[] = { { "max_topics", "1" }, { } };
	struct blipmq_topic open = {
		.subject = ptr_u64(SUBJECT), .subject_len = strlen(SUBJECT), .type = TYPE,
	};
	int fd;

	ASSERT_EQ(0, fresh_bus(params));
	fd = bus_open(O_RDWR);
	ASSERT_EQ(0, do_topic(fd, &open));
	close(fd);
	fd = bus_open(O_RDWR);
	open.type = 4;
	EXPECT_OPEN(-EPROTOTYPE, BLIPMQ_REASON_TYPE, fd, &open);
	/* There is one place: the topic makes way, and is another one when it comes again. */
	ASSERT_EQ(0, publish(fd, OTHER, "m", 1));
	EXPECT_OPEN(0, BLIPMQ_REASON_NONE, fd, &open);
	EXPECT_TYPE(4, "", fd, open.topic);
	close(fd);
}

struct racer {
	pthread_t thread;
	pthread_barrier_t *barrier;
	int fd;
	__u64 type;
	char subject[32];
	int ret;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	struct blipmq_topic open = {
		.subject = ptr_u64(racer->subject),
		.subject_len = strlen(racer->subject),
		.type = racer->type,
	};

	pthread_barrier_wait(racer->barrier);
	racer->ret = do_topic(racer->fd, &open);
	return NULL;
}

/* Of several who come first at once one wins, with all who say the same. */
TEST_F(file, at_once)
{
	struct racer racers[4];
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, ARRAY_SIZE(racers));
	for (int round = 0; round < 100; round++) {
		int won = 0, won_by = 0;

		for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
			racers[i] = (struct racer){
				.barrier = &barrier, .fd = bus_open(O_RDWR), .type = 1 + i / 2,
			};
			sprintf(racers[i].subject, "race.%d", round);
			ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, race, &racers[i]));
		}
		for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
			pthread_join(racers[i].thread, NULL);
			EXPECT_TRUE(racers[i].ret == 0 || racers[i].ret == -EPROTOTYPE);
			if (!racers[i].ret) {
				won++;
				won_by |= 1 << racers[i].type;
			}
			close(racers[i].fd);
		}
		EXPECT_EQ(2, won);
		EXPECT_TRUE(won_by == 1 << 1 || won_by == 1 << 2);
	}
	pthread_barrier_destroy(&barrier);
}

/* ---- Who may ask ---- */

#define EXPECT_NOT_TOLD(_fd, _topic) do { \
	struct blipmq_type __query = { .topic = (_topic) }; \
	EXPECT_EQ(-ENOENT, do_type(_fd, &__query)); \
	EXPECT_EQ(BLIPMQ_REASON_TOPIC, __query.head.reason); \
} while (0)

TEST_F(file, asking_for_no_topic)
{
	static const __u64 bad[] = { 0, 2, 1ULL << 32, 1ULL << 63, ~0ULL };

	ASSERT_EQ(0, do_topic(self->fd, &self->open));
	ASSERT_EQ(1, self->open.topic);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_NOT_TOLD(self->fd, bad[i]);
	EXPECT_TYPE(TYPE, NAME, self->fd, 1);
}

TEST_F(file, asking_for_others_topics)
{
	int fd = bus_open(O_RDWR);
	struct blipmq_topic mine = {
		.subject = ptr_u64(OTHER), .subject_len = strlen(OTHER),
	};
	struct blipmq_topic_close end = { };
	struct blipmq_unsubscribe unsub = { };
	int id;

	ASSERT_EQ(0, do_topic(self->fd, &self->open));
	EXPECT_NOT_TOLD(fd, self->open.topic);
	ASSERT_EQ(0, do_topic(fd, &mine));
	EXPECT_NOT_TOLD(fd, self->open.topic);
	ASSERT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(fd, "other.>", 0));
	EXPECT_NOT_TOLD(fd, self->open.topic);
	/* By a subscription, as long as it is there. */
	id = subscribe(fd, "types.*", 0);
	ASSERT_LT(0, id);
	EXPECT_TYPE(TYPE, NAME, fd, self->open.topic);
	unsub.id = id;
	ASSERT_EQ(0, do_unsubscribe(fd, &unsub));
	EXPECT_NOT_TOLD(fd, self->open.topic);
	/* By a handle, likewise. */
	ASSERT_EQ(0, do_topic(fd, &self->open));
	EXPECT_TYPE(TYPE, NAME, fd, self->open.topic);
	end.handle = self->open.handle;
	ASSERT_EQ(0, do_topic_close(fd, &end));
	EXPECT_NOT_TOLD(fd, self->open.topic);
	close(fd);
}

/* Who may subscribe and nothing else is told of what he subscribed to. */
TEST_F(file, asking_as_a_reader)
{
	const struct param params[] = { { "mode", "0774" }, { } };
	int owner, fd;

	ASSERT_EQ(0, fresh_bus(params));
	owner = bus_open(O_RDWR);
	ASSERT_EQ(0, do_topic(owner, &self->open));
	fd = bus_open_as(65534, 65534, O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, make_ring(fd, 8, BLIPMQ_POLICY_DROP_OLDEST));
	EXPECT_NOT_TOLD(fd, self->open.topic);
	ASSERT_LT(0, subscribe(fd, SUBJECT, 0));
	EXPECT_TYPE(TYPE, NAME, fd, self->open.topic);
	close(fd);
	close(owner);
}

TEST_F(file, answer_that_does_not_fit)
{
	struct blipmq_type query;
	size_t len = strlen(NAME);

	ASSERT_EQ(0, do_topic(self->fd, &self->open));
	query = (struct blipmq_type){ .topic = self->open.topic, .name_size = 1 };
	EXPECT_EQ(-EINVAL, do_type(self->fd, &query));
	EXPECT_EQ(BLIPMQ_REASON_RESERVED, query.head.reason);
	query.name = NOWHERE;
	EXPECT_EQ(-EFAULT, do_type(self->fd, &query));
	EXPECT_EQ(BLIPMQ_REASON_FAULT, query.head.reason);
	query.name = ptr_u64(read_only_page());
	EXPECT_EQ(-EFAULT, do_type(self->fd, &query));
	for (size_t size = 0; size <= len + 1; size++) {
		char *name = before_hole(size);

		query.name = ptr_u64(name);
		query.name_size = size;
		EXPECT_EQ(0, do_type(self->fd, &query));
		EXPECT_EQ(len, query.name_len);
		EXPECT_EQ(0, memcmp(name, NAME, size < len ? size : len));
	}
	query.name = 0;
	query.name_size = 0;
	EXPECT_EQ(0, do_type(self->fd, &query));
	EXPECT_EQ(TYPE, query.type);
	EXPECT_EQ(len, query.name_len);
}

TEST_HARNESS_MAIN
