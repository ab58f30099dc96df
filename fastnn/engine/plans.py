"""Plans: a network's step in the form that compiled code takes, as rows of integers.

A plan is for one number of rows. It holds the addresses of the parameters where they lie, and scratch
arrays of its own; see ``kernels/layers/dense.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import activations, losses, optimizers
from fastnn._arrays import LINE, aligned_views, aligned_zeros, extent, extents
from fastnn._blocks import column_blocks, update_blocks
from fastnn._changes import Changes
from fastnn._typing import Array
from fastnn.engine.stretches import first_count
from fastnn.kernels import activations as kernels
from fastnn.kernels.emitted.gemm import PLAIN, RELU
from fastnn.kernels.layers import dense
from fastnn.kernels.rows import SHORT
from fastnn.kernels.step import parts, steps, threads
from fastnn.layers import FullyConnected
from fastnn.pace import Trial, trial

if TYPE_CHECKING:
    from fastnn.models import NeuralNetwork

KNOWN = frozenset(activations.ACTIVATIONS.values())
RULES = frozenset((optimizers.SGD, optimizers.Adam))  # each names its parts, `rule`
# The loss's part, of probabilities or outputs, and of the logits where the last activation fuses.
LOSSES: dict[type, tuple[str, str]] = {
    losses.CrossEntropy: ("probability_loss", "softmax_loss"),
    losses.BinaryCrossEntropy: ("yes_no_loss", "sigmoid_loss"),
    losses.L2: ("l2_loss", ""),
}
_SERIAL = 250_000  # multiplications: below this a second core costs more than it brings
_SERIAL_INFERENCE = 100_000  # the same where nothing is written but activations
_CLOSE = 200  # up to so many times as much, a trial decides
# Sizes from which on a detour pays, measured with one thread; none of them changes a bit of a result.
# Rows of W or dZ of so many bytes lie on a page each, and often in the same few sets of a cache: blocks
# of them are packed before they are multiplied, for a batch of at least so many rows.
_FAR, _OFTEN = 4096, 512
# X^T dZ reads X down its columns, a line for a few elements, once for every few columns of dZ. X is
# transposed before, if it has so many bytes, more than stay near a core, and dZ's rows so many.
_LARGE, _WIDE = 8_000_000, 1024
# Above so many rows of a batch a thread takes some of them through all layers; not if weights have more
# bytes than this, and so would come from memory for every few rows.
_BY_ROWS, _NEAR = 64, 8_000_000
_PICKED = 100_000  # bytes of a batch from which on all threads pick its rows out of the dataset


def checked_parameters(model: NeuralNetwork) -> list[Array]:
    """Return each layer's W and b, whose addresses and shapes compiled code may trust.

    Raises
    ------
    ValueError
        If a layer's parameters do not fit one another or the layer before; the message names it.
    """
    arrays: list[Array] = []
    for i, layer in enumerate(model.layers):
        assert isinstance(layer, FullyConnected)
        try:
            W, b = layer.checked_parameters(arrays[-1].shape[1] if arrays else None)
            for name, array in (("W", W), ("b", b)):
                if not (array.flags.c_contiguous and array.flags.aligned):
                    raise ValueError(f"parameters[{name!r}] is not C-contiguous")
        except ValueError as error:
            raise ValueError(f"layer {i} ({type(layer).__name__}): {error}") from None
        arrays += [W, b]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError("the layers differ in dtype")
    return arrays


class Plan:
    """What all plans have: the words, the arrays they point to, whether threads share the work."""

    _serial = _SERIAL
    _product = "product"  # the part that multiplies

    def __init__(self, model: NeuralNetwork, n: int, shared: bool = True, fused: bool = False) -> None:
        self.arrays = checked_parameters(model)
        weights = self.arrays[::2]
        self.n, self.dtype = n, weights[0].dtype
        self.X_shape, self.Y_shape = (n, weights[0].shape[0]), (n, weights[-1].shape[1])
        self.work = n * sum(W.size for W in weights)
        self._shared = shared and self.work > self._serial
        self._shares = threads.count() if self._shared else 1
        tries = self._shares > 1 and self.work < _CLOSE * self._serial
        self.trial = self._trial(model) if tries else None
        self._block = 64 if not self._shared or n > 256 else 16 if n <= 32 else 32  # rows of a job
        self._kept: list[Array] = []
        self._rates = np.zeros(4)
        self.words = np.zeros(dense.HEADER_WORDS, np.int64)
        self.address = self.words.ctypes.data
        self._layers = np.zeros((len(weights), dense.LAYER_WORDS), np.int64)
        self._write_layers(model, fused)

    def _trial(self, model: NeuralNetwork) -> Trial:
        """Return that of all plans that do the same work."""
        widths = tuple(W.shape for W in self.arrays[::2])
        made_of = tuple(type(layer.activation) for layer in model.layers), type(model.loss)
        rule = type(model.optimizer), getattr(model.optimizer, "clip_norm", None) is None
        steps = min(max(first_count(self.work) // 20, 1), 8)
        return trial((type(self), self.n, widths, self.dtype, made_of, rule, self._shares), steps)

    def pool(self) -> type[threads.Alone] | threads.Pool:
        """Return who shares the work, awake; to be held on to meanwhile, as it may be replaced."""
        if not self._shared or (self.trial and not self.trial.shared):
            return threads.Alone
        pool = threads.pool()
        pool.wake()
        return pool

    def _write_layers(self, model: NeuralNetwork, fused: bool) -> None:
        """Write the layers; ``fused``: the last one's activation is left to the loss."""
        for i, words in enumerate(self._layers):
            k = self.arrays[2 * i].shape[1]
            words[dense.D], words[dense.K] = self.arrays[2 * i].shape
            words[dense.BLOCKS] = column_blocks(k, self.dtype.itemsize, self._shares)
            if self.n >= _OFTEN and k * self.dtype.itemsize >= _FAR and words[dense.BLOCKS] > 1:
                words[dense.PACKS] = True
                words[dense.WORK] = self._new((max(self.n, words[dense.D]), k))
            words[dense.WEIGHTS] = self.arrays[2 * i].ctypes.data
            words[dense.BIAS] = self.arrays[2 * i + 1].ctypes.data
            words[dense.Z] = words[dense.A] = self._new((self.n, k))
            if not (fused and i == len(self._layers) - 1):
                self._write_activation(words, model.layers[i].activation)

    def _write_activation(self, words: Array, activation: Any) -> None:
        words[dense.TILE] = RELU if type(activation) is activations.ReLU else PLAIN
        if type(activation) in (activations.Linear, activations.ReLU):
            return
        rowwise, parameter = activation.rowwise, activation.parameter
        words[dense.ROWWISE] = rowwise
        words[dense.PARAMETER] = np.float64(parameter or 0.0).view(np.int64)
        words[dense.ACTIVATION] = parts.activation(
            activation.kernel, self.dtype, rowwise, False, parameter is not None
        )
        words[dense.A] = self._new((self.n, words[dense.K]))

    def _finish(self, phases: list[tuple[Any, int, int]], **header: int) -> None:
        """Write the header and the phases ``(phase, layer, jobs)``.

        The first of them picks rows; its job is compiled when there are any to pick.
        """
        self._phases = np.zeros((len(phases), dense.PHASE_WORDS), np.int64)
        for row, (phase, layer, count) in zip(self._phases, phases, strict=True):
            row[:] = (
                0 if phase is dense.pick_rows else dense.phase_job(phase).address,
                self.address,
                layer,
                count,
                self._shared and self._worth_sharing(phase, layer),
            )
        header |= {
            "N": self.n,
            "SIZE": self.dtype.itemsize,
            "BLOCK": self._block,
            "LAYERS": self._layers.ctypes.data,
            "LAYER_COUNT": len(self._layers),
            "RATES": self._rates.ctypes.data,
            "PHASES": self._phases.ctypes.data,
            "PHASE_COUNT": len(phases),
            "PRODUCT": parts.part(self._product, self.dtype),
            "BY_RULE": self._product != "product",
        }
        self._write_header(header)

    def _write_header(self, header: dict[str, int]) -> None:
        for name, value in header.items():
            self.words[getattr(dense, name)] = value

    def _worth_sharing(self, phase: Any, layer: int) -> bool:
        """Return whether several threads do a phase faster than one, which has it all at hand then."""
        d, k = self._layers[layer, dense.D], self._layers[layer, dense.K]
        if phase is dense.pick_rows:
            return int(self.n * d) * self.dtype.itemsize >= _PICKED
        return phase is not dense.backward or int(self.n * d * k) > _SERIAL // 2

    def _keep(self, array: Array) -> int:
        self._kept.append(array)
        return array.ctypes.data

    def _new(self, shape: tuple[int, ...], dtype: Any = None) -> int:
        return self._keep(aligned_zeros(shape, np.dtype(dtype or self.dtype)))

    def _forward_phases(self) -> list[tuple[Any, int, int]]:
        """Return the phases up to the last layer's, which is left to the caller."""
        phases = []
        for i, words in enumerate(self._layers[:-1]):
            phases.append((dense.forward, i, int(words[dense.BLOCKS])))
            if words[dense.ROWWISE]:
                phases.append((dense.activate_rows, i, self._row_blocks()))
        return phases

    def _row_blocks(self) -> int:
        return -(-self.n // self._block)


class InferencePlan(Plan):
    """From X to the last layer's activation."""

    _serial = _SERIAL_INFERENCE

    def __init__(self, model: NeuralNetwork, n: int) -> None:
        super().__init__(model, n)
        last = len(self._layers) - 1
        nothing = (dense.pick_rows, 0, 0)
        near = sum(W.nbytes for W in self.arrays[::2]) <= _NEAR
        if n > _BY_ROWS and near and not self._layers[:, dense.PACKS].any():
            phases = [(dense.forward_rows, last, self._row_blocks())]
        else:
            phases = self._forward_phases()
            phases.append((dense.forward, last, int(self._layers[last, dense.BLOCKS])))
            if self._layers[last, dense.ROWWISE]:
                phases.append((dense.activate_rows, last, self._row_blocks()))
        self._finish([nothing, *phases])

    def run(self, X: Array, out: Array) -> None:
        """Write the outputs for X."""
        pool = self.pool() if self._shared else threads.Alone
        if self.trial is None:
            steps.infer(pool.control, self.address, X, out)
        else:
            self.trial.time(pool.control != 0, steps.infer, pool.control, self.address, X, out)


class LossPlan(Plan):
    """From X and Y to the loss and error; :class:`TrainingPlan` goes on from there."""

    def __init__(self, model: NeuralNetwork, n: int, shared: bool = True) -> None:
        fused = model._fused_layer() is not None
        super().__init__(model, n, shared, fused)
        last = self._layers[-1]
        last[dense.DA] = last[dense.DZ] = self._new(self.Y_shape)
        self._write(model, fused)

    def _write(self, model: NeuralNetwork, fused: bool) -> None:
        self._finish([(dense.pick_rows, 0, 0), *self._loss_phases()], **self._loss_header(model, fused))

    def _loss_phases(self) -> list[tuple[Any, int, int]]:
        last = len(self._layers) - 1
        blocks = int(self._layers[last, dense.BLOCKS])
        if self._by_rows():
            phases = [(dense.forward_rows, last if blocks > 1 else last - 1, self._row_blocks())]
        else:
            phases = self._forward_phases()
            if blocks > 1:
                phases.append((dense.forward, last, blocks))
        return [*phases, (dense.loss_rows, last, self._row_blocks())]

    def _by_rows(self) -> bool:
        """Return whether threads take rows through the layers, instead of columns of each.

        So they do if a batch is more to pass on than weights are, or rows of activations are no whole
        cache lines.
        """
        more = self.n * self.X_shape[1] > sum(W.size for W in self.arrays[::2])
        apart = not any(b.nbytes % LINE for b in self.arrays[1:-1:2])
        packs = bool(self._layers[:, dense.PACKS].any())
        return self._shared and self.n > _BY_ROWS and (more or not apart) and not packs

    def _loss_header(self, model: NeuralNetwork, fused: bool) -> dict[str, int]:
        header = {
            "STATS": self._new((self._row_blocks(), 2), np.float64),
            "ANSWERS": 1 if type(model.loss) is losses.CrossEntropy else self.Y_shape[1],
            "LOSS": parts.part(self._loss_part(model, fused), self.dtype),
        }
        if isinstance(model.loss, losses.CrossEntropy) and not model.loss.plain:
            header |= self._target_header(model.loss)
        return header

    def _target_header(self, loss: losses.CrossEntropy) -> dict[str, int]:
        """Return the words for targets that are made of those given."""
        loss.check_classes(self.Y_shape[1])
        weights = loss.class_weight
        return {
            "TARGETS": parts.part("targets", self.dtype),
            "T": self._new(self.Y_shape),
            "SMOOTHING": int(np.float64(loss.label_smoothing).view(np.int64)),
            "CLASS_WEIGHTS": self._keep(np.ones(self.Y_shape[1]) if weights is None else weights),
        }

    def _loss_part(self, model: NeuralNetwork, fused: bool) -> str:
        name = LOSSES[type(model.loss)][fused]
        if name == "softmax_loss":  # compiled for the rows' length, so that it compiles faster
            name += "_short" if self.Y_shape[1] <= SHORT else "_long"
        return name

    def run(self, X: Array, Y: Array) -> tuple[float, float]:
        """Return the mean loss and error of a batch, having done the plan's step on it."""
        pool = self.pool() if self._shared else threads.Alone
        if self.trial is None:
            means: tuple[float, float] = steps.step(pool.control, self.address, X, Y)
        else:
            means = self.trial.time(pool.control != 0, steps.step, pool.control, self.address, X, Y)
        return means


class TrainingPlan(LossPlan):
    """A whole step: forward, loss, backward, update."""

    def _write(self, model: NeuralNetwork, fused: bool) -> None:
        self._loss, self._turn = model.loss, model.turn
        optimizer, last = model.optimizer, len(self._layers) - 1
        self.states = optimizer.states(
            [f"{name}{i}" for i in range(len(model.layers)) for name in ("W", "b")], self.arrays
        )
        state = [array for state in self.states for array in optimizers.state_arrays(state)]
        self._changed = self._changed_memory(state)
        clips = optimizer.clip_norm is not None
        plain = optimizer.rule == "sgd" and not any(layer.l2 for layer in model.layers)
        gradients = aligned_views([p.shape for p in self.arrays], self.dtype)[1] if clips else []
        self._kept += gradients
        for i, (words, layer) in enumerate(zip(self._layers, model.layers, strict=True)):
            words[dense.WEIGHTS_1 : dense.BIAS_2 + 1] = [
                a.ctypes.data for a in state[4 * i : 4 * i + 4]
            ]
            words[dense.WORK] = words[dense.WORK] or self._new((words[dense.K], words[dense.D]))
            if self._transposes_input(words):
                lanes = 64 // self.dtype.itemsize
                words[dense.XT_ROW] = (-(-self.n // lanes) | 1) * lanes
                words[dense.XT] = self._new((words[dense.D], words[dense.XT_ROW]))
            words[dense.PENALTY] = np.float64(layer.l2).view(np.int64)
            if gradients:
                words[dense.DW], words[dense.DB] = (g.ctypes.data for g in gradients[2 * i : 2 * i + 2])
            if not (fused and i == last):
                self._write_gradient(words, layer.activation, i == last)
        updates = update_blocks(self._layers, self.dtype.itemsize, self._shares)
        header = self._loss_header(model, fused) | {
            "CLIP": int(np.float64(optimizer.clip_norm if clips else np.inf).view(np.int64)),
            "CHANGED": self._changed.ctypes.data,
            "CHANGED_COUNT": len(self._changed),
            "ONE": self._keep(np.ones(1, self.dtype)),
            "UPDATES": self._keep(np.array(updates, np.int64)),
            "TRANSPOSITION": parts.part("transposition", self.dtype),
            "RULE": parts.part(optimizer.rule, self.dtype) if clips else 0,
        }
        if not (clips or plain):
            self._product = f"{optimizer.rule}_product"
        phases = [(dense.pick_rows, 0, self._row_blocks()), *self._loss_phases()]
        for i in range(last, 0, -1):
            phases.append((dense.backward, i, int(self._layers[i - 1, dense.BLOCKS])))
            if self._layers[i - 1, dense.ROWWISE]:
                phases.append((dense.gradient_rows, i - 1, self._row_blocks()))
        for i, words in enumerate(self._layers):
            if words[dense.XT]:
                blocks = column_blocks(words[dense.D], self.dtype.itemsize, self._shares)
                phases.append((dense.transpose_input, i, blocks))
        phases.append((dense.update, 0, len(updates)))
        if clips:
            phases.append((dense.clipped_update, 0, len(self.arrays)))
        self._finish(phases, **header)
        self.at_once = first_count(self.work)  # batches of the next stretch
        self._rates_written: tuple[float, ...] = ()
        self._picked: tuple[int, int] | None = None
        self._changes = -1  # when caches were last cleared

    def _changed_memory(self, state: list[Array]) -> Array:
        """Return where the memory that a step changes begins and ends, ``(count, 2)``."""
        self.check_writable()
        arrays = {id(array): array for array in (*self.arrays, *state)}
        try:
            return extents([*arrays.values()])
        except ValueError:
            raise ValueError("two of the network's parameters share memory") from None

    def check_writable(self) -> None:
        """Raise ``ValueError`` if a parameter is read-only; the message names it."""
        for i, array in enumerate(self.arrays):
            if not array.flags.writeable:
                raise ValueError(f"layer {i // 2}: parameters[{'Wb'[i % 2]!r}] is read-only")

    def apart(self, array: Array) -> Array:
        """Return the array, or a copy if it lies in memory that the plan's steps change."""
        begin, end = extent(array)
        shared = (begin < self._changed[:, 1]) & (end > self._changed[:, 0])
        return array.copy() if shared.any() else array

    def _transposes_input(self, words: Array) -> bool:
        itemsize = self.dtype.itemsize
        wide = words[dense.K] * itemsize >= _WIDE
        return bool(wide and self.n * words[dense.D] * itemsize >= _LARGE)

    def train(self, model: NeuralNetwork, X: Array, Y: Array, epoch: int | None) -> tuple[float, float]:
        """Do the step; return mean loss and error.

        Raises ``RuntimeError`` if another thread trains the network.
        """
        optimizer = model.optimizer
        over = self._turn.free
        try:
            del over[0]
        except IndexError:
            over = self._turn.again()
        try:
            if epoch is not None:
                optimizer.epoch = epoch
            rates = optimizer.advance(self.states)
            if rates != self._rates_written:
                self._rates[:] = self._rates_written = rates
            result = self.run(X, Y)
            if result[1] == steps.NOT_DONE:
                result = self.run(X.copy(), Y.copy())
            if self._changes != Changes.count:
                self.clear(model)
        finally:
            over.append(None)
        return result

    def clear(self, model: NeuralNetwork) -> None:
        """Leave layers' caches and gradients as after an update."""
        if self._changes != Changes.count:
            self._changes = Changes.count
            for layer in model.layers:
                if type(layer.cache.get("Z")) is np.ndarray:
                    layer.clear_gradients()

    def check_data(self, X: Array, Y: Array, order: Array) -> None:
        """Raise ``ValueError`` unless rows of these numbers can be picked out of these arrays."""
        for name, array, width in (("X", X, self.X_shape[1]), ("Y", Y, self.Y_shape[1])):
            if array.ndim != 2 or array.shape[1] != width or array.dtype != self.dtype:
                raise ValueError(
                    f"{name} has shape {array.shape} and dtype {array.dtype}; "
                    f"the network needs (n, {width}) and {self.dtype}"
                )
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"{name} is not C-contiguous")
        first, last = order.min(initial=0), order.max(initial=-1)
        if first < 0 or last >= min(len(X), len(Y)):
            raise ValueError(
                f"the batches are made of rows {first} to {last}; X has {len(X)} rows, Y has {len(Y)}"
            )

    def read_from(self, X: int, Y: int) -> None:
        """Take the batches that are picked by row numbers out of the arrays at these addresses."""
        if not self._picked:
            self._picked = self._new(self.X_shape), self._new(self.Y_shape)
            self.words[dense.PICKED] = parts.part("rows_picked", self.dtype)
            self._phases[0, dense.JOB] = dense.phase_job(dense.pick_rows).address
        self.words[dense.X], self.words[dense.Y] = self._picked
        self.words[dense.ALL_X], self.words[dense.ALL_Y] = X, Y
        self._rates_written = ()

    def weigh_rows(self) -> None:
        """Be ready for batches with weights of rows."""
        if self.words[dense.WEIGHING]:
            return
        header = {"WEIGHING": parts.part("weighing", self.dtype)}
        if isinstance(self._loss, losses.CrossEntropy) and self._loss.plain:
            # the loss is of targets that are weighted
            header |= self._target_header(self._loss)
        self._write_header(header)

    def _write_gradient(self, words: Array, activation: Any, last: bool) -> None:
        shape = (self.n, words[dense.K])
        words[dense.DA] = words[dense.DZ] = self._new(shape)
        if type(activation) is activations.ReLU and last:  # else on the tile of the layer above
            words[dense.GRADIENT] = parts.activation(
                kernels.relu_gradient, self.dtype, False, True, False
            )
        if type(activation) in (activations.Linear, activations.ReLU):
            return
        words[dense.DZ] = self._new(shape)
        words[dense.GRADIENT] = parts.activation(
            activation.gradient_kernel,
            self.dtype,
            activation.rowwise,
            True,
            activation.parameter is not None,
        )
