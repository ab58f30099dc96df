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
    the mean of those before and after some batches. Sparse matrices are multiplied as they are, or made
    dense some rows at a time.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        What an error in each class counts: a factor on ``sample_weight``. A dict may name classes that
        a batch of ``partial_fit`` lacks. "balanced" is by the classes' frequencies among the rows given,
        in ``partial_fit`` among all rows so far.
    scoring : str, callable or None
        What early stopping goes by, as in ``cross_val_score``; by default accuracy. The rows set aside
        may lack a class: metrics of probabilities are told all classes, and ``"roc_auc_ovr"`` is the
        mean over the classes that are there. A score that is not defined for them raises ``ValueError``.
    callbacks : list of :class:`fastnn.callbacks.Callback` or None
        Told of a fit with sgd or adam as it goes, in ``partial_fit`` of one epoch; they may end it.
        ``fastnn.callbacks.ProgressBar()`` shows how far it is. A clone has copies of them. With
        ``early_stopping`` the parameters of its best score are put back first, then callbacks' runs end:
        those that :class:`fastnn.EarlyStopping` restores are the fitted ones.

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
    ``validation_loss_curve_``. Its first parameter is ``loss``, as scikit-learn's: the sizes of the
    layers are given by name. Poisson's loss is trained over the layers' methods.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastnn.sklearn import MLPRegressor
    >>> X, y = make_regression(200, 10, random_state=0)
    >>> model = MLPRegressor(hidden_layer_sizes=(50,), solver="lbfgs", random_state=0).fit(X, y / y.std())
    >>> bool(model.score(X, y / y.std()) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
    }

    __init__ = _init(neural_network.MLPRegressor, scoring=None, callbacks=None)
