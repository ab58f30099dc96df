import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fastnn.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_digits_against_the_reference(tmp_path):
    result = run(
        "train", "digits", "--hidden", "16", "--epochs", 2, "--compare-naive",
        "--plot", tmp_path / "curve.png", "--history", tmp_path / "run.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "plain NumPy" in result.output
    assert "speed-up" in result.output
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    history = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert {len(curve) for curve in history.values()} == {2}
    difference = float(result.output.split("difference ")[1].split()[0])
    assert difference < 1e-12


def test_a_csv_of_named_classes(tmp_path, rng):
    rows = [
        f"{a:.3f},{b:.3f},{'in' if a * a + b * b < 1 else 'out'}" for a, b in rng.normal(size=(200, 2))
    ]
    path = tmp_path / "circle.csv"
    path.write_text("x,y,class\n" + "\n".join(rows), encoding="utf-8")
    result = run("train", path, "--hidden", "16", "--optimizer", "Adam", "--lr", 0.01)
    assert result.exit_code == 0, result.output
    assert "test accuracy" in result.output


def test_an_npz_of_a_regression(tmp_path, rng):
    X = rng.normal(size=(100, 3))
    np.savez(tmp_path / "line.npz", X=X, y=X @ [1.0, 2.0, 3.0])
    result = run("train", tmp_path / "line.npz", "--hidden", "", "--dtype", "float32", "--epochs", 3)
    assert result.exit_code == 0, result.output
    assert "target y: a number, 100 values; 3 features, 100 rows" in result.output
    assert "test R2" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nonsense"], 2, "neither digits, mnist nor sinewave"),
        (["missing.csv"], 2, "no file missing.csv"),
        (["mnist"], 2, "mnist needs --data-folder"),
        (["digits", "--activation", "swish"], 2, "unknown activation 'swish'; known: linear"),
        (["digits", "--hidden", "12,x"], 2, "no list of layer widths"),
        (["digits", "--epochs", "0"], 2, "--epochs"),
        (["digits", "--plot", "no/such/folder/curve.png"], 2, "no folder"),
    ],
)
def test_mistakes_are_one_clear_message(arguments, code, message, monkeypatch):
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    result = run("train", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_info_names_what_a_bug_report_needs():
    result = run("info")
    assert result.exit_code == 0
    for name in ("fastnn", "Python", "numba", "CPU", "BLAS", "threads", "cache folder"):
        assert f"- {name}" in result.output
