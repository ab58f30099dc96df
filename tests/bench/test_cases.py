"""The table of cases, and that everybody gets the right results."""

import numpy as np
import pytest

from fastnn.bench import cases, contestants, timing
from fastnn.bench.cases import KERNELS, KernelCase
from fastnn.bench.networks import PUBLISHED, Epochs, Inference, TrainingStep
from fastnn.reference.formulas import ORACLES

SMALL = [
    KernelCase(kernel, n, k, dtype, ready)
    for kernel in KERNELS
    for n, k in ((5, 3), (17, 40))
    for dtype in ("float32", "float64")
    for ready in (False, True)
]
NETWORKS = [
    TrainingStep(5, (4, 3, 3)),
    TrainingStep(70, (20, 17, 9, 3), "float64", momentum=0.9),
    TrainingStep(9, (4, 3, 2), "float64", "tanh", error="l2"),
    *(TrainingStep(9, (4, 8, 3), optimizer=name) for name in ("Adam", "AdamW", "Nadam", "RMSProp")),
    *(
        TrainingStep(9, (4, 3, 2), error=name)
        for name in ("mse", "mae", "huber", "poisson", "quantile")
    ),
    Epochs(5, (4, 8, 3), rows=33, at_once=3),
    Epochs(40, (4, 8, 3), hidden="tanh", rows=40, at_once=5, optimizer="Adam"),
    Inference(1, (4, 3, 2)),
    Inference(70, (20, 17, 9, 3), "float64"),
]
HOME = ("naive", "numpy", "scipy", "fastnn")


def test_every_kernel_has_an_oracle_and_every_key_is_one_case():
    assert set(KERNELS) == set(ORACLES)
    everything = [*cases.ORDINARY, *cases.SLOW]
    assert len(cases.by_key()) == len(everything)
    assert set(cases.QUICK) <= set(cases.ORDINARY)


@pytest.mark.parametrize("case", [*cases.ORDINARY, *cases.SLOW], ids=lambda case: case.key)
def test_work_is_counted(case):
    assert case.bytes > 0
    assert case.flops > 0
    assert case.divisions >= 0
    assert case.reads in (0, 1, 2)


def test_bytes_are_those_of_the_arrays():
    for kernel in KERNELS:
        case = KernelCase(kernel, 6, 7, "float32")
        full = [a for a in case.inputs() if a.shape == (6, 7)]
        assert len(full) == case.reads
        assert {a.dtype for a in full} == {np.dtype("float32")}
        assert case.bytes == 4 * 6 * 7 * (len(full) + 1)


def test_inputs_are_the_same_at_every_call():
    case, step = KernelCase("softmax_cross_entropy_labels", 6, 7, "float64"), NETWORKS[0]
    for draw in (case.inputs, step.batch, step.parameters):
        for a, b in zip(draw(), draw(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kernel", [k for k in KERNELS if k.endswith("_backward")])
def test_oracles_of_gradients_are_those_of_their_functions(kernel):
    case = KernelCase(kernel, 4, 5, "float64")
    z, dy = case.inputs()
    forward, h = ORACLES[kernel.removesuffix("_backward")], 1e-6
    for i, j in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[i, j] += h
        down[i, j] -= h
        slope = np.sum(dy * (forward(up) - forward(down))) / (2 * h)
        assert case.expected()[0][i, j] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_the_loss_and_its_gradient_belong_together():
    z, y = KernelCase("softmax_cross_entropy", 4, 5, "float64").inputs()
    loss, gradient = ORACLES["softmax_cross_entropy"](z, y)
    for i, j in np.ndindex(z.shape):
        up = z.copy()
        up[i, j] += 1e-6
        slope = (ORACLES["softmax_cross_entropy"](up, y)[0] - loss) / 1e-6
        assert gradient[i, j] == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("name", HOME)
@pytest.mark.parametrize("case", [*SMALL, *NETWORKS], ids=lambda case: case.key)
def test_results_are_right(name, case):
    contestant = contestants.load(name, 1)
    call = contestant.call(case)
    if call is None:
        usual = {"hidden": "relu", "error": "cross_entropy", "optimizer": "SGD"}
        ordinary = all(getattr(case, key, value) == value for key, value in usual.items())
        assert (name, case.kernel) not in REQUIRED or not ordinary
        return
    assert contestant.verify(case, call) is None
    if not isinstance(case, TrainingStep | Epochs):  # which goes on from where it is
        assert contestant.verify(case, call) is None


REQUIRED = {
    *(("numpy", kernel) for kernel in cases.SOFTMAX),
    *(("numpy", kernel) for kernel in ("relu", "tanh", "sigmoid")),
    *((name, kernel) for name in ("naive", "fastnn") for kernel in ("softmax", "softmax_backward")),
    *((name, kernel) for name in ("naive", "fastnn") for kernel in cases.ACTIVATIONS),
    *((name, kind) for name in ("naive", "numpy", "fastnn") for kind in ("training_step", "inference")),
    ("fastnn", "epoch"),
    ("scipy", "softmax"),
    ("naive", "softmax_cross_entropy"),
    ("fastnn", "softmax_jvp"),
}


@pytest.mark.parametrize("spoil", [lambda a: a * 1.001, lambda a: a[:-1], lambda a: a * np.nan])
def test_wrong_results_are_found(spoil):
    case = KernelCase("softmax", 5, 3, "float32")
    assert timing.verify(case, (spoil(case.expected()[0]),))


def test_ready_buffers_are_used_again():
    case = KernelCase("tanh", 5, 3, "float32", ready=True)
    ready = contestants.load("fastnn", 1).call(case)
    fresh = contestants.load("fastnn", 1).call(KernelCase("tanh", 5, 3, "float32"))
    assert ready() is ready()
    assert fresh() is not fresh()


def test_the_naive_loop_is_spared_what_takes_minutes():
    naive = contestants.load("naive", 1)
    assert naive.call(KernelCase("softmax_backward", 256, 1000, "float32")) is not None
    assert naive.call(KernelCase("softmax_backward", 1024, 1000, "float32")) is None


PARTIAL = ("sklearn", "onnxruntime", "openvino", "emlearn", "torch.jit", "AOTInductor")


@pytest.mark.filterwarnings("default")  # what a peer warns of is no fault of ours
@pytest.mark.parametrize("name", ["torch", "jax", *PARTIAL])
def test_peers_are_right_where_they_are_installed(name):
    if contestants.version(name) is None:
        pytest.skip(f"{name} is not installed")
    contestant = contestants.load(name, 1)
    verified = 0
    for case in [*SMALL, *NETWORKS]:
        call = contestant.call(case)
        if call is None:
            kinds = (*cases.ACTIVATIONS, "epoch")
            assert name in PARTIAL or case.kernel in kinds
            continue
        assert contestant.verify(case, call) is None, case.key
        verified += 1
    assert verified >= 1


@pytest.mark.parametrize("spoil", [lambda p: p[0], lambda p: -p[-1]])
def test_a_wrong_update_is_found(spoil):
    case = NETWORKS[0]
    contestant = contestants.load("numpy", 1)
    call = contestant.call(case)
    _, parameters = call()
    spoil(parameters)[0] += 0.01
    assert "off by" in contestant.verify(case, call)


def test_blas_does_the_products_of_a_step_and_of_a_forward_pass():
    blas = contestants.load("blas", 1)
    assert blas.call(SMALL[0]) is None
    for case in NETWORKS:
        call = blas.call(case)
        assert (call is None) == isinstance(case, Epochs)
        assert call is None or blas.verify(case, call) is None


def test_an_epochs_time_and_work_are_those_of_one():
    case = Epochs(5, (4, 8, 3), rows=33, at_once=3)
    assert case.batches == 7
    assert case.flops == 2 * 33 * (3 * (4 * 8 + 8 * 3) - 4 * 8)
    assert case.key == "epoch 33 rows, batch 5 4-8-3 float32"


def test_published_figures_belong_to_cases():
    assert set(PUBLISHED) <= set(cases.by_key())


def test_plans_fill_the_budget():
    for seconds in (1e-7, 3e-6, 1e-4, 2e-3, 0.4, 3.0):
        samples, calls = timing.plan(seconds, 0.05)
        assert samples >= 1
        assert calls >= 1
        assert samples * calls * seconds <= max(0.06, 2 * seconds)
