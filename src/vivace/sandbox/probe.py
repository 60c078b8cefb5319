"""Attacks tried on a backend before it is trusted, and again by the tests.

Each attack is real: it runs inside the sandbox and tries to reach something set up outside for that purpose.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import tempfile
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

from vivace.core.errors import SandboxError
from vivace.sandbox.host import own_interpreter
from vivace.sandbox.limits import ExecLimits, Guarantees, Sandbox
from vivace.sandbox.workspace import Workspace

MANDATORY = (
    "network closed",
    "host files unreadable",
    "writes stay in the workspace",
    "host processes out of reach",
    "environment clean",
    "disk bounded",
)
"""What must hold before any command of the model's or of a package is run."""
OPTIONAL = ("private loopback network", "private /tmp", "permissions can be changed")
"""What some tests of packages need; said when missing."""

# Runs inside. Every check answers True if the attack failed (or, below the line, if the facility is there).
_ATTACKS = textwrap.dedent(
    """
    import json, os, socket, sys
    target = json.load(sys.stdin)

    def refused(action):
        try:
            action()
        except OSError:
            return True
        return False

    def connect():
        socket.create_connection(("127.0.0.1", target["port"]), 1).close()

    def seen_elsewhere():
        try:
            names = os.listdir("/proc")
        except OSError:
            return False
        for name in names:
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if target["marker"].encode() in file.read():
                        return True
            except OSError:
                continue
        return False

    def loopback():
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), 1).close()

    def temporary():
        open("/tmp/" + target["marker"], "w").close()
        os.unlink("/tmp/" + target["marker"])

    def change_mode():
        open("mode", "w").close()
        os.chmod("mode", 0o600)
        return os.stat("mode").st_mode & 0o777 == 0o600

    print(json.dumps({
        "network closed": refused(connect),
        "host files unreadable": refused(lambda: open(target["secret"]).close()),
        "writes stay in the workspace": all(
            refused(lambda: open(path, "w").close()) for path in (target["outside"], "/usr/probe", "/probe")
        ),
        "host processes out of reach": refused(lambda: os.kill(target["pid"], 0)) and not seen_elsewhere(),
        "environment clean": target["marker"] not in "".join(os.environ.values()),
        "private loopback network": not refused(loopback),
        "private /tmp": not refused(temporary),
        "permissions can be changed": change_mode(),
    }))
    """
)
_FILL = textwrap.dedent(
    """
    import os
    for number in range(32):
        with open(f"fill{number}", "wb") as file:
            file.write(os.urandom(1 << 20) * 2)
    import time
    time.sleep(60)
    """
)
_FILL_LIMITS = ExecLimits(disk_mb=16, wall_s=60)


def probe(sandbox: Sandbox) -> Guarantees:
    """Try every attack; about a third of a second.

    Raises:
        SandboxError: a mandatory guarantee does not hold; names it.
    """
    found = _attack(sandbox)
    held = tuple(name for name in (*MANDATORY, *OPTIONAL) if found.get(name))
    broken = [name for name in MANDATORY if not found.get(name)]
    if broken:
        raise SandboxError(
            f"{sandbox.name} does not hold here: {', '.join(broken)}; use another backend or machine"
        )
    return Guarantees(sandbox.name, held, tuple(name for name in OPTIONAL if not found.get(name)))


def _attack(sandbox: Sandbox) -> dict[str, bool]:
    marker = secrets.token_hex(16)
    python = own_interpreter()
    listening = closing(socket.create_server(("127.0.0.1", 0)))
    with tempfile.TemporaryDirectory(prefix="vivace-probe-") as name, listening as server:
        outside = Path(name)
        outside.chmod(0o777)  # what stops the attack must be the sandbox, not the file's mode
        (outside / "secret").write_text(marker)
        (outside / "base").mkdir()
        target: dict[str, Any] = {
            "port": server.getsockname()[1],
            "secret": str(outside / "secret"),
            "outside": str(outside / "written"),
            "marker": marker,
        }
        neighbour = subprocess.Popen(["sleep", "60"], env={**os.environ, "VIVACE_PROBE": marker})
        try:
            target["pid"] = neighbour.pid
            with Workspace(outside / "base", sandbox) as workspace:
                limits = ExecLimits(wall_s=120)
                result = workspace.exec(
                    [python, "-I", "-S", "-c", _ATTACKS], stdin=json.dumps(target), limits=limits
                )
                full = workspace.exec([python, "-I", "-S", "-c", _FILL], limits=_FILL_LIMITS)
        finally:
            neighbour.kill()
            neighbour.wait()
        try:
            found: dict[str, bool] = json.loads(result.output)
        except ValueError as error:
            last = (result.output.strip().splitlines() or [f"exit {result.exit_code}"])[-1]
            raise SandboxError(
                f"{sandbox.name}: the self-test did not run ({last}); reinstall Python"
            ) from error
        found["disk bounded"] = full.killed == "disk" or (full.exit_code != 0 and full.killed is None)
        found["writes stay in the workspace"] &= not (outside / "written").exists()
        return found
