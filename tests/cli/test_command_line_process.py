"""The command as users start it, and files and installations that are not as they should be."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fastnn
from fastnn.cli.app import app

ROOT = Path(__file__).parents[2]
WITHOUT = """
import runpy, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {0!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
runpy.run_module("fastnn", run_name="__main__")
"""


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def start(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )


def test_version():
    for result in (run("--version"), start("-m", "fastnn", "--version")):
        code = result.exit_code if hasattr(result, "exit_code") else result.returncode
        assert (code, result.stdout) == (0, f"fastnn {fastnn.__version__}\n")


def test_wrong_usage_of_the_process_exits_with_2():
    result = start("-m", "fastnn", "train", "--no-such-option")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "--no-such-option" in result.stderr


def test_a_failure_of_the_process_exits_with_1_and_one_line_on_stderr(tmp_path):
    path = tmp_path / f"{'long' * 30}.csv"
    path.write_text("a,b\n1,?\n2,3\n", encoding="utf-8")
    result = start("-m", "fastnn", "train", path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {path}, line 2, column 'b': the cell is missing")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["typer", "rich"])
@pytest.mark.parametrize("arguments", [[], ["train"], ["--help"], ["info", "--help"]])
def test_without_its_packages_the_command_says_what_to_install(package, arguments):
    result = start("-c", WITHOUT.format(package), *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"the fastnn command needs {package}: pip install 'fastnn-cpu[demo]'\n" in result.stderr
    assert "pip install '.[demo]'" in result.stderr


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_version_and_info_need_no_other_packages(package):
    result = start("-c", WITHOUT.format(package), "--version")
    assert (result.returncode, result.stdout) == (0, f"fastnn {fastnn.__version__}\n")
    result = start("-c", WITHOUT.format(package), "info")
    assert result.returncode == 0
    assert "- numba" in result.stdout


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (
            "sklearn.datasets",
            ["digits"],
            "load_digits needs scikit-learn: pip install 'fastnn-cpu[demo]'",
        ),
        (
            "matplotlib",
            ["digits", "--plot", "c.png"],
            "needs matplotlib: pip install 'fastnn-cpu[plot]'",
        ),
        ("pooch", ["mnist", "--download"], "needs pooch: pip install 'fastnn-cpu[demo]'"),
        ("safetensors", ["digits", "--save", "n"], "pip install 'fastnn-cpu[save]'"),
    ],
)
def test_what_an_option_lacks_is_said_before_training(
    module, arguments, message, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    result = run("train", *arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_no_arguments_show_help():
    result = run()
    assert "train" in result.output
    assert "info" in result.output


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["train", "--bogus"], ["train", "--lr", "-1"], ["train", "--momentum", "2"],
     ["train", "--optimizer", "RMSprop"], ["train", "--dtype", "float16"], ["train", "--hidden", "0"],
     ["train", "--batch-size", "0"], ["train", "--seed", "-1"], ["train", "a.csv", "b.csv"]],
)  # fmt: skip
def test_wrong_usage(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.fixture
def clusters(rng):
    y = np.arange(120) % 3
    return rng.normal(size=(120, 2)) + 6 * np.eye(3)[y][:, :2], y


def history_of(path):
    curves = json.loads(path.read_text(encoding="utf-8"))
    assert set(curves) == {"loss", "error", "validation_loss", "validation_error"}
    return curves


def test_the_history_is_that_of_the_same_training_in_python(tmp_path, clusters, capsys):
    X, y = clusters
    np.savez(tmp_path / "c.npz", X=X, y=y)
    options = ["--hidden", "8,4", "--activation", "tanh", "--epochs", 4, "--batch-size", 16]
    options += ["--optimizer", "Adam", "--lr", 0.01, "--seed", 5]
    result = run("train", tmp_path / "c.npz", *options, "--history", tmp_path / "h.json")
    assert result.exit_code == 0, result.output
    layers = [fastnn.FullyConnected(n, f) for n, f in ((8, "tanh"), (4, "tanh"), (None, "softmax"))]
    net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.Adam(0.01), seed=5)
    data = fastnn.Dataset.from_arrays(X, y, batch_size=16, seed=5)
    expected = net.train(data, 4)
    for name, curve in history_of(tmp_path / "h.json").items():
        np.testing.assert_allclose(curve, getattr(expected, name), rtol=1e-9)
    error = net.evaluate(data.test.data_, data.test.labels)[1]
    assert f"{1 - error:.2%}" in result.output


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbfwidth,height,tree\r\n"])
def test_a_csv_gives_the_numbers_of_the_same_npz(tmp_path, clusters, head):
    X, y = clusters
    np.savez(tmp_path / "c.npz", X=X, y=y)
    names = np.array(["ash", "beech", "cedar"])[y]
    text = "\r\n".join(f"{a!r},{b!r}, {name}" for (a, b), name in zip(X.tolist(), names, strict=True))
    (tmp_path / "c.csv").write_bytes(head + text.encode() + b"\r\n\r\n")
    histories = []
    for name in ("c.npz", "c.csv"):
        result = run("train", tmp_path / name, "--epochs", 2, "--history", tmp_path / "h.json")
        assert result.exit_code == 0, result.output
        histories.append(history_of(tmp_path / "h.json"))
    assert histories[0] == histories[1]


def test_a_regression_in_a_csv(tmp_path, rng):
    X = rng.normal(size=(80, 2))
    rows = np.c_[X, X @ [2.0, -1.0] + 0.5]
    np.savetxt(tmp_path / "r.csv", rows, delimiter=",")
    options = ["--hidden", "", "--epochs", 200, "--history", tmp_path / "h.json"]
    result = run("train", tmp_path / "r.csv", *options)
    assert result.exit_code == 0, result.output
    assert "test R2" in result.output
    curves = history_of(tmp_path / "h.json")
    assert curves["validation_error"][-1] < 1e-3 < curves["error"][0]


def test_the_plot_is_a_picture(tmp_path, clusters):
    import matplotlib.image

    np.savez(tmp_path / "c.npz", X=clusters[0], y=clusters[1])
    result = run("train", tmp_path / "c.npz", "--epochs", 3, "--plot", tmp_path / "curve.png")
    assert result.exit_code == 0, result.output
    picture = matplotlib.image.imread(tmp_path / "curve.png")
    assert min(picture.shape[:2]) > 300
    assert picture[..., :3].std() > 0.01


ROWS = b"".join(b"%d,%d,%d\n" % (i, i * i % 7, i % 3) for i in range(30))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b,c\n", "has a header, but no rows"),
        (b"1\n2\n", "has one column"),
        (ROWS + b"1,x,0\n", r"f\.csv, line 31, column 2: 'x' is not a number"),
        (ROWS + b"1,0\n", r"f\.csv, line 31: the row has 2 cells, the others have 3"),
        (ROWS + b"1,2,inf\n", r"f\.csv, line 31, column 3: 'inf' is not a finite number"),
        (ROWS + b"1,2,nan\n", r"f\.csv, line 31, column 3: the cell is missing"),
        (b"\xff\xfe" + ROWS, r"f\.csv is not text in utf-8 \(line 1"),
        (b"1,2\n" * 30, "has one class, 2; there is nothing to learn"),
        (b"1,2.5\n" * 30, "is 2.5 in all rows; there is nothing to learn"),
        (b"1,2.5\n2,3.5\n", "has 2 rows: too few"),
    ],
)
def test_a_bad_csv_is_named_with_what_is_wrong(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    assert_fails("f.csv", content, message)


def assert_fails(name, content, message):
    Path(name).write_bytes(content)
    result = run("train", name, "--epochs", 1)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    output = " ".join(result.output.split())
    assert re.match(f"error: .*{message}", output), output


def spoiled(content):
    middle = len(content) // 4
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "spoil", [lambda c: c[: len(c) // 2], spoiled, lambda c: b"", lambda c: b"no archive"]
)
def test_a_damaged_npz_is_named(tmp_path, monkeypatch, clusters, spoil):
    monkeypatch.chdir(tmp_path)
    np.savez("whole.npz", X=clusters[0], y=clusters[1])
    assert_fails("f.npz", spoil(Path("whole.npz").read_bytes()), r"f\.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((9, 2))}, "needs arrays X and y, it has X"),
        ({"a": np.zeros(2)}, "needs arrays X and y, it has a"),
        ({"X": np.zeros((9, 2)), "y": np.zeros(8, int)}, "X has 9 rows, y has 8"),
        ({"X": np.zeros((9, 2)), "y": np.array(list("abcabcabc"))}, "y must hold real numbers"),
        ({"X": np.zeros((9, 2)), "y": np.array([{}] * 9)}, r"a\.npz"),
        ({"X": np.zeros((9, 0)), "y": np.arange(9.0)}, r"X must have shape \(n, features\)"),
        ({"X": np.zeros(9), "y": np.arange(9.0)}, r"X must have shape \(n, features\)"),
        ({"X": np.zeros((9, 2)), "y": np.zeros((9, 2, 2))}, "y must have shape"),
        ({"X": np.diag([1, np.nan, 2.0]), "y": np.arange(3.0)}, r"X\[1, 1\] is nan"),
        ({"X": np.eye(3), "y": np.array([1, np.inf, 2.0])}, r"y\[1\] is inf"),
    ],
)
def test_an_npz_of_other_arrays(tmp_path, monkeypatch, arrays, message):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", **arrays)
    assert_fails("a.npz", Path("a.npz").read_bytes(), message)
