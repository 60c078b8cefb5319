"""Source-preserving mutation operators, one family a module. Importing the package registers them all."""

from vivace.tasks.operators import (
    arithmetic,
    calls,
    compare,
    control,
    idioms,
    leftovers,
    literals,
    logic,
    names,
    structure,
)
from vivace.tasks.operators.base import REGISTRY, WIDE, Context, operator_names
from vivace.tasks.operators.source import Function, Source, functions, walk

__all__ = ["REGISTRY", "WIDE", "Context", "Function", "Source", "arithmetic", "calls", "compare", "control",
           "functions", "idioms", "leftovers", "literals", "logic", "names", "operator_names", "structure", "walk"]
