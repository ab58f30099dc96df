"""Whole processes: start-up, and the MNIST scripts on a few made-up images. No time is judged."""

import gzip
import importlib.util
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn.bench import startup

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "mnist"


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of images that each class number darkens by an amount of its own."""
    made = tmp_path_factory.mktemp("mnist")
    for name, n in (("train", 1280), ("t10k", 100)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = np.zeros((n, 28, 28), np.uint8)
        images[np.arange(n), 2 * labels] = 255
        write_idx(made / f"{name}-images-idx3-ubyte.gz", images)
        write_idx(made / f"{name}-labels-idx1-ubyte.gz", labels)
    return made


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*with_*.py")), ids=lambda path: path.stem)
def test_scripts_learn(script, folder):
    library = script.stem.rpartition("_")[2]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    goal = 0.5 if script.stem.startswith("lenet") else 0.95
    done = subprocess.run(
        [sys.executable, str(script), str(folder), f"--goal={goal}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["accuracy"] >= goal
    assert 1 <= said["epochs"] < 30


def test_start_up_has_its_rows(monkeypatch):
    programs = {"fastnn": "import fastnn", "numba": "raise SystemExit('broken')"}
    monkeypatch.setattr(startup, "IMPORTS", programs)
    monkeypatch.setattr(startup, "FIRST_STEPS", {"fastnn": "print()"})
    rows = startup.measure(1, rounds=2)
    assert [row.case for row in rows] == [
        "startup import",
        "startup first step, empty cache",
        "startup first step, later process",
    ]
    assert {len(row.us["fastnn"]) for row in rows} == {2}
    assert rows[0].failed == {"numba": "broken"}


@pytest.mark.parametrize("library", ["torch", "jax", "sklearn"])
def test_first_steps_of_peers_run(library, tmp_path):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    command = [sys.executable, "-c", startup.FIRST_STEPS[library]]
    _, done = startup.run_process(command, 1, tmp_path)
    assert done.returncode == 0, done.stderr
