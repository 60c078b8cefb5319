"""A system-call filter in classic BPF, assembled here so that no native library is needed.

The filter refuses what code under test never needs and what past kernel escapes used; everything else is
allowed.
Sources: seccomp(2), linux/filter.h, linux/audit.h and the kernel's system-call tables.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping, Sequence
from errno import EAFNOSUPPORT, ENOSYS, EPERM

from vivace.core.errors import SandboxError

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGS = (
    0,
    4,
    16,
)  # struct seccomp_data; little-endian arguments of 8 bytes
_X32_BIT = 0x40000000

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Every flag of clone that makes a namespace (CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID,
# NEWNET).
_CLONE_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_DEVICE_NODE = 0x2000  # the bit that S_IFCHR and S_IFBLK share and files, pipes and sockets lack
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16

# name: (x86_64, aarch64)
DENIED = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "mount_setattr": (442, 442), "open_tree": (428, 428), "open_tree_attr": (467, 467),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "perf_event_open": (298, 241), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "userfaultfd": (323, 282), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "swapon": (167, 224), "swapoff": (168, 225),
    "reboot": (169, 142), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "personality": (135, 92), "syslog": (103, 116), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "fanotify_init": (300, 262),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "mbind": (237, 235), "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    # Memory that belongs to no process, so that no limit here would see it; and where there is no namespace of one's
    # own for them, the queues and segments of the host, which have guessable numbers.
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "memfd_secret": (447, 447),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "mq_open": (240, 180), "mq_unlink": (241, 181),
}  # fmt: skip
_X86_ONLY = {"iopl": 172, "ioperm": 173}
# Answered "no such call", so that a libc falls back: clone3 hides its flags from a filter.
ABSENT = {"clone3": (435, 435), "memfd_create": (319, 279)}
_CLONE, _IOCTL, _SOCKET, _MKNODAT, _X86_MKNOD = (56, 220), (16, 29), (41, 198), (259, 33), 133

# Calls that change permissions and owners, or times and attributes, of a file by path, which Landlock lets through.
PERMISSIONS = {
    "chmod": (90, None), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "lchown": (94, None),
    "fchownat": (260, 54),
}  # fmt: skip
METADATA = {
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "setxattrat": (463, 463), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "removexattrat": (466, 466), "file_setattr": (469, 469),
}  # fmt: skip
# Calls that act on other processes of the same user, and the position of the process' number. Landlock lets them
# through. Given any number but 0 (the caller itself) they do nothing and report success, prlimit is refused.
_OTHERS = {
    "sched_setaffinity": (203, 122, 0), "sched_setscheduler": (144, 119, 0), "sched_setparam": (142, 118, 0),
    "sched_setattr": (314, 274, 0), "setpriority": (141, 140, 1), "ioprio_set": (251, 30, 1),
}  # fmt: skip
_PRLIMIT, _INOTIFY_ADD_WATCH = (302, 261), (254, 27)
_UTIMENSAT = (280, 88)  # without a path it acts on an open file, which is harmless

Instruction = tuple[int, int, int, int]


def _errno(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _argument(index: int) -> Instruction:
    return (_LOAD, 0, 0, _OFFSET_ARGS + 8 * index)


def _when(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    """`body` if the call is `number`; it must end in a return, because it overwrites the accumulator."""
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def build_filter(
    families: Sequence[int], *, shared: bool = False, freeze_permissions: bool = False,
    machine: str | None = None,
) -> bytes:
    """The filter as an array of `struct sock_filter`.

    Args:
        families: address families that `socket` may create; with none, every `socket` call fails.
        shared: the host's files and processes can be named from inside, so calls that no other means governs there do
            nothing: changing times and attributes by path, and limits or priorities of other processes.
        freeze_permissions: the same of permissions and owners, for commands that run as the owner of host files.
        machine: as `platform.machine()` names it.
    Raises:
        SandboxError: this processor's system-call numbers are not known here.
    """
    machine = machine or platform.machine()
    if machine not in AUDIT_ARCH:
        raise SandboxError(
            f"no system-call table for {machine}; run on x86_64 or aarch64, or in a container there"
        )
    column = 0 if machine == "x86_64" else 1
    program: list[Instruction] = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    denied = [numbers[column] for numbers in DENIED.values()]
    mknods = [_MKNODAT[column]]
    if machine == "x86_64":
        program += [(_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT), _errno(ENOSYS)]
        denied += _X86_ONLY.values()
        mknods.append(_X86_MKNOD)
    for number in denied:
        program += _when(number, [_errno(EPERM)])
    for numbers in ABSENT.values():
        program += _when(numbers[column], [_errno(ENOSYS)])
    if shared:
        program += _frozen(column)
    if freeze_permissions:
        program += _do_nothing(PERMISSIONS, column)
    program += _argument_checks(column, mknods, families)
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _do_nothing(table: Mapping[str, Sequence[int | None]], column: int) -> list[Instruction]:
    known = (numbers[column] for numbers in table.values())
    return [one for number in known if number is not None for one in _when(number, [_errno(0)])]


def _frozen(column: int) -> list[Instruction]:
    """What must not act on files and processes of the host."""
    allow: Instruction = (_RETURN, 0, 0, _ALLOW)
    program = _do_nothing(METADATA, column)
    program += _when(_UTIMENSAT[column], [_argument(1), (_JUMP_EQUAL, 1, 0, 0), _errno(0), allow])
    for *numbers, place in _OTHERS.values():
        program += _when(numbers[column], [_argument(place), (_JUMP_EQUAL, 1, 0, 0), _errno(0), allow])
    program += _when(_PRLIMIT[column], [_argument(0), (_JUMP_EQUAL, 1, 0, 0), _errno(EPERM), allow])
    return program + _when(_INOTIFY_ADD_WATCH[column], [_errno(EPERM)])


def _argument_checks(column: int, mknods: Sequence[int], families: Sequence[int]) -> list[Instruction]:
    allow: Instruction = (_RETURN, 0, 0, _ALLOW)
    checks = _when(
        _CLONE[column], [_argument(0), (_JUMP_ANY_BIT, 0, 1, _CLONE_NAMESPACES), _errno(EPERM), allow]
    )
    checks += _when(
        _IOCTL[column],
        [_argument(1), (_JUMP_EQUAL, 1, 0, _TIOCSTI), (_JUMP_EQUAL, 0, 1, _TIOCLINUX), _errno(EPERM), allow],
    )
    for number in mknods:
        mode = 1 if number == _X86_MKNOD and column == 0 else 2
        checks += _when(number, [_argument(mode), (_JUMP_ANY_BIT, 0, 1, _DEVICE_NODE), _errno(EPERM), allow])
    body = [_argument(0)]
    for family in families:
        body += [(_JUMP_EQUAL, 0, 1, family), allow]
    return checks + _when(_SOCKET[column], [*body, _errno(EAFNOSUPPORT)])
