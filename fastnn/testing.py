"""A trained network on the part of a dataset that it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._typing import Array
from fastnn.logs import Logger
from fastnn.losses import CLASSIFICATION

if TYPE_CHECKING:
    from fastnn.datasets import Data, Dataset
    from fastnn.models import NeuralNetwork


def test(net: NeuralNetwork, dataset: Dataset, save_predictions: bool) -> dict[str, Any]:
    """Return each test batch's loss and error; see ``NeuralNetwork.test``."""
    data = require_part(dataset.test, "test")
    if data.labels is None:
        raise ValueError("the dataset's test part has no labels; test_kaggle predicts without")
    logger = logger_of(net, "save_predictions") if save_predictions else None
    log: dict[str, list[Any]] = {"loss": [], "error": []}
    predictions: list[Array] = []
    for _ in range(data.samples_per_epoch):
        loss, error, out = net.evaluate_rows(*data.sample(rng=net.rng))
        log["loss"].append(loss)
        log["error"].append(error)
        predictions.extend(out)
    print(f"test {describe(net, float(np.mean(log['loss'])), np.mean(log['error']))}")
    if logger is not None:
        log["prediction"] = predictions
        logger.write("test_predictions.p", log)
    return log


def classes(net: NeuralNetwork, dataset: Dataset) -> dict[str, Array]:
    """Return each test row's number and class; see ``NeuralNetwork.test_kaggle``."""
    data = require_part(dataset.test, "test")
    data.reset()
    found: list[Array] = []
    for _ in range(data.samples_per_epoch):
        batch = data.sample(shuffle=False)
        X = batch[0] if isinstance(batch, tuple) else batch
        found.append(np.argmax(net.predict(X), axis=1))
    category = np.concatenate(found) if found else np.zeros(0, np.int64)
    table = {"Id": np.arange(len(category)), "Category": category}
    if net.logger is not None:
        rows = "".join(f"{i},{c}\n" for i, c in zip(*table.values(), strict=True))
        net.logger.write_text("kaggle_predictions.csv", "Id,Category\n" + rows)
    return table


def logger_of(net: NeuralNetwork, what: str) -> Logger:
    """Return a network's logger, or raise ``ValueError`` if it has none."""
    if net.logger is None:
        raise ValueError(f"{what} needs a logger: NeuralNetwork(..., logger=Logger(...))")
    return net.logger


def describe(model: NeuralNetwork, loss: float, error: float) -> str:
    """Return a loss and an error in words: accuracy for cross-entropy."""
    if model.loss.name in CLASSIFICATION:
        return f"loss {loss:.4f}, accuracy {1 - error:.4f}"
    return f"loss {loss:.4f}, error {error:.4f}"


def require_part(part: Data | None, name: str) -> Data:
    """Return a dataset's part, or raise ``ValueError`` if it has none."""
    if part is None:
        raise ValueError(f"the dataset has no {name} part")
    return part
