"""Choosing the isolation: the best that passes its own attacks, or a refusal."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vivace.core.errors import BadInput, SandboxError
from vivace.sandbox import cgroup
from vivace.sandbox.bubblewrap import Bubblewrap
from vivace.sandbox.landlock import Landlock
from vivace.sandbox.limits import Sandbox
from vivace.sandbox.probe import probe_once
from vivace.sandbox.scratch import sweep

_BACKENDS: dict[str, Callable[[], Bubblewrap | Landlock]] = {"bubblewrap": Bubblewrap, "landlock": Landlock}
_opened: dict[str, Sandbox] = {}
_lock = threading.Lock()


def open_sandbox(backend: str = "auto") -> Sandbox:
    """A sandbox that held against the attacks tried on it; the same object for every caller in this process.

    Args:
        backend: "auto" (bubblewrap, else landlock), or one by name.
    Raises:
        BadInput: no such backend.
        SandboxError: none holds here; says how to fix it. Nothing ever runs without one.
    """
    if backend != "auto" and backend not in _BACKENDS:
        raise BadInput(f"no sandbox backend {backend!r}; choose auto, {', '.join(_BACKENDS)}")
    problems = []
    with _lock:
        for name in _BACKENDS if backend == "auto" else [backend]:
            try:
                if not _opened:
                    sweep()
                    cgroup.sweep()
                if name not in _opened:
                    sandbox = _BACKENDS[name]()
                    sandbox.guarantees = probe_once(sandbox)
                    _opened[name] = sandbox
                return _opened[name]
            except SandboxError as error:
                problems.append(str(error))
    raise SandboxError("no safe sandbox here: " + "; ".join(problems))
