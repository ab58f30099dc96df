"""The L2 penalty of a layer, and Nesterov's momentum: both roads, and plain NumPy."""

import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.utils import check_gradients

N, D, H, K = 24, 7, 40, 3
OPTIMIZERS = {
    "SGD": {"name": "SGD", "lr": 0.1, "momentum": 0.9},
    "nesterov": {"name": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    "clipped": {"name": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True, "clip_norm": 0.3},
    "Adam": {"name": "Adam", "lr": 0.01},
}


def network(optimizer, l2, module=fastnn):
    layers = [
        {"name": "fully_connected", "n_out": H, "activation": "tanh", "l2": l2},
        {"name": "fully_connected", "n_out": K, "activation": "softmax", "l2": l2},
    ]
    return module.NeuralNetwork("cross_entropy", layers, OPTIMIZERS[optimizer], seed=0)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, D)), np.eye(K)[rng.integers(0, K, N)]


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def train_by_layers(net, X, Y, batch, epochs):
    for epoch in range(epochs):
        for i in range(0, len(X), batch):
            net.backward(Y[i : i + batch], net.forward(X[i : i + batch]))
            net.update(epoch)
    return parameters(net)


@pytest.mark.parametrize("l2", [0.0, 0.7])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_roads_lead_to_the_same_weights(optimizer, l2):
    X, Y = data()
    expected = train_by_layers(network(optimizer, l2, reference), X, Y, 9, 3)  # 9, 9 and 6 rows
    by_layers = train_by_layers(network(optimizer, l2), X, Y, 9, 3)
    compiled = network(optimizer, l2)
    compiled.fit(X, Y, epochs=3, batch_size=9, shuffle=False, verbose=False)
    for a, b, c in zip(expected, by_layers, parameters(compiled), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(c, a, rtol=1e-9, atol=1e-12)


def test_the_gradient_is_that_of_loss_and_penalty():
    X, Y = data()
    net = network("SGD", 0.7)
    net.backward(Y, net.forward(X))
    layer = net.layers[0]
    gradient = layer.gradients["W"].copy()

    def loss(W):
        layer.parameters["W"] = W
        return np.array(net.loss(Y, net.predict(X)) + 0.7 / (2 * N) * np.sum(W**2))

    W = layer.parameters["W"].copy()
    assert check_gradients(loss, gradient, W, np.array(1.0)) < 1e-6


def test_a_penalty_that_changes_counts_from_the_next_step_on():
    X, Y = data()
    compiled, by_layers = network("SGD", 0.0), network("SGD", 0.0)
    for l2 in (0.0, 0.7, 0.3):
        for layer in (*compiled.layers, *by_layers.layers):
            layer.l2 = l2
        compiled.train_step(X, Y)
        train_by_layers(by_layers, X, Y, N, 1)
    for a, b in zip(parameters(by_layers), parameters(compiled), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9)
