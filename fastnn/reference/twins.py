"""Kernels by name, and the plain NumPy twin of each: one row a kernel.

The twins of activations come from the table of activations, those of a layer's kernels from ``TWINS``
in the layer's file.
"""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any

import fastnn.kernels
from fastnn import reference
from fastnn.kernels.compiling import jit
from fastnn.reference import kernels as naive
from fastnn.reference.activations import ACTIVATIONS
from fastnn.reference.arguments import (
    Twin,
    batch,
    class_weight,
    flat,
    labels,
    large,
    many_labels,
    one_hot,
    positive,
    probabilities,
    quantiles,
    rows,
    sample_weight,
)
from fastnn.reference.formulas import FORMULAS
from fastnn.reference.layers import LAYERS

_SOFTMAX, _CE = reference.SoftMax, reference.CrossEntropy
_STEPS = (_SOFTMAX.forward, _CE.forward, _CE.backward, _SOFTMAX.backward)

_ROWS: dict[str, Twin] = {
    "activations.tanh_gradient": Twin(naive.tanh_gradient, (flat, flat)),
    "activations.relu_gradient": Twin(naive.relu_gradient, (flat, flat)),
    "softmax.softmax_jvp": Twin(naive.softmax_jvp, (probabilities, rows)),
    "losses.cross_entropy": Twin(naive.cross_entropy, (positive, positive)),
    "losses.cross_entropy_backward": Twin(naive.cross_entropy_backward, (positive, positive, batch)),
    "cross_entropy.softmax_cross_entropy": Twin(
        naive.softmax_cross_entropy,
        (rows, one_hot, batch),
        _STEPS,
    ),
    "cross_entropy.softmax_cross_entropy_short": Twin(
        naive.softmax_cross_entropy, (rows, one_hot, batch), _STEPS
    ),
    "cross_entropy.softmax_cross_entropy_long": Twin(
        naive.softmax_cross_entropy, (rows, one_hot, batch), _STEPS
    ),
    "cross_entropy.softmax_cross_entropy_labels": Twin(
        naive.softmax_cross_entropy_labels,
        (rows, labels, sample_weight, class_weight, 0.1, batch),
        (naive.softmax_cross_entropy, *_STEPS),
    ),
    "cross_entropy.strangers": Twin(naive.strangers, (many_labels, 3)),
    "losses.binary_cross_entropy": Twin(
        naive.binary_cross_entropy, (flat, positive, batch), (reference.Sigmoid.forward,)
    ),
    "losses.yes_no_cross_entropy": Twin(naive.yes_no_cross_entropy, (positive, positive)),
    "losses.yes_no_cross_entropy_backward": Twin(
        naive.yes_no_cross_entropy_backward, (positive, positive, batch)
    ),
    "losses.weighted_binary_cross_entropy": Twin(
        naive.weighted_binary_cross_entropy,
        (flat, positive, 0.5, 2.0, batch),
        (reference.Sigmoid.forward,),
    ),
    "losses.weighted_yes_no_cross_entropy": Twin(
        naive.weighted_yes_no_cross_entropy, (positive, positive, 0.5, 2.0)
    ),
    "losses.weighted_yes_no_cross_entropy_backward": Twin(
        naive.weighted_yes_no_cross_entropy_backward, (positive, positive, 0.5, 2.0, batch)
    ),
    "losses.wrong_answers": Twin(naive.wrong_answers, (positive, flat, 0.0)),
    "losses.target_rows": Twin(naive.target_rows, (one_hot, 0.1, class_weight)),
    "losses.weigh_rows": Twin(naive.weigh_rows, (rows, sample_weight), updated=(0,)),
    "losses.l2": Twin(naive.l2, (flat, flat)),
    "losses.l2_backward": Twin(naive.l2_backward, (flat, flat, batch)),
    "losses.misclassified": Twin(naive.misclassified, (one_hot, rows)),
    "regression.mae": Twin(naive.mae, (flat, flat, batch)),
    "regression.huber": Twin(naive.huber, (flat, flat, 0.75, batch)),
    "regression.poisson": Twin(naive.poisson, (positive, flat, batch)),
    "regression.poisson_rates": Twin(naive.poisson_rates, (positive, positive, batch)),
    "regression.quantile": Twin(naive.quantile, (rows, rows, quantiles, batch)),
    "regression.distances": Twin(naive.distances, (flat, flat)),
    "regression.rate_distances": Twin(naive.rate_distances, (positive, flat)),
    "optimizers.norm": Twin(naive.norm, (flat,)),
    "optimizers.sgd_momentum": Twin(naive.sgd_momentum, (flat, flat, 0.1, 0.9)),
    "optimizers.add_penalty": Twin(naive.add_penalty, (flat, 0.1, flat), updated=(0,)),
    "optimizers.adam": Twin(
        naive.adam, (flat, flat, positive, 0.001, 0.9, 0.999, 1e-8), updated=(1, 2)
    ),
    "optimizers.nadam": Twin(
        naive.nadam, (flat, flat, positive, 0.001, 0.002, 0.9, 0.999, 1e-8), updated=(1, 2)
    ),
    "optimizers.rmsprop": Twin(naive.rmsprop, (flat, positive, 0.99, 1e-8), updated=(1,)),
    "optimizers.rmsprop_centered": Twin(
        naive.rmsprop_centered, (flat, large, positive, 0.99, 1e-8), updated=(1, 2)
    ),
}


for _layer in LAYERS.values():
    _ROWS |= getattr(import_module(_layer.__module__), "TWINS", {})


def twin(kernel: str) -> Twin | None:
    """Return the row of a kernel, by its full name; None if it has none."""
    file, _, name = kernel.partition(".")
    if file not in ("activations", "softmax"):
        return _ROWS.get(kernel)
    kind = ACTIVATIONS.get(name.removesuffix("_backward"))
    if kernel in _ROWS or kind is None:
        return _ROWS.get(kernel)
    draw = rows if file == "softmax" else flat
    fixed = FORMULAS[kind.name].parameter if kind.name in FORMULAS else ()
    activation = kind(*fixed)
    if kind.name == name:
        return Twin(activation.forward, (draw,), fixed=fixed)
    uses = (kind.forward,) if "forward" in kind.backward.__code__.co_names else ()
    return Twin(activation.backward, (draw, draw), uses, fixed)


def kernels() -> dict[str, Any]:
    """Return the public kernels, as ``softmax.softmax_jvp``, in the order of their files."""
    found = {}
    for module in pkgutil.walk_packages(fastnn.kernels.__path__, "fastnn.kernels."):
        if module.ispkg or module.name.startswith("fastnn.kernels.compiling."):
            continue
        file = module.name.rpartition(".")[2]
        for name, function in vars(import_module(module.name)).items():
            python = getattr(function, "py_func", function)
            home = getattr(python, "__module__", "")
            compiled = hasattr(function, "py_func") or not jit.COMPILED
            public = not name.startswith("_") and home == module.name
            if inspect.isfunction(python) and compiled and public and not _is_job(python):
                found[f"{file}.{name}"] = function
    return found


def _is_job(function: Any) -> bool:
    """Return whether a function is a phase of a step, which only compiled code calls."""
    return next(iter(inspect.signature(function).parameters), "") == "at"


def find(name: str) -> list[str]:
    """Return the kernels that ``name`` may mean: one if it is clear, several or none if not."""
    known = kernels()
    if name in known:
        return [name]
    ends = [known_name for known_name in known if known_name.endswith(f".{name}")]
    return ends or [known_name for known_name in known if known_name.endswith(name)]
