"""Source-preserving mutation operators, one family a module. Importing the package registers them all."""

from vivace.tasks.operators import arithmetic, calls, compare, control, literals, logic, names
from vivace.tasks.operators.base import REGISTRY, Context, operator_names
from vivace.tasks.operators.source import Function, Source, functions, walk

__all__ = ["REGISTRY", "Context", "Function", "Source", "arithmetic", "calls", "compare", "control", "functions",
           "literals", "logic", "names", "operator_names", "walk"]
