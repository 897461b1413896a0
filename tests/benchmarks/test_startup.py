# SPDX-License-Identifier: MIT
"""How long a user waits before anything happens. Best of several: machines are busy."""

import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow


def best_seconds(*arguments: str, repeats: int = 5) -> float:
    """Shortest wall time of a fresh interpreter over some repeats."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def test_import_takes_less_than_a_third_of_a_second():
    bare = best_seconds("-c", "pass")
    assert best_seconds("-c", "import aion") - bare < 0.3


def test_help_takes_less_than_a_second():
    help_text = "import sys; sys.argv = ['aion', '--help']; import aion.cli as c; "
    assert best_seconds("-c", help_text + "sys.exit(c.main())") < 1.0
