"""The templates behind the card and the report, and how both are rendered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def templates(*, escape: bool, **filters: Callable[..., Any]) -> Environment:
    """The package's templates with these filters; a misspelt name is an error, not an empty place on the page.

    `escape`: text is made harmless for HTML.
    """
    environment = Environment(
        loader=PackageLoader("vivace.evals"), autoescape=escape, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined, keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment
