// SPDX-License-Identifier: GPL-2.0
/*
 * blipmq doctor: what keeps the bus from working here, and what to do about it.
 *
 * The only verb that looks at the system beside the library: what is wrong is
 * wrong before the library can work.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"
#include "out.h"

#define KERNEL_MAJOR	6	/* oldest kernel that the module is built for: 6.1 */
#define KERNEL_MINOR	1
#define BUDGET_PERCENT	90	/* in use: nearly full */
#define SENTENCE_MAX	256

#define MODULE_DIR	"/sys/module/blipmq"
#define NODE_NUMBERS	"/sys/class/misc/blipmq/dev"
#define SIG_ENFORCE	"/sys/module/module/parameters/sig_enforce"
#define LOCKDOWN	"/sys/kernel/security/lockdown"
#define SECURE_BOOT \
	"/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

#define PERMISSIONS	07777	/* of a file's mode */

/* Formats and sentences that are used twice. */
#define MAKE_NODE	"as root: mknod -m 666 " BLIPMQ_DEVICE " c %u %u"
#define GRANT		"blipmq bus set BUS --group GROUP of yours, or --mode 0777"

enum verdict {
	FINE,
	NOTE,			/* works, but know this */
	WRONG,
};

static const char *const verdict_names[] = { "ok", "note", "wrong" };

/**
 * struct finding - what a check found
 * @how:  fine or not
 * @what: what was seen
 * @fix:  what to do about it, empty: nothing
 */
struct finding {
	enum verdict how;
	char what[SENTENCE_MAX];
	char fix[SENTENCE_MAX];
};

/**
 * struct patient - what the checks know of each other
 * @cli:    options
 * @b:      endpoint, NULL until the device could be opened
 * @loaded: the module is in the kernel
 */
struct patient {
	const struct cli *cli;
	struct blipmq *b;
	bool loaded;
};

__attribute__((format(printf, 3, 4)))
static void found(struct finding *f, enum verdict how, const char *format, ...)
{
	va_list args;

	f->how = how;
	va_start(args, format);
	vsnprintf(f->what, sizeof(f->what), format, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3)))
static void fix(struct finding *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->fix, sizeof(f->fix), format, args);
	va_end(args);
}

/* Up to @size - 1 bytes of a small file, terminated. Returns how many, or -1. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	text[0] = '\0';
	if (fd == -1)
		return -1;
	n = read(fd, text, size - 1);
	close(fd);
	if (n >= 0)
		text[n] = '\0';
	return n;
}

/* ---- The checks, in the order in which things must be right ---- */

static bool check_kernel(struct patient *p, struct finding *f)
{
	unsigned int major, minor;
	struct utsname name;

	(void)p;
	uname(&name);
	found(f, FINE, "Linux %s on %s", name.release, name.machine);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2) {
		f->how = NOTE;
		fix(f, "the version cannot be read from that name");
	} else if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR)) {
		f->how = WRONG;
		fix(f, "boot Linux %d.%d or later", KERNEL_MAJOR, KERNEL_MINOR);
	} else if (strcmp(name.machine, "x86_64") && strcmp(name.machine, "aarch64")) {
		f->how = NOTE;
		fix(f, "the module is meant for x86_64 and aarch64 kernels: expect trouble");
	}
	return true;
}

/* Is there one for the running kernel that modprobe would find? */
static bool module_installed(void)
{
	struct utsname name;
	bool found_it = false;
	char line[4096];
	FILE *dep;

	uname(&name);
	snprintf(line, sizeof(line), "/lib/modules/%s/modules.dep", name.release);
	dep = fopen(line, "re");
	if (!dep)
		return false;
	while (!found_it && fgets(line, sizeof(line), dep)) {
		line[strcspn(line, ":")] = '\0';
		found_it = strstr(line, "/blipmq.ko");
	}
	fclose(dep);
	return found_it;
}

static bool check_module(struct patient *p, struct finding *f)
{
	p->loaded = !access(MODULE_DIR, F_OK);
	if (p->loaded) {
		found(f, FINE, "blipmq is loaded");
	} else if (module_installed()) {
		found(f, WRONG, "blipmq is installed for this kernel but not loaded");
		fix(f, "as root: modprobe blipmq");
	} else {
		found(f, WRONG, "blipmq is neither loaded nor installed for this kernel");
		fix(f, "as root, in its sources: make module_install, modprobe blipmq");
	}
	return true;
}

static bool secure_boot(void)
{
	char value[8];	/* 4 bytes of attributes, then 1 or 0 */

	return read_file(SECURE_BOOT, value, sizeof(value)) == 5 && value[4] == 1;
}

/* Of interest only as long as the module is not in. */
static bool check_signature(struct patient *p, struct finding *f)
{
	const char *why = NULL;
	char text[SENTENCE_MAX];

	if (p->loaded)
		return false;
	if (read_file(LOCKDOWN, text, sizeof(text)) > 0 && !strstr(text, "[none]"))
		why = "kernel lockdown is on";
	else if (read_file(SIG_ENFORCE, text, sizeof(text)) > 0 && text[0] == 'Y')
		why = "module.sig_enforce is on";
	else if (secure_boot())
		why = "secure boot is on";

	if (!why) {
		found(f, FINE, "nothing seen that refuses unsigned modules");
		return true;
	}
	found(f, NOTE, "%s: unsigned modules may be refused", why);
	fix(f, "sign blipmq.ko (scripts/sign-file) with a key enrolled by mokutil --import");
	return true;
}

static bool check_device(struct patient *p, struct finding *f)
{
	unsigned int major, minor;
	struct stat st;
	char text[32];

	if (!p->loaded)
		return false;
	if (read_file(NODE_NUMBERS, text, sizeof(text)) < 0 ||
	    sscanf(text, "%u:%u", &major, &minor) != 2) {
		found(f, WRONG, NODE_NUMBERS " cannot be read");
		fix(f, "mount sysfs on /sys");
	} else if (stat(BLIPMQ_DEVICE, &st)) {
		found(f, WRONG, BLIPMQ_DEVICE " is missing though the module is loaded");
		fix(f, MAKE_NODE ", or pass the device to the container", major, minor);
	} else if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(major, minor)) {
		found(f, WRONG, BLIPMQ_DEVICE " is not the module's device");
		fix(f, MAKE_NODE " in its place", major, minor);
	} else if (access(BLIPMQ_DEVICE, R_OK | W_OK)) {
		found(f, WRONG, BLIPMQ_DEVICE " may not be opened by you, mode %04o",
		      st.st_mode & PERMISSIONS);
		fix(f, "as root: chmod 666 " BLIPMQ_DEVICE ", the bus decides on rights");
	} else {
		found(f, FINE, BLIPMQ_DEVICE " %u:%u, mode %04o", major, minor,
		      st.st_mode & PERMISSIONS);
	}
	return true;
}

static bool check_rights(struct patient *p, struct finding *f)
{
	struct blipmq_info info;

	if (!p->loaded || access(BLIPMQ_DEVICE, R_OK | W_OK))
		return false;
	if (cli_open(p->cli, 0, &p->b)) {
		found(f, WRONG, "%s", blipmq_strerror());
		if (blipmq_last_error()->error == -EACCES)
			fix(f, "as root: " GRANT);
		return true;
	}
	if (blipmq_info(p->b, &info, sizeof(info))) {
		found(f, WRONG, "%s", blipmq_strerror());
		return true;
	}
	found(f, FINE, "on bus %s user %u may%s%s%s", info.bus, geteuid(),
	      info.rights & BLIPMQ_RIGHT_SUBSCRIBE ? " subscribe" : "",
	      info.rights & BLIPMQ_RIGHT_PUBLISH ? " publish" : "",
	      info.rights & BLIPMQ_RIGHT_MAP ? " map" : "");
	if (!(info.rights & BLIPMQ_RIGHT_MAP)) {
		f->how = NOTE;
		fix(f, "without map messages are copied one by one; for speed, as root: " GRANT);
	}
	return true;
}

static bool check_contract(struct patient *p, struct finding *f)
{
	struct blipmq_info info;

	if (!p->b || blipmq_info(p->b, &info, sizeof(info)))
		return false;
	found(f, info.version == BLIPMQ_VERSION ? FINE : WRONG,
	      "the module speaks contract %u, this program %u", info.version, BLIPMQ_VERSION);
	if (info.version != BLIPMQ_VERSION)
		fix(f, "install module and program of the same release");
	return true;
}

static bool check_budget(struct patient *p, struct finding *f)
{
	struct blipmq_stats stats;
	struct blipmq_info info;
	uint64_t used;

	if (!p->b || blipmq_info(p->b, &info, sizeof(info)) ||
	    blipmq_stats(p->b, BLIPMQ_STATS_BUS, 0, &stats, sizeof(stats)))
		return false;
	used = (stats.pages - stats.idle) * info.page_size;
	found(f, FINE, "%llu of %llu KiB in use by messages",
	      (unsigned long long)used >> 10, (unsigned long long)info.budget >> 10);
	if (used / BUDGET_PERCENT > info.budget / 100) {
		f->how = WRONG;
		fix(f, "end readers that do not read, or load the module with more budget=BYTES");
	}
	return true;
}

/* ---- The verb ---- */

static const struct check {
	const char *name;
	bool (*look)(struct patient *p, struct finding *f);	/* false: does not apply */
} checks[] = {
	{ "kernel", check_kernel },
	{ "module", check_module },
	{ "signature", check_signature },
	{ "device", check_device },
	{ "rights", check_rights },
	{ "contract", check_contract },
	{ "budget", check_budget },
};

static void print_finding(struct out *o, const char *name, const struct finding *f)
{
	out_begin(o);
	out_string(o, "verdict", "%-6s ", verdict_names[f->how]);
	out_string(o, "check", "%s: ", name);
	out_string(o, "what", "%s", f->what);
	out_string(o, "fix", f->fix[0] ? "; fix: %s" : NULL, f->fix);
	out_end(o);
}

static int doctor_run(const struct cli *cli, int nr, char **args)
{
	struct patient patient = { .cli = cli };
	int ret = CLI_OK;
	struct out out;
	size_t i;

	if (nr)
		return complain_usage("%s: takes no arguments", args[0]);
	out_init(&out, STDOUT_FD, cli->json);
	for (i = 0; i < sizeof(checks) / sizeof(*checks); i++) {
		struct finding finding = {};

		if (!checks[i].look(&patient, &finding))
			continue;
		print_finding(&out, checks[i].name, &finding);
		if (finding.how == WRONG)
			ret = CLI_FAILED;
	}
	blipmq_close(patient.b);
	if (out_flush(&out))
		return complain("stdout: %s", strerror(-out.error));
	return ret;
}

static const struct args_option doctor_options[] = { {} };

const struct verb doctor_verb = {
	.name = "doctor",
	.summary = "what keeps the bus from working here, and what to do",
	.text =
	"Looks at the kernel, the module, what may refuse it (signatures, lockdown,\n"
	"secure boot), the device, your rights, and how full the bus is. A finding a\n"
	"line: ok, note or wrong, and how to put it right. Exit code 1 if something is\n"
	"wrong.\n",
	.examples =
	"  blipmq doctor\n"
	"  blipmq doctor -j | jq -r 'select(.verdict == \"wrong\").fix'\n",
	.options = doctor_options,
	.run = doctor_run,
};
