"""scikit-learn's own tests of its perceptrons, as its wheel ships them, run on fastnn's."""

import os
import re
import subprocess
import sys
from pathlib import Path

SUITE = "sklearn.neural_network.tests.test_mlp"
# Tests left out, by name, and why.
EXCLUDED: dict[str, str] = {}


def test_scikit_learns_own_tests_pass(tmp_path):
    plugin = Path(__file__).parent / "sklearn_suite"
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "swapped", "-p", "no:cacheprovider",
        "-c", os.devnull, f"--rootdir={tmp_path}", "--pyargs", SUITE,
    ]  # fmt: skip
    if EXCLUDED:
        command += ["-k", " and ".join(f"not {name}" for name in EXCLUDED)]
    path = os.pathsep.join([str(plugin), *filter(None, sys.path)])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 50
