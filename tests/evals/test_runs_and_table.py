import json
import math
from pathlib import Path
from typing import Any

import pytest
from attempts_by_hand import make_attempt

from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl, write_json
from vivace.core.types import Attempt, Usage
from vivace.evals import cardtable, stats
from vivace.evals.runs import differences, matched, read_run
from vivace.evals.suite import FILE, IDENTITY, Column, run_columns

LIKE: dict[str, Any] = {"suite": "s", "data": {"digest": "d1"}, "grader": {"version": "1"}, "harness": {"prompt": "p"},
                        "limits": {"max_tokens": 400}, "model": {"checkpoint": "c"}, "seed": 0}


def write_run(folder: Path, attempts: list[Attempt], **changes: Any) -> Path:
    write_json(folder / IDENTITY, {**LIKE, **changes})
    for attempt in attempts:
        append_jsonl(folder / FILE, attempt.model_dump(mode="json"))
    return folder


def test_runs_that_are_not_alike_are_refused_with_what_differs(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a" / "s" / "m", [make_attempt()])
    for key, value, words in [
        ("data", {"digest": "d2"}, "data.digest: d1 and d2"), ("grader", {"version": "2"}, "grader.version: 1 and 2"),
        ("harness", {"prompt": "q"}, "harness.prompt: p and q"),
        ("limits", {"max_tokens": 800}, "limits.max_tokens: 400 and 800"),
    ]:
        other = write_run(tmp_path / key / "s" / "m", [make_attempt()], **{key: value})
        with pytest.raises(BadInput, match=words):
            matched(base, other)
    twice = write_run(tmp_path / "k" / "s" / "m", [make_attempt(), make_attempt(sample=1)])
    with pytest.raises(BadInput, match="repeats: 1 and 2"):
        matched(base, twice)
    same = write_run(tmp_path / "same" / "s" / "n", [make_attempt()], model={"checkpoint": "other"})
    assert not differences(read_run(base)[0], read_run(same)[0])


def test_a_folder_of_several_models_is_not_a_side(tmp_path: Path) -> None:
    for name in ("m", "n"):
        write_run(tmp_path / "s" / name, [make_attempt()])
    with pytest.raises(BadInput, match=r"several models \(m, n\)"):
        matched(tmp_path, tmp_path / "s" / "m")
    with pytest.raises(BadInput, match="no evaluation in"):
        read_run(tmp_path / "nothing")


def test_the_table_of_known_attempts(tmp_path: Path) -> None:
    base = [make_attempt(f"t{i}", status="solved" if i < 2 else "failed", tokens=1000) for i in range(8)]
    better = [make_attempt(f"t{i}", status="solved" if i < 6 else "budget", tokens=500 + i) for i in range(8)]
    better[0].others["judge"] = Usage(input_tokens=7, output_tokens=3)
    better.append(make_attempt("t8", status="infra", tokens=10**6))
    better.append(make_attempt("t9", status="invalid", tokens=10**6))
    runs = [read_run(write_run(tmp_path / "s" / name, attempts))[0] for name, attempts in
            (("base", base), ("better", better))]
    result = cardtable.build({"s": (runs[0], [runs[1]])}, {}, {"better": (1.0, 0.1, 10.0)})
    row, own = result["suites"]["s"]["differences"]["better"], result["suites"]["s"]["models"]["better"]
    assert row["n"] == 8
    assert row["pass_diff"] == 0.5
    assert row["p"] == row["p_holm"] == stats.mcnemar(0, 4)
    assert own["tokens_mean"] == 503.5  # neither infra nor invalid
    assert own["tokens_per_solved"] == pytest.approx(8 * 503.5 / 6)
    assert own["cost"] == pytest.approx((900 * 10 + 10 * (8 * 503.5 + 2 * 10**6)) / 1e6)
    assert own["others"] == {"judge": 10}
    assert cardtable.rows(result)[0][-1] == "2/0"
    page = cardtable.markdown(result)
    assert "| s | better | 8 | 1 | 75.0% | 25.0% | +50.0 [" in page
    assert "generated per attempt" in page
    assert json.dumps(result)


def test_holm_and_sign_flip() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.sign_flip([1.0, 1.0, 1.0, 1.0, 0.0]) == pytest.approx(2 / 16)
    assert stats.sign_flip([1.0, 1.0, 1.0], ["x", "x", "x"]) == 1.0  # one cluster says nothing
    assert stats.sign_flip([0.0, 0.0]) == 1.0
    assert stats.sign_flip([0.5] * 30) < 0.001
    assert stats.pass_at(2, 4, 1) == pytest.approx(0.5)
    assert stats.pass_all(2, 4, 2) == pytest.approx(1 / 6)


def test_columns_share_workers_and_a_budget_ends_both(tmp_path: Path) -> None:
    items = [make_task(f"t{i}") for i in range(6)]

    played: list[str] = []

    def play(item: Any, seed: int, sample: int) -> Attempt:
        played.append(item.id)
        return make_attempt(item.id, sample=sample)

    def columns() -> list[Column]:
        return [Column(items, play, tmp_path / name, {"model": name}) for name in ("a", "b")]

    seen: list[str] = []
    first = columns()
    whole = run_columns(first, 1, watch=lambda column, attempt: seen.append(column.out.name),
                        spent=lambda: len(played) >= 4)
    assert not whole
    assert len(seen) == 4
    assert {"a", "b"} == set(seen)
    again = columns()
    before = len(seen)
    assert run_columns(again, 2, watch=lambda column, attempt: seen.append(column.out.name))
    assert len(seen) - before == 12 - before
    assert all(len(column.attempts()) == 6 for column in again)


def make_task(name: str) -> Any:
    from vivace.evals.suites.base import Case

    return Case(id=name, messages=[], target={})


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_what_they_say(clustered: bool) -> None:
    from interval_coverage import coverage  # benchmarks/

    found = coverage(2000, clustered=clustered, seed=1)
    assert 0.93 <= found <= 0.97
    assert math.isfinite(found)
