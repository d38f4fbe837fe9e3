#include "sandbox.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <unistd.h>

/* Newer than the headers that this is built with. */
enum {
	ACCESS_FS_TRUNCATE = 1 << 14,  /* version 3 */
	ACCESS_FS_IOCTL_DEV = 1 << 15, /* version 5 */
	ACCESS_NET_BIND_TCP = 1 << 0,  /* version 4 */
	ACCESS_NET_CONNECT_TCP = 1 << 1,
	RULE_NET_PORT = 2
};

struct ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
};

struct net_port_rule {
	uint64_t allowed_access;
	uint64_t port;
};

/* ---- Landlock ---- */

int
sandbox_landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	return version > 0 ? (int)version : 0;
}

static uint64_t
all_file_access(int version)
{
	/* The first version had 13 kinds of access; 2 added one, 3 and 5 each another. */
	uint64_t all = (UINT64_C(1) << 13) - 1;

	if (version >= 2)
		all |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		all |= ACCESS_FS_TRUNCATE;
	if (version >= 5)
		all |= ACCESS_FS_IOCTL_DEV;
	return all;
}

int
sandbox_forbid_files(int version, const uint16_t *ports, size_t count, struct failure *why)
{
	bool tcp = version >= SANDBOX_LANDLOCK_TCP;
	struct ruleset rules = { .handled_access_fs = all_file_access(version),
		.handled_access_net = tcp ? ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP : 0 };
	size_t len = tcp ? sizeof rules : sizeof rules.handled_access_fs;
	long fd = syscall(SYS_landlock_create_ruleset, &rules, len, 0);
	int rc = 0;
	size_t i;

	if (fd == -1)
		return fail_errno(why, "sandbox: Landlock");
	for (i = 0; tcp && i < count; i++) {
		struct net_port_rule rule = { ACCESS_NET_CONNECT_TCP, ports[i] };

		if (syscall(SYS_landlock_add_rule, fd, RULE_NET_PORT, &rule, 0) == -1)
			rc = fail_errno(why, "sandbox: Landlock: port %u", (unsigned)ports[i]);
	}
	if (rc == 0 && syscall(SYS_landlock_restrict_self, fd, 0) == -1)
		rc = fail_errno(why, "sandbox: Landlock");
	(void)close((int)fd);
	return rc;
}

/* ---- seccomp ---- */

#ifdef __x86_64__

/* What the loop, OpenSSL and libc need after the start; three more have conditions, below. */
static const int allowed[] = { __NR_read, __NR_write, __NR_readv, __NR_writev, __NR_recvfrom,
	__NR_sendto, __NR_recvmsg, __NR_sendmsg, __NR_recvmmsg, __NR_sendmmsg, __NR_signalfd4,
	__NR_epoll_ctl, __NR_epoll_pwait, __NR_ppoll, __NR_accept, __NR_accept4, __NR_connect,
	__NR_getsockopt, __NR_setsockopt, __NR_getsockname, __NR_getpeername, __NR_shutdown,
	__NR_close, __NR_fcntl, __NR_brk, __NR_munmap, __NR_mremap, __NR_madvise, __NR_getrandom,
	__NR_getpid, __NR_gettid, __NR_clock_gettime, __NR_gettimeofday, __NR_clock_nanosleep,
	__NR_nanosleep, __NR_futex, __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn,
	__NR_restart_syscall, __NR_tgkill, __NR_exit, __NR_exit_group, __NR_poll, __NR_epoll_wait,
	__NR_epoll_create1, __NR_time };

/* Looked for in vain rather than deadly: libc and OpenSSL look for files now and then. */
static const int refused[] = { __NR_openat, __NR_newfstatat, __NR_faccessat, __NR_fstat,
#if defined(__x86_64__)
	__NR_open, __NR_stat, __NR_access, __NR_sysinfo
#endif
};

enum {
	LENGTH_OF_ALLOWED = sizeof allowed / sizeof allowed[0],
	LENGTH_OF_REFUSED = sizeof refused / sizeof refused[0],
	/* The rest of the program: its head, three calls with conditions, its end. */
	FILTER_MAX = 2 * (LENGTH_OF_ALLOWED + LENGTH_OF_REFUSED) + 32
};

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short len;
};

static void
add(struct filter *f, struct sock_filter instruction)
{
	f->code[f->len++] = instruction;
}

static void
load(struct filter *f, size_t offset)
{
	add(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void
give(struct filter *f, uint32_t verdict)
{
	add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* If the system call, which is loaded, is this one: the verdict. */
static void
give_for(struct filter *f, int call, uint32_t verdict)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1));
	give(f, verdict);
}

/* The low half of an argument. */
static size_t
argument(int n)
{
	return offsetof(struct seccomp_data, args) + (size_t)n * sizeof(uint64_t);
}

/* Memory that can be written or read is allowed, and none that can be executed. */
static void
allow_without_exec(struct filter *f, int call)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 4));
	load(f, argument(2));
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1));
	give(f, SECCOMP_RET_KILL_PROCESS);
	give(f, SECCOMP_RET_ALLOW);
}

static void
allow_internet_sockets(struct filter *f)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 5));
	load(f, argument(0));
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 2, 0));
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 1, 0));
	give(f, SECCOMP_RET_KILL_PROCESS);
	give(f, SECCOMP_RET_ALLOW);
}

static void
write_filter(struct filter *f)
{
	size_t i;

	load(f, offsetof(struct seccomp_data, arch));
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	give(f, SECCOMP_RET_KILL_PROCESS);
	load(f, offsetof(struct seccomp_data, nr));
	for (i = 0; i < LENGTH_OF_ALLOWED; i++)
		give_for(f, allowed[i], SECCOMP_RET_ALLOW);
	for (i = 0; i < LENGTH_OF_REFUSED; i++)
		give_for(f, refused[i], SECCOMP_RET_ERRNO | EACCES);
	allow_without_exec(f, __NR_mmap);
	allow_without_exec(f, __NR_mprotect);
	allow_internet_sockets(f);
	give(f, SECCOMP_RET_KILL_PROCESS);
}

bool
sandbox_has_seccomp(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int
sandbox_limit_system_calls(struct failure *why)
{
	struct filter f = { .len = 0 };
	struct sock_fprog program = { .filter = f.code };

	write_filter(&f);
	program.len = f.len;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == -1)
		return fail_errno(why, "sandbox: seccomp");
	return 0;
}

#else /* the list of system calls was never tried on this architecture */

bool
sandbox_has_seccomp(void)
{
	return false;
}

int
sandbox_limit_system_calls(struct failure *why)
{
	return fail_with(why, "sandbox: no list of system calls for this architecture");
}

#endif
