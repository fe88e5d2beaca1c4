// SPDX-License-Identifier: GPL-2.0
/*
 * Children, time, namespaces and awkward memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define PARAMETERS	"/sys/module/blipmq/parameters/"

/* ---- Children and time ---- */

pid_t spawn(int (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int ret = fn(arg);

		fflush(stdout);
		_exit(ret);
	}
	return pid;
}

static int shell_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return shell_status(status);
}

int reap_within(pid_t pid, unsigned int ms)
{
	__u64 end = now_ns() + ms * MSEC;
	int status;
	pid_t ret;

	while (!(ret = waitpid(pid, &status, WNOHANG))) {
		if (now_ns() > end)
			return -ETIME;
		sleep_ms(1);
	}
	return ret < 0 ? -errno : shell_status(status);
}

int slay(pid_t pid)
{
	kill(pid, SIGKILL);
	return reap(pid);
}

static char task_state(pid_t tid)
{
	char path[64], line[256], *p = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f))
		p = strrchr(line, ')');
	fclose(f);
	return p ? p[2] : 0;
}

bool is_asleep(pid_t tid)
{
	char state = task_state(tid);

	return state == 'S' || state == 'D';
}

bool wait_asleep(pid_t tid)
{
	__u64 end = now_ns() + 20 * SEC;

	while (now_ns() < end) {
		char state = task_state(tid);

		if (is_asleep(tid))
			return true;
		if (!state || state == 'Z')
			return false;
		sleep_ms(2);
	}
	return false;
}

long nr_sleeps(pid_t tid)
{
	char path[64], line[256];
	long nr = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (nr < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "voluntary_ctxt_switches: %ld", &nr);
	fclose(f);
	return nr;
}

__u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

void sleep_ms(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * MSEC };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

bool debug_kernel(void)
{
	return !access("/proc/lockdep", F_OK);
}

/* Hours, 0 if the cases are to be short; an empty value is none. */
static double soak_hours(void)
{
	const char *soak = getenv("SOAK");

	return soak ? atof(soak) : 0;
}

bool soaking(void)
{
	return soak_hours() > 0;
}

double test_seconds(void)
{
	/* Some ten cases are timed: a tenth of the hours for each. */
	if (soaking())
		return soak_hours() * 360;
	return debug_kernel() ? 3 : 2;
}

union fd_control {
	char buf[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int send_fd(int sock, int fd)
{
	union fd_control control = { };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

int recv_fd(int sock)
{
	union fd_control control;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -EIO;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EBADF;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

/* ---- Namespaces and parameters ---- */

const char *param_get(const char *name)
{
	static char value[128];
	char path[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	n = read(fd, value, sizeof(value) - 1);
	close(fd);
	if (n < 0)
		return NULL;
	value[n] = 0;
	value[strcspn(value, "\n")] = 0;
	return value;
}

int param_set(const char *name, const char *value)
{
	char path[256];
	int fd, ret;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int make_bus(void)
{
	int ret, fd;

	if (unshare(CLONE_NEWNET))
		return -errno;
	fd = bus_open(O_RDWR);
	if (fd < 0)
		return fd;
	ret = bind_bus(fd, "default");
	close(fd);
	/* Root in this namespace, but not with a mode that leaves its owner nothing. */
	return ret == -EACCES ? 0 : ret;
}

int fresh_bus(const struct param *params)
{
	char old[16][128];
	const char *value;
	int ret = 0, n;

	for (n = 0; !ret && params && params[n].name && n < 16; n++) {
		value = param_get(params[n].name);
		if (!value) {
			ret = -ENOENT;
			break;
		}
		snprintf(old[n], sizeof(old[n]), "%s", value);
		ret = param_set(params[n].name, params[n].value);
	}
	if (!ret)
		ret = make_bus();
	while (n--)
		param_set(params[n].name, old[n]);
	return ret;
}

/* ---- Awkward memory ---- */

size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

char *before_hole(size_t size)
{
	size_t whole = (size + page_size() - 1) / page_size() * page_size();
	char *p = mmap(NULL, whole + page_size(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	/* Reserved, so that nothing else comes to be mapped there. */
	mprotect(p + whole, page_size(), PROT_NONE);
	return p + whole - size;
}

char *read_only_page(void)
{
	char *p = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static sigjmp_buf probe_env;

static void probe_failed(int sig)
{
	siglongjmp(probe_env, sig);
}

int probe(const char *p)
{
	struct sigaction sa = { .sa_handler = probe_failed }, bus, segv;
	int sig;

	sigaction(SIGBUS, &sa, &bus);
	sigaction(SIGSEGV, &sa, &segv);
	sig = sigsetjmp(probe_env, 1);
	if (!sig)
		__atomic_load_n(p, __ATOMIC_RELAXED);
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return sig;
}

int stall_at(char *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = ptr_u64(page), .len = page_size() },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (uffd < 0)
		return -errno;
	if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg)) {
		int ret = -errno;

		close(uffd);
		return ret;
	}
	return uffd;
}

int stalling_page(char **page)
{
	*page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return *page == MAP_FAILED ? -errno : stall_at(*page);
}

int read_stalling(void *fd)
{
	char *page;

	return stalling_page(&page) < 0 || read(*(int *)fd, page, page_size()) < 0;
}
