"""Saved networks and checkpoints of earlier versions, in ``tests/data``, give what they gave then."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

import fastnn

pytest.importorskip("safetensors")

FOLDER = Path(__file__).parents[1] / "data"
spec = importlib.util.spec_from_file_location("write", FOLDER / "write.py")
writer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writer)
NAMES = [name for name, _ in writer.networks()]
X, TARGETS = writer.rows()


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "expected.npz") as archive:
        return dict(archive)


def assert_parameters(net, expected, name):
    parameters = [p for layer in net.layers for p in layer.parameters.values()]
    for i, parameter in enumerate(parameters):
        tolerance = 1e-5 if parameter.dtype == np.float32 else 1e-12  # processors differ in last bits
        np.testing.assert_allclose(parameter, expected[f"{name}.{i}"], tolerance, tolerance)
    assert f"{name}.{len(parameters)}" not in expected


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_network_predicts_and_trains_as_it_did(name, expected):
    net = fastnn.load(FOLDER / f"{name}.safetensors")
    tolerance = 1e-5 if net.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(net.predict(X), expected[f"{name}.outputs"], tolerance, tolerance)
    writer.steps(net, X, TARGETS[net.loss.name])
    assert_parameters(net, expected, f"{name}.trained")


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_resumed_to_what_it_came_to(name, expected, tmp_path):
    path = tmp_path / "run.safetensors"
    shutil.copy(FOLDER / f"{name}-run.safetensors", path)
    net = dict(writer.networks())[name]
    options = {"batch_size": 10, "verbose": False, "checkpoint": path, "resume": True}
    net.fit(X, TARGETS[net.loss.name], epochs=5, **options)
    assert len(net.history.loss) == 5
    assert_parameters(net, expected, f"{name}.resumed")
