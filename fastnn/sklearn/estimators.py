"""``MLPClassifier`` and ``MLPRegressor``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from sklearn import neural_network
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight

from fastnn._typing import Array
from fastnn.sklearn.training import CONSTRAINTS, OnEngine


def _init(parent: type[Any], **more: Any) -> Callable[..., None]:
    """Return an ``__init__`` with the parent's parameters and more: keywords, with their defaults."""

    def __init__(self: Any, *arguments: Any, **named: Any) -> None:
        own = {name: named.pop(name, default) for name, default in more.items()}
        parent.__init__(self, *arguments, **named)
        vars(self).update(own)

    signature = inspect.signature(parent.__init__)
    added = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in more.items()]
    parameters = [*signature.parameters.values(), *added]
    __init__.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return __init__


class MLPClassifier(OnEngine, neural_network.MLPClassifier):  # type: ignore[misc]
    """scikit-learn's ``MLPClassifier``, trained by fastnn.

    All parameters and fitted attributes of :class:`sklearn.neural_network.MLPClassifier`, with the same
    meaning, the same random draws, and steps that agree to rounding. ``activation`` may be any of
    fastnn's by name, or a list of them, one a hidden layer. What differs: the penalty in ``loss_`` is
    the mean of those before and after some batches; Adam's ``epsilon`` is that of the paper's
    algorithm, before the correction of its moments; sparse matrices are made dense to be trained on.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        What an error in each class counts: a factor on ``sample_weight``. "balanced" is by the classes'
        frequencies among the rows given, in ``partial_fit`` too.
    scoring : str, callable or None
        What early stopping goes by, as in ``cross_val_score``; by default accuracy.
    callbacks : list of :class:`fastnn.callbacks.Callback` or None
        Told of a fit with sgd or adam as it goes, in ``partial_fit`` of one epoch; they may end it.
        ``fastnn.callbacks.ProgressBar()`` shows how far it is. A clone has copies of them.

    Attributes
    ----------
    validation_loss_curve_ : list of float or None
        With ``early_stopping``, the loss on the rows set aside after each epoch, without the penalty.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((50,), max_iter=500, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPClassifier._parameter_constraints,
        **CONSTRAINTS,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    __init__ = _init(neural_network.MLPClassifier, class_weight=None, scoring=None, callbacks=None)

    def _row_weights(self, y: Array, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        labels = self._label_binarizer.inverse_transform(y)
        weights: Array = compute_sample_weight(self.class_weight, labels)
        return weights if sample_weight is None else weights * sample_weight


class MLPRegressor(OnEngine, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's ``MLPRegressor``, trained by fastnn.

    As :class:`MLPClassifier` is to scikit-learn's, with ``scoring`` (by default R2), ``callbacks`` and
    ``validation_loss_curve_``. Poisson's loss is trained over the layers' methods.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastnn.sklearn import MLPRegressor
    >>> X, y = make_regression(200, 10, random_state=0)
    >>> model = MLPRegressor((50,), solver="lbfgs", random_state=0).fit(X, y / y.std())
    >>> bool(model.score(X, y / y.std()) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
    }

    __init__ = _init(neural_network.MLPRegressor, scoring=None, callbacks=None)
