"""What may import what, asked of a real interpreter: torch stays out of the rooms that a laptop needs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import vivace

SOURCE = Path(vivace.__file__).parent
SCRIPTS = {"surveydriver", "testdriver", "pip_sdists", "landlock_launcher"}
"""Run as programs inside the sandbox or beside pip; importing them is not what they are for."""

SAMPLES = SOURCE / "evals" / "suites" / "samples"

GUARD = """
import sys
from importlib.abc import MetaPathFinder

class Guard(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {forbidden!r} or name.startswith({forbidden!r} + "."):
            raise ImportError(name + " is forbidden here")
        return None

sys.meta_path.insert(0, Guard())
import importlib
for name in {names!r}:
    importlib.import_module(name)
print(len(sys.modules))
"""


def own_files() -> list[Path]:
    """Source files of the package, without those that are data: repositories which samples of benchmarks are about."""
    found = sorted(SOURCE.rglob("*.py"))
    return [path for path in found if path.stem not in SCRIPTS and SAMPLES not in path.parents]


def modules(room: str) -> list[str]:
    """Every module of a room, by dotted name."""
    paths = [path for path in own_files() if path.is_relative_to(SOURCE / room)]
    parts = [path.relative_to(SOURCE.parent).with_suffix("").parts for path in paths]
    return [".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts]


def import_without(forbidden: str, names: list[str]) -> subprocess.CompletedProcess[str]:
    code = GUARD.format(forbidden=forbidden, names=names)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_a_laptop_without_torch_has_every_module_of_these_rooms() -> None:
    names = [name for room in ("core", "text", "sandbox", "harness", "tasks", "evals") for name in modules(room)]
    assert len(names) > 60
    done = import_without("torch", [*names, "vivace.cli", "vivace.recipe.agent"])
    assert done.returncode == 0, done.stderr[-600:]


def test_the_guard_itself_holds() -> None:
    done = import_without("torch", ["vivace.model.decoder"])
    assert done.returncode != 0
    assert "torch is forbidden here" in done.stderr


def test_help_needs_no_torch() -> None:
    """`vivace --help` and `vivace agent --help` answer at once: nothing heavy is imported to print them."""
    code = "import sys; from vivace.cli import main; sys.argv = ['vivace', {}, '--help']\ntry: main()\n" \
           "finally: print('torch' in sys.modules, file=sys.stderr)"
    for command in ("agent", "run"):
        done = subprocess.run([sys.executable, "-c", code.format(repr(command))], capture_output=True, text=True,
                              timeout=60)
        assert done.stderr.strip() == "False", done.stderr[-400:]


def test_what_is_imported_is_declared() -> None:
    """Not merely installed because something else wants it."""
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    declared = {re.split(r"[^\w.-]", one)[0].lower() for one in wanted} | {"vivace"}
    known = packages_distributions()
    for path in own_files():
        for name in {name.split(".")[0] for name in imported(path.read_text())} - set(sys.stdlib_module_names):
            owners = {owner.lower() for owner in known.get(name, [name])}
            assert owners & declared, f"{path} imports {name}, which pyproject.toml does not declare"


def imported(source: str) -> set[str]:
    """Dotted names of the modules that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", sorted((SOURCE / "model").rglob("*.py")), ids=lambda path: path.stem)
def test_the_model_knows_nothing_of_parallelism(path: Path) -> None:
    """torch itself loads torch.distributed, so this is asked of the source."""
    assert not any(name.startswith("torch.distributed") for name in mentioned(path.read_text()))


def mentioned(source: str) -> set[str]:
    """Dotted names that a module imports or reaches through, anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
    return found


@pytest.mark.parametrize("line", [
    "from torch import distributed as dist", "import torch.distributed.fsdp", "from torch.distributed import nn",
    "x = torch.distributed.get_rank()",
])
def test_every_way_to_it_is_seen(line: str) -> None:
    assert any(name.startswith("torch.distributed") for name in mentioned(f"def f():\n    {line}\n"))
