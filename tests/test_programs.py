"""The programs in docs/programs, on small data sets."""

import runpy
from pathlib import Path

import numpy as np
import pytest

PROGRAMS = Path(__file__).parents[1] / "docs" / "programs"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Change to an empty folder; return a function that writes arrays there."""
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    return runpy.run_path(str(PROGRAMS / "data.py"))


def run(name):
    model = runpy.run_path(str(PROGRAMS / f"{name}.py"))["model"]
    assert Path(f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "one compiled call" in model.summary()
    return model.history


def test_a_sine_wave_is_predicted(data):
    data["write"]("sinewave", *data["sine_wave"](300))
    assert run("sinewave").validation_error[-1] < 0.02


def test_irises_are_told_apart(data):
    pytest.importorskip("sklearn")
    data["write"]("iris", *data["iris"]())
    assert run("iris").validation_error[-1] < 0.2


def test_lenet_learns_images(data, monkeypatch):
    labels = np.arange(10_200) % 10
    images = np.zeros((10_200, 28, 28), np.uint8)
    images[np.arange(10_200), 2 * labels + 4] = 255
    data["write"]("mnist", images, labels)
    for part in ("data", "labels"):  # fewer to validate
        path = Path(f"datasets/mnist/mnist_val_{part}.npy")
        np.save(path, np.load(path)[:50])
    history = run("lenet")
    assert history.loss[-1] < history.loss[0]
