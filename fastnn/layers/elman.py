"""The Elman layer: a simple recurrence over time."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn._changes import Changes, watched
from fastnn._own import offers
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_count, require_number, restore
from fastnn.activations import Activation
from fastnn.blueprint import Blueprint
from fastnn.layers import recurrence, through_time
from fastnn.layers.state import Parameters
from fastnn.layers.time_cache import Listed
from fastnn.layers.weighted import Weighted, WeightInit


def _flag(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"return_sequences must be True or False, got {value!r}")
    return bool(value)


class Elman(Listed, Weighted):
    """``s_t = f(X_t W + s_{t-1} U + b)`` for each time step t, with ``s_0 = 0``.

    The input is ``X (n, d, t)``: n rows, d features, t time steps. ``W (d, k)``, ``U (k, k)`` and
    ``b (1, k)``, which begins as zeros, are made at the first ``forward`` in the dtype of its input
    (float32 or float64), W before U. Later inputs are computed in that dtype. The output is the last
    state ``(n, k)`` or, with ``return_sequences``, all states ``(n, k, t)``, which another such layer
    takes as its input. The cache keeps lists of arrays in the order of time: the states ``s``, t + 1
    arrays ``(n, k)`` of which the first is zeros, the inputs ``X`` and the pre-activations ``Z``.

    Parameters
    ----------
    n_out : int or None
        Number of units k; a model infers None for its last layer.
    activation : str or Activation, default="tanh"
        A name for ``initialize_activation``, or an object with its ``forward`` and ``backward``.
    weight_init : str or WeightInitializer, default="xavier_uniform"
        A name for ``initialize_weights``, or an initialiser: a function of a shape.
    return_sequences : bool, default=False
        Whether the output is the states of all time steps.
    mask_value : float, optional
        For rows of different lengths: a time step of a row is skipped if all its inputs are this value.
        The state is carried over, and the gradient passes through to the step before.

    Raises
    ------
    TypeError
        If ``n_out`` is not an integer, ``return_sequences`` not a bool or ``mask_value`` not a number.
    ValueError
        If ``n_out`` is less than 1 or ``mask_value`` is not finite.
    NotImplementedError
        For an unknown activation or initialiser.

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14, 1990.

    Examples
    --------
    >>> layer = fastnn.Elman(4)
    >>> layer.forward(np.ones((2, 3, 5))).shape
    (2, 4)
    >>> fastnn.Elman(4, return_sequences=True).forward(np.ones((2, 3, 5))).shape
    (2, 4, 5)
    """

    chooses_width, cached = True, ("s", "X", "Z")
    return_sequences: bool = watched(_flag)
    mask_value: float | None = watched(
        lambda value: None if value is None else require_number("mask_value", value, low=-np.inf)
    )

    def __init__(
        self,
        n_out: int | None,
        activation: str | Activation = "tanh",
        weight_init: WeightInit = "xavier_uniform",
        return_sequences: bool = False,
        mask_value: float | None = None,
    ) -> None:
        super().__init__(activation, weight_init)
        self.n_out = None if n_out is None else require_count("n_out", n_out)
        self.return_sequences, self.mask_value = return_sequences, mask_value

    @classmethod
    def of(
        cls, W: Array, U: Array, b: Array, activation: str | Activation, return_sequences: bool
    ) -> "Elman":
        """Return a layer with copies of ``W (d, k)``, ``U (k, k)`` and ``b (1, k)`` of one dtype."""
        layer = cls(W.shape[1], activation, return_sequences=return_sequences)
        layer.adopt(Parameters(W=W, U=U, b=b), W.shape[0], W.dtype)
        return layer

    @property
    def penalised(self) -> tuple[str, ...]:
        """No parameter: ``l2`` does not apply to this layer."""
        return ()

    # Parameters

    def parameter_shapes(self, X_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of ``W``, ``U`` and ``b`` for inputs ``(n, d, t)``."""
        if self.n_out is None:
            raise ValueError("n_out is None")
        k = self.n_out
        return {"W": (X_shape[1], k), "U": (k, k), "b": (1, k)}

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return parameters for inputs ``(n, d, t)``, newly drawn; the layer does not change."""
        self.check_input(X_shape)
        shapes = self.parameter_shapes(X_shape)
        made = Parameters((name, self.draw(shapes[name], dtype)) for name in ("W", "U"))
        made["b"] = np.zeros(shapes["b"], dtype)
        return made

    def adopt(self, parameters: Parameters, n_in: int, dtype: np.dtype[Any]) -> None:
        """Take over parameters; ``n_in`` is read from them, as an input's last axis is time."""
        super().adopt(parameters, len(parameters["W"]), dtype)

    def width_of(self, arrays: Mapping[str, Array]) -> int | None:
        return arrays["W"].shape[0] if "W" in arrays and arrays["W"].ndim == 2 else None

    def restore(self, arrays: Mapping[str, Array], n_in: int | None) -> None:
        """Take over the parameters of a saved layer, whose own shapes tell the input's width."""
        super().restore(arrays, self.width_of(arrays))

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        dtype = self.dtype or np.dtype(np.float64)
        self.adopt(self.initial_parameters(X_shape, dtype), X_shape[1], dtype)

    def checked_parameters(self) -> tuple[Array, Array, Array]:
        """Return ``W (d, k)``, ``U (k, k)`` and ``b (1, k)``, having checked that they fit.

        Raises
        ------
        ValueError
            If ``parameters`` does not hold these three arrays and no others, of the layer's dtype and
            of shapes that fit ``n_in`` and ``n_out``.
        """
        parameters = self._parameters
        if parameters.keys() != {"W", "U", "b"}:
            names = ", ".join(map(repr, parameters)) or "nothing"
            raise ValueError(f"parameters must hold 'W', 'U' and 'b'; it holds {names}")
        W, U, b, k = parameters["W"], parameters["U"], parameters["b"], self.n_out
        if W.shape != (self.n_in, k) or U.shape != (k, k) or b.shape != (1, k):
            raise ValueError(
                f"the parameters have shapes W {W.shape}, U {U.shape} and b {b.shape}; {self.n_in} "
                f"inputs and {k} units need W {(self.n_in, k)}, U {(k, k)} and b {(1, k)}"
            )
        if not W.dtype == U.dtype == b.dtype == (self.dtype or W.dtype):
            raise ValueError(
                f"the layer computes in {self.dtype or W.dtype}, but W is {W.dtype}, U is {U.dtype} "
                f"and b is {b.dtype}"
            )
        return W, U, b

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape for inputs ``(n, d, t)``, or raise ``ValueError``."""
        if self.n_out is None:
            raise ValueError("n_out is None: give the layer a width, or train it as a model's last")
        if len(X_shape) != 3:
            raise ValueError(f"X must have shape (batch, features, time steps), got {X_shape}")
        n, d, t = X_shape
        if d == 0 or t == 0:
            raise ValueError(f"X needs at least one feature and one time step, got {X_shape}")
        if self._parameters:
            W, _, _ = self.checked_parameters()
            if len(W) != d:
                raise ValueError(f"X has {d} features, the layer needs {len(W)}: X is {X_shape}")
        elif offers(self.init_weights, "check"):
            for name, shape in self.parameter_shapes(X_shape).items():
                if name != "b":
                    self.init_weights.check(shape)
        return (n, self.n_out, t) if self.return_sequences else (n, self.n_out)

    # A network's compiled step

    def obstacle(self) -> str | None:
        return super().obstacle() or recurrence.obstacle(self.activation)

    def cost(self, X_shape: tuple[int, ...]) -> int:
        n, d, t = X_shape
        return n * t * (self.n_out or 0) * (d + (self.n_out or 0))

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        recurrence.compile_layer(self, to)

    # The layer's own methods

    def _init_cache(self, X_shape: tuple[int, ...]) -> None:
        """Begin a cache for inputs ``(n, d, t)``: the state before the first step is zeros."""
        k = self.n_out or 0
        self.keep_pass(None)
        self.cache["s"] = [np.zeros((X_shape[0], k), self.dtype or np.dtype(np.float64))]
        self.cache["X"], self.cache["Z"] = [], []
        Changes.count += 1  # a step of the engine finds that there is a cache to clear

    def forward(self, X: ArrayLike) -> Array:
        """Return the last state ``(n, k)``, or all states ``(n, k, t)``, for ``X (n, d, t)``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` is not ``(n, d, t)`` with the ``d`` the layer was made for.
        """
        x = as_float(X, "X", self.dtype)
        self.check_input(x.shape)
        if not self._parameters:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        parameters = self.checked_parameters()
        self.dtype = parameters[0].dtype
        x = as_float(x, "X", self.dtype)
        own = type(self)._init_cache is not Elman._init_cache or "_init_cache" in vars(self)
        own_step = type(self).forward_step is not Elman.forward_step
        if own_step or not len(x) or not through_time.compiled(self.activation):
            self._init_cache(x.shape)
            states = [self.forward_step(x[:, :, time]) for time in range(x.shape[2])]
            Y = np.stack(states, axis=2) if self.return_sequences else states[-1]
        else:
            first = None
            if own:
                self._init_cache(x.shape)
                first = as_float(self.cache["s"][-1], "s", self.dtype)
            Y, made = through_time.states(self, parameters, x, first)
            self.keep_pass(made)
            Changes.count += 1  # as of `_init_cache`
        return restore(Y, X)

    def forward_step(self, X_t: ArrayLike) -> Array:
        """Return the next state ``(n, k)`` for the inputs ``X_t (n, d)`` of a time step, and cache it.

        The state before is the last one in the cache, which ``_init_cache(X_shape)`` begins.

        Raises
        ------
        RuntimeError
            If the cache has no state.
        ValueError
            If ``X_t`` is not ``(n, d)`` with the cache's n and the layer's d.
        """
        W, U, b = self.checked_parameters()
        if not self.cache.get("s"):
            raise RuntimeError("forward_step needs a state: call _init_cache((n, d, t)) first")
        x = as_float(X_t, "X_t", W.dtype)
        before = as_float(self.cache["s"][-1], "s", W.dtype)
        if x.shape != (len(before), len(W)):
            raise ValueError(f"X_t must have shape {(len(before), len(W))}, got {x.shape}")
        Z = x @ W + before @ U + b
        s = as_float(self.activation.forward(Z), "s", W.dtype)
        if self.mask_value is not None:
            masked = (x == W.dtype.type(self.mask_value)).all(axis=1, keepdims=True)
            s = np.where(masked, before, s)
        for name, value in (("X", x), ("Z", Z), ("s", s)):
            self.cache[name].append(value)
        return s

    def backward(self, dLdY: ArrayLike) -> list[Array]:  # type: ignore[override]
        """Add to the gradients of ``W``, ``U`` and ``b``; return those of the inputs, step by step.

        From the last time step to the first, with ``ds_t`` the gradient of a state::

            dZ_t = f'(Z_t; ds_t), ds_{t-1} = dZ_t U^T, dX_t = dZ_t W^T
            dW = sum_t X_t^T dZ_t, dU = sum_t s_{t-1}^T dZ_t, db = sum_t sum(dZ_t)

        The gradients are added to those in ``gradients`` until ``clear_gradients``, or a network's
        ``update``, clears them.

        Parameters
        ----------
        dLdY : array_like
            The gradient of the output, of its shape. With ``return_sequences`` it may also be a list of
            t arrays ``(n, k)``, such as the ``backward`` of the layer after it returns.

        Returns
        -------
        list of t arrays (n, d)
            In the order of time.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        dX = self._backward(dLdY, wanted=True)
        return dX if restore(dX[0], dLdY) is dX[0] else [restore(step, dLdY) for step in dX]

    def backward_parameters(self, dLdY: ArrayLike) -> None:
        """Do :meth:`backward` without the gradient of the input."""
        self._backward(dLdY, wanted=False)

    def _backward(self, dLdY: ArrayLike, wanted: bool) -> list[Array]:
        W, _, _ = parameters = self.checked_parameters()
        compiled, made = through_time.compiled(self.activation), self.last_pass()
        if made is not None and not (compiled and made.fits(W, self.shown_cache)):
            made = None
        if made is None:
            steps = through_time.cached(self.cache, W)
            dy = self._output_gradient(dLdY, steps.Z.shape, steps.Z.dtype)
            if not compiled or not dy.size:
                return self._added(through_time.back_step_by_step(self, steps, dy, wanted))
            made, given, sure = through_time.packed(self, steps), True, False
        else:
            dy = self._output_gradient(dLdY, made.plan.shapes["z"], W.dtype)
            sure = not made.listed
            given = made.given or (made.listed and bool(made.array("s")[0].any()))
        found = through_time.back_through_time(self, parameters, made, dy, given, sure, wanted)
        return self._added(found)

    def _added(self, found: tuple[tuple[Array, ...], list[Array]]) -> list[Array]:
        """Add to the gradients of the parameters; return those of the input."""
        gradients, dX = found
        for name, gradient in zip(("W", "U", "b"), gradients, strict=True):
            self.gradients[name] = self.gradients.get(name, 0) + gradient
        return dX

    def _output_gradient(self, dLdY: Any, states: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return dLdY as an array ``(n, k)``, or ``(t, n, k)`` for sequences."""
        (t, n, k), sequences = states, self.return_sequences
        listed = isinstance(dLdY, (list, tuple)) and len(dLdY) and isinstance(dLdY[0], np.ndarray)
        if sequences and listed:
            return through_time.stacked("dLdY", dLdY, t, (n, k), dtype)
        dy, shape = as_float(dLdY, "dLdY", dtype), (n, k, t) if sequences else (n, k)
        if dy.shape != shape:
            raise ValueError(f"dLdY must have the output's shape {shape}, got {dy.shape}")
        return np.ascontiguousarray(dy.transpose(2, 0, 1)) if sequences else dy
