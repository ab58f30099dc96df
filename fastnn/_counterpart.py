"""What a part of fastnn is called in another library."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Counterpart:
    """A PyTorch module or an ONNX operator that computes what a class of fastnn does.

    Parameters
    ----------
    name : str
        Name of the module's class in ``torch.nn`` or of the operator.
    arguments : mapping
        Arguments or attributes that it is written with.
    also : mapping
        Further values of these that are read; None stands for an attribute that is absent.
    parameter : str, optional
        Name there of the parameter that the class takes.
    second_input : str, optional
        Operator that takes the parameter as its second input. float64 models are written with it, since
        ONNX attributes are float32.
    times_input : bool
        Whether the class's result is the operator's result times the input.
    single_constants : bool
        Whether its definition has float32 constants, so that float64 results are right to about 1e-7.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    parameter: str | None = None
    second_input: str | None = None
    times_input: bool = False
    single_constants: bool = False

    def reads(self, given: Mapping[str, Any]) -> bool:
        """Return whether a module or node with these arguments is this counterpart."""
        return all(
            given.get(key) in (value, *self.also.get(key, ())) for key, value in self.arguments.items()
        )
