"""Charts as inline SVG, coloured by the page's CSS variables: no script, no external resource, light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 34
MAX_POINTS = 400
Format = Callable[[float], str]
Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One curve: finite points in order of x."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Whisker:
    """One row of a dot-and-interval chart."""

    label: str
    value: float
    low: float
    high: float
    note: str = ""
    strong: bool = False


def short(value: float) -> str:
    """Numbers on axes: 1.2k, 3M, 0.05."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers inside [low, high]."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def line_chart(
    title: str, lines: Sequence[Line], *, unit: Format = short, x_label: str = "step", zero: bool = False
) -> Markup:
    """Curves over steps. Long noisy ones are drawn faint with a moving average on top."""
    lines = [line for line in lines if line.xs]
    if not lines:
        return Markup("")
    ys = [y for line in lines for y in line.ys]
    x0, x1 = min(line.xs[0] for line in lines), max(line.xs[-1] for line in lines)
    y0, y1 = _padded(min([*ys, 0.0] if zero else ys), max(ys))
    x1 = x1 if x1 > x0 else x0 + 1

    def place(x: float, y: float) -> tuple[float, float]:
        return (LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
                TOP + (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM))

    parts = _grid(x0, x1, y0, y1, place, unit, x_label)
    for index, line in enumerate(lines):
        points = [place(x, y) for x, y in _thin(list(zip(line.xs, line.ys, strict=True)))]
        noisy = len(points) > 60
        parts.append(_path(points, f"c{index % 4}" + (" faint" if noisy else "")))
        if noisy:
            parts.append(_path(_smooth(points), f"c{index % 4}"))
        else:
            parts += [f'<circle class="c{index % 4} dot" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>' for x, y in points]
    legend = "".join(
        f'<span><i class="c{index % 4}"></i>{escape(line.label)}</span>' for index, line in enumerate(lines)
    ) if len(lines) > 1 else ""
    return Markup(
        f'<figure><figcaption>{escape(title)}<span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def whisker_chart(title: str, rows: Sequence[Whisker], *, unit: Format, mark: float | None = None) -> Markup:
    """One dot with its interval per row; `mark` draws a vertical reference line (0 for differences)."""
    if not rows:
        return Markup("")
    label, note, row_height, width = 150, 130, 34, 960
    ends = [end for row in rows for end in (row.low, row.high, row.value) if math.isfinite(end)]
    ends += [] if mark is None else [mark]
    x0, x1 = _padded(min(ends), max(ends))
    height = row_height * len(rows) + 30

    def place(x: float) -> float:
        return label + (min(max(x, x0), x1) - x0) / (x1 - x0) * (width - label - note)

    parts = []
    for tick in ticks(x0, x1, 5):
        x = f"{place(tick):.1f}"
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="4" y2="{height - 24}"/>'
                     f'<text class="tick" x="{x}" y="{height - 8}" text-anchor="middle">{unit(tick)}</text>')
    if mark is not None:
        parts.append(f'<line class="mark" x1="{place(mark):.1f}" x2="{place(mark):.1f}" y1="2" y2="{height - 24}"/>')
    for index, row in enumerate(rows):
        y = row_height * (index + 0.5) + 2
        kind = "strong" if row.strong else "plain"
        parts.append(
            f'<text class="label" x="{label - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(row.label)}</text>'
            f'<line class="whisker {kind}" x1="{place(row.low):.1f}" x2="{place(row.high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="whisker {kind}" cx="{place(row.value):.1f}" cy="{y}" r="5"/>'
            f'<text class="label note" x="{width - note + 12}" y="{y + 4:.1f}">{escape(row.note)}</text>'
        )
    return Markup(
        f'<figure class="wide"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (low - room if low else 0.0, high + room)


def _grid(x0: float, x1: float, y0: float, y1: float, place: Place, unit: Format, x_label: str) -> list[str]:
    parts = []
    for tick in ticks(y0, y1):
        _, y = place(x0, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{unit(tick)}</text>')
    for tick in ticks(x0, x1, 5):
        x, _ = place(tick, y0)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 18}" text-anchor="middle">{short(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>')
    return parts


def _path(points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of equal runs of points, so that a long log stays a small file."""
    size = math.ceil(len(points) / MAX_POINTS)
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    half = max(1, len(points) // 40)
    return [
        (x, sum(y for _, y in points[max(0, i - half) : i + half + 1]) / len(points[max(0, i - half) : i + half + 1]))
        for i, (x, _) in enumerate(points)
    ]
