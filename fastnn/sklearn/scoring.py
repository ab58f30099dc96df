"""Scores of rows that may lack some of the classes."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import check_scoring, make_scorer, roc_auc_score

from fastnn._typing import Array


def validation_scorer(estimator: Any, classes: Array | None) -> Callable[..., float]:
    """Return ``score(estimator, X, y, sample_weight)`` by an estimator's ``scoring``.

    Parameters
    ----------
    estimator : estimator with a ``scoring``
    classes : array (k,) or None
        All classes, where a row has one of them.
    """
    scorer = check_scoring(estimator, scoring=estimator.scoring)
    if classes is not None:
        scorer = _with_labels(scorer, classes)
    weighs = _takes_weights(scorer)

    def score(model: Any, X: Any, y: Array, sample_weight: Array | None = None) -> float:
        weights = {"sample_weight": sample_weight} if sample_weight is not None and weighs else {}
        return float(scorer(model, X, y, **weights))

    return score


def require_defined(
    scorer: Callable[..., float], estimator: Any, X: Any, y: Array, weights: Array | None
) -> None:
    """Raise ``ValueError`` if rows lack classes and have no score for that reason."""
    absent = np.setdiff1d(estimator.classes_, y)
    if not absent.size:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        score = scorer(estimator, X, y, weights)
    if np.isnan(score):
        raise ValueError(
            f"scoring={estimator.scoring!r} is not defined for the {len(y)} validation rows of "
            f"early_stopping: they lack the classes {absent.tolist()}. Increase validation_fraction, "
            "or use another scoring such as 'neg_log_loss'"
        )


def _with_labels(scorer: Any, classes: Array) -> Any:
    """Return a scorer that passes all classes to its metric, if that is one of probabilities."""
    metric = getattr(scorer, "_score_func", None)
    if metric is None or scorer._response_method == "predict" or "labels" in scorer._kwargs:
        return scorer
    if "labels" not in inspect.signature(metric).parameters:
        return scorer
    if metric is roc_auc_score and scorer._kwargs.get("multi_class") == "ovr" and len(classes) > 2:
        metric = _one_versus_rest
    return make_scorer(
        metric,
        response_method=scorer._response_method,
        greater_is_better=scorer._sign > 0,
        labels=classes,
        **scorer._kwargs,
    )


def _one_versus_rest(
    y: Array, P: Array, *, labels: Array, sample_weight: Array | None = None, **options: Any
) -> float:
    """Return the mean area under the ROC curves of the classes in ``y``.

    ``roc_auc_score`` has no value for a class of which there is no row.
    """
    present = np.isin(labels, y)
    if present.all() or present.sum() < 2:
        score = roc_auc_score(y, P, labels=labels, sample_weight=sample_weight, **options)
    else:
        rows = y[:, np.newaxis] == labels[present]
        options.pop("multi_class")
        score = roc_auc_score(rows, P[:, present], sample_weight=sample_weight, **options)
    return float(score)


def _takes_weights(scorer: Any) -> bool:
    """Return whether a scorer, or a function in its place, takes ``sample_weight``."""
    try:
        parameters = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters.values()
    except ValueError:  # a compiled function without a signature
        return True
    return any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters)
