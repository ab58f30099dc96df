"""``fastnn train --model``: images and series."""

import struct

import numpy as np
import pytest
from typer.testing import CliRunner

import fastnn
from fastnn.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a few images, in which the position of a line shows the class."""
    monkeypatch.chdir(tmp_path)
    for name, n in (("train", 200), ("t10k", 20)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = np.zeros((n, 28, 28), np.uint8)
        images[np.arange(n), 2 * labels + 4] = 255
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"{name}-{what}-ubyte").write_bytes(head + array.tobytes())
    return tmp_path


def test_lenet_takes_images(folder):
    options = ["--model", "LeNet", "--data-folder", folder, "--epochs", 2, "--compare-naive"]
    result = run("mnist", *options, "--save", "lenet.safetensors")
    assert result.exit_code == 0, result.output
    assert float(result.output.split("difference ")[1].split()[0]) < 1e-10
    P = fastnn.load("lenet.safetensors").predict(np.zeros((2, 28, 28, 1)))
    assert P.shape == (2, 10)


def test_an_elman_network_takes_series(folder):
    options = ["--model", "elman", "--hidden", 8, "--epochs", 4, "--compare-naive"]
    result = run("sinewave", *options, "--save", "elman.safetensors")
    assert result.exit_code == 0, result.output
    assert "the next value; series of 20 steps, 2,000 rows" in result.output
    assert float(result.output.split("difference ")[1].split()[0]) < 1e-10
    wave = np.sin(0.3 * np.arange(20)).reshape(1, 1, 20)
    predicted = fastnn.load("elman.safetensors").predict(wave)
    assert predicted[0, 0] == pytest.approx(np.sin(6), abs=0.5)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["digits", "--model", "lenet"], "--model lenet is for mnist"),
        (["digits", "--model", "elman"], "--model elman is for sinewave"),
        (["sinewave"], "sinewave needs --model elman"),
        (["sinewave", "--model", "elman", "--hidden", "8,4"], "give one width"),
        (["mnist", "--model", "lenet", "--hidden", "8"], "--hidden does nothing with --model lenet"),
    ],
)
def test_networks_that_do_not_fit_are_refused(folder, monkeypatch, arguments, why):
    monkeypatch.setenv("FASTNN_DATA", str(folder))
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert why in result.stderr
