"""An exported task under SWE-bench's own verdict: its gold patch resolves, no patch does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_package import tiny_layer, tiny_task
from vivace.evals.suites import get_suite, swebench
from vivace.sandbox import make_patch, open_sandbox
from vivace.tasks.exchange.swebench import write_rows


@pytest.mark.slow
def test_gold_resolves_and_nothing_does_not(tmp_path: Path) -> None:
    layer = tiny_layer(tmp_path / "layer")
    task = tiny_task("product", layer)
    assert write_rows([task], {layer.env: layer}, tmp_path / "out") == (1, {})
    [item] = get_suite("swebench-verified").load(tmp_path / "out" / "data.jsonl")
    grade, sandbox = swebench.grader("verified"), open_sandbox()
    assert grade(item, task.gold_patch, sandbox).status == "solved"
    assert grade(item, "", sandbox).status == "failed"
    path = "tests/test_shapes.py"
    assert not (item.tree / path).exists()
    easy = make_patch({}, {path: "".join(f"def {one.split('::')[1]}():\n    pass\n\n\n" for one in
                                        [*task.FAIL_TO_PASS, *task.PASS_TO_PASS])})  # fmt: skip
    assert grade(item, easy, sandbox).status == "failed"  # the agent's own tests are laid over
