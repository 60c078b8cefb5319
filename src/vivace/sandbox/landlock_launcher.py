"""Starts one command under Landlock and seccomp, and outlives it to end whatever it leaves behind.

Runs as a script in a fresh interpreter (`python -I -S`), so it imports the standard library only. Its one argument
is the number of a descriptor that holds a JSON object: argv, cwd, env, uid, filter (base64), read, write, devices
(paths), rlimits ([name, value] pairs), processes, status (a descriptor), keep (descriptors the command inherits).
It writes {"exit": code} or {"error": text} to `status`. Sources: landlock(7), capset(2), prctl(2).
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import signal
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _CAPSET = 444, 445, 446, {"x86_64": 126, "aarch64": 91}
_PATH_BENEATH, _VERSION_FLAG = 1, 1
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = (
    1 << bit for bit in (0, 1, 2, 3, 14, 15)
)
_SCOPE_SOCKETS_AND_SIGNALS = 3
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def landlock_version() -> int:
    """Landlock's ABI version; 0 where the kernel has none."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def build_ruleset(read: list[str], write: list[str], devices: list[str]) -> int:
    """A ruleset that allows reading and executing below `read`, everything below `write`, and nothing else."""
    version = landlock_version()
    bits = 13 + sum(version >= since for since in (2, 3)) + (version >= 5)
    handled = (1 << bits) - 1
    attributes = struct.pack("=QQQ", handled, 0, _SCOPE_SOCKETS_AND_SIGNALS)
    size = 24 if version >= 6 else 8
    ruleset = _check(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "landlock")
    on_file = (_EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV) & handled
    reading = _EXECUTE | _READ_FILE | _READ_DIR
    for paths, access in (
        (read, reading),
        (write, handled),
        (devices, _READ_FILE | _WRITE_FILE | _IOCTL_DEV),
    ):
        for path in paths:
            if not os.path.exists(path):
                continue
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = access & handled & (handled if os.path.isdir(path) else on_file)
            rule = struct.pack("=Qi", allowed, fd)
            _check(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0), f"landlock rule for {path}")
            os.close(fd)
    return ruleset


def _tasks_of(uid: int) -> int:
    """Processes and threads that run under `uid` now: RLIMIT_NPROC counts these as well."""
    count = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def _set_limits(config: dict[str, Any], shared: bool) -> None:
    for name, value in config["rlimits"]:
        resource.setrlimit(getattr(resource, name), (value, value))
    processes = config["processes"] + (_tasks_of(os.getuid()) if shared else 0)
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    if hard != resource.RLIM_INFINITY:
        processes = min(processes, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def _drop_privileges(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return
    capability = 0
    while os.geteuid() == 0 and _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    header = struct.pack("=Ii", 0x20080522, 0)
    _check(_libc.syscall(_CAPSET[os.uname().machine], header, bytes(24)), "capset")


def _confine(config: dict[str, Any]) -> None:
    """Everything between fork and exec, in the child; never returns to privileged state."""
    os.setsid()
    ruleset = build_ruleset(config["read"], config["write"], config["devices"])
    _set_limits(config, shared=config["uid"] is None)
    _drop_privileges(config["uid"])
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    os.chdir(config["cwd"])
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock")
    code = base64.b64decode(config["filter"])
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(program), 0, 0), "seccomp")


def _command(config: dict[str, Any], failed: int) -> None:
    """The child: confine itself and become the command; tells `failed` if the confinement fails."""
    try:
        _confine(config)
    except OSError as error:
        os.write(failed, str(error).encode())
        os._exit(126)
    for fd in config["keep"]:
        os.set_inheritable(fd, True)
    os.set_inheritable(failed, False)  # closed by exec: silence means that the command runs
    try:
        os.execvpe(config["argv"][0], config["argv"], config["env"])
    except OSError as error:
        os.close(failed)
        os.write(2, f"{config['argv'][0]}: {error.strerror}\n".encode())
    os._exit(127)


def end_descendants() -> None:
    """SIGKILL every process below this one until none is left; orphans come to us, the subreaper."""
    while True:
        for pid in _descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        signal.sigtimedwait([signal.SIGCHLD], 0.01)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                for child in map(int, file.read().split()):
                    found += [child, *_descendants(child)]
    except OSError:
        pass  # it ended meanwhile
    return found


def main() -> None:
    fd = int(sys.argv[1])
    with os.fdopen(fd) as file:
        config = json.load(file)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.close(read_end)
        os.close(config["status"])
        _command(config, write_end)
    os.close(write_end)
    with os.fdopen(read_end) as file:
        problem = file.read()
    code = None
    while code is None:
        done, status = os.waitpid(-1, os.WNOHANG)
        if done == child:
            code = os.waitstatus_to_exitcode(status)
        elif done == 0:
            woken = signal.sigtimedwait([signal.SIGTERM, signal.SIGCHLD], 1.0)
            if woken and woken.si_signo == signal.SIGTERM:
                code = -signal.SIGKILL
    end_descendants()
    answer = {"error": problem} if problem else {"exit": code if code >= 0 else 128 - code}
    os.write(config["status"], json.dumps(answer).encode())


if __name__ == "__main__":
    main()
