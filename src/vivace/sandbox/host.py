"""What of the host a command needs to see: system folders, interpreters and a few harmless files."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from vivace.core.errors import BadInput

SYSTEM_DIRS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")

USER = "sandbox"
HOSTS = b"127.0.0.1 localhost\n::1 localhost\n"
NSSWITCH = b"passwd: files\ngroup: files\nhosts: files\n"

# Uids no distribution hands out. Each workspace made by root gets one, so that process limits and file
# permissions of one never touch another.
_OWNERS = range(1_610_612_736, 1_879_048_192)


def fresh_owner() -> int | None:
    """A uid for one workspace when we are root and may give files to any uid of the range, else None.

    Root of a container that has uids of its own may not: there it is an ordinary user of the machine.
    """
    if os.geteuid() != 0:
        return None
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, _, count = map(int, line.split())
        if inside <= _OWNERS.start and _OWNERS.stop <= inside + count:
            return random.SystemRandom().choice(_OWNERS)
    return None


def passwd(uid: int) -> bytes:
    """An /etc/passwd that knows the sandbox's user and nobody else on this machine."""
    return f"root:x:0:0::/root:/bin/sh\n{USER}:x:{uid}:{uid}::/tmp:/bin/sh\n".encode()


def group(gid: int) -> bytes:
    """The matching /etc/group."""
    return f"root:x:0:\n{USER}:x:{gid}:\n".encode()


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a command: nothing of the caller's, settled locale, zone and hash seed.

    Bytecode is never written: a stale .pyc must not outlive an edit made within the second that .pyc files
    resolve.
    """
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": "/tmp",
        "USER": USER,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        **extra,
    }


def _under_system(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in SYSTEM_DIRS)


def _is_installation(prefix: Path) -> bool:
    """Whether an interpreter is installed here, not just linked: ~/.local/bin/python must not show ~/.local."""
    return any(prefix.glob("lib/python3*/os.py"))


@lru_cache(maxsize=256)
def interpreter_dirs(prefix: Path) -> tuple[Path, ...]:
    """`prefix` and, if it is a virtual environment, the interpreter installations that it points to."""
    config = prefix / "pyvenv.cfg"
    if not config.is_file():
        return (prefix,)
    homes = [Path(os.path.realpath(prefix / "bin" / "python")).parent]
    for line in config.read_text().splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "home" and value.strip():
            homes.append(Path(value.strip()))
    return (prefix, *(home.parent for home in homes if _is_installation(home.parent)))


def interpreter(python: Path) -> tuple[Path, Path]:
    """(executable, folder to show) of an interpreter given by any of its names.

    Raises:
        BadInput: it is no interpreter, or only a script that starts one.
    """
    path = Path(os.path.abspath(python))
    if not (path.parent.parent / "pyvenv.cfg").is_file():
        path = Path(os.path.realpath(path))
        if not _is_installation(path.parent.parent):
            raise BadInput(
                f"{python} is not a Python interpreter; give its real path, such as PREFIX/bin/python3"
            )
    if not path.exists():
        raise BadInput(f"{python} does not exist; make its virtual environment again")
    return path, path.parent.parent


def own_interpreter() -> str:
    """The interpreter that runs Vivace, without its virtual environment; visible in every sandbox."""
    return str(interpreter(Path(getattr(sys, "_base_executable", sys.executable)))[0])


def visible_dirs(readonly: Iterable[Path]) -> list[Path]:
    """Folders to show read-only besides the system's: those asked for and the interpreters behind them.

    Includes the interpreter that runs Vivace (its base, not its virtual environment).
    """
    wanted: dict[Path, None] = {}
    for path in (Path(sys.base_prefix), *readonly):
        for folder in interpreter_dirs(Path(os.path.abspath(path))):
            if folder.exists() and not _under_system(folder) and folder != Path("/"):
                wanted.setdefault(folder)
    return list(wanted)
