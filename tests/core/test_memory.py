"""Peak memory sees this process and its children."""

import subprocess
import sys

from vivace.core.memory import PeakMemory


def test_the_peak_counts_children() -> None:
    code = "import time; block = b'x' * 120_000_000; time.sleep(1.3)"
    with PeakMemory() as memory:
        before = memory.peak_mb
        subprocess.run([sys.executable, "-c", code], check=True)
    assert 100 < memory.peak_mb - before < 400
