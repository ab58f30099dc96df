"""What a kernel compiled to: its loops, and whether they use the host's vectors.

The assembly is read as text: x86-64 as LLVM prints it, AArch64 in either of its spellings. Loops come
from the jumps: where a jump returns to a block that every way to it has passed, the blocks between are
a loop (A. Aho, M. Lam, R. Sethi, J. Ullman, "Compilers", 2nd ed., 9.6.6); an innermost one has no other
inside.

The default of ``width`` is that of the machine's registers. Some kernels use less of them
(:func:`~fastnn.kernels.compiling.jit.loop_bytes`).

LLVM makes several loops of one in the source: the main one over whole vectors, often unrolled, and
narrower or scalar ones over what is left, or for arrays that overlap. So a scalar loop is no fault by
itself. It is one where nothing at full width in the same function does all the arithmetic that it does.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastnn.kernels.compiling import jit
from fastnn.kernels.compiling.target import VECTOR_BYTES

_LABEL = re.compile(r"([^\s#/;:]+):")
_INSTRUCTION = re.compile(r"\s+([a-z][\w.]*)(?:\s+(.*))?$")
_COMMENT = re.compile(r"\s*(?:##?\s|//|;).*$")
_LOCAL = re.compile(r"\.?L[A-Za-z_]*\d+(_\d+)?$")
_KERNEL = re.compile(r"_{1,2}ZN(?!7cpython)")

_X86_REGISTER = re.compile(r"%([xyz])mm\d")
_X86_BYTES = {"x": 16, "y": 32, "z": 64}
_X86_SCALAR = re.compile(r"(?!v?p|v?broadcast)\w*s[sd]$|v?cvtt?s[isd]|v?cvtusi|v?mov[dq]$")
_ARM_VECTOR = re.compile(r"\bv\d+\b|\bq\d+\b|\bz\d+\.")
_ARM_SCALAR = re.compile(r"\b[hsd]\d+\b")
_ARM_PAIR = re.compile(r"(ld|st)u?[rp]\b.*\bd\d")  # two float32 of a vector, or one float64
_FMA = re.compile(r"vfn?m(add|sub)\d|fn?m(la|ls|add|sub)\b")
_ARITHMETIC = re.compile(r"v?(add|sub|mul|div|sqrt|min|max)[ps][sd]$|f(add|sub|mul|div|sqrt|min|max)")
_MEMORY = re.compile(r"\(%[^)]*\)|\[[^]]*\]")
_POINTER = re.compile(r"%\w+|\b(?:x\d+|sp)\b")
_STACK = {"%rsp", "%rip", "sp"}

_JUMP = re.compile(r"(j[a-z]+|b|b\.\w+|cbn?z|tbn?z)$")
_ENDS = re.compile(r"(jmpq?|b|br|retq?|ud2|brk)$")
_CALL = re.compile(r"(callq?|blr?)$")
_ADDRESS = re.compile(r"\$?([A-Za-z_.][\w.$]*)(?:@GOTPCREL)?(?:\(%rip\))?, *(%\w+)$")


@dataclass(frozen=True)
class Instruction:
    """One machine instruction; ``callee`` is what a call calls."""

    mnemonic: str
    operands: str = ""
    callee: str = ""

    @cached_property
    def register_bytes(self) -> int:
        """Width of the widest vector register it names; 0 if it names none."""
        if "%" in self.operands:
            found = _X86_REGISTER.findall(self.operands)
            return max((_X86_BYTES[letter] for letter in found), default=0)
        return 16 if _ARM_VECTOR.search(self.operands) or _ARM_SCALAR.search(self.operands) else 0

    @cached_property
    def scalar(self) -> bool:
        """Whether it works on one number of a vector register."""
        if "%" in self.operands:
            return self.register_bytes > 0 and bool(_X86_SCALAR.match(self.mnemonic))
        return self.register_bytes > 0 and not _ARM_VECTOR.search(self.operands)

    @property
    def vector_bytes(self) -> int:
        """Width of the vectors it works on; 0 for a scalar and for what is no vector instruction."""
        return 0 if self.scalar else self.register_bytes

    @cached_property
    def arithmetic(self) -> str:
        """What it does to floats, as ``add``, ``fma``; empty if nothing."""
        if _FMA.match(self.mnemonic):
            return "fma"
        found = _ARITHMETIC.match(self.mnemonic)
        return (found[1] or found[2]) if found else ""

    @property
    def address(self) -> str:
        """The registers that point to the memory it reads or writes; empty for none and the stack."""
        found = _MEMORY.search(self.operands)
        registers = _POINTER.findall(found[0]) if found else []
        return "" if _STACK.intersection(registers) else " ".join(registers)

    @property
    def stores(self) -> bool:
        """Whether it writes memory."""
        return (
            self.mnemonic.startswith("st") if "%" not in self.operands else self.operands.endswith(")")
        )

    @property
    def target(self) -> str:
        """The label it jumps to; empty if it does not jump to one."""
        last = self.operands.rpartition(",")[2].strip()
        return last if _JUMP.match(self.mnemonic) and _LOCAL.match(last) else ""

    def __str__(self) -> str:
        return f"{self.mnemonic:<14} {self.operands}".rstrip()


@dataclass(frozen=True)
class Loop:
    """An innermost loop of a function."""

    function: str
    label: str
    instructions: tuple[Instruction, ...]

    @cached_property
    def arithmetic(self) -> Counter[str]:
        """What is done to floats, counted."""
        return Counter(i.arithmetic for i in self.instructions if i.arithmetic)

    @cached_property
    def calls(self) -> list[str]:
        """What it calls."""
        return [i.callee for i in self.instructions if i.callee]

    @cached_property
    def vector_code(self) -> bool:
        """Whether it uses vector registers, which hold floats that are alone, too."""
        return any(i.register_bytes for i in self.instructions)

    @cached_property
    def vector_bytes(self) -> int:
        """Width of the widest vectors it does arithmetic on, or uses, if it does none."""
        work = [i for i in self.instructions if i.arithmetic] or self.instructions
        return max(i.vector_bytes for i in work)

    def describe(self) -> str:
        """Say what it calls, or how wide its vectors are and what it does to them."""
        if self.calls:
            return "calls " + ", ".join(dict.fromkeys(self.calls))
        work = [i for i in self.instructions if i.arithmetic] or self.instructions
        widths = sorted({i.vector_bytes for i in work if i.vector_bytes})
        wide = f"vectors of {' and '.join(map(str, widths))} bytes" if widths else "scalar"
        done = ", ".join(f"{n} {name}" for name, n in self.arithmetic.items()) or "no arithmetic"
        return f"{wide} ({done})"

    def full(self, width: int) -> bool:
        """Whether its arithmetic is all on vectors of ``width`` bytes or more, and it calls nothing.

        Without arithmetic, as in a copy or transposition, one such vector is enough.
        """
        wide = [i.vector_bytes >= width for i in self.instructions if i.arithmetic]
        if wide:
            alone = [i for i in self.instructions if i.scalar and not _ARM_PAIR.match(str(i))]
            return all(wide) and not self.calls and not alone
        return not self.calls and any(i.vector_bytes >= width for i in self.instructions)

    def per_element(self) -> tuple[float, float]:
        """Return FLOPs and divisions for each element written to one array, or read, if none is.

        A fused multiply-add is two FLOPs; a square root counts as a division.
        """
        moved: Counter[tuple[bool, str]] = Counter()
        flops = divisions = 0
        for i in self.instructions:
            lanes = i.vector_bytes or 1  # times the bytes of a number, which cancel
            if i.address and i.register_bytes:
                moved[i.stores, i.address] += lanes * (2 if i.mnemonic in ("ldp", "stp") else 1)
            if i.arithmetic:
                flops += lanes * (2 if i.arithmetic == "fma" else 1)
                divisions += lanes * (i.arithmetic in ("div", "sqrt"))
        written = max((n for (stores, _), n in moved.items() if stores), default=0)
        elements = written or moved.total() or 1
        return flops / elements, divisions / elements


@dataclass(frozen=True)
class Function:
    """A compiled function."""

    name: str
    instructions: tuple[Instruction, ...]
    loops: tuple[Loop, ...]

    def unrolled(self, width: int) -> Set[str]:
        """Return what is done on vectors of ``width`` bytes outside innermost loops.

        A loop over a constant number of elements may leave no loop behind.
        """
        inside = {id(i) for loop in self.loops for i in loop.instructions}
        outside = (i for i in self.instructions if id(i) not in inside)
        return {i.arithmetic for i in outside if i.arithmetic and i.vector_bytes >= width}


def inspect(kernel: Any, *arguments: Any) -> list[Function]:
    """Compile a kernel for arguments like these; return it and the kernels it calls, itself first."""
    return parse(jit.assembly(kernel, *arguments))


def main_loop(functions: list[Function], width: int | None = None) -> Loop | None:
    """Return the loop with the most arithmetic for each element, at full width if there is one.

    A loop without arithmetic is returned only if no loop has any: copies and transpositions use the
    machine's widest vectors, which may be wider than those of the loop.
    """
    width = width or VECTOR_BYTES

    def weight(loop: Loop) -> tuple[bool, bool, int, int, float, int]:
        flops, _ = loop.per_element()
        wide = loop.full(width), len(loop.calls), loop.vector_bytes
        return flops > 0 or bool(loop.calls), *wide, flops, len(loop.instructions)

    loops = (loop for function in functions for loop in function.loops if loop.vector_code)
    return max(loops, key=weight, default=None)


def problems(functions: list[Function], width: int | None = None) -> list[str]:
    """Say what keeps a kernel from vectors of ``width`` bytes; nothing if all its loops use them."""
    width = width or VECTOR_BYTES
    looping = {function.name for function in functions if function.loops}
    found, vectors = [], False
    for function in functions:
        loops = [loop for loop in function.loops if loop.vector_code and not looping & {*loop.calls}]
        full: list[Set[str]] = [loop.arithmetic.keys() for loop in loops if loop.full(width)]
        full += [function.unrolled(width)] if function.unrolled(width) else []
        vectors |= bool(full)
        for loop in loops:
            covered = any(_kinds(loop.arithmetic) <= _kinds(done) for done in full)
            if loop.calls or not (loop.full(width) or covered):
                found.append(f"{loop.function}, loop {loop.label}: {loop.describe()}")
    if not found and not vectors:
        found.append(f"no loop over vectors of {width} bytes")
    return found


def _kinds(arithmetic: Iterable[str]) -> set[str]:
    """Return what is done, a subtraction as an addition: LLVM makes one of the other."""
    return {"add" if name == "sub" else name for name in arithmetic}


def parse(assembly: str) -> list[Function]:
    """Return the kernels of an assembly text; Python's entry points and the runtime are left out."""
    functions = []
    name, blocks = "", [("", [])]  # type: tuple[str, list[tuple[str, list[Instruction]]]]
    addresses: dict[str, str] = {}
    for line in assembly.splitlines():
        label = _LABEL.match(line)
        if label and _LOCAL.match(label[1]):
            blocks.append((label[1], []))
        elif label:
            functions.append((name, blocks))
            name, blocks, addresses = label[1], [("", [])], {}
        elif found := _INSTRUCTION.match(_COMMENT.sub("", line)):
            mnemonic, operands = found[1], found[2] or ""
            if address := _ADDRESS.match(operands):
                addresses[address[2]] = address[1]
            called = operands.lstrip("*")
            callee = _readable(addresses.get(called, called)) if _CALL.match(mnemonic) else ""
            blocks[-1][1].append(Instruction(mnemonic, operands, callee))
            if _JUMP.match(mnemonic):
                blocks.append(("", []))
    functions.append((name, blocks))
    return [_function(_readable(n), b) for n, b in functions if _KERNEL.match(n)]


def _function(name: str, blocks: list[tuple[str, list[Instruction]]]) -> Function:
    loops = [
        Loop(name, blocks[head][0], tuple(i for b in sorted(body) for i in blocks[b][1]))
        for head, body in _innermost(blocks).items()
    ]
    return Function(name, tuple(i for _, block in blocks for i in block), tuple(loops))


def _innermost(blocks: list[tuple[str, list[Instruction]]]) -> dict[int, set[int]]:
    """Return the innermost loops of a function's blocks: the first block of each, and all of them."""
    at = {label: b for b, (label, _) in enumerate(blocks) if label}
    before = defaultdict(set)
    for b, (_, block) in enumerate(blocks):
        last = block[-1] if block else Instruction("nop")
        if last.target in at:
            before[at[last.target]].add(b)
        if not _ENDS.match(last.mnemonic) and b + 1 < len(blocks):
            before[b + 1].add(b)
    loops: dict[int, set[int]] = defaultdict(set)
    for head, origins in list(before.items()):
        for origin in origins:
            body, reached, returns = {head}, [origin], False
            while reached:
                b = reached.pop()
                returns |= b == head
                if b not in body:
                    body.add(b)
                    reached.extend(before[b])
            if returns and (head == 0 or 0 not in body):  # every way to the origin passes the head
                loops[head] |= body
    return {h: body for h, body in loops.items() if not any(o in body for o in loops if o != h)}


def _readable(symbol: str) -> str:
    """Return ``rows.sums`` for the mangled name of ``fastnn.kernels.rows.sums``; others as they are."""
    rest, parts = re.sub(r"^_{1,2}ZN", "", symbol), []
    if rest == symbol:
        return symbol
    while length := re.match(r"\d+", rest):
        end = length.end() + int(length[0])
        parts.append(rest[length.end() : end])
        rest = rest[end:]
    return ".".join(parts).removeprefix("fastnn.kernels.")
