"""``fastnn train``: what it says, what it refuses, regressions in their units, saved networks."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import fastnn
from fastnn.cli import app as module
from fastnn.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def output_of(*arguments):
    result = run("train", *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def error_of(code, *arguments):
    """Return what a failing command writes on stderr, which is one line."""
    result = run("train", *arguments)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, result.output
    assert re.fullmatch("error: .*\n", result.stderr), result.stderr
    return result.stderr


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    return tmp_path


@pytest.fixture
def prices(rng):
    """Prices around 300,000 in ``prices.csv``, of features of very different scales."""
    X = rng.normal(size=(300, 4)) * [1, 10, 100, 1000] + [0, 5, 0, 1e9]
    y = np.round(300_000 + 80_000 * X[:, 0] + 3000 * X[:, 1] + 5000 * rng.normal(size=300))
    table = np.c_[X, y]
    header = "area,rooms,distance,seconds,price"
    np.savetxt("prices.csv", table, delimiter=",", header=header, comments="", fmt="%.17g")
    return X, y


@pytest.fixture
def trees(rng):
    """Three classes in the first column of ``trees.csv``."""
    X = rng.normal(size=(150, 2))
    y = np.array(["ash", "fir", "oak"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
    lines = [f"{name},{a!r},{b!r}\n" for name, (a, b) in zip(y, X.tolist(), strict=True)]
    Path("trees.csv").write_text("".join(["tree,width,height\n", *lines]), encoding="utf-8")
    return X, y


# What it understood


@pytest.mark.parametrize(
    ("options", "understood"),
    [
        ([], "target 'price': a number, 300 values; 4 features, 300 rows"),
        (["--target", "rooms"], "target 'rooms': a number, 300 values; 4 features, 300 rows"),
        (["--target", "1"], "target 'rooms': a number"),
        (["--target", "-1"], "target 'price': a number"),
    ],
)
def test_it_says_what_a_table_was_understood_to_be(prices, options, understood):
    assert understood in output_of("prices.csv", *options, "--epochs", 1)


def test_it_says_what_classes_there_are(trees):
    output = output_of("trees.csv", "--target", "tree", "--epochs", 1)
    assert "target 'tree': 3 classes (ash, fir, oak); 2 features, 150 rows" in output


def test_whole_numbers_are_what_the_user_says(rng):
    quality = np.arange(120) % 6 + 3
    np.savetxt("wine.csv", np.c_[rng.normal(size=(120, 2)), quality], delimiter=",", fmt="%g")
    np.savez("wine.npz", X=rng.normal(size=(120, 2)), y=quality)
    for name in ("wine.csv", "wine.npz"):
        output = output_of(name, "--epochs", 1)
        assert "6 classes (3, 4, 5, 6, 7, ...)" in output
        assert "taken as classes here; --task number changes that" in output
        assert "a number, 6 values" in output_of(name, "--task", "Number", "--epochs", 1)


def test_many_whole_numbers_of_an_npz_are_no_classes(rng):
    np.savez("p.npz", X=rng.normal(size=(60_000, 2)), y=rng.integers(50_000, 900_000, 60_000))
    output = output_of("p.npz", "--epochs", 1, "--hidden", "4", "--batch-size", 1000)
    assert "target y: a number," in output
    assert "60,000 rows" in output


def test_class_numbers_of_an_npz_may_be_any(rng):
    np.savez("c.npz", X=rng.normal(size=(60, 2)), y=np.array([-1, 1, 500_000])[np.arange(60) % 3])
    assert "3 classes (-1, 1, 500000)" in output_of("c.npz", "--epochs", 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.CSV", "a;b\n1,5;x\n2,5;y\n"), ("t.tsv", "a\tb\n1\tx\n2\ty\n"), ("t.txt", "a|b\n1|x\n2|y\n")],
)
def test_other_tables(folder, name, content):
    head, *rows = content.splitlines(keepends=True)
    (folder / name).write_text(head + "".join(rows) * 10, encoding="utf-8")
    assert "2 classes (x, y); 1 feature, 20 rows" in output_of(name, "--epochs", 1)


def test_options_of_tables(folder):
    lines = ["2019:2020:2021"] + [f"{i}:{i % 5}:{i % 2}" for i in range(40)]
    (folder / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "41 rows" in output_of("t.csv", "--sep", ":", "--epochs", 1, "--task", "number")
    output = output_of("t.csv", "--sep", ":", "--header", "--epochs", 1, "--target", "2020")
    assert "target '2020': 5 classes (0, 1, 2, 3, 4); 2 features, 40 rows" in output
    (folder / "tab.csv").write_text("\n".join(lines).replace(":", "\t"), encoding="utf-8")
    assert "41 rows" in output_of("tab.csv", "--sep", r"\t", "--epochs", 1, "--task", "number")
    (folder / "l.csv").write_bytes("a,b\n1,é\n2,x\n".encode("latin-1") * 10)
    assert "encoding='latin-1'" in error_of(1, "l.csv")


# Regressions


def test_a_regression_of_large_numbers_is_in_its_units(prices):
    output = output_of(
        "prices.csv", "--epochs", 30, "--history", "h.json", "--plot", "c.png", "--compare-naive"
    )
    assert "nan" not in output
    fast, naive = (re.search(rf"{name}.*", output)[0].split("│") for name in ("fastnn ", "plain NumPy"))
    rmse, r2 = (float(cell.replace(",", "")) for cell in fast[3:5])
    assert 2000 < rmse < 20_000
    assert 0.9 < r2 <= 1
    assert fast[3:5] == naive[3:5]
    assert float(output.split("difference ")[1].split()[0]) < 1e-10
    curves = json.loads(Path("h.json").read_text(encoding="utf-8"))
    assert 2000 < np.sqrt(curves["validation_error"][-1]) < 20_000
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("scale", [1e-250, 1e200])
def test_targets_whose_squares_are_no_numbers_are_refused(scale, rng):
    y = rng.normal(size=40) * scale
    np.savez("far.npz", X=rng.normal(size=(40, 2)), y=y)
    np.savetxt("far.csv", np.c_[rng.normal(size=(40, 2)), y], delimiter=",")
    for name in ("far.npz", "far.csv"):
        assert "multiply the target by a power of ten" in error_of(1, name)


def test_several_targets(rng):
    X = rng.normal(size=(200, 3))
    Y = np.c_[1e6 * X[:, 0], 1e-3 * X[:, 1]]
    np.savez("m.npz", X=X, y=Y)
    output = output_of("m.npz", "--epochs", 30, "--save", "m.safetensors")
    assert "target y: 2 numbers; 3 features, 200 rows" in output
    assert "standardised" in output
    residuals = fastnn.load("m.safetensors").predict(X) - Y
    assert (residuals.std(axis=0) < 0.3 * Y.std(axis=0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", ["16", ""])
def test_a_saved_network_takes_and_gives_raw_units(prices, dtype, hidden):
    X, y = prices
    options = ["--dtype", dtype, "--hidden", hidden, "--epochs", 30, "--seed", 3]
    output = output_of("prices.csv", *options, "--save", "p.safetensors")
    assert "p.safetensors" in output
    net = fastnn.load("p.safetensors")
    data = fastnn.Dataset.from_arrays(np.arange(300.0)[:, None], y, seed=3, standardize=False)
    rows = data.test.data_[:, 0].astype(int)
    errors = net.predict(X[rows])[:, 0] - y[rows]
    shown = re.search(r"fastnn .*", output)[0].split("│")
    assert float(shown[3].replace(",", "")) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=2e-3)
    assert float(shown[4]) == pytest.approx(1 - np.mean(errors**2) / y[rows].var(), abs=2e-4)
    net.fit(X, y, epochs=1, verbose=False)  # goes on


def test_a_saved_classifier_takes_raw_features(trees):
    X, y = trees
    options = ["--target", "tree", "--epochs", 60, "--hidden", "8", "--save", "t.safetensors"]
    output = output_of("trees.csv", *options)
    assert "the probabilities of the classes ash, fir, oak" in output
    classes = np.array(["ash", "fir", "oak"])
    guessed = classes[fastnn.load("t.safetensors").predict(X).argmax(axis=1)]
    assert np.mean(guessed == y) > 0.9


# Options


def test_names_ignore_case():
    output = output_of(
        "Digits", "--optimizer", "adam", "--dtype", "FLOAT32", "--activation", "ReLU", "--epochs", 1,
        "--hidden", "8",
    )  # fmt: skip
    assert "float32" in output


def test_patience_ends_a_run(trees):
    options = ["--target", "tree", "--epochs", 5000, "--optimizer", "adam", "--lr", 0.05]
    output = output_of("trees.csv", *options, "--patience", 3, "--history", "h.json")
    stopped = re.search(r"stopped after (\d+) of 5000 epochs: .* those of epoch (\d+)", output)
    curves = json.loads(Path("h.json").read_text(encoding="utf-8"))
    assert len(curves["loss"]) == int(stopped[1])
    assert int(stopped[2]) == int(np.argmin(curves["validation_loss"])) + 1
    assert int(stopped[1]) - int(stopped[2]) == 3


def test_l2_makes_weights_small(prices):
    norms = []
    for l2 in (0, 100):
        output_of("prices.csv", "--hidden", "", "--l2", l2, "--save", "p", "--epochs", 20)
        norms.append(np.linalg.norm(fastnn.load("p").layers[0].parameters["W"]))
    assert norms[1] < norms[0] / 2
    output = output_of("prices.csv", "--l2", 1, "--compare-naive", "--epochs", 3)
    assert float(output.split("difference ")[1].split()[0]) < 1e-10


@pytest.mark.parametrize(
    "option",
    [["--target", "3"], ["--task", "class"], ["--sep", ","], ["--header"], ["--encoding", "utf-8"],
     ["--data-folder", "."], ["--download"]],
)  # fmt: skip
def test_options_that_do_nothing_are_refused(option):
    assert f"{option[0]} does nothing with digits" in error_of(2, "digits", *option)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prices.csv", "--download"], "--download does nothing with prices.csv: it is for mnist"),
        (["mnist", "--target", "1"], "--target does nothing with mnist: it is for CSV files"),
        (["m.npz", "--sep", ";"], "--sep does nothing with m.npz: it is for CSV files"),
        (["digits", "--optimizer", "adam", "--momentum", "0.5"], "--momentum does nothing with Adam"),
        (["digits", "--hidden", "", "--activation", "relu"], "--activation does nothing without"),
        (["digits", "--patience", "3", "--compare-naive"], "does not go with --compare-naive"),
    ],
)
def test_options_that_do_nothing_with_others_are_refused(arguments, message):
    assert message in error_of(2, *arguments)


def test_a_folder_in_the_environment_is_no_option(monkeypatch):
    monkeypatch.setenv("FASTNN_DATA", "nowhere")
    output_of("digits", "--epochs", 1, "--hidden", "4")
    assert "no folder nowhere" in error_of(2, "mnist")


# Paths


@pytest.mark.parametrize("option", ["--plot", "--history", "--save"])
def test_bad_paths_fail_before_training(option, monkeypatch, folder):
    monkeypatch.setattr("fastnn.cli.train.train", None)
    (folder / "below.png").mkdir()
    assert "is a folder, not a file" in error_of(2, "digits", option, "below.png")
    assert "no folder" in error_of(2, "digits", option, "no/such/c.png")
    (folder / "data.png").touch()
    assert "no folder" in error_of(2, "digits", option, "data.png/c.png")
    assert [path.name for path in folder.iterdir() if path.suffix != ".png"] == []


def test_a_file_is_not_written_twice_nor_over_the_data(prices):
    assert "--save: c.png is --plot too" in error_of(2, "digits", "--plot", "c.png", "--save", "c.png")
    before = Path("prices.csv").read_bytes()
    assert "is the data file too" in error_of(2, "prices.csv", "--history", "prices.csv")
    assert Path("prices.csv").read_bytes() == before


def test_the_data_are_not_overwritten_by_another_path_to_them(prices, folder):
    content = Path("prices.csv").read_bytes()
    (folder / "below").mkdir()
    paths = [Path("below/../prices.csv"), folder / "prices.csv"]
    try:
        (folder / "link.json").symlink_to(folder / "prices.csv")
        os.link("prices.csv", "hard.json")
    except OSError:  # of a system without links
        pass
    else:
        paths += [Path("link.json"), Path("hard.json")]
    for option in ("--history", "--save"):
        for path in paths:
            assert "is the data file too" in error_of(2, "prices.csv", option, path)
    assert "is --history too" in error_of(
        2, "prices.csv", "--history", "a.out", "--save", "below/../a.out"
    )
    assert Path("prices.csv").read_bytes() == content


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(folder):
    (folder / "locked").mkdir()
    (folder / "locked" / "old").touch()
    (folder / "locked").chmod(0o500)
    for name in ("new", "old"):  # a file is replaced by another one, which the folder does not let
        assert "cannot be written" in error_of(2, "digits", "--save", f"locked/{name}")


@pytest.mark.parametrize("name", ["c", "c.foo"])
def test_a_picture_of_a_kind_that_there_is_not(name):
    assert "must end in one of" in error_of(2, "digits", "--plot", name)


@pytest.mark.parametrize("name", ["f.csv", "f.npz", "f.csv.gz", "f.foo", "f"])
def test_data_that_are_not_there(folder, name):
    error_of(2, name)
    (folder / name).mkdir()
    assert f"{name} is a folder, not a file" in error_of(2, name)


def test_paths_of_bench_are_checked_too(folder, monkeypatch):
    monkeypatch.setattr("fastnn.cli.bench.bench", None)
    for option in ("--json", "--plot", "--markdown"):
        result = run("bench", option, folder)
        assert result.exit_code == 2
        assert "is a folder" in result.stderr


# Runs that fail, and what is shown


@pytest.mark.parametrize("data", ["prices.csv", "digits"])
def test_a_loss_that_is_not_finite_ends_with_1_and_the_remedy(prices, data, folder):
    message = error_of(1, data, "--lr", 1e200, "--history", "h.json", "--plot", "c.png", "--save", "n")
    assert "the loss is not finite in epoch" in message
    assert "--lr 0.01" in message
    history = json.loads((folder / "h.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert len(history) == 4
    assert not (folder / "c.png").exists()
    assert not (folder / "n").exists()


def test_json_has_null_for_what_is_not_finite(folder):
    fastnn.History([1.0, float("nan")], [float("inf"), 0.5]).to_json(folder / "h.json")
    text = (folder / "h.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["loss"] == [1.0, None]
    assert json.loads(text)["error"] == [None, 0.5]


def test_without_a_terminal_there_are_few_lines(trees):
    output = output_of("trees.csv", "--target", "tree", "--epochs", 200)
    shown = re.findall(r"^epoch (\d+)/200: loss", output, re.MULTILINE)
    assert len(shown) <= 11
    assert shown[-1] == "200"


def test_a_narrow_terminal_cuts_no_figures(prices, monkeypatch):
    monkeypatch.setattr(module, "console", Console(width=40))
    output = output_of("prices.csv", "--epochs", 1, "--hidden", "8")
    assert "…" not in output


def test_on_a_terminal_one_line_renews_itself(trees, monkeypatch):
    import io

    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(module, "console", console)
    assert run("train", "trees.csv", "--target", "tree", "--epochs", 50).exit_code == 0
    assert not re.findall(r"^epoch \d+/50", text.getvalue(), re.MULTILINE)
    assert re.search(r"training .*epoch \d+/50, loss", text.getvalue())
