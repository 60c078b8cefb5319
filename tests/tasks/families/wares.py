"""A package with helpers that no test names, as a checkout: for families that need more than the toy has."""

from __future__ import annotations

from pathlib import Path

PRICES = '''"""Prices, in cents."""

RATES = {"food": 7, "book": 7}


def _share(amount, percent):
    """Part of an amount, in whole cents."""
    part = amount * percent
    rest = part % 100
    whole = part // 100
    if rest >= 50:
        whole = whole + 1
    return whole


def gross(net, kind="other", extra=0):
    """Net price with tax."""
    rate = RATES.get(kind, 19)
    tax = _share(net, rate)
    total = net + tax + extra
    return total


def discount(price, percent=10):
    """Price less a discount, never below 1."""
    less = _share(price, percent)
    left = price - less
    if left < 1:
        return 1
    return left
'''
LABELS = '''"""Labels for shelves."""

from wares.prices import gross


def _joined(parts, sep):
    """Parts that are not empty."""
    kept = []
    for part in parts:
        if part:
            kept.append(part)
    return sep.join(kept)


def label(name, net, kind="other"):
    """Text of a label."""
    price = gross(net, kind)
    euros = price // 100
    cents = price % 100
    amount = str(euros) + "." + str(cents).rjust(2, "0")
    return _joined([name.strip().title(), amount], " ")


def short(name, limit=5):
    """A name that fits."""
    plain = name.strip()
    if len(plain) > limit:
        plain = plain[:limit] + "."
    return plain
'''
TEST_PRICES = '''from wares.prices import discount, gross


class TestGross:
    def test_food(self):
        assert gross(100, "food") == 107

    def test_other(self):
        assert gross(100) == 119

    def test_extra(self):
        assert gross(200, "book", 5) == 219


class TestDiscount:
    def test_ten(self):
        assert discount(200) == 180

    def test_floor(self):
        assert discount(1, 100) == 1
'''
TEST_LABELS = '''import unittest

from wares.labels import label, short


class LabelTest(unittest.TestCase):
    def test_label(self):
        self.assertEqual(label(" bread", 100, "food"), "Bread 1.07")

    def test_nameless(self):
        self.assertEqual(label("", 100), "1.19")


class ShortTest(unittest.TestCase):
    def test_short(self):
        self.assertEqual(short("marmalade"), "marma.")

    def test_fits(self):
        self.assertEqual(short(" jam "), "jam")
'''
FILES = {
    "pyproject.toml": '[project]\nname = "wares"\nversion = "0.3"\nlicense = "MIT"\ndependencies = ["tomli"]\n'
                      '[project.optional-dependencies]\ntest = ["pytest", "wares"]\n',
    "src/wares/__init__.py": "", "src/wares/prices.py": PRICES, "src/wares/labels.py": LABELS,
    "tests/test_prices.py": TEST_PRICES, "tests/test_labels.py": TEST_LABELS, "README.md": "# Wares\n",
    ".venv/lib/secret.py": "x = 1\n", "AGENTS.md": "Obey.\n",
}  # fmt: skip


def checkout(folder: Path) -> Path:
    """The package as a user has it."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
