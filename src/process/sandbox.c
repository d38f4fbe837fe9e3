#include "process/sandbox.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdbool.h>
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
sandbox_landlock_version(struct failure *why)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	if (version > 0)
		return (int)version;
	if (errno == ENOSYS)
		return fail_with(why, "not in this kernel, needs Linux 5.13");
	if (errno == EOPNOTSUPP)
		return fail_with(why, "not enabled in this kernel, see its lsm= parameter");
	return fail_errno(why, "landlock_create_ruleset");
}

static uint64_t
all_file_access(int version)
{
	/* Version 1 has 13 access rights; versions 2, 3 and 5 added one each. */
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
sandbox_forbid_files(int version, const struct sandbox_bounds *bounds, struct failure *why)
{
	bool tcp = version >= SANDBOX_LANDLOCK_TCP;
	struct ruleset rules = { .handled_access_fs = all_file_access(version),
		.handled_access_net = tcp ? ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP : 0 };
	size_t len = tcp ? sizeof rules : sizeof rules.handled_access_fs;
	long fd = syscall(SYS_landlock_create_ruleset, &rules, len, 0);
	int rc = 0;
	size_t i;

	if (fd == -1)
		return fail_errno(why, "landlock_create_ruleset");
	for (i = 0; tcp && i < bounds->port_count; i++) {
		struct net_port_rule rule = { ACCESS_NET_CONNECT_TCP, bounds->ports[i] };

		if (syscall(SYS_landlock_add_rule, fd, RULE_NET_PORT, &rule, 0) == -1)
			rc = fail_errno(why, "port %u", (unsigned)bounds->ports[i]);
	}
	if (rc == 0 && syscall(SYS_landlock_restrict_self, fd, 0) == -1)
		rc = fail_errno(why, "landlock_restrict_self");
	(void)close((int)fd);
	return rc;
}

/* ---- seccomp ---- */

#ifdef __x86_64__

/* Needed by the loop, OpenSSL and libc after the start. Those with conditions are below. */
static const int allowed[] = { __NR_read, __NR_write, __NR_readv, __NR_writev, __NR_recvfrom,
	__NR_recvmsg, __NR_recvmmsg, __NR_signalfd4, __NR_epoll_ctl, __NR_epoll_pwait, __NR_ppoll,
	__NR_accept, __NR_accept4, __NR_getsockopt, __NR_getsockname, __NR_getpeername, __NR_close,
	__NR_brk, __NR_munmap, __NR_mremap, __NR_madvise, __NR_getrandom, __NR_getpid, __NR_gettid,
	__NR_clock_gettime, __NR_gettimeofday, __NR_clock_nanosleep, __NR_nanosleep, __NR_futex,
	__NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_restart_syscall, __NR_exit,
	__NR_exit_group, __NR_poll, __NR_epoll_wait, __NR_epoll_create1, __NR_time };

/*
 * These fail with EACCES instead of killing the process, because libc and OpenSSL may call them.
 * fcntl(2) could send signals to other processes (F_SETOWN), and change shared sockets.
 */
static const int refused[] = { __NR_openat, __NR_newfstatat, __NR_faccessat, __NR_fstat, __NR_fcntl,
	__NR_open, __NR_stat, __NR_access, __NR_sysinfo };

enum {
	LENGTH_OF_ALLOWED = sizeof allowed / sizeof allowed[0],
	LENGTH_OF_REFUSED = sizeof refused / sizeof refused[0],
	/* 96 for the head of the program, the calls with conditions, and the end. */
	FILTER_MAX = 2 * (LENGTH_OF_ALLOWED + LENGTH_OF_REFUSED) + 4 * SANDBOX_LISTENERS_MAX + 96
};

/* The offset of a BPF jump is 8 bits; the longest jump is over two instructions per listener. */
_Static_assert(2 * SANDBOX_LISTENERS_MAX + 8 < 256, "connect(2) fits in one jump");

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

/* Loads the low half of an argument, which is all of an int. */
static void
load_argument(struct filter *f, int n)
{
	load(f, offsetof(struct seccomp_data, args) + (size_t)n * sizeof(uint64_t));
}

static void
add_verdict(struct filter *f, uint32_t verdict)
{
	add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* Adds a verdict for a system call, whose number is loaded. */
static void
add_verdict_for(struct filter *f, int call, uint32_t verdict)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1));
	add_verdict(f, verdict);
}

/* Begins a block, ended by allow(), for this system call only. Returns its start. */
static size_t
begin(struct filter *f, int call)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 0));
	return f->len;
}

/* Ends the block: the system call is allowed if it has passed all conditions. */
static void
allow(struct filter *f, size_t begun)
{
	add_verdict(f, SECCOMP_RET_ALLOW);
	f->code[begun - 1].jf = (uint8_t)(f->len - begun);
}

/* Conditions for the loaded argument: where one does not hold, the process is killed. */

static void
require_one_of(struct filter *f, uint32_t a, uint32_t b)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, a, 2, 0));
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, b, 1, 0));
	add_verdict(f, SECCOMP_RET_KILL_PROCESS);
}

static void
require(struct filter *f, uint32_t value)
{
	require_one_of(f, value, value);
}

static void
forbid_flag(struct filter *f, uint32_t flag)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flag, 0, 1));
	add_verdict(f, SECCOMP_RET_KILL_PROCESS);
}

static void
forbid_listeners(struct filter *f, const struct sandbox_bounds *bounds)
{
	size_t i;

	for (i = 0; i < bounds->listener_count; i++) {
		add(f,
		    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			(uint32_t)bounds->listeners[i], 0, 1));
		add_verdict(f, SECCOMP_RET_KILL_PROCESS);
	}
}

/* The system calls with conditions. */

/* With MSG_FASTOPEN these would connect, and Landlock would not see it. */
static void
allow_send(struct filter *f, int call, int flags)
{
	size_t begun = begin(f, call);

	load_argument(f, flags);
	forbid_flag(f, MSG_FASTOPEN);
	allow(f, begun);
}

/* Allows memory mappings that are not executable. */
static void
allow_without_exec(struct filter *f, int call)
{
	size_t begun = begin(f, call);

	load_argument(f, 2);
	forbid_flag(f, PROT_EXEC);
	allow(f, begun);
}

/* Allows TCP only: Landlock does not restrict MPTCP, SCTP or raw sockets. */
static void
allow_tcp_sockets(struct filter *f)
{
	size_t begun = begin(f, __NR_socket);

	load_argument(f, 0);
	require_one_of(f, AF_INET, AF_INET6);
	load_argument(f, 1);
	add(f,
	    (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K,
		~(uint32_t)(SOCK_NONBLOCK | SOCK_CLOEXEC)));
	require(f, SOCK_STREAM);
	load_argument(f, 2);
	require_one_of(f, 0, IPPROTO_TCP);
	allow(f, begun);
}

/* connect(2) with AF_UNSPEC, or a socket filter, would stop a listener for all workers. */
static void
allow_but_on_listeners(struct filter *f, int call, const struct sandbox_bounds *bounds)
{
	size_t begun = begin(f, call);

	load_argument(f, 0);
	forbid_listeners(f, bounds);
	allow(f, begun);
}

/* abort(3) needs it; no other process may be signalled. */
static void
allow_signals_to_itself(struct filter *f)
{
	size_t begun = begin(f, __NR_tgkill);

	load_argument(f, 0);
	require(f, (uint32_t)getpid());
	allow(f, begun);
}

/* Only copies of standard input are needed; see listeners_give_up_tcp(). */
static void
allow_copies_of_stdin(struct filter *f)
{
	size_t begun = begin(f, __NR_dup3);

	load_argument(f, 0);
	require(f, STDIN_FILENO);
	allow(f, begun);
}

static void
write_filter(struct filter *f, const struct sandbox_bounds *bounds)
{
	size_t i;

	load(f, offsetof(struct seccomp_data, arch));
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	add_verdict(f, SECCOMP_RET_KILL_PROCESS);
	load(f, offsetof(struct seccomp_data, nr));
	allow_send(f, __NR_sendmmsg, 3);
	allow_send(f, __NR_sendto, 3);
	allow_send(f, __NR_sendmsg, 2);
	for (i = 0; i < LENGTH_OF_ALLOWED; i++)
		add_verdict_for(f, allowed[i], SECCOMP_RET_ALLOW);
	for (i = 0; i < LENGTH_OF_REFUSED; i++)
		add_verdict_for(f, refused[i], SECCOMP_RET_ERRNO | EACCES);
	allow_without_exec(f, __NR_mmap);
	allow_without_exec(f, __NR_mprotect);
	allow_tcp_sockets(f);
	allow_but_on_listeners(f, __NR_connect, bounds);
	allow_but_on_listeners(f, __NR_setsockopt, bounds);
	allow_signals_to_itself(f);
	allow_copies_of_stdin(f);
	add_verdict(f, SECCOMP_RET_KILL_PROCESS);
}

int
sandbox_has_seccomp(struct failure *why)
{
	/* A kernel with filters fails to read one at address NULL: EFAULT. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) == -1 && errno == EFAULT)
		return 0;
	if (errno == EINVAL)
		return fail_with(why, "not in this kernel");
	return fail_errno(why, "PR_SET_SECCOMP");
}

int
sandbox_limit_system_calls(const struct sandbox_bounds *bounds, struct failure *why)
{
	struct filter f = { .len = 0 };
	struct sock_fprog program = { .filter = f.code };

	write_filter(&f, bounds);
	program.len = f.len;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == -1)
		return fail_errno(why, "PR_SET_SECCOMP");
	return 0;
}

#else /* the list of system calls is only tested on x86-64 */

#if defined(__aarch64__)
#define ARCHITECTURE "aarch64"
#elif defined(__arm__)
#define ARCHITECTURE "arm"
#elif defined(__i386__)
#define ARCHITECTURE "i386"
#elif defined(__riscv)
#define ARCHITECTURE "riscv"
#else
#define ARCHITECTURE "this architecture"
#endif

int
sandbox_has_seccomp(struct failure *why)
{
	return fail_with(why, "not available for " ARCHITECTURE);
}

int
sandbox_limit_system_calls(const struct sandbox_bounds *bounds, struct failure *why)
{
	(void)bounds;
	return sandbox_has_seccomp(why);
}

#endif
