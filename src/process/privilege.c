#include "process/privilege.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sanitized.h"

/* The user ID of `nobody' if there is no /etc/passwd, as in a container image from scratch. */
enum { NOBODY = 65534 };

static const int supervisor_capabilities[] = { CAP_NET_BIND_SERVICE, CAP_SETUID, CAP_SETGID,
	CAP_SETPCAP, CAP_KILL, CAP_DAC_READ_SEARCH };

/* ---- the user ---- */

/* getpwnam(3) would load NSS modules, which a static program cannot. */
static int
read_passwd(const char *name, struct privilege *p)
{
	FILE *f = fopen("/etc/passwd", "re");
	const struct passwd *entry;
	int rc = -1;

	if (f == NULL)
		return -1;
	while (rc == -1 && (entry = fgetpwent(f)) != NULL) {
		if (strcmp(entry->pw_name, name) != 0)
			continue;
		p->uid = entry->pw_uid;
		p->gid = entry->pw_gid;
		rc = 0;
	}
	(void)fclose(f);
	return rc;
}

int
privilege_find_user(const char *user, struct privilege *p, struct failure *why)
{
	char *end;
	unsigned long number;

	if (user == NULL && read_passwd("nobody", p) == -1) {
		p->uid = NOBODY;
		p->gid = NOBODY;
	}
	if (user == NULL || read_passwd(user, p) == 0)
		return 0;
	errno = 0;
	number = strtoul(user, &end, 10);
	if (errno != 0 || *end != '\0' || end == user || number == 0 || number >= UINT_MAX) {
		(void)fail_with(why, "user %s: no such user", user);
		fail_remedy(why, "use a name in /etc/passwd, or a number above 0");
		return -1;
	}
	p->uid = (uid_t)number;
	p->gid = (gid_t)number;
	return 0;
}

static bool
has_capability(int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) == -1)
		return false;
	return (data[capability / 32].effective & 1U << capability % 32) != 0;
}

static int
plan_user(const char *user, struct privilege *p, struct failure *why)
{
	bool can_change = has_capability(CAP_SETUID) && has_capability(CAP_SETGID);

	if (geteuid() != 0 && user == NULL)
		return 0;
	if (privilege_find_user(user, p, why) == -1)
		return -1;
	if (p->uid == geteuid())
		return 0;
	p->change_user = can_change;
	/* Root in a container may lack the capabilities; without `user' that is no error. */
	if (can_change || user == NULL)
		return 0;
	(void)fail_with(why, "user %s: changing to this user needs CAP_SETUID and CAP_SETGID",
	    user);
	fail_remedy(why, "start as root, or leave `user' out");
	return -1;
}

/* ---- what is missing ---- */

static void note_missing(struct privilege *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
note_missing(struct privilege *p, const char *fmt, ...)
{
	size_t len = strlen(p->missing);
	va_list ap;

	if (len > 0 && len < sizeof p->missing - 2) {
		memcpy(p->missing + len, ", ", 3);
		len += 2;
	}
	va_start(ap, fmt);
	(void)vsnprintf(p->missing + len, sizeof p->missing - len, fmt, ap);
	va_end(ap);
}

/* Returns -1 with the reason when something is missing and the sandbox is strict, else 0. */
static int
check_missing(const struct privilege *p, struct failure *why)
{
	if (p->sandbox != CONFIG_SANDBOX_STRICT || p->missing[0] == '\0')
		return 0;
	(void)fail_with(why, "sandbox: missing %s", p->missing);
	fail_remedy(why, "set `sandbox: best-effort' to start without");
	return -1;
}

static void
plan_sandbox(struct privilege *p)
{
	struct failure reason;

	if ((p->landlock = sandbox_landlock_version(&reason)) == -1)
		note_missing(p, "Landlock (%s)", reason.text);
	else if (p->landlock < SANDBOX_LANDLOCK_TCP)
		note_missing(p, "Landlock for TCP (needs Linux 6.7)");
	if (!(p->seccomp = sandbox_has_seccomp(&reason) == 0))
		note_missing(p, "seccomp (%s)", reason.text);
}

int
privilege_plan(const char *user, enum config_sandbox sandbox, struct privilege *p,
    struct failure *why)
{
	*p = (struct privilege){ .sandbox = SANITIZED ? CONFIG_SANDBOX_OFF : sandbox,
		.landlock = -1 };
	if (plan_user(user, p, why) == -1)
		return -1;
	p->chose_root = user != NULL && p->uid == 0;
	if (p->sandbox == CONFIG_SANDBOX_OFF)
		note_missing(p, "Landlock, seccomp (off %s)",
		    SANITIZED ? "under sanitizers" : "in the configuration");
	else
		plan_sandbox(p);
	return check_missing(p, why);
}

const char *
privilege_in_force(const struct privilege *p)
{
	if (p->landlock == -1)
		return p->seccomp ? "seccomp" : "";
	if (p->landlock < SANDBOX_LANDLOCK_TCP)
		return p->seccomp ? "Landlock for files, seccomp" : "Landlock for files";
	return p->seccomp ? "Landlock for files and TCP, seccomp" : "Landlock for files and TCP";
}

/* ---- dropping ---- */

/* Drops all but MASK for good. Without CAP_SETPCAP this fails, but no_new_privs has the effect. */
static void
limit_bounding_set(uint64_t mask)
{
	int capability;
	int is_set;

	for (capability = 0; (is_set = prctl(PR_CAPBSET_READ, capability, 0, 0, 0)) >= 0;
	     capability++)
		/* A drop makes the kernel copy the credentials, so drop only what is set. */
		if (is_set == 1 && (mask & UINT64_C(1) << capability) == 0)
			(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

/* Keeps the capabilities in MASK, and makes them effective. */
static int
limit_capabilities(uint64_t mask, struct failure *why)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	int i;

	if (syscall(SYS_capget, &header, data) == -1)
		return fail_errno(why, "capabilities");
	for (i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(mask >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) == -1)
		return fail_errno(why, "capabilities");
	return 0;
}

static int
change_user(const struct privilege *p, struct failure *why)
{
	if (!p->change_user)
		return 0;
	if (setgroups(0, NULL) == -1 || setresgid(p->gid, p->gid, p->gid) == -1 ||
	    setresuid(p->uid, p->uid, p->uid) == -1)
		return fail_errno(why, "user %u", (unsigned)p->uid);
	return 0;
}

static int
forbid_core_dumps(struct failure *why)
{
	struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_CORE, &none) == -1 ? fail_errno(why, "core limit") : 0;
}

int
privilege_raise(struct failure *why)
{
	return limit_capabilities(UINT64_MAX, why);
}

int
privilege_limit_supervisor(struct failure *why)
{
	uint64_t mask = 0;
	size_t i;

	for (i = 0; i < sizeof supervisor_capabilities / sizeof supervisor_capabilities[0]; i++)
		mask |= UINT64_C(1) << supervisor_capabilities[i];
	limit_bounding_set(mask);
	if (limit_capabilities(mask, why) == -1 || forbid_core_dumps(why) == -1)
		return -1;
	/* Errors are ignored here: the workers report what is missing. */
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)prctl(PR_SET_DUMPABLE, SANITIZED, 0, 0, 0);
	return 0;
}

int
privilege_limit_worker(struct privilege *p, struct failure *why)
{
	limit_bounding_set(0);
	if (change_user(p, why) == -1 || limit_capabilities(0, why) == -1 ||
	    forbid_core_dumps(why) == -1)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		note_missing(p, "no_new_privs (%s)", strerror(errno));
	if (prctl(PR_SET_DUMPABLE, SANITIZED, 0, 0, 0) == -1)
		note_missing(p, "PR_SET_DUMPABLE (%s)", strerror(errno));
	return check_missing(p, why);
}

int
privilege_sandbox_worker(struct privilege *p, const struct sandbox_bounds *bounds,
    struct failure *why)
{
	struct failure reason;

	if (p->landlock != -1 && sandbox_forbid_files(p->landlock, bounds, &reason) == -1) {
		note_missing(p, "Landlock (%s)", reason.text);
		p->landlock = -1;
	}
	if (p->seccomp && sandbox_limit_system_calls(bounds, &reason) == -1) {
		note_missing(p, "seccomp (%s)", reason.text);
		p->seccomp = false;
	}
	return check_missing(p, why);
}
