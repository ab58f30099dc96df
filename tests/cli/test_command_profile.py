"""``fastnn profile``."""

import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from fastnn.cli import sources
from fastnn.cli.app import app
from fastnn.kernels.compiling import jit
from fastnn.reference import twins
from fastnn.reference.arguments import Twin, flat


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Time every call once."""

    def once(call, budget):
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    monkeypatch.setattr("fastnn.cli.profile.measure", once)
    monkeypatch.setattr("fastnn.cli.bounds.measure", once)


def run(*arguments):
    return CliRunner().invoke(app, ["profile", *map(str, arguments)])


def test_a_kernel_with_a_twin(dtype):
    result = run("softmax_backward", "--n", 8, "--k", 5, "--dtype", dtype, "--width", 160)
    assert result.exit_code == 0, result.output
    for text in (
        "jacobian = np.diagflat(p)",  # the naive source, beside
        "exp_row(z[i], out[i])",  # the fast
        "naive, NumPy", "kernel, one core", "bound by bytes", "times as fast",
        "8 x 5 " + str(dtype),
    ):  # fmt: skip
        assert text in result.output
    if jit.COMPILED:
        assert "main loop: " in result.output
        assert "bound by FLOPs" in result.output
        assert "multiply-adds" in result.output


def test_the_line_profile_counts_runs():
    result = run("softmax_backward", "--n", 8, "--k", 5, "--width", 160)
    (line,) = [x for x in result.output.splitlines() if "jacobian = " in x and "%" in x]
    number, runs, *_ = line.split()
    assert runs == "8"
    assert int(number) > 0


def test_without_line_profiler_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "line_profiler", None)
    result = run("relu", "--n", 2, "--k", 4)
    assert result.exit_code == 0, result.output
    assert "pip install 'fastnn-cpu[profile]'" in " ".join(result.output.split())


def test_a_kernel_without_twin_is_shown_all_the_same():
    result = run("rows.dot_row")
    assert result.exit_code == 0, result.output
    assert "def dot_row(" in result.output
    assert "times as fast" not in result.output


def test_helpers_are_those_of_the_dtype():
    assert "def _extremes_32(" not in run("softmax", "--n", 2, "--k", 4).output
    single = run("softmax", "--n", 2, "--k", 4, "--helpers").output
    assert "def _extremes_32(" in single
    assert "def _extremes_64(" not in single
    assert "def _extremes_64(" in run("softmax", "--dtype", "float64", "--helpers").output
    assert "def sigmoid(x: Any, c: Constants)" in run("activations.sigmoid", "--helpers").output


@pytest.mark.parametrize("width", [20, 40, 119, 120])
def test_any_width(width):
    result = run("softmax_cross_entropy", "--n", 3, "--k", 4, "--width", width)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= width


@pytest.mark.parametrize(("name", "message"), [("nonsense", "is no kernel"), ("_backward", "may be")])
def test_a_name_that_names_no_single_kernel_lists_the_known_ones(name, message):
    result = run(name)
    assert result.exit_code == 2
    assert f"'{name}' {message}" in result.output
    assert "softmax_jvp" in result.output


def test_no_name_lists_the_kernels():
    result = run()
    assert result.exit_code == 0
    assert "relu, relu_backward" in result.output


def test_a_kernel_that_is_not_equal_to_its_twin_is_not_timed(monkeypatch):
    wrong = Twin(lambda z: z + 1, (flat,))
    monkeypatch.setattr("fastnn.cli.profile.twin", lambda name: wrong)
    monkeypatch.setattr(sources, "source", lambda function: "")
    result = run("relu", "--n", 2, "--k", 4)
    assert result.exit_code == 1
    assert "relu differs from its naive twin by" in " ".join(result.output.split())


WITH_TWIN = [name for name in twins.kernels() if twins.twin(name)]


@pytest.mark.parametrize("name", WITH_TWIN)
def test_every_twin_equals_its_kernel(name, dtype):
    twin = twins.twin(name)
    case = twin.case(twins.kernels()[name], 6, 5, str(dtype))
    assert case.verify(twin) < (1e-4 if dtype == np.float32 else 1e-10)
    assert case.elements >= 5
    assert case.moved > 0


def test_bytes_are_counted_once_each_way():
    name = "optimizers.add_penalty"
    case = twins.twin(name).case(twins.kernels()[name], 6, 5, "float32")
    assert case.moved == 30 * 4 * (2 + 1)  # gradient and weights in, the first out


def test_every_activation_and_softmax_kernel_has_a_twin():
    names = [n for n in twins.kernels() if n.startswith(("activations.", "softmax."))]
    assert [n for n in names if n not in WITH_TWIN] == []
