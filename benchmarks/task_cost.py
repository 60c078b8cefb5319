"""CPU-seconds per verified repair task: ours beside the straightforward way, on the same bugs of the same packages.

Straightforward: for each bug the tree is copied, a fresh interpreter runs the whole suite on it, and for what fails
the four runs of the admission rule (empty patch, gold patch, each twice) are whole suites in fresh copies too. Costs
are those of all processes in a control group of this program (cgroup v1 `cpuacct` or v2); the survey is not counted
on either side. Packages take turns; the ratio is that of the sums.

    python benchmarks/task_cost.py [--packages python-slugify semver] [--tasks 20] [--peers 3] [--json rows.json]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from itertools import islice
from pathlib import Path

from rows import Row, finish, parser, row
from vivace.core.errors import BadInput
from vivace.sandbox import open_sandbox
from vivace.tasks.candidates import Candidate, Grounds
from vivace.tasks.cover import deselection, survey
from vivace.tasks.layers import Layer, build_layers
from vivace.tasks.make import Maker, Yield
from vivace.tasks.sources import load_manifest

SUITE_SECONDS = 120.0


class Meter:
    """Processor seconds of this process and all that it starts, whoever reaps them."""

    def __init__(self) -> None:
        one, two = Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup")
        self.group = (one if one.is_dir() else two) / f"vivace-task-cost-{os.getpid()}"
        try:
            self.group.mkdir()
            (self.group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError as error:
            raise BadInput(f"cannot make a control group ({error.strerror}); run this as root") from error

    def seconds(self) -> float:
        usage = self.group / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text()) / 1e9
        words = (self.group / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) / 1e6


def suite_fails(layer: Layer, candidate: Candidate, text: str) -> bool:
    """One fresh copy, one fresh interpreter, the whole suite."""
    source = layer.source
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(layer.root, tree)
        (tree / candidate.path).write_bytes(text.encode())
        command = [str(layer.python), "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", *source.args,
                   *deselection(source.deselect), *source.test_dirs]  # fmt: skip
        environment = {**os.environ, **layer.environment(str(tree)), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        try:
            done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=SUITE_SECONDS)
        except subprocess.TimeoutExpired:
            return False  # it hangs: no task either
        return done.returncode == 1


def plain_cost(layer: Layer, candidates: list[Candidate], meter: Meter) -> tuple[float, int]:
    """(processor seconds, tasks verified) of the straightforward way."""
    start, made = meter.seconds(), 0
    for candidate in candidates:
        if suite_fails(layer, candidate, candidate.buggy):
            for _ in range(2):
                suite_fails(layer, candidate, candidate.buggy)
                suite_fails(layer, candidate, candidate.clean)
            made += 1
    return meter.seconds() - start, made


def measure(packages: list[str], tasks: int, peers: int) -> list[Row]:
    manifest, sandbox, meter = load_manifest(Path("recipes/packages.toml")), open_sandbox(), Meter()
    rows, sums = [], [0.0, 0.0]
    for package in map(manifest.named, packages):
        layer = build_layers(manifest, [package])[package.env]
        surveyed, tally = survey(layer, sandbox), Yield()
        start = meter.seconds()
        with Maker(layer, surveyed, sandbox, workers=1, tally=tally) as maker:
            made = len(list(maker.simple(tasks)))
        ours = (meter.seconds() - start) / max(made, 1)
        spent, verified = plain_cost(layer, list(islice(Grounds(layer, surveyed).candidates(0), peers)), meter)
        theirs = spent / max(verified, 1)
        sums = [sums[0] + ours, sums[1] + theirs]
        rows.append(row(f"{layer.name}: a verified task ({made} of {tally.candidates} candidates)", ours, theirs,
                        "fresh copy, whole suite", "CPU s"))  # fmt: skip
    return [*rows, row("mean of the packages", sums[0] / len(packages), sums[1] / len(packages),
                       "fresh copy, whole suite", "CPU s")]  # fmt: skip


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--packages", nargs="+", default=["python-slugify", "semver"])
    options_of.add_argument("--tasks", type=int, default=20)
    options_of.add_argument("--peers", type=int, default=3, help="candidates of each package for the other way")
    options = options_of.parse_args()
    finish(measure(options.packages, options.tasks, options.peers), options.json)


if __name__ == "__main__":
    main()
