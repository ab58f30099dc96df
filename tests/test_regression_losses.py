"""Losses of regression: formulas, PyTorch's, both roads, weights, several quantiles."""

import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.kernels.compiling.jit import COMPILED

LEVELS = [0.1, 0.5, 0.9]
LOSSES = {
    "mse": (fastnn.MSE(), reference.MSE("mse")),
    "mae": (fastnn.MAE(), reference.MAE("mae")),
    "huber": (fastnn.Huber(), reference.Huber()),
    "huber, narrow": (fastnn.Huber(0.25), reference.Huber(delta=0.25)),
    "poisson": (fastnn.Poisson(), reference.Poisson()),
    "poisson, rates": (fastnn.Poisson(log_input=False), reference.Poisson(log_input=False)),
    "median": (fastnn.Quantile(), reference.Quantile()),
    "quantiles": (fastnn.Quantile(LEVELS), reference.Quantile(quantiles=LEVELS)),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def drawn(n=7, k=6, dtype="float64"):
    rng = np.random.default_rng(0)
    return (rng.uniform(0.1, 2, (n, k)).astype(dtype) for _ in range(2))


@every_loss
def test_losses_and_gradients_are_those_of_the_formulas(name, dtype):
    loss, plain = LOSSES[name]
    Y, P = drawn(dtype=dtype)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    assert loss(Y, P) == pytest.approx(plain.forward(Y.astype(float), P.astype(float)), rel=rtol)
    gradient = loss.backward(Y, P)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient, plain.backward(Y.astype(float), P.astype(float)), rtol, rtol)
    numeric = np.empty(P.shape)
    for at in np.ndindex(P.shape):
        for sign in (1, -1):
            moved = P.astype(float)
            moved[at] += sign * 1e-6
            numeric[at] = sign * loss(Y.astype(float), moved) + (0 if sign == 1 else numeric[at])
    np.testing.assert_allclose(gradient, numeric / 2e-6, rtol=1e-4, atol=1e-7)


@every_loss
def test_edges(name):
    loss, _ = LOSSES[name]
    Y, P = drawn()
    assert np.isnan(loss(Y[:0], P[:0]))
    assert loss.backward(Y[:0], P[:0]).shape == (0, 6)
    assert np.isnan(loss.error(Y[:0], P[:0]))
    P[2, 3] = np.nan
    assert np.isnan(loss(Y, P))
    assert np.isnan(loss.error(Y, P))
    assert np.argwhere(np.isnan(loss.backward(Y, P))).tolist() == [[2, 3]]
    with pytest.raises(ValueError, match="same shape"):
        loss(Y, P[:, :4])
    if not name.startswith("poisson"):
        np.testing.assert_array_equal(loss.backward(Y, Y), 0)


def test_pytorchs_losses():
    torch = pytest.importorskip("torch")
    Y, P = drawn()
    losses = {
        "mse": torch.nn.MSELoss(),
        "mae": torch.nn.L1Loss(),
        "huber": torch.nn.HuberLoss(),
        "huber, narrow": torch.nn.HuberLoss(delta=0.25),
        "poisson": torch.nn.PoissonNLLLoss(),
        "poisson, rates": torch.nn.PoissonNLLLoss(log_input=False),
    }
    for name, theirs in losses.items():
        loss, _ = LOSSES[name]
        out = torch.tensor(P, requires_grad=True)
        value = theirs(out, torch.tensor(Y))
        value.backward()
        assert loss(Y, P) == pytest.approx(value.item(), rel=1e-12)
        np.testing.assert_allclose(loss.backward(Y, P), out.grad.numpy(), rtol=1e-12)


class Own(fastnn.SGD):
    """Trained by layers."""


def network(loss, kind=fastnn.SGD, n_out=6, dtype="float64"):
    layers = [fastnn.FullyConnected(8, "tanh"), fastnn.FullyConnected(n_out, "softplus")]
    return fastnn.NeuralNetwork(loss, layers, kind(0.1), seed=0, dtype=dtype)


def data(n=37, k=6):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 4)), rng.uniform(0, 3, (n, k)), rng.uniform(0, 2, n)


@every_loss
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_both_roads_agree_in_losses_errors_and_parameters(name, weighted):
    loss, plain = LOSSES[name]
    X, Y, weights = data()
    fit = {"sample_weight": weights} if weighted else {}
    nets = [network(loss, kind) for kind in (fastnn.SGD, Own)]
    histories = [
        net.fit(X, Y, 3, 8, shuffle=False, verbose=False, validation_data=(X, Y), **fit) for net in nets
    ]
    assert not COMPILED or "one compiled call" in nets[0].summary()
    for field in ("loss", "error", "validation_loss", "validation_error"):
        np.testing.assert_allclose(*(getattr(h, field) for h in histories), rtol=1e-11)
    np.testing.assert_allclose(*(net.flat_parameters for net in nets), rtol=1e-10, atol=1e-12)
    net, out = nets[0], nets[0].predict(X)
    assert net.evaluate(X, Y) == pytest.approx((plain.forward(Y, out), net.error(Y, out)), rel=1e-11)
    figure = {
        "mse": np.mean((Y - out) ** 2),
        "mae": np.mean(abs(Y - out)),
        "hub": np.mean(abs(Y - out)),
        "poi": np.mean(abs(Y - (out if "rates" in name else np.exp(out)))),
    }.get(name[:3], loss(Y, out))
    assert net.error(Y, out) == pytest.approx(figure, rel=1e-11)


def test_several_quantiles_of_several_targets():
    X, Y, _ = data(k=2)
    loss = fastnn.Quantile(LEVELS)
    inferred, given = network(loss, n_out=None), network(loss)
    for net in (inferred, given):
        net.fit(X, Y, 2, 8, shuffle=False, verbose=False, validation_data=(X, Y))
    np.testing.assert_array_equal(inferred.flat_parameters, given.flat_parameters)
    out = given.predict(X)
    assert out.shape == (37, 6)
    q, d = np.array(LEVELS), Y[:, :, None] - out.reshape(37, 2, 3)
    expected = np.maximum(q * d, (q - 1) * d).mean()
    assert given.evaluate(X, Y) == pytest.approx((expected, expected), rel=1e-12)
    assert loss(Y, out) == pytest.approx(expected, rel=1e-12)
    assert given.error(Y, out) == pytest.approx(expected, rel=1e-12)
    assert given.predict(X, Y)[1] == pytest.approx(expected, rel=1e-12)
    assert given.train_step(X, Y) == pytest.approx(expected, rel=1e-12)
    assert network(loss, n_out=3).train_step(X, Y[:, 0]) > 0
    np.testing.assert_array_equal(loss.expand(Y)[:, :4], Y[:, [0, 0, 0, 1]])
    dataset = fastnn.Dataset.from_arrays(X, loss.expand(Y), batch_size=8)
    assert len(network(loss).train(dataset, 1).loss) == 1


def test_quantiles_that_are_learnt_are_those_of_the_data():
    rng = np.random.default_rng(0)
    Y = rng.exponential(size=(2000, 1))
    net = fastnn.NeuralNetwork(
        fastnn.Quantile([0.25, 0.5, 0.75]), [fastnn.FullyConnected(3, "linear", "zeros")], "adam"
    )
    net.optimizer.lr = 0.05
    net.fit(np.zeros((2000, 1)), Y, 30, 100, verbose=False)
    found = net.predict(np.zeros((1, 1)))[0]
    np.testing.assert_allclose(found, np.quantile(Y, [0.25, 0.5, 0.75]), atol=0.1)


@pytest.mark.parametrize("name", ["huber, narrow", "poisson, rates", "quantiles"])
def test_settings_are_saved(name, tmp_path):
    pytest.importorskip("safetensors")
    net = network(LOSSES[name][0])
    X, Y, _ = data()
    net.train_step(X, Y)
    net.save(tmp_path / "net")
    loaded = fastnn.load(tmp_path / "net")
    assert repr(loaded.loss) == repr(net.loss)
    assert loaded.train_step(X, Y) == net.train_step(X, Y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastnn.Huber(0), "delta must be finite, above 0"),
        (lambda: fastnn.Quantile([]), "quantiles must be numbers between 0 and 1"),
        (lambda: fastnn.Quantile([0.5, 1.0]), "quantiles must be numbers between 0 and 1"),
        (lambda: fastnn.Quantile([0.5, np.nan]), "quantiles"),
        (
            lambda: network(fastnn.Quantile([0.1, 0.9]), n_out=3).fit(*data(k=1)[:2]),
            "2 quantiles each of 1.5",
        ),
        (lambda: network(fastnn.Quantile([0.1, 0.9])).fit(*data(k=2)[:2]), "has 2 columns"),
    ],
)
def test_values_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_names_ignore_case():
    for name in ("MSE", "mae", "Huber", "POISSON", "quantile"):
        loss = fastnn.initialize_loss(name)
        assert loss.name == name.lower() == type(loss).__name__.lower()
