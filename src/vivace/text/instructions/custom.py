"""IFBench: constraints that are a whole task of their own."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from datetime import date
from itertools import pairwise

from vivace.text.instructions.constraint import Arguments, constraint, listed
from vivace.text.instructions.language import MARKS, plain, sentences

CAPITALS = listed(
    "Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin Berlin Amsterdam Warsaw "
    "London Brussels Prague Luxembourg Paris Vienna Bratislava Budapest Vaduz Chisinau Bern Ljubljana Zagreb"
)
_OPTION = re.compile(r"[A-Ea-e][.|)]\s*\w+")
_MOST_DAYS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


@constraint("custom:multiples")
def multiples(text: str, given: Arguments, mended: bool) -> bool:
    return re.findall(r"\d+", text) == [str(n) for n in range(14, 51, 7)]


@constraint("custom:mcq_count_length")
def multiple_choice(text: str, given: Arguments, mended: bool) -> bool:
    """Four questions of five options each, every question longer than the one before."""
    if not text.startswith("Question"):
        return False
    asked = [part.strip() for part in re.split(r"\n*Question \d+[.|):;]?\s*", text) if part.strip()]
    lengths = []
    for question in asked:
        lines = [line.strip() for line in question.split("\n")]
        options = [at for at, line in enumerate(lines) if _OPTION.match(line)]
        if len(options) != 5:
            return False
        lengths.append(len(" ".join(lines[: options[0]]).strip()))
    return len(asked) == 4 and all(a < b for a, b in pairwise(lengths))


@constraint("custom:reverse_newline")
def countries(text: str, given: Arguments, mended: bool) -> bool:
    """52 lines or more from Zimbabwe on, in reverse order of their letters without accents."""
    lines = [line for line in (line.strip(MARKS) for line in text.split("\n")) if line]
    start = next((at for at, line in enumerate(lines) if "Zimbabwe" in line), None)
    if start is None:
        return False
    found = [_ascii(line) for line in lines[start:]]
    return len(found) >= 52 and found == sorted(found, reverse=True)


@constraint("custom:word_reverse")
def word_reverse(text: str, given: Arguments, mended: bool) -> bool:
    turned = " ".join(plain(text.lower().strip()).split()[::-1])
    return "bald eagle" in turned and turned in sentences(turned)


@constraint("custom:character_reverse")
def character_reverse(text: str, given: Arguments, mended: bool) -> bool:
    return "bald eagle"[::-1] in text.lower()


@constraint("custom:sentence_alphabet",
            mended="a quotation mark before the first word is taken for its letter; mended: it is not")
def sentence_alphabet(text: str, given: Arguments, mended: bool) -> bool:
    found = [sentence.lstrip(MARKS + "“‘") if mended else sentence.lstrip() for sentence in sentences(text)]
    return len(found) == 26 and all(one[:1].lower() == chr(97 + at) for at, one in enumerate(found))


@constraint("custom:european_capitals_sort")
def capitals(text: str, given: Arguments, mended: bool) -> bool:
    return [part.strip() for part in _ascii(text).split(",") if part.strip()] == list(CAPITALS)


@constraint("custom:csv_city")
def csv_city(text: str, given: Arguments, mended: bool) -> bool:
    table = _table(text)
    return (len(table) == 8 and table[0] == ["ID", "Country", "City", "Year", "Count"]
            and all(len(row) == 5 for row in table))


@constraint("custom:csv_special_character")
def csv_special(text: str, given: Arguments, mended: bool) -> bool:
    """Up to the first quoted field with a special character; rows after it are not looked at."""
    table = _quoted(text, "ProductID Category Brand Price Stock", r",[ \t]*")
    if table is None or len(table) != 15:
        return False
    for row in table[1:]:
        if len(row) != 5:
            return False
        if any(re.match(r'".*[^\d\w\s].*"', cell) for cell in row):
            return True
    return False


@constraint("custom:csv_quotes")
def csv_quotes(text: str, given: Arguments, mended: bool) -> bool:
    table = _quoted(text, "StudentID Subject Grade Semester Score", r"\t *", "\t")
    return table is not None and len(table) == 4 and all(
        len(row) == 5 and all(cell.strip().startswith('"') and cell.strip().endswith('"') for cell in row)
        for row in table)


@constraint("custom:date_format_list", mended="month 00 and 29 February of any year pass; mended: they do not")
def dates(text: str, given: Arguments, mended: bool) -> bool:
    found = [part.strip() for part in text.strip().split(",")]
    return all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", one, re.ASCII) and _battle(one, mended) for one in found)


def _battle(text: str, mended: bool) -> bool:
    """Within Napoleon's life; published: months and days from 00."""
    year, month, day = map(int, text.split("-"))
    if not 1769 <= year <= 1821 or month > 12 or day > _MOST_DAYS.get(month, 31 if month else 99):
        return False
    try:
        return not mended or bool(date(year, month, day))
    except ValueError:
        return False


def _quoted(text: str, names: str, separator: str, delimiter: str = ",") -> list[list[str]] | None:
    """The table with the quotation marks of its cells kept; None when the header is another."""
    header = separator.join(rf'({name}|"{name}")' for name in names.split())
    if not re.match(rf"^{header}$", text.split("\n")[0].strip()):
        return None
    return _table(text.replace('"', '"""'), delimiter)


def _table(text: str, delimiter: str = ",") -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


def _ascii(text: str) -> str:
    """Without accents; letters that have no ASCII form are left out."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
