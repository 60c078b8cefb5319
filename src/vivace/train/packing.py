"""Best-fit packing of documents into rows of a fixed length, without cutting any."""

from __future__ import annotations

from bisect import bisect_left, insort


def pack(lengths: list[int], capacity: int) -> list[list[int]]:
    """Rows of document indices, each row's lengths summing to at most `capacity`.

    Best-fit decreasing: the longest document first, each into the fullest row that still holds it (Ding et al.,
    arXiv 2404.10830). Deterministic; every length must be at most `capacity`.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, row), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = bisect_left(room, (lengths[index], -1))
        if at == len(room):
            rows.append([])
            free, row = capacity, len(rows) - 1
        else:
            free, row = room.pop(at)
        rows[row].append(index)
        insort(room, (free - lengths[index], row))
    return rows
