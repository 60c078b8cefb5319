"""Counters, gauges and histograms in Prometheus' text format (exposition format 0.0.4)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
Labels = tuple[tuple[str, str], ...]


class _Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """Any thread may write. Names are given without the `vivace_` that they all begin with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._kinds: dict[str, str] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = defaultdict(dict)

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        with self._lock:
            self._kinds[name] = "counter"
            self._values[name][_key(labels)] += by

    def set(self, name: str, value: float, kind: str = "gauge", **labels: str) -> None:
        with self._lock:
            self._kinds[name] = kind
            self._values[name][_key(labels)] = value

    def observe(self, name: str, value: float, bounds: Sequence[float] = SECONDS, **labels: str) -> None:
        with self._lock:
            key = _key(labels)
            self._histograms[name].setdefault(key, _Histogram(bounds)).add(value)

    def total(self, name: str) -> float:
        """Over all labels; of a histogram, the number of observations."""
        with self._lock:
            if name in self._histograms:
                return sum(sum(h.counts) for h in self._histograms[name].values())
            return sum(self._values[name].values()) if name in self._values else 0.0

    def mean(self, name: str) -> float:
        """Of a histogram's observations; 0 without any."""
        with self._lock:
            found = list(self._histograms.get(name, {}).values())
        number = sum(sum(h.counts) for h in found)
        return sum(h.sum for h in found) / number if number else 0.0

    def text(self) -> str:
        lines: list[str] = []
        with self._lock:
            for name, values in sorted(self._values.items()):
                lines.append(f"# TYPE vivace_{name} {self._kinds[name]}")
                lines += [f"vivace_{name}{_shown(labels)} {value:g}" for labels, value in sorted(values.items())]
            for name, histograms in sorted(self._histograms.items()):
                lines.append(f"# TYPE vivace_{name} histogram")
                for labels, histogram in sorted(histograms.items()):
                    lines += _buckets(name, labels, histogram)
        return "\n".join(lines) + "\n"


def _buckets(name: str, labels: Labels, histogram: _Histogram) -> list[str]:
    lines, running = [], 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts):
        running += count
        lines.append(f"vivace_{name}_bucket{_shown((*labels, ('le', bound)))} {running}")
    return [*lines, f"vivace_{name}_sum{_shown(labels)} {histogram.sum:g}",
            f"vivace_{name}_count{_shown(labels)} {running}"]  # fmt: skip


def _key(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = [(n, v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for n, v in labels]
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
