"""Tasks in the formats of others: rows of SWE-bench and SWE-smith, task trees of SWE-bench 5, directories of Harbor."""

from __future__ import annotations
