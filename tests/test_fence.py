"""Compiled code reads and writes inside of arrays only: a sample of what ``make fence`` calls."""

import signal
import subprocess
import sys

import fenced
import pytest

from fastnn.kernels.compiling.jit import COMPILED

pytestmark = [
    pytest.mark.skipif(
        sys.platform not in ("linux", "darwin"), reason="pages are protected by mprotect"
    ),
    pytest.mark.skipif(not COMPILED, reason="nothing is compiled"),
]
TOUCH = """
import ctypes, os, sys
import numpy as np
import fence
fence.build(sys.argv[1])
array = np.full(5, 7, np.float32)
array.resize(6)
assert array.tolist() == [7, 7, 7, 7, 7, 0]
assert np.dot(np.ones(1000), np.ones(1000)) == 1000
ctypes.string_at(array.ctypes.data + int(sys.argv[2]), 4)
os._exit(0)
"""


@pytest.mark.parametrize("place", ["end", "start"])
def test_no_call_reads_or_writes_outside_of_an_array(place):
    assert fenced.crash(place, 0, 120) is None


@pytest.mark.parametrize(
    ("place", "offset", "code"),
    [
        ("end", 20, 0),
        ("end", 24, -signal.SIGSEGV),
        ("start", 0, 0),
        ("start", -4, -signal.SIGSEGV),
    ],
)
def test_the_fence_ends_a_process_that_touches_it(place, offset, code):
    command = [sys.executable, "-c", TOUCH, place, str(offset)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=fenced.FOLDER)
    assert done.returncode in {code, code and -signal.SIGBUS}, done.stderr


def test_a_fault_is_reported_with_its_call(tmp_path):
    script = tmp_path / "calls.py"
    script.write_text("print('1 good')\nprint('2 bad', flush=True)\nimport os\nos.abort()\n", "utf-8")
    found = fenced.crash("end", 1, 2, script)
    assert found.startswith(f"2 bad: ended with code {-signal.SIGABRT}")
