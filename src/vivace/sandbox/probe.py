"""The self-test: attacks carried out on a backend before it is trusted. What it found is kept for as long as it holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import textwrap
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from vivace.core.errors import SandboxError
from vivace.core.files import cache_dir, digest, write_json
from vivace.sandbox.attacks.exhaust import EXHAUST
from vivace.sandbox.attacks.inside import ATTACKS
from vivace.sandbox.attacks.matrix import GUARANTEE, SELF_TEST, carry_out
from vivace.sandbox.cgroup import controllers
from vivace.sandbox.host import own_interpreter
from vivace.sandbox.limits import ExecLimits, Guarantees, Sandbox
from vivace.sandbox.workspace import Workspace

MANDATORY = tuple(dict.fromkeys(GUARANTEE[name] for name in SELF_TEST))
"""What must hold before any command of the model's or of a package is run."""
OPTIONAL = ("private loopback network", "private /tmp", "permissions can be changed",
            "memory held by the kernel bounded")  # fmt: skip
"""What some tests of packages need, and what needs control groups; said when missing."""

_FACILITIES = textwrap.dedent(
    """
    import json, os, socket

    def works(action):
        try:
            return bool(action())
        except OSError:
            return False

    def loopback():
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), 1).close()
        return True

    def temporary():
        open("/tmp/vivace", "w").close()
        os.unlink("/tmp/vivace")
        return True

    def change_mode():
        open("mode", "w").close()
        os.chmod("mode", 0o600)
        return os.stat("mode").st_mode & 0o777 == 0o600

    print(json.dumps([works(loopback), works(temporary), works(change_mode)]))
    """
)
_KNOBS = ("kernel/unprivileged_userns_clone", "kernel/apparmor_restrict_unprivileged_userns",
          "user/max_user_namespaces", "kernel/yama/ptrace_scope")  # fmt: skip


def probe(sandbox: Sandbox) -> Guarantees:
    """Try the attacks of the self-test; a second or two.

    Raises:
        SandboxError: a mandatory guarantee does not hold; names it.
    """
    for names in (tuple(ATTACKS), tuple(name for name in SELF_TEST if name in EXHAUST)):  # the harmless ones first
        broken = [name for name, reached in carry_out(sandbox, names).items() if reached]
        if broken:
            lost = ", ".join(f"{GUARANTEE[name]} ({name.replace('_', ' ')})" for name in broken)
            raise SandboxError(f"{sandbox.name} does not hold here: {lost}; use another backend or machine")
    there = [*_facilities(sandbox), any(each.memory for each in controllers())]
    held = tuple(name for name, is_there in zip(OPTIONAL, there, strict=True) if is_there)
    return Guarantees(sandbox.name, (*MANDATORY, *held), tuple(name for name in OPTIONAL if name not in held))


def probe_once(sandbox: Sandbox) -> Guarantees:
    """As `probe`, unless it has already passed on this machine as it is now: same kernel since it was started, same
    program, settings and user, same Vivace. A failure is never kept."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(_kept(sandbox).read_text())
        return Guarantees(kept["backend"], tuple(kept["held"]), tuple(kept["missing"]))
    found = probe(sandbox)
    with suppress(OSError):  # nowhere to keep it: it is tried again next time
        write_json(_kept(sandbox), {"backend": found.backend, "held": found.held, "missing": found.missing})
    return found


def _kept(sandbox: Sandbox) -> Path:
    return cache_dir("sandbox") / f"{sandbox.name}-{digest(_depends_on(sandbox))}.json"


def _depends_on(sandbox: Sandbox) -> list[object]:
    """Everything by which the outcome of the self-test could be another one."""
    knobs = [_text(Path("/proc/sys") / name) for name in _KNOBS]
    program = getattr(sandbox, "program", sys.executable)
    info = os.stat(program)
    rights = ("Cap", "NoNew", "Sec")
    status = [line for line in _text(Path("/proc/self/status")).splitlines() if line.startswith(rights)]
    return [
        sandbox.name, program, info.st_size, info.st_mtime_ns, own_interpreter(), platform.version(), knobs, status,
        _text(Path("/proc/sys/kernel/random/boot_id")), os.getuid(), os.getgid(), _text(Path("/proc/self/uid_map")),
        os.environ.get("TMPDIR", ""), [str(each) for each in controllers()], _sources(),
    ]  # fmt: skip


@lru_cache(maxsize=1)
def _sources() -> str:
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _facilities(sandbox: Sandbox) -> list[bool]:
    with TemporaryDirectory(prefix="vivace-probe-") as base:
        os.chmod(base, 0o755)
        with Workspace(Path(base), sandbox) as workspace:
            result = workspace.exec([own_interpreter(), "-I", "-S", "-c", _FACILITIES], limits=ExecLimits(wall_s=120))
    try:
        found: list[bool] = json.loads(result.output)
    except ValueError as error:
        last = (result.output.strip().splitlines() or [f"exit {result.exit_code}"])[-1]
        raise SandboxError(f"{sandbox.name}: the self-test did not run ({last}); reinstall Python") from error
    return found
