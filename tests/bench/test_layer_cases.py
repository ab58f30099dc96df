"""Benchmark cases of layers and networks: operation counts, and correct results of every contestant."""

import numpy as np
import pytest

from fastnn.bench import blocks, contestants
from fastnn.bench.layers import LayerCase, StackInference, StackStep

CONV = (
    blocks.Conv2D(3, 3, "same", "relu"),
    blocks.MaxPool2D(2),
    blocks.Conv2D(4, 3, "valid", "relu"),
    blocks.Flatten(),
    blocks.Dense(5),
    blocks.Dense(3),
)
RECURRENT = (blocks.Elman(5), blocks.Dense(3))
LAYERS = [
    LayerCase("Conv2D", 3, (6, 7, 2), (blocks.Conv2D(4, 5),)),
    LayerCase("Conv2D", 2, (6, 7, 1), (blocks.Conv2D(3, 3, "valid", "relu"),), first=True),
    LayerCase("MaxPool2D", 2, (4, 6, 3), (blocks.MaxPool2D(2),), "float64"),
    LayerCase("Elman", 4, (3, 5), (blocks.Elman(6),)),
    LayerCase("LayerNorm", 4, (7,), (blocks.Normalisation("layer_norm"),)),
    LayerCase("BatchNorm1D", 6, (7,), (blocks.Normalisation("batchnorm1d"),), "float64"),
    LayerCase("BatchNorm2D", 3, (4, 5, 2), (blocks.Normalisation("batchnorm2d"),)),
]
STACKS = [
    StackStep("small", 4, (8, 6, 2), CONV),
    StackStep("series", 4, (3, 5), RECURRENT, "float64"),
    StackInference("small", 2, (8, 6, 2), CONV),
]
EVERYTHING = [*LAYERS, *STACKS]
PEERS = ("torch", "torch.jit", "jax", "onnxruntime", "openvino")
PARTIAL = PEERS[1::2] + PEERS[4:]


@pytest.mark.parametrize("case", EVERYTHING, ids=lambda case: case.key)
@pytest.mark.parametrize("name", ["naive", "fastnn"])
def test_results_are_right(name, case):
    contestant = contestants.load(name, 1)
    assert contestant.verify(case, contestant.call(case)) is None


@pytest.mark.filterwarnings("default")  # peers may warn
@pytest.mark.parametrize("name", PEERS)
def test_peers_are_right_where_they_are_installed(name):
    if contestants.version(name) is None:
        pytest.skip(f"{name} is not installed")
    contestant = contestants.load(name, 1)
    for case in EVERYTHING:
        call = contestant.call(case)
        assert call is not None or name in PARTIAL
        assert call is None or contestant.verify(case, call) is None, case.key


def test_products_with_a_paddings_zeros_are_not_counted():
    layer, shape = blocks.Conv2D(4, 5), (6, 7, 2)
    inside = np.pad(np.ones(shape[:2]), layer.padding)
    taps = sum(inside[i : i + 5, j : j + 5].sum() for i in range(6) for j in range(7))
    assert layer.work(shape).forward == 2 * taps * 2 * 4
    assert blocks.Conv2D(4, 5, "valid").work(shape).forward == 2 * (2 * 3) * 25 * 2 * 4


def test_shapes_are_those_of_the_layers():
    assert STACKS[0].shapes == [(8, 6, 2), (8, 6, 3), (4, 3, 3), (2, 1, 4), (8,), (5,), (3,)]
    assert [list(arrays) for arrays in STACKS[1].parameters()] == [["W", "U", "b"], ["W", "b"]]


def test_a_first_layer_has_no_gradient_of_its_input():
    case = LAYERS[1]
    whole = LayerCase(case.name, case.n, case.shape, case.layers)
    assert len(whole.expected()) == len(case.expected()) + 1
    assert case.flops < whole.flops
    assert case.bytes < whole.bytes


@pytest.mark.parametrize("case", EVERYTHING, ids=lambda case: case.key)
def test_inputs_are_the_same_at_every_call(case):
    np.testing.assert_array_equal(case.batch(), case.batch())
    for arrays, again in zip(case.parameters(), case.parameters(), strict=True):
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, again[name])
