"""The attacks that reach for something: run as a script inside a sandbox (`python -I -S`), standard library only.

Reads {"names": [...] or null, and the targets of `vivace.sandbox.attacks.targets`} from stdin; each attack runs in a
process of its own. Writes {name: null (held off) or what was reached} as JSON. Nothing here does harm outside of its
targets, so that the same script can be run without any sandbox, to see that every attack works.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import socket
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Target = dict[str, Any]
    Attack = Callable[[Target], object]

ATTACKS: dict[str, Attack] = {}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_COLUMN = 0 if platform.machine() == "x86_64" else 1
_REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EAFNOSUPPORT)


def attack(function: Attack) -> Attack:
    """Registers an attack by its name. It returns something true if it got through; an OSError is a refusal."""
    ATTACKS[function.__name__] = function
    return function


def call(numbers: tuple[int, int], *arguments: object) -> int:
    """A system call by its numbers on (x86_64, aarch64). Raises OSError as Python's own wrappers do."""
    ctypes.set_errno(0)
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_libc.syscall(numbers[_COLUMN], *given))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def answered(numbers: tuple[int, int], *arguments: object) -> str | None:
    """Whether the kernel takes up a call at all: any answer but a refusal means that it does."""
    try:
        return f"returned {call(numbers, *arguments)}"
    except OSError as error:
        return None if error.errno in _REFUSED else f"answered {errno.errorcode.get(error.errno or 0)}"


def pids() -> Iterator[str]:
    try:
        yield from (name for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1 << 16)


# --- network ---------------------------------------------------------------------------------------------------------


def connected(family: int, kind: int, address: object) -> bool:
    with socket.socket(family, kind) as s:
        s.settimeout(1)
        s.connect(tuple(address) if isinstance(address, list) else address)  # type: ignore[arg-type]
        s.send(b"x")
    return True


@attack
def tcp_to_the_hosts_loopback(target: Target) -> object:
    return connected(socket.AF_INET, socket.SOCK_STREAM, target["tcp"])


@attack
def tcp_over_ipv6(target: Target) -> object:
    return connected(socket.AF_INET6, socket.SOCK_STREAM, target["tcp6"])


@attack
def udp_to_the_hosts_loopback(target: Target) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(target["marker"].encode(), tuple(target["udp"]))  # who gets it is for the host to say
    return None


@attack
def dns_query(target: Target) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.connect(("192.0.2.1", 53))  # fails where there is no way out
        return "a way out"


@attack
def unix_socket_in_the_abstract(target: Target) -> object:
    return connected(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + target["abstract"])


@attack
def unix_socket_by_path(target: Target) -> object:
    return connected(socket.AF_UNIX, socket.SOCK_STREAM, target["unix"])


@attack
def vsock(target: Target) -> object:
    socket.socket(40, socket.SOCK_STREAM).close()
    return "socket made"


@attack
def raw_packets(target: Target) -> object:
    for family, kind, protocol in ((17, socket.SOCK_RAW, 3), (socket.AF_INET, socket.SOCK_RAW, 1)):
        try:
            socket.socket(family, kind, protocol).close()
            return "socket made"
        except OSError:
            continue
    return None


# --- host files ------------------------------------------------------------------------------------------------------


def leaked(target: Target, path: str) -> str | None:
    return path if target["marker"].encode() in read(path) else None


@attack
def read_a_file_of_the_host(target: Target) -> object:
    return leaked(target, target["secret"])


@attack
def read_through_a_symlink(target: Target) -> object:
    os.symlink(target["secret"], "trap")
    return leaked(target, "trap")


@attack
def read_through_a_hard_link(target: Target) -> object:
    os.link(target["secret"], "hard")
    return leaked(target, "hard")


@attack
def read_through_the_root_of_a_process(target: Target) -> object:
    for pid in ("1", "self", str(target["pid"]), str(os.getppid()), *pids()):
        for way in ("root", "cwd"):
            try:
                path = f"/proc/{pid}/{way}/{target['secret'].lstrip('/')}"
                if leaked(target, path):
                    return path
            except OSError:
                continue
    return None


@attack
def read_the_hosts_passwords(target: Target) -> object:
    return read("/etc/shadow")


@attack
def list_a_folder_of_the_host(target: Target) -> object:
    return os.listdir(target["outside"])


@attack
def watch_a_folder_of_the_host(target: Target) -> object:
    fd = int(_libc.inotify_init1(os.O_NONBLOCK))
    watch = int(_libc.inotify_add_watch(fd, target["outside"].encode(), 0xFFF))
    os.close(fd)
    return "names of its files" if watch >= 0 else None


@attack
def read_memory_or_log_of_the_kernel(target: Target) -> object:
    for path in ("/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/port", "/proc/kcore", "/proc/kmsg"):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            return path
        except OSError:
            continue
    return None


@attack
def read_a_disk(target: Target) -> object:
    for name in ("vda", "sda", "nvme0n1", "xvda", "loop0", "dm-0"):
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK))
            return name
        except OSError:
            continue
    os.mknod("disk", 0o60666, os.makedev(7, 0))
    return "a device of its own"


# --- writes; those on prepared files are judged from the host's side -------------------------------------------------


@attack
def create_a_file_outside(target: Target) -> object:
    open(f"{target['outside']}/created", "w").close()
    return "created"


@attack
def make_a_folder_outside(target: Target) -> object:
    os.mkdir(f"{target['outside']}/made")
    return "made"


@attack
def overwrite_a_file_outside(target: Target) -> object:
    with open(target["victims"]["overwritten"], "r+") as file:
        file.write("gone")
    return "written"


@attack
def truncate_a_file_by_its_path(target: Target) -> object:
    os.truncate(target["victims"]["truncated"], 0)
    return "truncated"


@attack
def remove_a_file_outside(target: Target) -> object:
    os.unlink(target["victims"]["removed"])
    return "removed"


@attack
def move_a_file_in(target: Target) -> object:
    os.rename(target["victims"]["moved"], "stolen")
    return "moved"


@attack
def change_permissions_outside(target: Target) -> object:
    os.chmod(target["victims"]["mode"], 0o600)
    return None  # some backends let it pass and do nothing


@attack
def change_times_outside(target: Target) -> object:
    os.utime(target["victims"]["times"], (1, 1))
    return None


@attack
def change_attributes_outside(target: Target) -> object:
    os.setxattr(target["victims"]["attributes"], "user.vivace", b"x")
    return None


@attack
def change_the_base_tree(target: Target) -> object:
    open(f"{target['base']}/new", "w").close()
    return "written"


@attack
def write_to_the_system(target: Target) -> object:
    for folder in ("/usr", "/etc", "/", "/dev", "/var/tmp", "/root", "/home"):
        path = f"{folder}/vivace-{target['marker'][:8]}"
        try:
            open(path, "w").close()
            os.unlink(path)
            return folder
        except OSError:
            continue
    return None


@attack
def change_settings_of_the_kernel(target: Target) -> object:
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/mm/ksm/run",
                 "/sys/fs/cgroup/release_agent", "/proc/sys/kernel/hostname"):  # fmt: skip
        try:
            os.close(os.open(path, os.O_WRONLY))
            return path
        except OSError:
            continue
    return None


# --- processes of the host; what is changed of one is judged from the host's side ------------------------------------


@attack
def signal_a_process_of_the_host(target: Target) -> object:
    os.kill(target["pid"], 0)
    return "signalled"


@attack
def signal_by_a_process_descriptor(target: Target) -> object:
    fd = os.pidfd_open(target["pid"])
    signal.pidfd_send_signal(fd, 0)
    return "signalled"


@attack
def read_environments_and_command_lines(target: Target) -> object:
    for pid in pids():
        for name in ("environ", "cmdline"):
            try:
                if target["marker"].encode() in read(f"/proc/{pid}/{name}") and int(pid) != os.getpid():
                    return f"/proc/{pid}/{name}"
            except OSError:
                continue
    return None


@attack
def trace_a_process_of_the_host(target: Target) -> object:
    call((101, 117), 0x4206, target["pid"], 0, 0)  # PTRACE_SEIZE
    return "traced"


@attack
def read_memory_of_a_process(target: Target) -> object:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("=QQ", ctypes.addressof(buffer), 8)
    remote = struct.pack("=QQ", 0, 8)
    return answered((310, 270), target["pid"], ctypes.c_char_p(local), 1, ctypes.c_char_p(remote), 1, 0)


@attack
def take_a_descriptor_of_a_process(target: Target) -> object:
    return call((438, 438), os.pidfd_open(target["pid"]), 0, 0)


@attack
def change_limits_of_a_process(target: Target) -> object:
    resource.prlimit(target["pid"], resource.RLIMIT_NOFILE, (64, 64))
    return "changed"


@attack
def change_priority_of_a_process(target: Target) -> object:
    os.setpriority(os.PRIO_PROCESS, target["pid"], 19)
    return None


@attack
def pin_a_process_of_the_host(target: Target) -> object:
    os.sched_setaffinity(target["pid"], [min(os.sched_getaffinity(0))])
    return None


@attack
def change_scheduling_of_a_process(target: Target) -> object:
    os.sched_setscheduler(target["pid"], os.SCHED_BATCH, os.sched_param(0))
    return None


@attack
def change_disk_priority_of_a_process(target: Target) -> object:
    call((251, 30), 1, target["pid"], 3 << 13)  # ioprio_set(PROCESS, pid, idle)
    return None


# --- environment -----------------------------------------------------------------------------------------------------


@attack
def look_for_secrets_in_the_environment(target: Target) -> object:
    return [name for name, value in os.environ.items() if target["marker"] in value]


@attack
def look_for_open_descriptors(target: Target) -> object:
    known = {int(value) for name, value in os.environ.items() if name in ("VIVACE_RESULT_FD", "VIVACE_LINK_FD")}
    found = []
    for fd in range(3, 256):
        try:
            os.fstat(fd)
            found.append(fd)
        except OSError:
            continue
    return [fd for fd in found if fd not in known | {target["reply"]}]


# --- memory and queues that belong to no process ---------------------------------------------------------------------


@attack
def attach_shared_memory_of_the_host(target: Target) -> object:
    address = call((30, 196), target["shm"], 0, 0o10000)
    return target["marker"] in ctypes.string_at(address, 64).decode(errors="replace")


@attack
def take_a_message_of_the_host(target: Target) -> object:
    buffer = ctypes.create_string_buffer(256)
    return call((70, 188), target["queue"], buffer, 128, 0, 0o4000) >= 0  # IPC_NOWAIT


@attack
def change_a_semaphore_of_the_host(target: Target) -> object:
    operation = struct.pack("=Hhh", 0, 1, 0o4000)
    return call((65, 193), target["semaphore"], ctypes.c_char_p(operation), 1) >= 0


@attack
def open_a_message_queue_of_the_host(target: Target) -> object:
    return call((240, 180), ctypes.c_char_p(target["mq"].encode()), os.O_RDONLY, 0, 0) >= 0


# --- the kernel's surface --------------------------------------------------------------------------------------------

_CALLS = {
    "make_a_namespace": ((272, 97), 0x10000000), "enter_a_namespace": ((308, 268), 0, 0),
    "mount_something": ((165, 40), 0, 0, 0, 0, 0), "change_root": ((155, 41), 0, 0),
    "load_a_bpf_program": ((321, 280), 0, 0, 0), "use_io_uring": ((425, 425), 1, 0),
    "use_keyrings": ((250, 219), 0, 0), "open_performance_counters": ((298, 241), 0, 0, -1, -1, 0),
    "handle_page_faults": ((323, 282), 1), "open_by_file_handle": ((304, 265), -1, 0, 0),
    "load_a_kernel": ((246, 104), 0, 0, 0, 0xFFFF), "load_a_module": ((313, 273), -1, 0, 0),
    "clone_into_a_namespace": ((56, 220), 0x10000000 | 17, 0, 0, 0, 0), "clone3": ((435, 435), 0, 0),
    "make_shared_memory": ((29, 194), 0, 0, 0o600), "find_a_message_queue": ((68, 186), 0x7654ABCD, 0),
    "find_semaphores": ((64, 190), 0x7654ABCD, 0, 0), "make_a_named_queue": ((240, 180), 0, 0o102, 0o600, 0),
    "make_memory_files": ((319, 279), 0, 0), "set_the_clock": ((227, 112), 0, 0),
    "change_personality": ((135, 92), 0xFFFFFFFF),
}  # fmt: skip


def _by_number(numbers: tuple[int, int], *arguments: int) -> Attack:
    def run(target: Target) -> object:
        found = answered(numbers, *arguments)
        if found == "returned 0" and numbers[0] == 56:
            os._exit(0)  # we are the clone
        return found

    return run


for _name, (_numbers, *_arguments) in _CALLS.items():
    ATTACKS[_name] = _by_number(_numbers, *_arguments)  # type: ignore[arg-type]


@attack
def enter_by_the_32_bit_door(target: Target) -> object:
    if _COLUMN:
        return None
    import mmap

    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20 (getpid there); int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return function() > 0


@attack
def type_into_the_terminal(target: Target) -> object:
    try:
        _master, slave = os.openpty()
    except OSError:
        slave = os.open("/dev/null", os.O_RDWR)
    import fcntl

    try:
        fcntl.ioctl(slave, 0x5412, b"x")  # TIOCSTI
    except OSError as error:
        return None if error.errno in (errno.EPERM, errno.EACCES) else f"answered {error.errno}"
    return "typed"


@attack
def become_root(target: Target) -> object:
    if _libc.prctl(39, 0, 0, 0, 0) != 1:  # PR_GET_NO_NEW_PRIVS
        return "programs may still raise their rights"
    if _libc.prctl(21, 0, 0, 0, 0) != 2:  # PR_GET_SECCOMP
        return "no filter"
    header, data = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0)), ctypes.create_string_buffer(24)
    call((125, 90), header, data)
    return "capabilities" if any(data.raw) else None


# --- running them ----------------------------------------------------------------------------------------------------


def outcome(name: str, target: Target) -> str | None:
    """Run one attack in a process of its own; what it reached, None if nothing."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        try:
            reached = ATTACKS[name]({**target, "reply": write_end})
            text = str(reached) if reached else ""
        except OSError:
            text = ""
        os.write(write_end, text.encode()[:1000])
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as reply:
        text = reply.read().decode(errors="replace")
    deadline = time.monotonic() + 20
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.0005)
    return text or None


def main() -> None:
    target = json.load(sys.stdin)
    wanted = target.pop("names") or list(ATTACKS)
    print(json.dumps({name: outcome(name, target) for name in wanted}), flush=True)


if __name__ == "__main__":
    main()
