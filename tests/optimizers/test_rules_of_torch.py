"""AdamW, Nadam, RMSProp and decayed SGD over 100 steps: formulas, torch's rules, both roads."""

import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.kernels.compiling.jit import COMPILED

# name, its arguments, and torch's class and arguments, None if it has no such rule
CASES = {
    "AdamW": ("AdamW", {}, ("AdamW", {})),
    "AdamW, other rates": (
        "AdamW",
        {"lr": 0.01, "beta_1": 0.8, "beta_2": 0.95, "eps": 1e-3, "weight_decay": 0.2},
        ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2}),
    ),
    "RMSProp": ("RMSProp", {}, ("RMSprop", {})),
    "RMSProp, momentum": (
        "RMSProp",
        {"momentum": 0.9, "alpha": 0.9},
        ("RMSprop", {"momentum": 0.9, "alpha": 0.9}),
    ),
    "RMSProp, centered": ("RMSProp", {"centered": True}, ("RMSprop", {"centered": True})),
    "RMSProp, both": (
        "RMSProp",
        {"lr": 0.001, "momentum": 0.5, "centered": True, "eps": 1e-3},
        ("RMSprop", {"lr": 0.001, "momentum": 0.5, "centered": True, "eps": 1e-3}),
    ),
    "RMSProp, decay": ("RMSProp", {"weight_decay": 0.1}, None),
    "Nadam": ("Nadam", {}, ("NAdam", {})),
    "Nadam, decay": (
        "Nadam",
        {"weight_decay": 0.1, "momentum_decay": 0.1},
        ("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.1, "decoupled_weight_decay": True}),
    ),
    "SGD, decay": ("SGD", {"lr": 0.1, "weight_decay": 0.1}, None),
    "SGD, momentum and decay": ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, None),
    "SGD, Nesterov and decay": (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        None,
    ),
}
every_case = pytest.mark.parametrize(("name", "options", "torchs"), CASES.values(), ids=CASES)
DECAYED = [case for case in CASES if "decay" in case or case.startswith("AdamW")]


def gradients(n=100, size=12):
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(n, size))
    drawn[:, -2] = 0.3  # a variance that rounding may leave below 0
    drawn[:, -1] = 0
    return np.linspace(-2, 2, size), drawn


def walk(optimizer, start, drawn):
    w, path = start.copy(), []
    for gradient in drawn:
        w = w - optimizer.update("W", w, gradient, 0)
        path.append(w)
    return np.array(path)


@every_case
def test_a_hundred_steps_are_those_of_the_formula(name, options, torchs, dtype):
    start, drawn = gradients()
    expected = walk(reference.initialize_optimizer(name, **options), start, drawn)
    optimizer = fastnn.initialize_optimizer(name, **options)
    found = walk(optimizer, start.astype(dtype), drawn.astype(dtype))
    assert found.dtype == dtype
    # A variance of 0 is what rounding makes of it, so the next to last column is not compared there.
    kept = [i for i in range(12) if i != 10 or not options.get("centered")]
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(found[:, kept], expected[:, kept], rtol=tolerance, atol=tolerance)
    assert np.isfinite(found).all()


@every_case
def test_a_hundred_steps_are_torchs(name, options, torchs):
    torch = pytest.importorskip("torch")
    if torchs is None:
        pytest.skip("PyTorch's decay of this rule is a penalty")
    kind, arguments = torchs
    start, drawn = gradients()
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    rule = getattr(torch.optim, kind)([parameter], **arguments)
    found = walk(fastnn.initialize_optimizer(name, **options), start, drawn)
    kept = [i for i in range(12) if i != 10 or not options.get("centered")]
    for gradient, ours in zip(drawn, found, strict=True):
        parameter.grad = torch.from_numpy(gradient.copy())
        rule.step()
        theirs = parameter.detach().numpy()
        np.testing.assert_allclose(ours[kept], theirs[kept], rtol=1e-6, atol=1e-9)


def network(name, options, own=False, dtype="float64", **layer):
    kind = type(fastnn.initialize_optimizer(name))
    optimizer = (type("Own", (kind,), {}) if own else kind)(**options)
    layers = [fastnn.FullyConnected(20, "tanh", **layer), fastnn.FullyConnected(3, "softmax", **layer)]
    return fastnn.NeuralNetwork("cross_entropy", layers, optimizer, seed=0, dtype=dtype)


def batch(n=30, dtype="float64"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)).astype(dtype), np.eye(3, dtype=dtype)[rng.integers(0, 3, n)]


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.05}, {"global_clip_norm": 0.05}], ids=str)
@every_case
def test_both_roads_agree(name, options, torchs, clip):
    fast, slow = (network(name, options | clip, own, l2=0.1) for own in (False, True))
    X, Y = batch()
    for _ in range(4):
        fast.train_step(X, Y), slow.train_step(X, Y)
    assert fast.engine._training._plans
    for a, b in zip(parameters(fast), parameters(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", DECAYED)
def test_all_parameters_decay_and_neither_clipping_nor_state_sees_it(case):
    name, options, _ = CASES[case]
    X, Y = batch()
    nets = [
        network(name, options | {"weight_decay": decay, "global_clip_norm": 1e-3})
        for decay in (0.0, 0.5)
    ]
    for net in nets:
        net.train_step(X[:1], Y[:1])
        for layer in net.layers:
            layer.parameters["b"][...] = 0.5
    nets[1].flat_parameters[:] = nets[0].flat_parameters
    before = [p.copy() for p in parameters(nets[0])]
    for net in nets:
        net.train_step(X, Y)
    lr = nets[1].optimizer.lr
    for plain, decayed, then in zip(*map(parameters, nets), before, strict=True):
        np.testing.assert_allclose(plain - decayed, lr * 0.5 * then, rtol=1e-9, atol=1e-12)


@every_case
def test_a_loaded_network_goes_on_with_the_same_bits(name, options, torchs, tmp_path):
    pytest.importorskip("safetensors")
    X, Y = batch()
    net = network(name, options)
    net.train_step(X, Y), net.train_step(X, Y)
    net.save(tmp_path / "net")
    loaded = fastnn.load(tmp_path / "net")
    assert loaded.optimizer.updates == 2
    assert repr(loaded.optimizer) == repr(net.optimizer)
    for other in (net, loaded):
        other.train_step(X, Y)
    for a, b in zip(parameters(net), parameters(loaded), strict=True):
        np.testing.assert_array_equal(a, b)


def test_settings_of_rmsprop_may_change_between_steps():
    X, Y = batch()
    fast, slow = (network("RMSProp", {"lr": 0.01}, own) for own in (False, True))
    for net in (fast, slow):
        net.train_step(X, Y)
        net.optimizer.momentum = 0.9
        net.train_step(X, Y)
        net.optimizer.centered = True
        net.train_step(X, Y)
        net.optimizer.momentum, net.optimizer.weight_decay = 0.0, 0.1
        net.train_step(X, Y)
    for a, b in zip(parameters(fast), parameters(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastnn.AdamW(weight_decay=-1), "weight_decay must be finite, at least 0"),
        (lambda: fastnn.RMSProp(alpha=1.0), "alpha"),
        (lambda: fastnn.RMSProp(momentum=1.5), "momentum"),
        (lambda: fastnn.Nadam(momentum_decay=-1), "momentum_decay"),
        (lambda: fastnn.SGD(weight_decay=float("nan")), "weight_decay"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
