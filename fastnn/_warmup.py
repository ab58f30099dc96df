"""Compiling ahead: a small network for each part that fastnn has, trained and asked for predictions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastnn import functional
from fastnn._typing import DTypeLike
from fastnn._validation import require_float_dtype
from fastnn.activations import ACTIVATIONS
from fastnn.kernels.compiling import cache
from fastnn.losses import LOSSES, CrossEntropy
from fastnn.models import NeuralNetwork
from fastnn.optimizers import OPTIMIZERS

_FEW, _MANY = 4, 2048  # rows: one call of a kernel, and one cut up for several cores
_WIDTH = 32


class Warmed(NamedTuple):
    """What was run, how many kernels were compiled for it (0: all were there), and how long it took."""

    dtype: str
    part: str
    compiled: int
    seconds: float


def warmup(dtypes: Iterable[DTypeLike] = ("float32", "float64")) -> list[Warmed]:
    """Compile what training and inference use, and keep it on disk for later processes.

    That is every activation, loss and optimiser, on small batches and on large ones; it takes minutes.
    What is on disk already is loaded, not compiled. For a container, call it while the image is built;
    on a read-only file system the kernels are read from where they were written.

    Parameters
    ----------
    dtypes : sequence of "float32", "float64"

    Returns
    -------
    list of Warmed
        For each part its dtype, name, number of kernels compiled, and seconds.

    Raises
    ------
    ValueError
        For any other dtype; nothing was compiled.
    """
    return list(parts(dtypes))


def parts(dtypes: Iterable[DTypeLike]) -> Iterator[Warmed]:
    """Do what :func:`warmup` does, and yield each part when it is done."""
    for dtype in [require_float_dtype("dtypes", dtype) for dtype in dtypes]:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(_MANY, _WIDTH)).astype(dtype)
        labels = rng.integers(0, _WIDTH, _MANY)
        for part, arguments in _networks():
            before, began = len(cache.compiled), time.perf_counter()
            _use(arguments, X, labels)
            yield Warmed(str(dtype), part, len(cache.compiled) - before, time.perf_counter() - began)


def _networks() -> Iterator[tuple[str, tuple[Any, str, str, Any]]]:
    """Yield names of parts, each with a network's loss, hidden and last activation, and optimiser."""
    weighted = CrossEntropy(label_smoothing=0.1, class_weight=np.ones(_WIDTH))
    names = {activation: name for name, activation in reversed(ACTIVATIONS.items())}
    for name in reversed(names.values()):
        yield name, ("cross_entropy", name, "softmax", {"name": "SGD"})
    for name in LOSSES:
        yield name, (name, "relu", "sigmoid", {"name": "SGD"})
    yield "weighted cross_entropy", (weighted, "relu", "softmax", {"name": "SGD"})
    for name in OPTIMIZERS:
        for clip in (None, 1.0):
            optimizer = {"name": name, "clip_norm": clip, "momentum": 0.9}
            yield f"clipped {name}" if clip else name, ("l2", "relu", "linear", optimizer)
    yield "SGD, nesterov", ("l2", "relu", "linear", {"name": "SGD", "momentum": 0.9, "nesterov": True})


def _use(arguments: tuple[Any, str, str, Any], X: Any, labels: Any) -> None:
    loss, hidden, last, optimizer = arguments
    layers = [
        {"name": "fully_connected", "n_out": _WIDTH, "activation": name} for name in (hidden, last)
    ]
    model = NeuralNetwork(loss, layers, optimizer, seed=0)
    one_hot = np.eye(_WIDTH, dtype=X.dtype)[labels]
    for rows in (_FEW, _MANY):
        x, y = X[:rows], one_hot[:rows]
        model.fit(x, y, epochs=1, batch_size=rows, validation_data=(x, y), verbose=False)
        model.train_step(x, y)
        model.predict(x)
        model.predict(x[:1])
        out = model.forward(x)  # and the layers' methods, for those who call them
        model.backward(y, out)
        model.update()
        model.layers[0].forward(x)
        model.layers[0].backward(x)
        model.loss.forward(y, out)
        model.loss.backward(y, out)
        functional.softmax_cross_entropy(x, y)
        functional.softmax_cross_entropy(x, labels[:rows])
        functional.binary_cross_entropy(x, y)
