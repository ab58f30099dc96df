"""Blocks of a matrix held in vector registers: their sizes, loads, and stores."""

from typing import Any, TypeAlias

from llvmlite import ir

from fastnn.kernels.compiling.target import VECTOR_REGISTERS
from fastnn.kernels.emitted.vectors import I32, I64, Emitter


def shape(registers: int) -> tuple[tuple[int, ...], int]:
    """Return the heights of tiles, the best first, and the width of the best in vectors."""
    return ((6, 4, 2, 1), 2) if registers == 16 else ((8, 4, 2, 1), 3)


HEIGHTS, VECTORS = shape(VECTOR_REGISTERS)
Vectors: TypeAlias = list[list[Any]]  # of a tile, by row


class Tile:
    """Some rows and vectors of columns of C: where they lie, and which lanes of the last there are."""

    def __init__(
        self, emit: Emitter, rows: int, vectors: int, columns: Any, half: Emitter | None = None
    ) -> None:
        self.emit, self.rows = emit, range(rows)
        self.offsets = [v * emit.lanes for v in range(vectors)]
        self.masks = [None] * vectors
        self.missing = None  # lanes beyond the last column
        self.half = half  # what the last vector is while products are added, if not whole
        self.step_masks = self.masks
        if columns is not None:
            self.masks[-1] = emit.mask(emit.builder.sub(columns, I64(self.offsets[-1])))
            self.missing = emit.builder.sub(I64(vectors * emit.lanes), columns)
            if half is not None:
                left = half.builder.sub(columns, I64(self.offsets[-1]))
                self.step_masks = [*self.masks[:-1], half.mask(left)]

    def pointers(self, matrix: Any, stride: Any) -> Vectors:
        """Return where the vectors of a matrix's first rows are."""
        return [[self.emit.pointer(matrix, I64(m), stride, o) for o in self.offsets] for m in self.rows]

    def load(self, pointers: Vectors) -> Vectors:
        """Return vectors."""
        return [list(map(self.emit.load, row, self.masks)) for row in pointers]

    def store(self, values: Vectors, pointers: Vectors) -> None:
        """Write vectors."""
        for row in zip(values, pointers, strict=True):
            for value, at, mask in zip(*row, self.masks, strict=True):
                self.emit.store(value, at, mask)

    def phis(self, *sources: tuple[Vectors, Any]) -> Vectors:
        """Return what the vectors are, each source's where control comes from its block."""
        made = [[self.emit.builder.phi(value.type) for value in row] for row in sources[0][0]]
        self.add_sources(made, *sources)
        return made

    def add_sources(self, made: Vectors, *sources: tuple[Vectors, Any]) -> None:
        """Add sources to what :meth:`phis` returned."""
        for values, block in sources:
            for phis, row in zip(made, values, strict=True):
                for phi, value in zip(phis, row, strict=True):
                    phi.add_incoming(value, block)

    def resized(self, values: Vectors, lanes: int) -> Vectors:
        """Return vectors of which the last of each row has so many lanes, if there is a half one."""
        if self.half is None:
            return values
        lane = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
        return [
            [*row, self.emit.builder.shuffle_vector(last, ir.Constant(last.type, ir.Undefined), lane)]
            for *row, last in values
        ]

    def emit_start(self, start: Any, start_row: Any, given: Any = None) -> Vectors:
        """Return C's start values: a matrix, or zeros if its address is 0 or ``given`` is false."""
        builder = self.emit.builder
        has_start = builder.icmp_signed("!=", start, I64(0))
        if given is not None:
            has_start = builder.and_(has_start, given)
        entry = builder.block
        here, begun = builder.append_basic_block("start"), builder.append_basic_block("begun")
        builder.cbranch(has_start, here, begun)
        builder.position_at_end(here)
        loaded = self.load(self.pointers(start, start_row))
        builder.branch(begun)
        builder.position_at_end(begun)
        zeros = [[self.emit.zero for _ in self.offsets] for _ in self.rows]
        return self.phis((zeros, entry), (loaded, here))
