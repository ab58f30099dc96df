"""Real processes on a tiny set of cases: runner, command, pytest suite. No time is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fastnn.bench import bounds, cases, contestants, isa, record, runner
from fastnn.bench.cases import KernelCase
from fastnn.bench.networks import TrainingStep
from fastnn.cli.app import app
from fastnn.kernels.compiling import target

ROOT = Path(__file__).parents[2]
TINY = [KernelCase("softmax", 64, 10, "float32"), TrainingStep(25, (4, 25, 16, 3))]
RATES = {"float32": 1e11, "float64": 1e11}
SOME_BOUNDS = bounds.Bounds(1, RATES, RATES, {r: [1e11] * 15 for r in "012"})


@pytest.fixture
def no_bounds(monkeypatch):
    """Spare the seconds of measuring them."""
    monkeypatch.setattr(runner, "measure_bounds", lambda threads, isa: SOME_BOUNDS)


@pytest.fixture
def without_peers(monkeypatch):
    known, peers = contestants.version, contestants.PEERS[2:]
    monkeypatch.setattr(record, "version", lambda name: None if name in peers else known(name))


def test_bounds_are_positive(monkeypatch):
    monkeypatch.setattr(bounds, "SIZES", [2**14, 2**16])
    monkeypatch.setattr(bounds, "_SECONDS", 1e-4)
    (rates,) = bounds.answers(1, iter([{}]))
    assert rates["threads"] == 1
    for by_name in (rates["flops"], rates["divisions"]):
        assert set(by_name) == {"float32", "float64"}
        assert min(by_name.values()) > 0
    for bandwidths in rates["bandwidth"].values():
        assert len(bandwidths) == 2
        assert min(bandwidths) > 0


def test_everybody_takes_turns(no_bounds, without_peers):
    run = runner.run(TINY, ["naive", "numpy", "torch", "fastnn"], 1, rounds=2, seconds=1e-4)
    assert run.contestants["torch"] == "absent"
    softmax, step = run.results
    assert [softmax.case, step.case] == [case.key for case in TINY]
    assert list(softmax.us) == ["naive", "numpy", "fastnn", "bound"]
    assert list(step.us) == ["naive", "numpy", "fastnn", "bound"]
    assert {softmax.bound_by, step.bound_by} <= {"bytes", "flops"}
    for result in run.results:
        assert result.failed == {}
        assert {len(rounds) for rounds in result.us.values()} == {2}
        assert min(min(rounds) for rounds in result.us.values()) > 0


def test_a_process_that_dies_or_is_wrong_is_told(no_bounds, monkeypatch):
    monkeypatch.setattr(record, "version", lambda name: "1")
    run = runner.run(TINY[:1], ["fastnn", "nobody"], 1, rounds=1, seconds=1e-4)
    assert "its process ended with code 1" in run.results[0].failed["nobody"]
    assert "fastnn" in run.results[0].us


def test_children_have_threads_and_free_blas(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    variables = runner.environment(3)
    assert "OPENBLAS_CORETYPE" not in variables
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["PATH"] == os.environ["PATH"]


def test_children_can_be_held_to_an_instruction_set(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    variables = runner.environment(1, "avx2")
    assert variables["NUMBA_CPU_NAME"] == "haswell"
    assert variables["OPENBLAS_CORETYPE"] == "Haswell"


@pytest.mark.skipif(not target.host_has("avx2"), reason="this machine has no AVX2")
def test_a_process_held_to_avx2_has_vectors_of_32_bytes():
    code = "from fastnn.kernels.compiling.jit import machine; print(machine()['vector bytes'])"
    environment = runner.environment(1, "avx2")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "32\n", done.stderr


@pytest.mark.parametrize(
    ("name", "host", "message"),
    [("avx3", True, "'avx3'; choose from avx2"), ("avx2", False, "does not have AVX2")],
)
def test_an_instruction_set_that_is_not_there_is_refused(name, host, message, monkeypatch):
    monkeypatch.setattr(isa, "host_has", lambda feature: host)
    with pytest.raises(ValueError, match=message):
        record.begin([], name)
    result = CliRunner().invoke(app, ["bench", "--isa", name])
    assert result.exit_code == 1
    assert message in result.output


def test_the_command(no_bounds, without_peers, monkeypatch, tmp_path):
    monkeypatch.setattr(cases, "QUICK", [next(c for c in cases.QUICK if c.kernel == "softmax")])
    files = tmp_path / "run.json", tmp_path / "roofline.png"
    arguments = ["bench", "--quick", "--threads", "1", "--json", str(files[0]), "--plot", str(files[1])]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "softmax 128x10 float32" in result.output
    assert "absent: torch is not installed" in result.output
    assert record.load(files[0]).results[0].us["fastnn"]
    assert files[1].read_bytes()[:4] == b"\x89PNG"


def test_the_command_says_where_it_cannot_write(tmp_path):
    result = CliRunner().invoke(app, ["bench", "--json", str(tmp_path / "no" / "run.json")])
    assert result.exit_code == 2
    assert "no folder" in result.output


def test_the_suite_runs_one_contestant_a_process(tmp_path):
    out = tmp_path / "out.json"
    command = [
        sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider",
        "--benchmark-enable", "--benchmark-only", f"--benchmark-json={out}", "--contestant=numpy",
        "--threads=1", "-k", "softmax_jvp and 64x10",
    ]  # fmt: skip
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert {b["group"] for b in found["benchmarks"]} == {
        "softmax_jvp 64x10 float32",
        "softmax_jvp 64x10 float64",
    }
    for benchmark in found["benchmarks"]:
        assert benchmark["extra_info"]["contestant"] == "numpy"
        assert benchmark["extra_info"]["GB/s"] > 0
    assert found["machine_info"]["processor"]
