"""``MLPClassifier`` and ``MLPRegressor``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from sklearn import neural_network
from sklearn.utils._param_validation import StrOptions

from fastnn._typing import Array
from fastnn.sklearn.training import CONSTRAINTS, OnEngine
from fastnn.sklearn.weighting import balanced_weights, class_counts, given_weights


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
    the mean of those before and after some batches. Sparse matrices are never made dense as a whole,
    unless that takes less than 32 MB.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        The weight of each class, multiplied with ``sample_weight``. A batch of ``partial_fit`` may lack
        classes of the dict. "balanced" uses the class frequencies of the rows of ``fit``, or of all
        rows that ``partial_fit`` was given so far.
    scoring : str, callable or None
        The score of early stopping, as in ``cross_val_score``; by default accuracy. The validation rows
        may lack a class: metrics of probabilities get all classes as ``labels``, and ``"roc_auc_ovr"``
        is the mean over the classes in these rows. A score that is undefined for them is a
        ``ValueError``. ``sample_weight`` is passed to metrics that take it.
    callbacks : list of :class:`fastnn.callbacks.Callback` or None
        Called during a fit with sgd or adam, in ``partial_fit`` for one epoch; they may end it.
        ``fastnn.callbacks.ProgressBar()`` shows the progress. A clone has copies of them. At the end,
        ``early_stopping`` restores the parameters of its best score first and ``on_train_end`` is
        called afterwards, so parameters that :class:`fastnn.EarlyStopping` restores are kept.

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

    def _row_weights(
        self, y: Array, sample_weight: Array | None, incremental: bool = False
    ) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        several = self._label_binarizer.y_type_.startswith("multilabel")
        if self.class_weight == "balanced":
            exclusive = not several and y.shape[1] > 1
            counts = class_counts(y, exclusive)
            before = vars(self).get("_class_counts")
            if incremental and before is not None and before.shape == counts.shape:
                counts = counts + before
            self._class_counts = counts
            weights = balanced_weights(y, counts, exclusive)
        elif several:
            raise ValueError("class_weight must be 'balanced' or None for rows of several labels")
        else:
            weights = given_weights(y, self.class_weight, self.classes_)
        return weights if sample_weight is None else weights * sample_weight


class MLPRegressor(OnEngine, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's ``MLPRegressor``, trained by fastnn.

    As :class:`MLPClassifier` is to scikit-learn's, with ``scoring`` (by default R2), ``callbacks`` and
    ``validation_loss_curve_``. As in scikit-learn the first parameter is ``loss``, so
    ``hidden_layer_sizes`` must be given by name. Poisson's loss is trained with the layers' methods.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastnn.sklearn import MLPRegressor
    >>> X, y = make_regression(200, 10, random_state=0)
    >>> y = y / y.std()
    >>> model = MLPRegressor(hidden_layer_sizes=(50,), solver="lbfgs", random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
    }

    __init__ = _init(neural_network.MLPRegressor, scoring=None, callbacks=None)
