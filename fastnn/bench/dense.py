"""Whole networks in plain NumPy, and their matrix products alone.

A legend: X ``(n, d)``, W ``(d, k)``, b ``(k,)``, Z = X W + b, A = relu(Z).
"""

from itertools import pairwise

import numpy as np

from fastnn._typing import Array
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.networks import LR, Dense, Epochs, Inference, TrainingStep


def call(case: Dense) -> Call | None:
    """Return a forward pass or a training step, vectorised over the batch; None for other cases."""
    ordinary = case.hidden == "relu" and case.loss == "cross_entropy" and case.rule["name"] == "SGD"
    if isinstance(case, Epochs) or not ordinary:
        return None
    X, Y = case.batch()[0], case.one_hot()
    parameters = case.parameters()
    if not isinstance(case, TrainingStep):
        return lambda: _forward(X, parameters)[-1]
    velocities = [np.zeros_like(p) for p in parameters]
    return lambda: (_step(X, Y, parameters, velocities, case.momentum), parameters)


def _forward(X: Array, parameters: list[Array]) -> list[Array]:
    """Return every layer's input, then the last one's output."""
    A = [X]
    for W, b in zip(parameters[::2], parameters[1::2], strict=True):
        A.append(A[-1] @ W + b)
        if len(A) <= len(parameters) // 2:
            np.maximum(A[-1], 0, out=A[-1])
    return A


def _step(
    X: Array, Y: Array, parameters: list[Array], velocities: list[Array], momentum: float
) -> float:
    *A, Z = _forward(X, parameters)
    n = len(X)
    Z -= Z.max(axis=1, keepdims=True)
    P = np.exp(Z)
    total = P.sum(axis=1, keepdims=True)
    loss = (np.log(total).sum() - np.vdot(Y, Z)) / n
    dZ = (P / total - Y) / n
    gradients: list[Array] = []
    for i in reversed(range(len(A))):
        gradients = [A[i].T @ dZ, dZ.sum(axis=0), *gradients]
        if i:
            dZ = (dZ @ parameters[2 * i].T) * (A[i] > 0)
    for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
        gradient *= LR
        if momentum:
            velocity *= momentum
            velocity += gradient
            gradient = velocity
        parameter -= gradient
    return float(loss)


class BLAS(Contestant):
    """The matrix products of a case by ``np.dot`` into ready arrays: a bound, with no results."""

    def call(self, case: Case) -> Call | None:
        if not isinstance(case, TrainingStep | Inference):
            return None
        rng = np.random.default_rng(0)

        def draw(*shape: int) -> Array:
            return rng.standard_normal(shape).astype(case.dtype)

        products: list[tuple[Array, Array, Array]] = []
        for layer, (d, k) in enumerate(pairwise(case.widths)):
            X, W, dZ = draw(case.n, d), draw(d, k), draw(case.n, k)
            products.append((X, W, np.empty_like(dZ)))
            if case.kernel == TrainingStep.kernel:
                products.append((X.T, dZ, np.empty_like(W)))
                if layer:
                    products.append((dZ, W.T, np.empty_like(X)))

        def run() -> None:
            for a, b, out in products:
                np.dot(a, b, out=out)

        return run

    def verify(self, case: Case, call: Call) -> None:
        """Warm up: there is nothing to verify."""
        call()
