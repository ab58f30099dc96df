"""What every layer has: dicts of parameters, buffers, cache and gradients."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fastnn._changes import watched
from fastnn._own import says
from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import require_number
from fastnn.activations import Activation
from fastnn.layers.state import Buffers, Parameters


def _flag(value: Any) -> bool:
    if not isinstance(value, (bool, int, np.bool_)):
        raise TypeError(f"training must be True or False, got {value!r}")
    return bool(value)


class Layer(ABC):
    """Base class of layers.

    Attributes
    ----------
    activation : Activation
    n_in : int or None
        The input's width, None until the first ``forward`` makes the parameters.
    n_out : int or None
        The output's.
    l2 : float
        The penalty on its weights, 0 for none.
    training : bool
        Whether ``forward`` is part of training; some layers do something else then.
    chooses_width : bool
        Whether ``n_out`` is the user's choice, of a class; None is then inferred for the last layer.
    keeps_width : bool
        Whether the output is as wide as the input.
    cached : tuple of str
        The names in ``cache``.
    rng : numpy.random.Generator or None
        Where random state is drawn from; None for NumPy's global generator.
    gradients : ordered dict of arrays
        Under the names of ``parameters``.
    cache : ordered dict
        What ``backward`` needs of the last ``forward``.
    """

    activation: Activation = watched()
    n_in: int | None
    n_out: int | None
    init_weights: Any = None
    l2: float = watched(lambda value: require_number("l2", value, low=0.0))
    training: bool = watched(_flag)
    _parameters: Parameters = watched()
    _buffers: Buffers = watched()
    chooses_width: ClassVar[bool] = False
    keeps_width: ClassVar[bool] = False
    cached: ClassVar[tuple[str, ...]] = ()

    dtype: np.dtype[Any] | None
    cache: OrderedDict[str, Any]
    gradients: OrderedDict[str, Array]
    rng: np.random.Generator | None

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        """Set all attributes here: a subclass need not call ``super().__init__()``."""
        layer = super().__new__(cls)
        vars(layer).update(activation=None, l2=0.0, n_in=None, n_out=None, dtype=None)
        vars(layer).update(training=True, rng=None)
        layer._parameters, layer._buffers = Parameters(), Buffers()
        layer.cache, layer.gradients = OrderedDict(), OrderedDict()
        return layer

    def __init__(self) -> None:  # noqa: B027  course programs call it; all is made by __new__
        pass

    def __repr__(self) -> str:
        return as_call(self)

    @property
    def parameters(self) -> OrderedDict[str, Array]:
        """The parameters by name; arrays assigned into it, or for it, are copied."""
        return self._parameters

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        replaced = Parameters(self._parameters)
        replaced.update(values)
        self._parameters = Parameters((name, replaced[name]) for name in values)

    @property
    def buffers(self) -> OrderedDict[str, Array]:
        """State that is saved with the parameters and not trained, by name.

        Arrays assigned into it, or for it, are copied.
        """
        return self._buffers

    @buffers.setter
    def buffers(self, values: Mapping[str, Any]) -> None:
        replaced = Buffers(self._buffers)
        replaced.update(values)
        self._buffers = Buffers((name, replaced[name]) for name in values)

    @property
    def is_initialized(self) -> bool:
        """Whether the layer has its parameters, or knows that it needs none."""
        return self.n_in is not None

    @abstractmethod
    def forward(self, X: ArrayLike) -> Array:
        """Return the layer's output for a batch ``X``, and cache what ``backward`` needs."""

    @abstractmethod
    def backward(self, dLdY: ArrayLike) -> Array:
        """Store the parameters' gradients; return the gradient of the last input."""

    @property
    def penalised(self) -> tuple[str, ...]:
        """The names of the parameters that ``l2`` applies to."""
        return tuple(self.parameters)[:1]

    def penalty(self, name: str) -> float:
        """Return the penalty on a parameter, 0 for none."""
        return self.l2 if name in self.penalised else 0.0

    @property
    def nested(self) -> tuple["Layer", ...]:
        """The layers that this one is made of."""
        return ()

    def parameter_shapes(self, X_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the parameters' shapes for inputs of a shape."""
        return {}

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return new parameters for inputs of a shape; the layer's own do not change."""
        return Parameters()

    def adopt(self, parameters: Parameters, n_in: int, dtype: np.dtype[Any]) -> None:
        """Take over parameters that were made for inputs of ``n_in`` values and a dtype."""
        self.n_in, self.dtype = n_in, dtype
        if self.keeps_width:
            self.n_out = n_in
        elif self.n_out is None:
            shape = self.check_input((1, n_in))
            self.n_out = shape[-1] if shape else None
        self._parameters = parameters
        self.cache = OrderedDict((name, []) for name in self.cached)
        self.gradients = OrderedDict((n, np.zeros_like(p)) for n, p in parameters.items())

    def take(self, other: Self) -> None:
        """Take over the parameters and buffers of a layer of the same class, as they are."""
        assert other.n_in is not None
        assert other.dtype is not None
        self.adopt(other._parameters, other.n_in, other.dtype)
        self._buffers = other._buffers

    def replace_parameters(self, arrays: Mapping[str, Array]) -> None:
        """Take arrays over as the parameters of these names, as they are, without a copy."""
        self._parameters.adopt(arrays)

    def width_of(self, arrays: Mapping[str, Array]) -> int | None:
        """Return the input's width that parameters are made for, None if they do not tell."""
        return None

    def buffer_forms(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Return the shape and dtype of each buffer."""
        return {}

    def check_buffers(self) -> None:
        """Raise ``ValueError`` if the layer does not hold its buffers, in their shapes and dtypes."""
        forms = self.buffer_forms()
        found = {name: (array.shape, array.dtype.type) for name, array in self.buffers.items()}
        if found != forms:
            shown = ", ".join(
                f"{name!r} ({np.dtype(kind)} {shape})" for name, (shape, kind) in forms.items()
            )
            raise ValueError(f"buffers must hold {shown or 'nothing'}; it holds {dict(self.buffers)}")
        for name, array in self.buffers.items():
            if not array.flags.carray:
                raise ValueError(f"buffers[{name!r}] is read-only")

    def restore(self, arrays: Mapping[str, Array], n_in: int | None) -> None:
        """Take over the parameters and buffers of a saved layer.

        Parameters
        ----------
        arrays : mapping of arrays
        n_in : int or None
            The input's width, if it is known.

        Raises
        ------
        ValueError
            If the arrays are not the layer's, by their names, shapes and dtypes; nothing has changed.
        """
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        shown = ", ".join(f"{name} {dtype} {shape}" for name, (shape, dtype) in found.items())
        n_in = self.width_of(arrays) if n_in is None else n_in
        if not isinstance(n_in, int) or n_in < 1 or self.dtype is None:
            raise ValueError(f"no layer of {n_in} inputs and dtype {self.dtype} has the arrays {shown}")
        shapes, forms = self.parameter_shapes((1, n_in)), self.buffer_forms()
        expected = {name: (shape, self.dtype) for name, shape in shapes.items()}
        expected |= {name: (shape, np.dtype(kind)) for name, (shape, kind) in forms.items()}
        if found != expected:
            needed = ", ".join(f"{name} {dtype} {shape}" for name, (shape, dtype) in expected.items())
            raise ValueError(f"the arrays are {shown}; the layer needs {needed}")
        self.adopt(Parameters((name, arrays[name]) for name in shapes), n_in, self.dtype)
        self._buffers = Buffers((name, arrays[name]) for name in forms)

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        """Make the parameters for inputs of that shape; here, note their width."""
        self.n_in = X_shape[-1]

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the output's shape for an input's, None if unknown; ``ValueError`` if it cannot be.

        A model asks every layer this before the first of them changes anything.
        """
        return None

    def obstacle(self) -> str | None:
        """Return why the layer has no compiled step, None if it has one.

        A layer has one if its very class has a method ``compile(to)``, which writes the step into a
        :class:`fastnn.blueprint.Blueprint`, and a method :meth:`cost`. A subclass does not inherit it.
        """
        return None if says(self, "compile") else f"is a {type(self).__name__}"

    def cost(self, X_shape: tuple[int, ...]) -> int:
        """Return about how many multiplications the forward pass of a batch of that shape needs."""
        return 0

    def clear_gradients(self) -> None:
        """Empty the cache (to ``[]``) and zero the gradients."""
        self.cache = OrderedDict((name, []) for name in self.cache)
        self.gradients = OrderedDict((n, np.zeros_like(g)) for n, g in self.gradients.items())

    def checked_arrays(self) -> tuple[Array, ...]:
        """Return the parameters in the order of :meth:`parameter_shapes`, having checked that they fit.

        Raises
        ------
        ValueError
            If ``parameters`` does not hold exactly these arrays, of the layer's dtype.
        """
        shapes = self.parameter_shapes((1, self.n_in or 0))
        if self._parameters.keys() != shapes.keys():
            names = ", ".join(map(repr, self._parameters)) or "nothing"
            needed = " and ".join(map(repr, shapes))
            raise ValueError(f"parameters must hold {needed}; it holds {names}")
        for name, shape in shapes.items():
            array = self._parameters[name]
            if array.shape != shape or array.dtype != self.dtype:
                raise ValueError(
                    f"parameters[{name!r}] is {array.dtype} of shape {array.shape}; "
                    f"the layer needs {self.dtype} of shape {shape}"
                )
        return tuple(self._parameters[name] for name in shapes)

    def cached_array(self, name: str) -> Array:
        """Return an array of the cache; ``RuntimeError`` if the cache is empty."""
        value: Array | list[Any] = self.cache.get(name, [])
        if isinstance(value, list):
            raise RuntimeError("backward needs a forward pass first: the layer's cache is empty")
        return value

    def forward_with_param(self, name: str, X: ArrayLike) -> Callable[[ArrayLike], Array]:
        """Return ``forward(X)`` as a function of the parameter ``name``; see ``check_gradients``."""

        def forward(value: ArrayLike) -> Array:
            current = self.parameters[name]
            self.parameters[name] = np.asarray(value)
            try:
                return self.forward(X)
            finally:
                OrderedDict.__setitem__(self.parameters, name, current)  # the very same array

        return forward

    def _get_parameters(self) -> list[Array]:
        return list(self.parameters.values())

    def _get_cache(self) -> list[Any]:
        return list(self.cache.values())

    def _get_gradients(self) -> list[Array]:
        return list(self.gradients.values())
