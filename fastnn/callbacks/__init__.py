"""Callbacks: what is told of a training run as it goes, and may end it.

``net.fit(X, y, callbacks=[...])`` calls each one's hooks, in the order of the list, at the ends in
reverse. An error raised in a hook ends the run and reaches the caller; the network stays as the last
step left it. Ctrl-C waits for the hooks that are being called.
"""

from fastnn.callbacks.base import Callback, as_callbacks
from fastnn.callbacks.reports import CSVLog, JSONLog, LearningRateLog, LiveCurve, ProgressBar
from fastnn.callbacks.run import Run
from fastnn.callbacks.watching import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

__all__ = [
    "CSVLog",
    "Callback",
    "EarlyStopping",
    "JSONLog",
    "LearningRateLog",
    "LiveCurve",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "Run",
    "as_callbacks",
]
