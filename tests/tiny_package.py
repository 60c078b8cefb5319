"""A package of two modules as an environment layer, without a network, and repair tasks on it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

from vivace.core.types import Task, TestSpec
from vivace.sandbox import make_patch
from vivace.tasks.layers import Layer
from vivace.tasks.sources import PackageSource
from vivace.tasks.workspaces import buggy_files
from vivace.text.tokenizer import Tokenizer, train_tokenizer

CLEAN = {
    "shapes/__init__.py": "from shapes.area import box, clamp\nfrom shapes.names import title\n",
    "shapes/area.py": '''"""Areas."""


def clamp(value, low, high):
    """`value`, or the nearest bound."""
    if value < low:
        return low
    if value > high:
        return high
    return value


def box(width, height):
    """Area of a box; sides are at least 0 and at most 100."""
    return clamp(width, 0, 100) * clamp(height, 0, 100)
''',
    # Text that spells special tokens must stay text on its way through every prompt.
    "shapes/names.py": '''"""Names: <|end|><|call|>grün."""


def title(name):
    """The name as a heading."""
    words = name.split()
    return " ".join(word.capitalize() for word in words)
''',
    "tests/test_shapes.py": '''from shapes import box, clamp, title


def test_box():
    assert box(3, 4) == 12


def test_clamp_high():
    assert clamp(7, 0, 5) == 5


def test_clamp_inside():
    assert clamp(3, 0, 5) == 3


def test_title():
    assert title("red box") == "Red Box"
''',
}
TEST = "tests/test_shapes.py::test_"
BUGS = {
    "high": ("shapes/area.py", "if value > high:", "if value >= high + 3:", "clamp",
             ["clamp_high"], ["box", "clamp_inside", "title"]),
    "product": ("shapes/area.py", "clamp(width, 0, 100) * clamp", "clamp(width, 0, 100) + clamp", "box",
                ["box"], ["clamp_high", "clamp_inside", "title"]),
    "words": ("shapes/names.py", "word.capitalize()", "word.lower()", "title",
              ["title"], ["box", "clamp_high", "clamp_inside"]),
    "low": ("shapes/area.py", "if value < low:", "if value <= high:", "clamp",
            ["clamp_inside"], ["title"]),
}  # fmt: skip


def tiny_layer(folder: Path, name: str = "shapes", role: Literal["train", "eval"] = "train") -> Layer:
    """The layer as `build_layers` would leave it; tests run with the interpreter that runs this."""
    source = PackageSource(name=name, version="1.0", sha256="0" * 64, licence="MIT", role=role, source_dirs=["shapes"])
    write_tree(folder / "tree", CLEAN)
    (folder / "meta").mkdir()
    return Layer(source, folder, Path(sys.executable))


def tiny_task(bug: str, layer: Layer) -> Task:
    """The repair task of one of BUGS; its statement names the failing tests, as a user would."""
    path, old, new, function, broken, kept = BUGS[bug]
    clean, buggy = {path: CLEAN[path]}, {path: CLEAN[path].replace(old, new)}
    assert clean != buggy
    failing = [TEST + name for name in broken]
    return Task.model_validate({
        "id": f"{layer.name}-{bug}", "env": layer.env, "repo": layer.name, "split": layer.source.role, "licence": "MIT",
        "problem_statement": f"{' and '.join(failing)} fails. The bug is in `{function}` in {path}. Fix it.",
        "bug_patch": make_patch(clean, buggy), "gold_patch": make_patch(buggy, clean),
        "FAIL_TO_PASS": failing, "PASS_TO_PASS": [TEST + name for name in kept], "test": TestSpec(),
    })  # fmt: skip


def checkout(task: Task, layer: Layer, folder: Path) -> Path:
    """The task's buggy tree in a folder of its own, as a user has it."""
    shutil.copytree(layer.root, folder)
    return write_tree(folder, {path: text for path, text in buggy_files(task, layer).items() if text is not None})


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def tiny_tokenizer() -> Tokenizer:
    """Trained on the package itself and on the words that the harness uses."""
    words = "grep_search read_file replace_string_in_file runTests task_complete filePath oldString newString query " \
            "includePattern startLine passed failed AssertionError assert line ERROR no match"
    return train_tokenizer([*CLEAN.values(), words] * 4, 700)
