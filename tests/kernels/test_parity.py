"""Every kernel against its plain NumPy twin: one row a kernel."""

import inspect
from importlib import import_module

import numpy as np
import pytest

from fastnn import reference

MODULES = ("activations", "softmax", "losses", "gemm", "optimizers")


def softmax_jvp(p, dy):
    return p * (dy - np.sum(dy * p, axis=-1, keepdims=True))


def softmax_cross_entropy(z, y, n):
    top = z.max(axis=1, keepdims=True)
    log_sum = top + np.log(np.sum(np.exp(z - top), axis=1, keepdims=True))
    P = reference.SoftMax().forward(z)
    gradient = (P * y.sum(axis=1, keepdims=True) - y) / n
    return np.sum(y * (log_sum - z)), gradient


def adam(gradient, m, v, step_size, beta_1, beta_2, eps):
    m = beta_1 * m + (1 - beta_1) * gradient
    v = beta_2 * v + (1 - beta_2) * gradient**2
    return m, v, step_size * m / (np.sqrt(v) + eps)


def sgd_step(gradient, velocity, lr, momentum, weights):
    velocity = momentum * velocity + lr * gradient
    return velocity, weights - velocity


def adam_step(gradient, m, v, scale, rates, weights):
    m, v, step = adam(gradient * scale, m, v, *rates)
    return step, m, v, weights - step


def activation(name):
    return getattr(reference, name)().forward, getattr(reference, name)().backward


(relu, relu_b), (sig, sig_b) = activation("ReLU"), activation("Sigmoid")
(tanh, tanh_b), (atan, atan_b) = activation("TanH"), activation("ArcTan")
softmax, softmax_b = activation("SoftMax")
ce, l2 = reference.CrossEntropy("cross_entropy"), reference.L2("l2")

(lrelu, lrelu_b), (elu, elu_b) = (
    ((lambda z, p, c=c: c(p).forward(z)), (lambda z, p, dy, c=c: c(p).backward(z, dy)))
    for c in (reference.LeakyReLU, reference.ELU)
)
(gelu, gelu_b), (gelu_t, gelu_t_b) = activation("GELU"), activation("GELUTanh")
(silu, silu_b), (softplus, softplus_b) = activation("SiLU"), activation("Softplus")
log_softmax, log_softmax_b = activation("LogSoftMax")


def labels_cross_entropy(z, labels, sample_weight, class_weight, smoothing, n):
    k = z.shape[1]
    y = (1 - smoothing) * np.eye(k)[labels] + smoothing / k
    return softmax_cross_entropy(z, y * class_weight * sample_weight[:, None], n)


def binary_cross_entropy(z, y, n):
    loss = np.sum(y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z))
    return loss, (1 / (1 + np.exp(-z)) - y) / n


RATES = np.array([0.1, 0.9, 0.99, 1e-8])

# kernel: (its twin, its arguments: a shape to draw normal, "p" and a length to draw positive)
ROWS = {
    "activations.relu": (relu, [(37,)]),
    "activations.relu_backward": (relu_b, [(37,), (37,)]),
    "activations.relu_gradient": (lambda y, dy: dy * ~np.signbit(y), [(37,), (37,)]),
    "activations.sigmoid": (sig, [(37,)]),
    "activations.sigmoid_backward": (sig_b, [(37,), (37,)]),
    "activations.sigmoid_gradient": (lambda y, dy: dy * y * (1 - y), [(37,), (37,)]),
    "activations.tanh": (tanh, [(37,)]),
    "activations.tanh_backward": (tanh_b, [(37,), (37,)]),
    "activations.tanh_gradient": (lambda y, dy: dy * (1 - y * y), [(37,), (37,)]),
    "activations.leaky_relu": (lrelu, [(37,), 0.1]),
    "activations.leaky_relu_backward": (lrelu_b, [(37,), 0.1, (37,)]),
    "activations.elu": (elu, [(37,), 0.7]),
    "activations.elu_backward": (elu_b, [(37,), 0.7, (37,)]),
    "activations.gelu": (gelu, [(37,)]),
    "activations.gelu_backward": (gelu_b, [(37,), (37,)]),
    "activations.gelu_tanh": (gelu_t, [(37,)]),
    "activations.gelu_tanh_backward": (gelu_t_b, [(37,), (37,)]),
    "activations.silu": (silu, [(37,)]),
    "activations.silu_backward": (silu_b, [(37,), (37,)]),
    "activations.softplus": (softplus, [(37,)]),
    "activations.softplus_backward": (softplus_b, [(37,), (37,)]),
    "activations.arctan": (atan, [(37,)]),
    "activations.arctan_backward": (atan_b, [(37,), (37,)]),
    "softmax.softmax": (softmax, [(5, 11)]),
    "softmax.softmax_jvp": (softmax_jvp, [(5, 11), (5, 11)]),
    "softmax.softmax_backward": (softmax_b, [(5, 11), (5, 11)]),
    "softmax.log_softmax": (log_softmax, [(5, 11)]),
    "softmax.log_softmax_backward": (log_softmax_b, [(5, 11), (5, 11)]),
    "losses.softmax_cross_entropy_labels": (
        labels_cross_entropy,
        [(5, 11), np.arange(5) * 2, np.arange(1.0, 6), np.arange(1.0, 12) / 5, 0.1, 8]),
    "losses.binary_cross_entropy": (binary_cross_entropy, [(20,), "p20", 4]),
    "losses.cross_entropy": (lambda y, p: 4 * ce.forward(y.reshape(4, 5), p.reshape(4, 5)),
                             [(20,), "p20"]),
    "losses.cross_entropy_backward": (
        lambda y, p, n: ce.backward(y.reshape(n, -1), p.reshape(n, -1)).reshape(-1),
        [(20,), "p20", 4]),
    "losses.softmax_cross_entropy": (softmax_cross_entropy, [(5, 11), (5, 11), 8]),
    "losses.misclassified": (
        lambda y, s: np.sum(np.argmax(y, axis=1) != np.argmax(s, axis=1)), [(9, 4), (9, 4)]),
    "losses.l2": (lambda y, p: 8 * l2.forward(y.reshape(4, 5), p.reshape(4, 5)), [(20,), (20,)]),
    "losses.l2_backward": (
        lambda y, p, n: l2.backward(y.reshape(n, -1), p.reshape(n, -1)).reshape(-1),
        [(20,), (20,), 4]),
    "gemm.affine": (lambda x, w, b: x @ w + b, [(6, 4), (4, 3), (1, 3)]),
    "gemm.weight_gradient": (lambda x, dz: (x.T @ dz, dz.sum(0, keepdims=True)), [(6, 4), (6, 3)]),
    "gemm.input_gradient": (lambda dz, w: dz @ w.T, [(6, 3), (4, 3)]),
    "optimizers.norm": (np.linalg.norm, [(37,)]),
    "optimizers.sgd_momentum": (lambda g, v, lr, mu: mu * v + lr * g, [(37,), (37,), 0.1, 0.9]),
    "optimizers.sgd_step": (sgd_step, [(37,), (37,), 0.1, 0.9, (37,)]),
    "optimizers.adam": (adam, [(37,), (37,), "p37", 0.1, 0.9, 0.99, 1e-8]),
    "optimizers.adam_step": (adam_step, [(37,), (37,), "p37", 0.5, RATES, (37,)]),
}  # fmt: skip
OUTPUTS = ("out", "dw", "db", "dx")
# State that a kernel updates in place: the indices of those arguments.
UPDATED = {
    "optimizers.sgd_step": (1, 4),
    "optimizers.adam": (1, 2),
    "optimizers.adam_step": (0, 1, 2, 5),
}


def kernel(name):
    module, function = name.split(".")
    return getattr(import_module(f"fastnn.kernels.{module}"), function)


def signature(function):
    return list(inspect.signature(getattr(function, "py_func", function)).parameters)


def arguments(specs, rng, dtype):
    def make(spec):
        if isinstance(spec, tuple):
            return rng.normal(size=spec).astype(dtype)
        if isinstance(spec, str):
            return rng.uniform(0.1, 1, int(spec[1:])).astype(dtype)
        return spec

    return [make(spec) for spec in specs]


def outputs(names, expected, dtype):
    arrays = [e for e in expected if np.ndim(e)]
    return [np.full(np.shape(e), 7, dtype) for e in arrays[-len(names) :]] if names else []


def test_every_kernel_has_a_row():
    found = set()
    for module in MODULES:
        functions = vars(import_module(f"fastnn.kernels.{module}"))
        for name, function in functions.items():
            python = getattr(function, "py_func", function)
            home = getattr(python, "__module__", "")
            if inspect.isfunction(python) and home.endswith(f".{module}") and name[0] != "_":
                found.add(f"{module}.{name}")
    assert found == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_signature_has_outputs_last(name):
    names = signature(kernel(name))
    written = [n for n in names if n in OUTPUTS]
    assert names[len(names) - len(written) :] == written


def run(name, args, expected, dtype):
    """Return what a kernel returned, updated and wrote, in its twin's order."""
    out = outputs([n for n in signature(kernel(name)) if n in OUTPUTS], expected, dtype)
    value = kernel(name)(*args, *out)
    updated = [args[i] for i in UPDATED.get(name, ())]
    return [*([] if value is None else [value]), *updated, *out]


def expectation(name, args):
    expected = ROWS[name][0](*args)
    return expected if isinstance(expected, tuple) else (expected,)


@pytest.mark.parametrize("name", ROWS)
def test_kernel_equals_its_twin(name, rng, dtype):
    args = arguments(ROWS[name][1], rng, dtype)
    before = [np.copy(a) for a in args]
    expected = expectation(name, args)
    got = run(name, args, expected, dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance)
    for i, (a, b) in enumerate(zip(args, before, strict=True)):
        if i not in UPDATED.get(name, ()):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ROWS)
def test_nan_propagates(name, rng, dtype):
    args = arguments(ROWS[name][1], rng, dtype)
    args[0].reshape(-1)[3] = np.nan
    with np.errstate(invalid="ignore"):
        expected = expectation(name, args)
    for g, e in zip(run(name, args, expected, dtype), expected, strict=True):
        np.testing.assert_array_equal(np.isnan(g), np.isnan(e))
