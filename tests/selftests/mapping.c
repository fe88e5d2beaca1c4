// SPDX-License-Identifier: GPL-2.0
/*
 * The matrix of what may not be done with the mappings.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "common.h"
#include "harness.h"

#define SUBJECT	"mapping.subject"
#define ENTRIES	1024	/* several pages of descriptors */

enum { RING, CONTROL, STORE, NR_REGIONS };

static const char *const names[NR_REGIONS] = { "ring", "control", "store" };
static const __u64 offsets[NR_REGIONS] = { BLIPMQ_OFF_RING, BLIPMQ_OFF_CONTROL, BLIPMQ_OFF_STORE };

/* A file with a ring, nothing mapped. */
FIXTURE(file) {
	int fd;
	size_t sizes[NR_REGIONS];
};

FIXTURE_SETUP(file)
{
	struct blipmq_ring ring = { .entries = ENTRIES };
	struct blipmq_info info = { };

	self->fd = bus_open(O_RDWR);
	ASSERT_EQ(0, do_ring(self->fd, &ring));
	ASSERT_EQ(0, do_info(self->fd, &info));
	self->sizes[RING] = ring.ring_size;
	self->sizes[CONTROL] = ring.control_size;
	self->sizes[STORE] = info.store_size;
}

FIXTURE_TEARDOWN(file)
{
	close(self->fd);
}

/* What mmap says: 0 (and the mapping is gone again) or the error. */
static int try_map(int fd, size_t size, int prot, int flags, __u64 offset)
{
	void *p = mmap(NULL, size, prot, flags, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, size);
	return 0;
}

/* ---- mmap ---- */

TEST(unbound)
{
	int fd = bus_open(O_RDWR);

	for (int r = 0; r < NR_REGIONS; r++)
		EXPECT_EQ(-ENXIO, try_map(fd, page_size(), PROT_READ, MAP_SHARED, offsets[r]));
	EXPECT_EQ(0, bind_bus(fd, "default"));
	/* Bound, but there is no ring to map. */
	EXPECT_EQ(-ENXIO, try_map(fd, page_size(), PROT_READ, MAP_SHARED, offsets[RING]));
	EXPECT_EQ(-ENXIO, try_map(fd, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
				  offsets[CONTROL]));
}

/* ---- BIND while mmap is under way ---- */

#define BIND_ROUNDS	12	/* it takes one that falls in the middle */
#define BIND_SIZE	(16u << 20)

struct bind_race {
	pthread_barrier_t start;
	int fd;
	char *area;
};

/* What is unmapped to make place takes a while, in the middle of mmap. */
static void *map_over(void *arg)
{
	struct bind_race *race = arg;

	pthread_barrier_wait(&race->start);
	mmap(race->area, BIND_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, race->fd,
	     BLIPMQ_OFF_CONTROL);
	return NULL;
}

/* Whatever comes of it for that file, others of the bus map theirs. */
TEST(bind_while_mapping)
{
	struct bind_race race = { };
	struct consumer c;
	pthread_t thread;
	int round;

	ASSERT_EQ(0, fresh_bus(NULL));
	ASSERT_EQ(0, pthread_barrier_init(&race.start, NULL, 2));
	for (round = 0; round < BIND_ROUNDS; round++) {
		race.fd = bus_open(O_RDWR);
		race.area = mmap(NULL, BIND_SIZE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		ASSERT_NE(MAP_FAILED, race.area);
		ASSERT_EQ(0, pthread_create(&thread, NULL, map_over, &race));
		pthread_barrier_wait(&race.start);
		usleep(random() % 2000);
		EXPECT_EQ(0, bind_bus(race.fd, "default"));
		pthread_join(thread, NULL);
		munmap(race.area, BIND_SIZE);
		close(race.fd);
	}
	pthread_barrier_destroy(&race.start);
	ASSERT_EQ(0, consumer_open(&c, 16, 0, BLIPMQ_POLICY_DROP_OLDEST));
	consumer_close(&c);
}

TEST_F(file, wrong_rights)
{
	static const struct { int region, prot; } bad[] = {
		{ RING, PROT_WRITE }, { RING, PROT_READ | PROT_WRITE }, { RING, PROT_EXEC },
		{ RING, PROT_READ | PROT_EXEC }, { CONTROL, PROT_EXEC },
		{ CONTROL, PROT_READ | PROT_WRITE | PROT_EXEC }, { STORE, PROT_WRITE },
		{ STORE, PROT_READ | PROT_WRITE }, { STORE, PROT_EXEC },
		{ STORE, PROT_READ | PROT_EXEC }, { STORE, PROT_READ | PROT_WRITE | PROT_EXEC },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = bad[i].region;

		EXPECT_EQ(-EACCES, try_map(self->fd, self->sizes[r], bad[i].prot, MAP_SHARED,
					   offsets[r])) {
			TH_LOG("%s, prot %d", names[r], bad[i].prot);
		}
	}
	/* None of these decided how the ring is consumed. */
	EXPECT_GT(0, raw_ioctl(self->fd, BLIPMQ_IOC_RECV, NULL));
	EXPECT_EQ(0, try_map(self->fd, self->sizes[CONTROL], PROT_READ | PROT_WRITE, MAP_SHARED,
			     offsets[CONTROL]));
}

TEST_F(file, private)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE,
				     PROT_EXEC };

	for (int r = 0; r < NR_REGIONS; r++) {
		for (size_t i = 0; i < ARRAY_SIZE(prots); i++) {
			int ret = try_map(self->fd, self->sizes[r], prots[i], MAP_PRIVATE,
					  offsets[r]);

			if (prots[i] == PROT_NONE || prots[i] == PROT_READ)
				EXPECT_EQ(-EINVAL, ret) { TH_LOG("%s", names[r]); }
			else
				EXPECT_TRUE(ret == -EINVAL || ret == -EACCES);
		}
	}
}

TEST_F(file, wrong_sizes)
{
	const size_t page = page_size();

	for (int r = 0; r < NR_REGIONS; r++) {
		const size_t bad[] = { self->sizes[r] + page, self->sizes[r] - page,
				       2 * self->sizes[r], self->sizes[r] / 2 / page * page, page,
				       1UL << 40 };
		int prot = r == CONTROL ? PROT_READ | PROT_WRITE : PROT_READ;

		EXPECT_EQ(-EINVAL, try_map(self->fd, 0, prot, MAP_SHARED, offsets[r]));
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			if (!bad[i] || bad[i] == self->sizes[r])
				continue;
			EXPECT_EQ(-EINVAL, try_map(self->fd, bad[i], prot, MAP_SHARED,
						   offsets[r])) {
				TH_LOG("%s, %zu bytes", names[r], bad[i]);
			}
		}
		EXPECT_EQ(0, try_map(self->fd, self->sizes[r], prot, MAP_SHARED, offsets[r])) {
			TH_LOG("%s", names[r]);
		}
	}
}

TEST_F(file, wrong_offsets)
{
	const __u64 page = page_size();

	for (int r = 0; r < NR_REGIONS; r++) {
		const __u64 bad[] = { offsets[r] + page, offsets[r] + self->sizes[r],
				      offsets[r] + self->sizes[r] - page, offsets[r] - page,
				      BLIPMQ_OFF_LOAN, BLIPMQ_OFF_LOAN + page, 1ULL << 44,
				      1ULL << 45, (1ULL << 62), ~0ULL << 12, 1ULL << 63,
				      (1ULL << 63) - page };
		int prot = r == CONTROL ? PROT_READ | PROT_WRITE : PROT_READ;

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			int ret;

			if (bad[i] == offsets[r])
				continue;
			ret = try_map(self->fd, self->sizes[r], prot, MAP_SHARED, bad[i]);

			/* The kernel itself refuses offsets that no file has. */
			EXPECT_TRUE(ret == -EINVAL || ret == -EOVERFLOW) {
				TH_LOG("%s at %llx: %d", names[r], bad[i], ret);
			}
		}
	}
}

TEST(wrong_open_mode)
{
	for (int way = 0; way < 2; way++) {
		struct blipmq_ring ring = { .entries = ENTRIES };
		struct blipmq_info info = { };
		int fd = bus_open(way ? O_WRONLY : O_RDONLY);

		ASSERT_EQ(0, do_ring(fd, &ring));
		ASSERT_EQ(0, do_info(fd, &info));
		EXPECT_EQ(-EACCES, try_map(fd, ring.ring_size, PROT_READ, MAP_SHARED,
					   BLIPMQ_OFF_RING));
		EXPECT_EQ(-EACCES, try_map(fd, ring.control_size, PROT_READ | PROT_WRITE,
					   MAP_SHARED, BLIPMQ_OFF_CONTROL));
		EXPECT_EQ(-EACCES, try_map(fd, ring.control_size, PROT_READ, MAP_SHARED,
					   BLIPMQ_OFF_CONTROL));
		/* What may be read may be seen. */
		EXPECT_EQ(way ? -EACCES : 0, try_map(fd, info.store_size, PROT_READ, MAP_SHARED,
						     BLIPMQ_OFF_STORE));
		EXPECT_EQ(-EACCES, try_map(fd, info.store_size, PROT_WRITE, MAP_SHARED,
					   BLIPMQ_OFF_STORE));
		close(fd);
	}
}

TEST_F(file, second_store)
{
	void *p = mmap(NULL, self->sizes[STORE], PROT_READ, MAP_SHARED, self->fd,
		       BLIPMQ_OFF_STORE);

	ASSERT_NE(MAP_FAILED, p);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EBUSY, try_map(self->fd, self->sizes[STORE], PROT_READ, MAP_SHARED,
					  BLIPMQ_OFF_STORE));
	ASSERT_EQ(0, munmap(p, self->sizes[STORE]));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, try_map(self->fd, self->sizes[STORE], PROT_READ, MAP_SHARED,
				     BLIPMQ_OFF_STORE));
}

/* A refused mapping of the store is not the one that a file may have. */
TEST_F(file, refused_store_is_none)
{
	try_map(self->fd, self->sizes[STORE], PROT_WRITE, MAP_SHARED, BLIPMQ_OFF_STORE);
	try_map(self->fd, self->sizes[STORE], PROT_READ, MAP_PRIVATE, BLIPMQ_OFF_STORE);
	try_map(self->fd, page_size(), PROT_READ, MAP_SHARED, BLIPMQ_OFF_STORE);
	EXPECT_EQ(0, try_map(self->fd, self->sizes[STORE], PROT_READ, MAP_SHARED,
			     BLIPMQ_OFF_STORE));
}

/* ---- What is mapped ---- */

FIXTURE(mapped) {
	struct consumer c;
	struct blipmq_desc desc;	/* of a message that lies there, "original" */
	char *at[NR_REGIONS];
	size_t sizes[NR_REGIONS];
};

FIXTURE_SETUP(mapped)
{
	__u64 index;

	ASSERT_EQ(0, consumer_open(&self->c, ENTRIES, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(self->c.fd, SUBJECT, 0));
	ASSERT_EQ(1, publish(self->c.fd, SUBJECT, "original", 9));
	ASSERT_EQ(1, consumer_claim(&self->c, &self->desc, 1, &index));
	ASSERT_STREQ("original", consumer_payload(&self->c, &self->desc));
	self->at[RING] = self->c.ring;
	self->at[CONTROL] = self->c.control;
	self->at[STORE] = (char *)self->c.store;
	self->sizes[RING] = self->c.info.ring_size;
	self->sizes[CONTROL] = self->c.info.control_size;
	self->sizes[STORE] = self->c.store_size;
}

/* Whatever was tried, the message is as it was and others arrive. */
FIXTURE_TEARDOWN(mapped)
{
	struct blipmq_desc desc;
	__u64 index;

	EXPECT_STREQ("original", consumer_payload(&self->c, &self->desc));
	EXPECT_EQ(1, publish(self->c.fd, SUBJECT, "after", 6));
	ASSERT_EQ(1, consumer_claim(&self->c, &desc, 1, &index));
	EXPECT_STREQ("after", consumer_payload(&self->c, &desc));
	EXPECT_EQ(0, consumer_broken(&self->c));
	consumer_close(&self->c);
}

/* The page in which the payload of the fixture's message lies. */
static char *message_page(struct _test_data_mapped *self)
{
	uintptr_t p = (uintptr_t)consumer_payload(&self->c, &self->desc);

	return (char *)(p / page_size() * page_size());
}

static int try_protect(void *p, size_t size, int prot)
{
	return mprotect(p, size, prot) ? -errno : 0;
}

TEST_F(mapped, mprotect_up)
{
	static const int prots[] = { PROT_WRITE, PROT_READ | PROT_WRITE, PROT_EXEC,
				     PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC };

	for (int r = 0; r < NR_REGIONS; r++) {
		for (size_t i = 0; i < ARRAY_SIZE(prots); i++) {
			if (r == CONTROL && !(prots[i] & PROT_EXEC))
				continue;
			EXPECT_EQ(-EACCES, try_protect(self->at[r], self->sizes[r], prots[i])) {
				TH_LOG("%s, %d", names[r], prots[i]);
			}
		}
		/* Down and up to what it was is nobody's harm. */
		EXPECT_EQ(0, try_protect(self->at[r], self->sizes[r], PROT_NONE));
		EXPECT_EQ(-EACCES, try_protect(self->at[r], self->sizes[r], PROT_EXEC));
		EXPECT_EQ(0, try_protect(self->at[r], self->sizes[r],
					 r == CONTROL ? PROT_READ | PROT_WRITE : PROT_READ));
	}
}

TEST_F(mapped, mremap_grow)
{
	const size_t page = page_size();

	for (int r = 0; r < NR_REGIONS; r++) {
		static const int flags[] = { 0, MREMAP_MAYMOVE };

		for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
			EXPECT_EQ(MAP_FAILED, mremap(self->at[r], self->sizes[r],
						     self->sizes[r] + page, flags[i]));
			EXPECT_EQ(EFAULT, errno) { TH_LOG("%s", names[r]); }
			EXPECT_EQ(MAP_FAILED, mremap(self->at[r], page, self->sizes[r] + page,
						     flags[i]));
		}
	}
}

/* Neither by length 0 nor by leaving the old place mapped is there a second mapping. */
TEST_F(mapped, mremap_duplicate)
{
	for (int r = 0; r < NR_REGIONS; r++) {
		EXPECT_EQ(MAP_FAILED, mremap(self->at[r], 0, self->sizes[r], MREMAP_MAYMOVE));
		EXPECT_EQ(EFAULT, errno) { TH_LOG("%s", names[r]); }
		EXPECT_EQ(MAP_FAILED, mremap(self->at[r], 0, page_size(), MREMAP_MAYMOVE));
		EXPECT_EQ(MAP_FAILED, mremap(self->at[r], self->sizes[r], self->sizes[r],
					     MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
	}
}

static void *a_place(size_t size)
{
	void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p;
}

/* A whole mapping may move; it is the same there. A part may not. */
TEST_F(mapped, mremap_move)
{
	const size_t page = page_size();

	for (int r = 0; r < NR_REGIONS; r++) {
		void *place = a_place(self->sizes[r]), *p;

		if (self->sizes[r] > page) {
			EXPECT_EQ(MAP_FAILED, mremap(self->at[r], page, page,
						     MREMAP_MAYMOVE | MREMAP_FIXED, place));
			EXPECT_EQ(MAP_FAILED, mremap(self->at[r], self->sizes[r], page, 0));
		}
		p = mremap(self->at[r], self->sizes[r], self->sizes[r],
			   MREMAP_MAYMOVE | MREMAP_FIXED, place);
		ASSERT_EQ(place, p) { TH_LOG("%s: %d", names[r], errno); }
		EXPECT_EQ(SIGSEGV, probe(self->at[r]));
		self->at[r] = p;
	}
	self->c.ring = self->at[RING];
	self->c.control = self->at[CONTROL];
	self->c.store = self->at[STORE];
	EXPECT_EQ(-EBUSY, try_map(self->c.fd, self->sizes[STORE], PROT_READ, MAP_SHARED,
				  BLIPMQ_OFF_STORE));
}

/* Every way to tear a mapping in two. */
static void expect_no_split(struct __test_metadata *_metadata,
			    struct _test_data_mapped *self, int r)
{
	const size_t page = page_size(), size = self->sizes[r];
	char *const first = self->at[r], *const last = first + size - page;
	char *const middle = first + size / 2 / page * page;
	char *const parts[] = { first, middle, last };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		EXPECT_EQ(-1, munmap(parts[i], page));
		EXPECT_EQ(EINVAL, errno) { TH_LOG("%s, munmap part %zu", names[r], i); }
		EXPECT_EQ(-EINVAL, try_protect(parts[i], page, PROT_NONE)) {
			TH_LOG("%s, mprotect part %zu", names[r], i);
		}
		EXPECT_EQ(MAP_FAILED, mmap(parts[i], page, PROT_READ,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)) {
			TH_LOG("%s, mmap over part %zu", names[r], i);
		}
		EXPECT_EQ(MAP_FAILED, mremap(parts[i], page, page,
					     MREMAP_MAYMOVE | MREMAP_FIXED, a_place(page)));
		EXPECT_EQ(-1, munmap(parts[i] == first ? first : first + page, size - page));
	}
}

/* Lines of /proc/self/maps that belong to the device. */
static int count_vmas(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	while (fgets(line, sizeof(line), f))
		n += !!strstr(line, "blipmq") && !!strstr(line, "s ");
	fclose(f);
	return n;
}

TEST_F(mapped, splits)
{
	const size_t page = page_size();
	int vmas = count_vmas();

	EXPECT_LE(1, vmas);
	for (int r = 0; r < NR_REGIONS; r++)
		if (self->sizes[r] > page)
			expect_no_split(_metadata, self, r);
	EXPECT_EQ(vmas, count_vmas());
}

/* 65,000 attempts to cut the store into small pieces, from both sides. */
TEST_F(mapped, splits_65000)
{
	const size_t page = page_size(), pages = self->sizes[STORE] / page;
	int vmas = count_vmas();

	for (size_t i = 0; i < 32500; i++) {
		char *p = self->at[STORE] + i * 2 % pages * page;

		ASSERT_EQ(-1, munmap(p, page));
		ASSERT_EQ(-1, mprotect(p, page, PROT_NONE));
	}
	EXPECT_EQ(vmas, count_vmas());
}

#define ADVICE_MAX	26

/* Advice that gives pages away. */
static bool gives_away(int advice)
{
	return advice == MADV_DONTNEED || advice == 24 /* DONTNEED_LOCKED */;
}

/* Advice of every kind, on the whole and on parts: taken or not, nothing changes. */
TEST_F(mapped, madvise_all)
{
	const size_t page = page_size();
	char *message = message_page(self);

	for (int advice = 0; advice <= ADVICE_MAX; advice++) {
		for (int r = 0; r < NR_REGIONS; r++) {
			/* The store's pages come back, those of a ring do not: see below. */
			if (r != STORE && gives_away(advice))
				continue;
			madvise(self->at[r], self->sizes[r], advice);
			madvise(self->at[r], page, advice);
		}
		madvise(message, page, advice);
		EXPECT_STREQ("original", consumer_payload(&self->c, &self->desc)) {
			TH_LOG("advice %d", advice);
		}
		EXPECT_EQ(1, consumer_load(consumer_claim_word(&self->c)));
	}
	/* Still read only, whatever advice said of copying. */
	for (int r = 0; r < NR_REGIONS; r++)
		if (r != CONTROL)
			EXPECT_EQ(-EACCES, try_protect(self->at[r], self->sizes[r], PROT_WRITE));
}

/* Who gives the pages of its own ring away has lost them: SIGBUS for it, nothing for others. */
TEST_F(mapped, madvise_away)
{
	struct blipmq_stats stats;
	struct consumer c;

	ASSERT_EQ(0, consumer_open(&c, ENTRIES, 0, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(c.fd, SUBJECT, 0));
	ASSERT_EQ(0, madvise(c.ring, c.info.ring_size, MADV_DONTNEED));
	ASSERT_EQ(0, madvise(c.control, c.info.control_size, MADV_DONTNEED));
	EXPECT_EQ(SIGBUS, probe(c.ring));
	EXPECT_EQ(SIGBUS, probe(c.control));
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(2, publish(c.fd, SUBJECT, "m", 1));
	EXPECT_EQ(10, consumer_drain(&self->c));
	ASSERT_EQ(0, ring_stats(c.fd, &stats));
	EXPECT_EQ(10, stats.queued);
	/* It may map them anew. */
	consumer_unmap(&c);
	c.ring = mmap(NULL, c.info.ring_size, PROT_READ, MAP_SHARED, c.fd, BLIPMQ_OFF_RING);
	ASSERT_NE(MAP_FAILED, c.ring);
	EXPECT_EQ(10, consumer_prod(&c));
	consumer_close(&c);
}

static int look_and_leave(void *arg)
{
	probe(arg);
	return 0;
}

/*
 * Linux lets a process undo "not inherited" for its own mappings. What the child gets is a
 * mapping of the same file: it still is the one that the file may have.
 */
TEST_F(mapped, madvise_dofork)
{
	for (int r = 0; r < NR_REGIONS; r++)
		madvise(self->at[r], self->sizes[r], MADV_DOFORK);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(0, reap(spawn(look_and_leave, message_page(self))));
		EXPECT_EQ(-EBUSY, try_map(self->c.fd, self->sizes[STORE], PROT_READ, MAP_SHARED,
					  BLIPMQ_OFF_STORE));
	}
}

TEST_F(mapped, mlock)
{
	for (int r = 0; r < NR_REGIONS; r++) {
		if (!mlock(self->at[r], page_size()))
			munlock(self->at[r], page_size());
		if (!mlock(self->at[r], self->sizes[r]))
			munlock(self->at[r], self->sizes[r]);
	}
	mlockall(MCL_CURRENT);
	munlockall();
}

TEST_F(mapped, populate)
{
	struct blipmq_info info = { };
	int fd = bus_open(O_RDWR);
	void *p;

	ASSERT_EQ(0, bind_bus(fd, "default"));
	ASSERT_EQ(0, do_info(fd, &info));
	p = mmap(NULL, info.store_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
		 BLIPMQ_OFF_STORE);
	EXPECT_NE(MAP_FAILED, p);
	close(fd);
	munmap(p, info.store_size);
}

/* ---- Other ways to write ---- */

TEST_F(mapped, proc_self_mem)
{
	int mem = open("/proc/self/mem", O_RDWR);
	char buf[9];

	ASSERT_LE(0, mem);
	EXPECT_EQ(-1, pwrite(mem, "x", 1, (uintptr_t)self->at[RING]));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(mem, "x", 1, (uintptr_t)consumer_payload(&self->c, &self->desc)));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(9, pread(mem, buf, 9, (uintptr_t)consumer_payload(&self->c, &self->desc)));
	EXPECT_STREQ("original", buf);
}

TEST_F(mapped, process_vm_writev)
{
	char byte = 'x', buf[9];
	struct iovec local = { &byte, 1 };
	struct iovec ring = { self->at[RING], 1 };
	struct iovec store = { (void *)consumer_payload(&self->c, &self->desc), 1 };
	struct iovec whole = { (void *)consumer_payload(&self->c, &self->desc), 9 };
	struct iovec into = { buf, 9 };

	EXPECT_EQ(-1, process_vm_writev(getpid(), &local, 1, &ring, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, process_vm_writev(getpid(), &local, 1, &store, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(9, process_vm_readv(getpid(), &into, 1, &whole, 1, 0));
	EXPECT_STREQ("original", buf);
}

TEST_F(mapped, read_into)
{
	void *payload = (void *)consumer_payload(&self->c, &self->desc);
	int fds[2], file = open("/proc/self/exe", O_RDONLY);

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(4, write(fds[1], "evil", 4));
	EXPECT_EQ(-1, read(fds[0], payload, 4));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, read(fds[0], self->at[RING], 4));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pread(file, payload, 4, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pread(file, self->at[RING], 4, 0));
	EXPECT_EQ(EFAULT, errno);
}

/* The bus itself does not write there either: its outputs are refused as others' are. */
TEST_F(mapped, outputs_into)
{
	void *payload = (void *)consumer_payload(&self->c, &self->desc);
	struct blipmq_recv r = { .payload = ptr_u64(payload), .payload_size = 4 };
	int fd = bus_open(O_RDWR);

	ASSERT_EQ(0, make_ring(fd, 4, BLIPMQ_POLICY_DROP_OLDEST));
	ASSERT_LT(0, subscribe(fd, SUBJECT, 0));
	ASSERT_EQ(2, publish(fd, SUBJECT, "evil", 4));
	EXPECT_EQ(-1, read(fd, payload, 4));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-EFAULT, do_recv(fd, &r));
	EXPECT_EQ(-EFAULT, raw_ioctl(fd, BLIPMQ_IOC_INFO, self->at[RING]));
	close(fd);
	EXPECT_EQ(1, consumer_drain(&self->c));
}

/* userfaultfd takes none of them, or what it takes changes nothing. */
TEST_F(mapped, userfaultfd)
{
	static const __u64 modes[] = { UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP,
				       UFFDIO_REGISTER_MODE_MINOR,
				       UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP };

	for (int all = 0; all < 2; all++) {
		struct uffdio_api api = { .api = UFFD_API };
		int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

		ASSERT_LE(0, uffd);
		/* Some kernels write-protect any memory once asked to do so asynchronously. */
		api.features = all ? 1 << 15 : 0;
		if (ioctl(uffd, UFFDIO_API, &api)) {
			EXPECT_TRUE(all);
			close(uffd);
			continue;
		}
		for (int r = 0; r < NR_REGIONS; r++) {
			for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
				struct uffdio_register reg = {
					.range = { ptr_u64(self->at[r]), self->sizes[r] },
					.mode = modes[i],
				};
				struct uffdio_writeprotect wp = {
					.range = reg.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP,
				};

				if (ioctl(uffd, UFFDIO_REGISTER, &reg))
					continue;
				EXPECT_TRUE(all);
				ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
				ASSERT_EQ(1, publish(self->c.fd, SUBJECT, "watched", 8));
				EXPECT_EQ(1, consumer_drain(&self->c));
			}
		}
		close(uffd);
	}
}

TEST_HARNESS_MAIN
