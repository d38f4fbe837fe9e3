"""
Simulates a kernel without some features: a seccomp filter makes system calls fail in the program
and in all of its child processes. Used as a command prefix:

    python3 oldkernel.py LACK[,LACK...] PROGRAM...
"""

import ctypes
import errno
import os
import socket
import struct
import sys

BPF_LOAD, BPF_JUMP_EQUAL, BPF_RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO, KILL_PROCESS = 0x7fff0000, 0x00050000, 0x80000000
CALL, ARCHITECTURE, ARGUMENTS = 0, 4, 16
AUDIT_ARCH_X86_64 = 0xc000003e
PRCTL, SETSOCKOPT, SECCOMP, LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 157, 54, 317, 444, 446
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38
SO_RXQ_OVFL = 40

# Failing system calls: the call, the arguments that must match, the error.
LACKS = {
    "landlock": [(LANDLOCK_CREATE_RULESET, {}, errno.ENOSYS)],
    "landlock-at-boot": [(LANDLOCK_CREATE_RULESET, {}, errno.EOPNOTSUPP)],
    "landlock-by-a-filter": [(LANDLOCK_CREATE_RULESET, {}, errno.EPERM)],
    "landlock-in-use": [(LANDLOCK_RESTRICT_SELF, {}, errno.E2BIG)],
    "seccomp": [(PRCTL, {0: PR_SET_SECCOMP}, errno.EINVAL), (SECCOMP, {}, errno.ENOSYS)],
    "no-new-privs": [(PRCTL, {0: PR_SET_NO_NEW_PRIVS}, errno.EINVAL)],
    "prctl": [(PRCTL, {}, errno.EINVAL)],
    "rxq-ovfl": [(SETSOCKOPT, {1: socket.SOL_SOCKET, 2: SO_RXQ_OVFL}, errno.ENOPROTOOPT)],
    "mtu-discover": [(SETSOCKOPT, {1: socket.IPPROTO_IP, 2: 10}, errno.ENOPROTOOPT),
                     (SETSOCKOPT, {1: socket.IPPROTO_IPV6, 2: 23}, errno.ENOPROTOOPT)],
}


def _rule(call, arguments, error):
    """The instructions for one call: the error if all of these arguments match."""
    checks = [(CALL, call), *((ARGUMENTS + 8 * n, value) for n, value in arguments.items())]
    code = []
    for i, (offset, value) in enumerate(checks):
        beyond = 2 * (len(checks) - i) - 1      # to the instruction after the return
        code += [(BPF_LOAD, 0, 0, offset), (BPF_JUMP_EQUAL, 0, beyond, value)]
    return [*code, (BPF_RETURN, 0, 0, ERRNO | error)]


def _filter(lacks):
    code = [(BPF_LOAD, 0, 0, ARCHITECTURE), (BPF_JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64),
            (BPF_RETURN, 0, 0, KILL_PROCESS)]
    for lack in lacks:
        for rule in LACKS[lack]:
            code += _rule(*rule)
    return [*code, (BPF_RETURN, 0, 0, ALLOW)]


def _install(code):
    data = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(data, len(data))
    program = struct.pack("@HP", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, 2, program, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")


def prefix(*lacks):
    return sys.executable, __file__, ",".join(lacks)


if __name__ == "__main__":
    _install(_filter(filter(None, sys.argv[1].split(","))))
    os.execvp(sys.argv[2], sys.argv[2:])
