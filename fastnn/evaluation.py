"""A trained network on the part of a dataset that it has not seen."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import _own
from fastnn._typing import Array
from fastnn.datasets import Data, Dataset
from fastnn.logs import Logger, write_in_folder
from fastnn.losses import CLASSIFICATION
from fastnn.stack import LayerStack


def test(net: LayerStack, dataset: Dataset, save_predictions: bool) -> dict[str, Any]:
    """Return each test batch's loss and error; see ``NeuralNetwork.test``."""
    data = require_part(_own.part(dataset, "test"), "test")
    if isinstance(data, Data) and data.labels is None:
        raise ValueError("the dataset's test part has no labels; test_kaggle predicts without")
    logger = logger_of(net, "save_predictions") if save_predictions else None
    log: dict[str, list[Any]] = {"loss": [], "error": []}
    predictions: list[Array] = []
    for _ in range(_own.steps(data)):
        X, Y = _own.labelled(data, True, net.rng)
        loss, error, out = net.evaluate_rows(X, np.asarray(Y))
        log["loss"].append(loss)
        log["error"].append(error)
        predictions.extend(out)
    print(f"test {describe(net, float(np.mean(log['loss'])), np.mean(log['error']))}")
    if logger is not None:
        log["prediction"] = predictions
        keep(logger, "test_predictions.p", log)
    return log


def classes(net: LayerStack, predict: Callable[[Any], Any], dataset: Dataset) -> dict[str, Array]:
    """Return each test row's number and class; see ``NeuralNetwork.test_kaggle``."""
    data = require_part(_own.part(dataset, "test"), "test")
    _own.start_anew(data)
    found: list[Array] = []
    for _ in range(_own.steps(data)):
        X, _ = _own.sample(data, False, net.rng)
        found.append(np.argmax(predict(X), axis=1))
    category = np.concatenate(found) if found else np.zeros(0, np.int64)
    table = {"Id": np.arange(len(category)), "Category": category}
    if net.logger is not None and _keeps_files(net.logger):
        rows = "".join(f"{i},{c}\n" for i, c in zip(*table.values(), strict=True))
        keep(net.logger, "kaggle_predictions.csv", "Id,Category\n" + rows)
    return table


def logger_of(net: LayerStack, what: str) -> Logger:
    """Return a network's logger, or raise ``ValueError`` if it has none that keeps files."""
    if net.logger is None:
        raise ValueError(f"{what} needs a logger: NeuralNetwork(..., logger=Logger(...))")
    if not _keeps_files(net.logger):
        raise ValueError(f"{what} needs a logger with a save_dir, as fastnn.Logger; got {net.logger!r}")
    return net.logger


def _keeps_files(logger: Any) -> bool:
    return hasattr(logger, "save_dir") or _own.offers(logger, "write", "write_text")


def keep(logger: Any, name: str, value: Any) -> None:
    """Write a text, or pickle another value, to a file in a logger's folder."""
    text = isinstance(value, str)
    if _own.offers(logger, "write", "write_text"):
        (logger.write_text if text else logger.write)(name, value)
        return
    write_in_folder(logger.save_dir, name, value.encode() if text else pickle.dumps(value))


def describe(model: LayerStack, loss: float, error: float) -> str:
    """Return a loss and an error in words: accuracy for cross-entropy."""
    if _own.name_of(model.loss) in CLASSIFICATION:
        return f"loss {loss:.4f}, accuracy {1 - error:.4f}"
    return f"loss {loss:.4f}, error {error:.4f}"


def require_part(part: Data | None, name: str) -> Data:
    """Return a dataset's part, or raise ``ValueError`` if it has none."""
    if part is None:
        raise ValueError(f"the dataset has no {name} part")
    return part
