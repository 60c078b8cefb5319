"""`python -m vivace.sandbox.attacks [BACKEND [ATTACK ...]]`: the whole matrix, or these attacks, as JSON:
{attack: what it reached, or null where it was held off}. Exit code 1 if anything got through."""

from __future__ import annotations

import json
import sys

from vivace.core.errors import VivaceError
from vivace.sandbox.attacks.matrix import GUARANTEE, carry_out
from vivace.sandbox.backend import open_sandbox

if __name__ == "__main__":
    backend, *names = sys.argv[1:] or ["auto"]
    try:
        found = carry_out(open_sandbox(backend), names or GUARANTEE)
    except VivaceError as error:
        sys.exit(f"vivace: {error}")
    print(json.dumps(found, indent=1))
    sys.exit(any(found.values()))
