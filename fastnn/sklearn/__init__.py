"""scikit-learn's multi-layer perceptrons on fastnn's engine: change the import, keep the program.

``from fastnn.sklearn import MLPClassifier, MLPRegressor``
"""

try:
    import sklearn  # noqa: F401
except ImportError:
    raise ImportError("fastnn.sklearn needs scikit-learn: pip install 'fastnn-cpu[sklearn]'") from None

from fastnn.sklearn.estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
