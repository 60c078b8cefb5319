"""`vivace eval`, `vivace compare` and `vivace card` as a user runs them, against endpoints and checkpoints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from eval_server import AnswerServer, answering
from typer.testing import CliRunner, Result

from vivace.cli import app
from vivace.core.errors import BadInput
from vivace.core.files import read_jsonl
from vivace.evals.status import answers, shipped
from vivace.evals.suites import get_suite

ROOT = Path(__file__).parents[2]


def known(suite: str, kind: str) -> dict[str, str]:
    return {case.messages[-1].content: answers(suite)[case.id][kind] for case in get_suite(suite).load(shipped(suite))}


@pytest.fixture
def gold() -> Iterator[AnswerServer]:
    with answering({**known("gpqa-diamond", "gold"), **known("ifbench", "gold")}) as server:
        yield server


@pytest.fixture
def wrong() -> Iterator[AnswerServer]:
    with answering({**known("gpqa-diamond", "wrong"), **known("ifbench", "wrong")}) as server:
        yield server


def vivace(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def evaluated(out: Path, gold: AnswerServer, wrong: AnswerServer, *more: str) -> Result:
    return vivace("eval", "gpqa-diamond", "--data", "gpqa-diamond=sample", "--model", f"new=m@{gold.url}",
                  "--baseline", f"old=m@{wrong.url}", "--out", out, *more)


def test_two_endpoints_side_by_side(
    tmp_path: Path, gold: AnswerServer, wrong: AnswerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/vivace", "eval", "gpqa-diamond", "--out", "a b"])
    done = evaluated(tmp_path, gold, wrong, "--repeats", "2", "--price", "new=1/0.5/2")
    assert done.exit_code == 0, done.output
    assert "100.0%" in done.output
    assert "+100.0" in done.output
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["command"] == "vivace eval gpqa-diamond --out 'a b'"
    assert set(gold.asked.values()) == {2}
    again = evaluated(tmp_path, gold, wrong, "--repeats", "2")
    assert again.exit_code == 0
    assert set(gold.asked.values()) == {2}
    compared = vivace("compare", tmp_path / "gpqa-diamond" / "old", tmp_path / "gpqa-diamond" / "new", "--json")
    assert json.loads(compared.output)["suites"]["gpqa-diamond"]["differences"]["new"]["pass_diff"] == 1.0


def test_a_card_from_the_evaluation(tmp_path: Path, gold: AnswerServer, wrong: AnswerServer) -> None:
    evaluated(tmp_path / "eval", gold, wrong)
    done = vivace("card", tmp_path / "eval", "--out", tmp_path / "card", "--name", "Quick <b>1</b>")
    assert done.exit_code == 0, done.output
    card = (tmp_path / "card" / "MODEL_CARD.md").read_text()
    assert ("| GPQA Diamond (authored sample) | 2 × 1 | [100.0% [34.2, 100.0]](../eval/gpqa-diamond/new/attempts.jsonl)"
            in card)
    assert "| hle-text | – | missing |" in card
    assert "| cyberbench | – | missing |" in card
    assert "| Parameters | missing |" in card
    assert "Missing: no training run was given." in card
    assert "1 of 18 capability benchmarks (1 of them on authored samples only) and 0 of 6 safety" in card
    assert (tmp_path / "card" / "../eval/gpqa-diamond/new/attempts.jsonl").exists()
    page = (tmp_path / "card" / "card.html").read_text()
    assert "<table>" in page
    assert "<b>1</b>" not in page
    other = vivace("card", tmp_path / "eval", "--model", "newer", "--out", tmp_path / "card")
    assert isinstance(other.exception, BadInput)
    assert "the models are new, old" in str(other.exception)


@pytest.mark.parametrize(("arguments", "said"), [
    (["eval"], "name a suite and a model"),
    (["eval", "aime2026", "aime2026", "--model", "m@http://127.0.0.1:1"], "named twice"),
    (["eval", "aime2026", "--model", "m@http://127.0.0.1:1"], "needs its data: --data aime2026=PATH"),
    (["eval", "aime2026", "--model", "m@http://127.0.0.1:1", "--data", "hle-text=sample"], "not being run"),
    (["eval", "hle-text", "--model", "m@http://127.0.0.1:1", "--data", "hle-text=sample"], "needs a judge model"),
    (["eval", "hle-text", "--data", "hle-text=sample", "--model", "a=m@http://localhost:1/v1", "--judge",
      "b=m@http://127.0.0.1:1"], "the judge is a, one of the models under test"),
    (["eval", "aime2026", "--model", "m@http://127.0.0.1:1", "--model", "m@http://127.0.0.1:2", "--data",
      "aime2026=sample"], "same name"),
    (["card", "nowhere"], "holds neither evaluation.json nor summary.json"),
])  # fmt: skip
def test_what_cannot_work_is_said_in_a_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    more = ["--out", str(tmp_path)] if arguments[0] == "eval" else []
    done = vivace(*arguments, *more)
    assert isinstance(done.exception, BadInput)
    assert said in str(done.exception)


def test_a_budget_ends_it_and_the_same_command_goes_on(tmp_path: Path, gold: AnswerServer, wrong: AnswerServer) -> None:
    cut = evaluated(tmp_path, gold, wrong, "--repeats", "4", "--workers", "1", "--budget-tokens", "5")
    assert cut.exit_code == 1
    assert 0 < sum(gold.asked.values()) + sum(wrong.asked.values()) < 16
    assert evaluated(tmp_path, gold, wrong, "--repeats", "4").exit_code == 0
    assert set(gold.asked.values()) | set(wrong.asked.values()) == {4}


@pytest.mark.slow
def test_kill_9_loses_nothing_and_plays_nothing_twice(tmp_path: Path) -> None:
    """Attempts whose answer had not been kept when the process died are asked again; no other is."""
    with answering(known("gpqa-diamond", "gold"), delay=0.05) as server:
        command = [sys.executable, "-m", "vivace.cli", "eval", "gpqa-diamond", "--data", "gpqa-diamond=sample",
                   "--model", f"m@{server.url}", "--repeats", "30", "--workers", "3", "--out", str(tmp_path)]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        log = tmp_path / "gpqa-diamond" / "m" / "attempts.jsonl"
        kept = 0
        for least in (6, 25):
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until = time.monotonic() + 120
            while time.monotonic() < until and not (log.exists() and log.read_bytes().count(b"\n") >= least):
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            kept = log.read_bytes().count(b"\n")
        assert 25 <= kept < 60
        subprocess.run(command, env=env, check=True, capture_output=True)
        keys = Counter((row["task_id"], row["sample"]) for row in read_jsonl(log))
        assert len(keys) == 60
        assert set(keys.values()) == {1}
        assert 60 <= sum(server.asked.values()) <= 60 + 2 * 3
