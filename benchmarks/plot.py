"""Line charts on logarithmic axes as SVG, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 420, 300, 64, 46, 30
COLOURS = ("#0b6e99", "#d1495b", "#6a994e", "#8e6c8a")


class Line(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]  # positive


class Chart(NamedTuple):
    title: str
    x_name: str
    y_name: str
    lines: Sequence[Line]


def write_svg(path: Path, charts: Sequence[Chart]) -> None:
    """All charts side by side, two in a row."""
    rows = -(-len(charts) // 2)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {rows * HEIGHT}" '
             'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>']  # fmt: skip
    for number, chart in enumerate(charts):
        x, y = number % 2 * WIDTH, number // 2 * HEIGHT
        parts.append(f'<g transform="translate({x},{y})">{_drawn(chart)}</g>')
    path.write_text("\n".join([*parts, "</svg>", ""]))


def _drawn(chart: Chart) -> str:
    points = [point for line in chart.lines for point in line.points]
    (x_low, x_high), (y_low, y_high) = (_decades([p[axis] for p in points], (2, 10)[axis]) for axis in (0, 1))
    right, bottom = WIDTH - 16, HEIGHT - BELOW

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log(x) - math.log(x_low)) / (math.log(x_high) - math.log(x_low))
        up = (math.log(y) - math.log(y_low)) / (math.log(y_high) - math.log(y_low))
        return LEFT + across * (right - LEFT), bottom - up * (bottom - ABOVE)

    out = [_text(WIDTH / 2, 16, chart.title, "middle", 'font-weight="bold"'),
           _text((LEFT + right) / 2, HEIGHT - 10, chart.x_name, "middle"),
           f'<g transform="translate(14,{(bottom + ABOVE) / 2}) rotate(-90)">{_text(0, 0, chart.y_name, "middle")}</g>']
    for y in _ticks(y_low, y_high, 10):
        at = place(x_low, y)[1]
        out.append(f'<line x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(_text(LEFT - 6, at + 4, _short(y), "end"))
    for x in _ticks(x_low, x_high, 2):
        at = place(x, y_low)[0]
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{ABOVE}" y2="{bottom}" stroke="#eee"/>')
        out.append(_text(at, bottom + 15, _short(x), "middle"))
    for number, line in enumerate(chart.lines):
        colour = COLOURS[number % len(COLOURS)]
        spots = [place(*point) for point in line.points]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        out.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in spots]
        out.append(_text(LEFT + 8, ABOVE + 14 + 14 * number, line.name, "start", f'fill="{colour}"'))
    return "\n".join(out)


def _decades(values: Sequence[float], base: float) -> tuple[float, float]:
    low, high = (math.log(edge(values), base) for edge in (min, max))
    first, last = math.floor(low), math.ceil(high)
    return base**first, base ** max(last, first + 1)


def _ticks(low: float, high: float, base: float) -> list[float]:
    steps = round(math.log(high / low, base))
    return [low * base**n for n in range(0, steps + 1, max(1, steps // 8))]


def _short(value: float) -> str:
    for size, letter in ((2**20, "M"), (2**10, "K")):
        if value >= size and value % size == 0:
            return f"{value / size:.0f}{letter}"
    return f"{value:g}"


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
