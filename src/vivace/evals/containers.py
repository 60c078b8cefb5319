"""Containers of Docker or Podman, driven by their command line: for tasks whose environment is an image.

`Container` is what the harness's terminal needs of a workspace. VIVACE_CONTAINER names the engine (a command with its
options, such as "podman --runtime runc", or "none"); without it the first of docker and podman that answers is taken.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from vivace.core.errors import BadInput, InfraError
from vivace.sandbox import ExecLimits, ExecResult

SETTING = "VIVACE_CONTAINER"
_ENGINES, _LINK = ("docker", "podman"), "/workspace"
_START = 'echo $$ > "$VIVACE_PID"; exec "$@"'
_STOP = 'kill -9 -"$(cat "$VIVACE_PID")"'


@functools.cache
def engine() -> tuple[str, ...] | None:
    """Command of the container engine that answers here, or None. InfraError: the one that was named does not."""
    given = os.environ.get(SETTING, "")
    if given == "none":
        return None
    for command in [tuple(shlex.split(given))] if given else [(name,) for name in _ENGINES]:
        if not command or not shutil.which(command[0]):
            continue
        try:
            done = subprocess.run([*command, "info"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command
    if given:
        raise InfraError(f"{given!r} in {SETTING} does not answer to `info`; start it, or write none")
    return None


def require_engine() -> tuple[str, ...]:
    """InfraError where there is none; says how to get one."""
    found = engine()
    if found is None:
        raise InfraError(f"no container engine answers here; start docker or podman, or name one in {SETTING}")
    return found


def build(folder: Path, name: str, seconds: float) -> str:
    """The image of a folder with a Dockerfile; InfraError: it cannot be built."""
    return _engine_run(["build", "-q", "-t", name, str(folder)], seconds).strip().splitlines()[-1]


class Container:
    """One running container. Its files live as long as it does; close() ends and deletes it.

    Args:
        image: name; pulled where it is not at hand.
        workdir: where commands start; None: the image's own.
        network: "none", or the engine's name of a network.
        env: of every command.
        user: who runs commands; "": the image's own.
    """

    def __init__(self, image: str, *, workdir: str | None = None, network: str = "none", cpus: float | None = None,
                 memory_mb: int | None = None, env: Mapping[str, str] | None = None, user: str = "") -> None:
        self.name, self.user = f"vivace-{secrets.token_hex(8)}", user
        self.env, self.workdir = dict(env or {}), workdir or ""
        options = ["--network", network, *(["--cpus", str(cpus)] if cpus else []),
                   *(["--memory", f"{memory_mb}m"] if memory_mb else []), *(["-w", workdir] if workdir else [])]
        _engine_run(["run", "-d", "--name", self.name, *options, "--entrypoint", "/bin/sh", image, "-c",
                     "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"], 1800)
        try:
            held = json.loads(_engine_run(["inspect", self.name], 60))[0]
            self.workdir = workdir or held["Config"].get("WorkingDir") or "/"
            self.exec(["sh", "-c", f"[ -e {_LINK} ] || ln -s {shlex.quote(self.workdir)} {_LINK}"], user="0")
        except BaseException:
            self.close()
            raise

    @property
    def mount(self) -> str:
        """Never in any output: a container's paths are shown as they are."""
        return "\0"

    def exec(self, argv: Sequence[str], *, limits: ExecLimits | None = None, env: Mapping[str, str] | None = None,
             cwd: str | None = None, user: str | None = None) -> ExecResult:
        """Run one command to its end or its time limit; what it started in the background goes on.

        Raises:
            InfraError: the engine failed, or the container is gone.
        """
        limits = limits or ExecLimits()
        number = secrets.token_hex(6)
        given = {**self.env, **(env or {}), "VIVACE_PID": f"/tmp/.vivace-{number}"}
        options = [part for key, value in given.items() for part in ("-e", f"{key}={value}")]
        who = self.user if user is None else user
        options += [*(["-u", who] if who else []), *(["-w", cwd or self.workdir] if cwd or self.workdir else [])]
        command = [*require_engine(), "exec", *options, self.name]
        start, late = time.monotonic(), False
        with tempfile.TemporaryFile() as output:  # a pipe would be held open by what goes on in the background
            process = subprocess.Popen([*command, "/bin/sh", "-c", _START, "sh", *argv], stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=subprocess.STDOUT)
            try:
                code = process.wait(timeout=limits.wall_s)
            except subprocess.TimeoutExpired:
                late = True
                subprocess.run([*command, "/bin/sh", "-c", _STOP], capture_output=True, timeout=60)
                process.kill()
                code = process.wait()
            output.seek(0)
            text = output.read(limits.output_bytes + 1)
        if code in (125, 255) and not self._lives():
            raise InfraError(f"the container is gone: {text.decode('utf-8', 'replace').strip()[-200:]}")
        return ExecResult(137 if late else code, text[: limits.output_bytes].decode("utf-8", "replace"), timed_out=late,
                          truncated=len(text) > limits.output_bytes, duration_s=time.monotonic() - start,
                          killed="time" if late else None)

    def put(self, folder: Path, place: str) -> None:
        """Copy what is in a folder of this machine to a folder in the container, which is made."""
        self.exec(["mkdir", "-p", place], user="0")
        _engine_run(["cp", f"{folder}/.", f"{self.name}:{place}"], 600)

    def read(self, path: str) -> bytes | None:
        """Contents of a file in the container; None if it has none there."""
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([*require_engine(), "cp", f"{self.name}:{path}", f"{folder}/file"],
                                  capture_output=True, timeout=600)
            place = Path(folder) / "file"
            return place.read_bytes() if done.returncode == 0 and place.is_file() and not place.is_symlink() else None

    def files(self) -> list[str]:
        """None: an image has too many to be attached to a request."""
        return []

    def diff(self) -> str:
        """Empty: what an attempt did to a container is not a patch."""
        return ""

    def close(self) -> None:
        """End and delete it."""
        command = engine()
        if command:
            subprocess.run([*command, "rm", "-f", self.name], capture_output=True, timeout=120)

    def _lives(self) -> bool:
        done = subprocess.run([*require_engine(), "inspect", "--format", "{{.State.Running}}", self.name],
                              capture_output=True, text=True, timeout=60)
        return done.stdout.strip() == "true"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def identity() -> str:
    """Name of the engine, for a run's identity; "" where there is none."""
    found = engine()
    return Path(found[0]).name if found else ""


def _engine_run(arguments: Sequence[str], seconds: float) -> str:
    command = [*require_engine(), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise InfraError(f"{' '.join(command[:3])} took more than {seconds:g} s") from None
    if done.returncode:
        said = " ".join(done.stderr.split())[-200:]
        if arguments[0] == "build":
            raise BadInput(f"the image cannot be built: {said}")
        raise InfraError(f"{' '.join(command[:3])}: {said}")
    return done.stdout
