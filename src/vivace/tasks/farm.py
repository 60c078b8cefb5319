"""Making tasks of many packages at once: one folder a package, one process at a time in each, nothing shared but files.

A folder belongs to whoever holds its lock, so any number of farms may work on one tree of folders, on several machines
too where they share a disk. A process that dies gives its lock back and costs no more than the candidates it was at:
the next one reads the ledger (`vivace.tasks.produce`) and goes on. What a sitting cost is kept in `cost.jsonl`.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vivace.core.errors import BadInput, VivaceError
from vivace.core.files import append_jsonl, read_json, read_jsonl
from vivace.core.interrupt import Interrupt
from vivace.core.progress import Progress
from vivace.tasks.layers import build_layers
from vivace.tasks.produce import REPORT, produce
from vivace.tasks.sources import Manifest, load_manifest

LOCK, COST, LOG = "lock", "cost.jsonl", "farm.log"
TRIES = 3
"""Processes that a package may have in one farm; more would only die in the same way."""
POLL_S = 0.5


@dataclass(frozen=True)
class Order:
    """What one process makes."""

    manifest: str
    package: str
    folder: str
    wanted: dict[str, int]
    seed: int = 0
    workers: int = 1


@dataclass
class Harvest:
    """What lies in the folders of a farm, and what the processes of this one did not bring to an end."""

    made: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    busy: list[str] = field(default_factory=list)
    """Packages that another farm had in hand."""
    cpu_seconds: float = 0.0
    """Of all sittings that came to an end, sandboxes included."""
    counted: int = 0
    """Tasks made in these sittings."""


def farm(manifest: Path, names: Sequence[str], folder: Path, wanted: Mapping[str, int], *, seed: int = 0,
         processes: int = 2, stop: Callable[[], bool] = lambda: False,
         say: Callable[[str], None] = lambda line: None) -> Harvest:
    """Make tasks of packages of a manifest, `processes` packages at a time; none named: all that may be trained on.

    Raises:
        BadInput: a package is not in the manifest, or is held out for evaluation.
    """
    known = load_manifest(manifest)
    chosen = [known.named(name).name for name in names] or [one.name for one in known.role("train")]
    if held := [name for name in chosen if known.named(name).role != "train"]:
        raise BadInput(f"{', '.join(held)} is held out for evaluation; no training tasks are made of it")
    build_layers(known, [known.named(name) for name in chosen])
    harvest, waiting, tries = Harvest(), list(chosen), dict.fromkeys(chosen, 0)
    running: dict[str, subprocess.Popen[bytes]] = {}
    with Progress("packages", len(chosen)) as bar:
        try:
            told = False
            while (waiting and not stop()) or running:
                if stop() and not told:
                    told = True
                    for process in running.values():
                        process.terminate()  # it ends after what it is at
                while waiting and len(running) < processes and not stop():
                    name = waiting.pop(0)
                    tries[name] += 1
                    running[name] = _start(Order(str(manifest.resolve()), name, str((folder / name).resolve()),
                                                 dict(wanted), seed))
                for name, process in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[name]
                    if process.returncode not in (0, 130, BUSY) and tries[name] < TRIES and not stop():
                        say(f"{name}: its process ended with {process.returncode}; begun again")
                        waiting.append(name)
                        continue
                    bar.advance(1, name)
                    if process.returncode == BUSY:
                        harvest.busy.append(name)
                    elif process.returncode not in (0, 130):
                        harvest.failed[name] = _last_line(folder / name / LOG)
                time.sleep(POLL_S)
        finally:
            for process in running.values():  # an error here: they stop where they are
                process.terminate()
            for process in running.values():
                process.wait()
    return _counted(harvest, folder)


BUSY = 75
"""Exit code of a process that found its package in other hands."""


def _start(order: Order) -> subprocess.Popen[bytes]:
    folder = Path(order.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "vivace.tasks.farm"], stdin=subprocess.PIPE, stdout=log,
                                   stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(json.dumps(asdict(order)).encode())
    return process


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1][:200] if lines else "it left no word"


def _counted(harvest: Harvest, folder: Path) -> Harvest:
    for report in sorted(folder.glob(f"*/{REPORT}")):
        row = read_json(report, "delete it; only times are lost")
        harvest.made[report.parent.name] = sum(row["made"].values())
        for cost in read_jsonl(report.parent / COST) if (report.parent / COST).exists() else ():
            harvest.cpu_seconds += cost["cpu_seconds"]
            harvest.counted += cost["made"]
    return harvest


def work(order: Order, stop: Callable[[], bool]) -> bool:
    """Make what an order says; False where another process has the folder."""
    from vivace.sandbox import open_sandbox
    from vivace.tasks.cover import survey
    from vivace.tasks.families import Bench

    folder, manifest = Path(order.folder), load_manifest(Path(order.manifest))
    with _held(folder) as mine:
        if not mine:
            return False
        source, sandbox = manifest.named(order.package), open_sandbox()
        layer = build_layers(manifest, [source])[source.env]
        _same_code(folder, manifest, order)
        before, spent = _rows(folder), _cpu()
        bench = Bench(layer, survey(layer, sandbox), sandbox, seed=order.seed, workers=order.workers)
        try:
            produce(bench, order.wanted, folder, stop)
        finally:
            bench.close()  # what it started is waited for, and so counted
            append_jsonl(folder / COST, {"made": _rows(folder) - before, "cpu_seconds": round(_cpu() - spent, 2)})
    return True


def _same_code(folder: Path, manifest: Manifest, order: Order) -> None:
    """One folder, one version of a package and one seed: candidates are known by both.

    Raises:
        BadInput: it holds tasks of another.
    """
    mark = {"env": manifest.named(order.package).env, "seed": order.seed}
    path = folder / "make.json"
    if path.exists() and read_json(path, "choose another folder") != mark:
        raise BadInput(f"{folder} holds tasks of another version or seed; choose another --out")
    if not path.exists():
        append_jsonl(path, mark, durable=True)


def _rows(folder: Path) -> int:
    path = folder / "tasks.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _cpu() -> float:
    """Seconds of this process and of all it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def main() -> int:
    """One order from standard input. Ends early when asked to, or when whoever started it is gone."""
    order, parent, interrupt = Order(**json.load(sys.stdin)), os.getppid(), Interrupt()
    with interrupt.installed():
        done = work(order, lambda: interrupt.received or os.getppid() != parent)
    return 130 if interrupt.received else 0 if done else BUSY


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VivaceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
