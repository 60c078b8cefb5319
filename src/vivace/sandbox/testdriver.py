"""Runs *inside* the sandbox, as a script, under the interpreter of the package being tested.

"once" reads one JSON request from standard input, runs the tests with pytest or unittest, and writes one JSON line per
finished test to the descriptor in $VIVACE_RESULT_FD. "serve" imports pytest first and then forks for every request
that comes over the socket in $VIVACE_LINK_FD. Nothing of Vivace is imported. Request: {"runner", "ids", "args",
"start", "top"; served: "wall_s", "cpu_s"}; lines: [test id, outcome] and at the end {"exit": code, "collected": bool}.
"""

from __future__ import annotations

import json
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Reporter:
    """Writes results; also a pytest plugin that keeps only the wanted tests."""

    def __init__(self, fd: int, ids: list[str]) -> None:
        self.fd, self.ids = fd, set(ids)
        self.errors = False
        paths = [test_id.split("[", 1)[0].split("::") for test_id in ids]
        self.above = {"::".join(parts[:n]) for parts in paths for n in range(2, len(parts) + 1)}

    def say(self, line: Any) -> None:
        os.write(self.fd, (json.dumps(line) + "\n").encode())

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.errors = True
            self.say([report.nodeid, "error"])

    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: Any) -> Any:
        """Spare the making of items that `pytest_collection_modifyitems` would take out again."""
        nodeid = f"{collector.nodeid}::{name}"
        return None if not self.ids or nodeid in self.above or self.wanted(nodeid) else []

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        if not self.ids:
            return
        kept = [item for item in items if self.wanted(item.nodeid)]
        if len(kept) != len(items):
            config.hook.pytest_deselected(items=[item for item in items if not self.wanted(item.nodeid)])
            items[:] = kept

    def wanted(self, nodeid: str) -> bool:
        """Whether a request names this test, its function, class, file or folder."""
        if nodeid in self.ids:
            return True
        plain = nodeid.split("[", 1)[0]
        parts = plain.split("::")
        if any("::".join(parts[:n]) in self.ids for n in range(1, len(parts) + 1)):
            return True
        folders = parts[0].split("/")
        return any("/".join(folders[:n]) in self.ids for n in range(1, len(folders)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        subtest = hasattr(report, "context")
        if report.when == "call":
            if report.failed or not subtest:
                self.say([report.nodeid, report.outcome])
        elif report.failed:
            self.say([report.nodeid, "error"])
        elif report.skipped:
            self.say([report.nodeid, "skipped"])


def run_pytest(request: dict[str, Any], reporter: Reporter) -> int:
    import pytest

    targets = []
    for test_id in request["ids"]:
        path = test_id.split("::", 1)[0]
        if path not in targets and os.path.exists(path):
            targets.append(path)
    if request["ids"] and not targets:
        return 4
    fixed = ["--rootdir=.", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    code = pytest.main([*fixed, *request["args"], *targets], plugins=[reporter])
    return int(code)


def run_unittest(request: dict[str, Any], reporter: Reporter) -> int:
    import unittest

    class Result(unittest.TextTestResult):
        def addSuccess(self, test: Any) -> None:
            super().addSuccess(test)
            reporter.say([test.id(), "passed"])

        def addFailure(self, test: Any, error: Any) -> None:
            super().addFailure(test, error)
            reporter.say([test.id(), "failed"])

        def addError(self, test: Any, error: Any) -> None:
            super().addError(test, error)
            loading = type(test).__module__ == "unittest.loader"
            reporter.errors |= loading
            reporter.say([test.id().replace("unittest.loader._FailedTest.", ""), "error"])

        def addSkip(self, test: Any, reason: str) -> None:
            super().addSkip(test, reason)
            reporter.say([test.id(), "skipped"])

        def addExpectedFailure(self, test: Any, error: Any) -> None:
            super().addExpectedFailure(test, error)
            reporter.say([test.id(), "skipped"])

        def addUnexpectedSuccess(self, test: Any) -> None:
            super().addUnexpectedSuccess(test)
            reporter.say([test.id(), "failed"])

        def addSubTest(self, test: Any, subtest: Any, error: Any) -> None:
            super().addSubTest(test, subtest, error)
            if error is not None:
                reporter.say([test.id(), "failed"])

    loader = unittest.TestLoader()
    if request["top"]:
        sys.path.insert(0, os.path.abspath(request["top"]))
    if request["ids"]:
        suite = loader.loadTestsFromNames(request["ids"])
    else:
        suite = loader.discover(request["start"], top_level_dir=request["top"] or None)
    runner = unittest.TextTestRunner(sys.stderr, verbosity=1, resultclass=Result)  # type: ignore[arg-type]
    return 0 if runner.run(suite).wasSuccessful() else 1


def run(request: dict[str, Any], fd: int) -> None:
    """Run one request, report to `fd`, and end the process."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.set_inheritable(fd, False)
    sys.path[0] = os.getcwd()  # as `python -m` has it
    sys.argv = [request["runner"]]
    reporter = Reporter(fd, request["ids"])
    code = {"pytest": run_pytest, "unittest": run_unittest}[request["runner"]](request, reporter)
    reporter.say({"exit": code, "collected": not reporter.errors and code not in (2, 3, 4, 5)})
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that tests left running must not keep the process


class Rewritten:
    """Test modules as pytest rewrites them, kept for all runs of a server: a third of a short run is rewriting.

    Only files as they were when the server started, which is before anything untrusted could write: the server itself
    parses nothing else. They are not run here.
    """

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.code: dict[str, Any] = {}
        for folder, _, names in os.walk("."):
            for name in names:
                if name.endswith(".py"):
                    path = os.path.abspath(os.path.join(folder, name))
                    self.known[path] = _digest(path)

    def prepare(self, ids: list[str]) -> None:
        """Have the modules of these tests ready for the next fork."""
        for path in {os.path.abspath(test_id.split("::", 1)[0]) for test_id in ids}:
            if path not in self.code and self.known.get(path, "") == _digest(path) != "":
                self.code[path] = self._rewrite(path)

    def _rewrite(self, path: str) -> Any:
        import ast

        from _pytest.assertion.rewrite import rewrite_asserts

        try:
            with open(path, "rb") as file:
                source = file.read()
            tree = ast.parse(source, filename=path)
            rewrite_asserts(tree, source, path, None)
            return compile(tree, path, "exec", dont_inherit=True)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError, TypeError):  # the run itself will say
            return None

    def install(self) -> None:
        """Serve pytest's own rewriting from here. Where its inside is another one, nothing changes but the speed."""
        from _pytest.assertion import rewrite

        original = getattr(rewrite, "_rewrite_test", None)
        if original is None:
            return

        def rewrite_test(fn: Any, config: Any) -> Any:
            path = str(fn)
            code = self.code.get(path)
            changed = code is None or self.known[path] != _digest(path)
            if changed or not sys.dont_write_bytecode or config.getini("enable_assertion_pass_hook"):
                return original(fn, config)
            return None, code  # what comes first is for a file of bytecode, which is not written

        rewrite._rewrite_test = rewrite_test


def _digest(path: str) -> str:
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def set_dumpable(flag: int) -> None:
    """Open or close this process's /proc entries, memory included, to others of the same user."""
    import ctypes

    ctypes.CDLL(None).prctl(4, flag, 0, 0, 0)


def modules_of_a_run() -> list[str]:
    """What one run of pytest imports, found by a run in a child: only the imports are wanted here, not its traces."""
    import tempfile

    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            with open("test_vivace_warm.py", "w") as file:
                file.write("def test_good():\n    assert 1 == 1\n\n\ndef test_bad():\n    assert 1 == 2\n")
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            before = set(sys.modules)
            run_pytest(
                {"ids": ["test_vivace_warm.py"], "args": ["-q", "--tb=short", "-rfE"]}, Reporter(1, [])
            )
            names = [name for name in sys.modules if name not in before and name != "test_vivace_warm"]
            os.write(write_end, json.dumps(names).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as file:
        names = json.loads(file.read() or "[]")
    os.waitpid(child, 0)
    return names


def serve(link: socket.socket) -> None:
    """Fork for every request on `link` (a JSON line; stdout and result pipe come with it); answer when it ended.

    Nothing that a run leaves is there for the next: all its processes are killed and the temporary folders emptied.
    The workspace itself is put right from outside.
    """
    import contextlib
    import gc
    import importlib
    import random
    import resource
    import signal
    import time

    for name in modules_of_a_run():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    rewritten = Rewritten()
    rewritten.install()
    set_dumpable(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    gc.collect()
    gc.freeze()
    link.sendall(b"ready\n")
    while True:
        message, fds, _, _ = socket.recv_fds(link, 1 << 16, 2)
        while message and not message.endswith(b"\n"):
            more = link.recv(1 << 20)
            message = message + more if more else b""
        if not message:
            return
        request = json.loads(message)
        if request["runner"] == "pytest":
            rewritten.prepare(request["ids"])
        child = os.fork()
        if child == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            link.close()
            os.setsid()
            set_dumpable(1)
            random.seed()
            most = min(request["cpu_s"], resource.getrlimit(resource.RLIMIT_CPU)[1] % (1 << 63))
            resource.setrlimit(resource.RLIMIT_CPU, (most, most))
            os.dup2(fds[0], 1)
            os.dup2(fds[0], 2)
            os.close(fds[0])
            run(request, fds[1])
        for fd in fds:
            os.close(fd)
        end, status = time.monotonic() + request["wall_s"], None
        while status is None and time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if not done:
                status = None
                signal.sigtimedwait([signal.SIGCHLD], max(0.0, end - time.monotonic()))
        clean_up()
        code = 137 if status is None else os.waitstatus_to_exitcode(status)
        answer = {"exit": code if code >= 0 else 128 - code, "timed_out": status is None}
        link.sendall(json.dumps(answer).encode() + b"\n")


def clean_up() -> None:
    """End every other process of this sandbox and empty its temporary folders."""
    import contextlib
    import shutil
    import signal
    import tempfile

    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0)[0]:
            pass
    for folder in (tempfile.gettempdir(), "/dev/shm"):
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    os.unlink(path)


def main() -> None:
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(os.environ.pop("VIVACE_LINK_FD"))))
    else:
        run(json.load(sys.stdin), int(os.environ.pop("VIVACE_RESULT_FD")))


if __name__ == "__main__":
    main()
