"""Machine code of the tile's loop for processors of three kinds, whatever this one is.

LLVM makes assembly for any of them here. A loop that holds its sums in registers reads A and B and
nothing else: a vector on the stack is one that found no register.
"""

import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir
from numba.core import types

from fastnn.kernels.compiling import target
from fastnn.kernels.emitted import registers, tile, vectors

pytestmark = pytest.mark.skipif(not target.COMPILED, reason="nothing is compiled")
# triple, processor; bytes of a vector, registers; names of a fused multiply-add, of the stack, of a
# prefetch; instructions for each multiply-add, the loop's own included: B is loaded once for all rows
MACHINES = {
    "AVX2": ("x86_64-linux-gnu", "haswell", 32, 16, "vfmadd", "%rsp", "prefetch", 2.5),
    "AVX-512": ("x86_64-linux-gnu", "skylake-avx512", 64, 32, "vfmadd", "%rsp", "prefetch", 2.0),
    "NEON": ("aarch64-linux-gnu", "neoverse-n1", 16, 32, "fmla", "[sp", "prfm", 1.75),
}


def assembly(triple, cpu, dtype):
    """Return a processor's assembly of the largest tile, whose lanes are all columns."""
    number = getattr(types, dtype)
    element = ir.FloatType() if number.bitwidth == 32 else ir.DoubleType()
    rates = ir.LiteralStructType([element, element])
    module = ir.Module()
    signature = ir.FunctionType(ir.VoidType(), [*[ir.IntType(64)] * 12, rates])
    function = ir.Function(module, signature, "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    shape, filled = (tile.HEIGHTS[0], tile.VECTORS), tile.SOME if tile.MASKS else tile.WHOLE
    tile.emit_tile(builder, (number, number), *shape, filled, list(function.args))
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
    made = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(made, passes)
    return machine.emit_assembly(made)


def loops(assembly):
    """Return the innermost loops, each a list of instructions."""
    lines = [line.split("#")[0].split("//")[0].strip() for line in assembly.splitlines()]
    labels, found = {}, []
    for i, line in enumerate(lines):
        if match := re.match(r"(\.L\w+):", line):
            labels[match[1]] = i
        elif (match := re.match(r"[jb]\S*\s+(\.L\w+)$", line)) and match[1] in labels:
            body = [x for x in lines[labels[match[1]] + 1 : i + 1] if x]
            if not any(x.startswith(".L") for x in body):
                found.append(body)
    return found


@pytest.mark.parametrize("name", MACHINES)
def test_the_loop_holds_its_sums_in_registers(name, dtype, monkeypatch):
    triple, cpu, size, vector_registers, fused, stack, prefetch, most = MACHINES[name]
    monkeypatch.setattr(target, "FUSED", True)
    monkeypatch.setattr(vectors, "VECTOR_BYTES", size)
    heights, count = registers.shape(vector_registers)
    for constant, value in (("HEIGHTS", heights), ("VECTORS", count), ("MASKS", size == 64)):
        monkeypatch.setattr(tile, constant, value)
    found = loops(assembly(triple, cpu, dtype.name))
    main = max(found, key=lambda body: sum(prefetch in line for line in body))
    rows = heights[0]
    sums = [line for line in main if line.startswith(fused)]
    assert len(sums) == rows * count
    assert not [line for line in main if stack in line and re.search(r"[xyz]mm|\b[qvds]\d", line)]
    assert len(main) <= most * len(sums)
