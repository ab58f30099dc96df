"""The largest errors that fastnn promises: one table.

Units in the last place, as :mod:`units` counts them, unless :data:`MEASURES` says otherwise. The limits
of activations are those of :mod:`fastnn.reference.formulas`.
"""

from fastnn.reference.formulas import FORMULAS, PLAIN

_ROWS = {name: row.function for name, row in FORMULAS.items()}
_ROWS |= {f"{name}_backward": row.slope for name, row in FORMULAS.items()}

# kernel: (float32, float64)
LIMITS = {
    "exp": (1, 1),
    "exp_nonpositive": (1, 1),
    "expm1": (1, 1),
    "log": (1, 1),
    "log1p": (1, 1),
    "erf": (2, 2),
    **{name: exact.limit for name, exact in _ROWS.items()},
    "softmax": (2, 4),
    "softmax, subnormal": (2, 2),
    "log_softmax": (2, 4),
    "softmax_jvp": (4, 4),
    "softmax_backward": (4, 4),
    "log_softmax_backward": (4, 4),
    "softmax_cross_entropy, loss": (4, 4),
    "softmax_cross_entropy, one-hot": (4, 4),
    "softmax_cross_entropy, soft": (4, 4),
    "softmax_cross_entropy_labels, loss": (4, 4),
    "softmax_cross_entropy_labels, one-hot": (4, 4),
    "softmax_cross_entropy_labels, soft": (4, 4),
    "binary_cross_entropy, loss": (4, 4),
    "binary_cross_entropy, gradient": (4, 4),
}

_LARGER_TERM = "units of the larger of its two terms, which cancel at the derivative's zero"
_ROW = "eps times the largest term of its row, `p dy` or `p sum(p dy)`"
_LOSS = "the loss of one row, one-hot or soft"
_SOFT = "units of the larger of `p sum(y)` and `y`, over n"

# What an error is measured in, where it is not units in the last place of the exact result.
MEASURES = {
    **{name: _LARGER_TERM for name, exact in _ROWS.items() if len(exact.terms(PLAIN, 1.0)) > 1},
    "softmax": "results that are normal numbers",
    "softmax, subnormal": "smaller results, in units of the smallest subnormal number",
    "softmax_jvp": _ROW,
    "softmax_backward": _ROW,
    "log_softmax_backward": "units of the larger of `dy` and `p sum(|dy|)`",
    "softmax_cross_entropy, loss": _LOSS,
    "softmax_cross_entropy_labels, loss": _LOSS,
    "binary_cross_entropy, loss": "the loss of one logit",
    "softmax_cross_entropy, soft": _SOFT,
    "softmax_cross_entropy_labels, soft": f"{_SOFT}; label smoothing 0.1",
    "binary_cross_entropy, gradient": "units of the larger of `(1 - y) s` and `y (1 - s)`, over n",
}


def limit(name, dtype):
    """Return the largest error allowed of a kernel."""
    return LIMITS[name][0 if dtype == "float32" else 1]
