"""The reader of assembly, on text that LLVM printed for other CPUs."""

import pytest

from fastnn.cli import inspection

# y = 4 x over float32: a loop over vectors, and one over what is left.
ELF = """
_ZN6fastnn7kernels4test4quadB2v1B1E:
	cmp	x2, #1
	b.lt	.LBB0_8
	cmp	x2, #8
	b.hs	.LBB0_3
	mov	x8, xzr
	b	.LBB0_6
.LBB0_3:
	fmov	v0.4s, #3.00000000
.LBB0_4:
	ldp	q1, q2, [x10, #-16]
	subs	x11, x11, #8
	add	x10, x10, #32
	fmla	v2.4s, v2.4s, v0.4s
	fmla	v1.4s, v1.4s, v0.4s
	stp	q1, q2, [x9, #-16]
	add	x9, x9, #32
	b.ne	.LBB0_4
	cmp	x2, x8
	b.eq	.LBB0_8
.LBB0_6:
	fmov	s0, #3.00000000
.LBB0_7:
	ldr	s1, [x8], #4
	subs	x9, x9, #1
	fmadd	s1, s1, s0, s1
	str	s1, [x10], #4
	b.ne	.LBB0_7
.LBB0_8:
	ret
.Lfunc_end0:
"""
APPLE = """
__ZN6fastnn7kernels4test4quadB2v1B1E:
	cmp	x2, #1
	b.lt	LBB0_8
	fmov.4s	v0, #3.00000000
LBB0_4:
	ldp	q1, q2, [x10], #32
	fmla.4s	v1, v1, v0
	fmla.4s	v2, v2, v0  ; multiply and add
	stp	q1, q2, [x11], #32
	subs	x12, x12, #8
	b.ne	LBB0_4
LBB0_7:
	ldr	s1, [x10], #4
	fmadd	s1, s1, s0, s1
	str	s1, [x8], #4
	subs	x9, x9, #1
	b.ne	LBB0_7
LBB0_8:
	ret
"""
# y = sqrt(x) over float64 on a CPU with AVX2, and a loop with a call through a register.
X86 = """
_ZN6fastnn7kernels4test4rootB2v1B1E:
	testq	%r8, %r8
	jle	.LBB0_3
.LBB0_2:
	vsqrtpd	(%rcx,%r9,8), %ymm1
	vsqrtpd	32(%rcx,%r9,8), %ymm2  # two at a time
	vmovupd	%ymm1, (%rax,%r9,8)
	vmovupd	%ymm2, 32(%rax,%r9,8)
	addq	$8, %r9
	cmpq	%r9, %r8
	jne	.LBB0_2
.LBB0_3:
	retq
_ZN7cpython6fastnn7kernels4test4rootB2v1B1E:
	callq	*%rax
_ZN6fastnn7kernels4test4callB2v1B1E:
	movabsq	$atan, %r15
	jmp	.LBB2_2
.LBB2_1:
	ud2
.LBB2_2:
	vmovsd	(%rcx,%r9,8), %xmm0
	callq	*%r15
	vmovsd	%xmm0, (%rax,%r9,8)
	decq	%r9
	jne	.LBB2_2
	retq
"""


@pytest.mark.parametrize("text", [ELF, APPLE])
def test_aarch64(text):
    (function,) = inspection.parse(text)
    vectors, scalars = function.loops
    assert function.name == "test.quad"
    assert vectors.full(16)
    assert vectors.arithmetic == {"fma": 2}
    assert not scalars.full(16)
    assert vectors.per_element() == scalars.per_element() == (2, 0)
    assert inspection.main_loop([function], 16) is vectors
    assert inspection.problems([function], 16) == []
    assert len(inspection.problems([function], 32)) == 2


def test_x86():
    root, call = inspection.parse(X86)
    assert [root.name, call.name] == ["test.root", "test.call"]
    assert inspection.problems([root], 32) == []
    assert root.loops[0].per_element() == (1, 1)
    assert inspection.problems([root, call], 32) == ["test.call, loop .LBB2_2: calls atan"]


def test_a_loop_that_was_unrolled_may_leave_a_scalar_one_for_overlapping_arrays():
    vectors = "\tvaddps\t(%rcx), %zmm1, %zmm2\n\tvmovups\t%zmm2, (%rax)\n"
    scalars = "\tvaddss\t(%rcx,%r9,4), %xmm1, %xmm2\n\tvmovss\t%xmm2, (%rax,%r9,4)\n"
    text = f"_ZN1fE:\n{vectors}\tje\t.LBB0_2\n.LBB0_1:\n{scalars}\tjne\t.LBB0_1\n.LBB0_2:\n\tretq\n"
    assert inspection.problems(inspection.parse(text), 64) == []
    (found,) = inspection.problems(inspection.parse(text.replace("vaddps", "vmulps")), 64)
    assert found.endswith("scalar (1 add)")


@pytest.mark.parametrize(
    ("mnemonic", "operands", "width", "scalar"),
    [
        ("vaddps", "%zmm1, %zmm2, %zmm3", 64, False),
        ("vpmaxsd", "%ymm1, %ymm2, %ymm3", 32, False),
        ("vbroadcastsd", "(%rax), %zmm1", 64, False),
        ("vaddss", "%xmm1, %xmm2, %xmm3", 0, True),
        ("vcvtsi2sdq", "88(%rsp), %xmm15, %xmm0", 0, True),
        ("vmovd", "%xmm0, %eax", 0, True),
        ("sqrtsd", "%xmm0, %xmm0", 0, True),
        ("addq", "$8, %r9", 0, False),
        ("fadd", "v0.2d, v1.2d, v2.2d", 16, False),
        ("fadd", "d0, d1, d2", 0, True),
        ("add", "x9, x9, #32", 0, False),
    ],
)
def test_instructions(mnemonic, operands, width, scalar):
    instruction = inspection.Instruction(mnemonic, operands)
    assert (instruction.vector_bytes, instruction.scalar) == (width, scalar)


def test_on_arm_two_floats_move_as_one_register_of_eight_bytes():
    text = """_ZN1fE:
.LBB0_1:
\tldr\td0, [x1], #8
\tfcvtl\tv0.2d, v0.2s
\tfadd\tv0.2d, v0.2d, v0.2d
\tfcvtn\tv0.2s, v0.2d
\tstr\td0, [x0], #8
\tsubs\tx8, x8, #2
\tb.ne\t.LBB0_1
\tret
"""
    (function,) = inspection.parse(text)
    assert function.loops[0].full(16)
    (function,) = inspection.parse(text.replace("fadd\tv0.2d, v0.2d, v0.2d", "fadd\td0, d0, d0"))
    assert not function.loops[0].full(16)
