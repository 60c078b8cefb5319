"""What all benchmarks share: one row's form, one table, one JSON file.

`ratio` is always ours / peer in the row's own unit: above 1 is better for a rate (tokens/s), below 1 for a time (ms).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vivace.core.files import write_json

Row = dict[str, Any]
"""name, ours, peer, peer_name, unit, ratio"""


def row(name: str, ours: float, peer: float, peer_name: str, unit: str, ratio: float | None = None) -> Row:
    """One comparison; `ratio` is given where it is a median over pairs, else computed."""
    share = ours / peer if ratio is None else ratio
    return {"name": name, "ours": _round(ours), "peer": _round(peer), "peer_name": peer_name, "unit": unit,
            "ratio": round(share, 3)}  # fmt: skip


def paired(
    name: str, unit: str, ours: Callable[[], float], peer: Callable[[], float], peer_name: str, repeats: int
) -> Row:
    """Medians of `repeats` alternating measurements, after one that warms up; the ratio is the median of the pairs'."""
    pairs = [(ours(), peer()) for _ in range(repeats + 1)][1:]
    mine, other = (statistics.median(values) for values in zip(*pairs))
    return row(name, mine, other, peer_name, unit, statistics.median(a / b for a, b in pairs))


def parser(description: str) -> argparse.ArgumentParser:
    """A parser that has `--json PATH`."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--json", type=Path, default=None, help="also write the rows to this file")
    return made


def finish(rows: list[Row], path: Path | None) -> None:
    """Print the table; write the rows if a path was given."""
    table = Table("", "ours", "peer", "unit", "ours / peer", "the peer")
    for one in rows:
        table.add_row(one["name"], f"{one['ours']:,}", f"{one['peer']:,}", one["unit"], f"{one['ratio']:.2f}",
                      one["peer_name"])  # fmt: skip
    Console().print(table)
    if path:
        write_json(path, rows)


def _round(value: float) -> float:
    return float(f"{value:.4g}")
