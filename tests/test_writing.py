"""Files that are replaced: as a whole, with their mode, past links, and refused before a run begins."""

import json
import os
import stat
import sys

import numpy as np
import pytest

import fastnn
from fastnn import _writing
from fastnn._writing import remove_leftovers, require_writable, to_json, write_atomically
from fastnn.saving import tensors

posix = pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)


def network():
    layers = [fastnn.FullyConnected(3, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD(0.1), seed=0)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def trained():
    net = network()
    net.fit(X, Y, 1, verbose=False)
    return net


def _save(path):
    pytest.importorskip("safetensors")
    trained().save(path)


def _checkpoint(path):
    pytest.importorskip("safetensors")
    network().fit(X, Y, 1, verbose=False, checkpoint=path)


def _model_checkpoint(path):
    pytest.importorskip("safetensors")
    network().fit(X, Y, 1, verbose=False, callbacks=[fastnn.ModelCheckpoint(path, "loss")])


def _history(path):
    fastnn.History([1.0], [0.5]).to_json(path)


def _export(path):
    pytest.importorskip("onnx")
    fastnn.export_onnx(trained(), path)


def _logger(path):
    fastnn.Logger(path.parent.name, {}, {}, save_dir=path.parent.parent).write(path.name, 1)


WRITERS = [_save, _checkpoint, _model_checkpoint, _history, _export, _logger]


@posix
@pytest.mark.parametrize("write", WRITERS)
def test_a_file_that_is_replaced_keeps_its_mode_and_a_link_stays_a_link(write, tmp_path):
    real = tmp_path / "real" / "file"
    real.parent.mkdir()
    real.write_bytes(b"old")
    real.chmod(0o640)
    link = tmp_path / "folder" / "link"
    link.parent.mkdir()
    link.symlink_to(os.path.join("..", "real", "file"))
    write(link)
    assert link.is_symlink()
    assert real.read_bytes() != b"old"
    assert mode(real) == 0o640
    assert [path.name for path in tmp_path.rglob("*") if path.suffix == ".tmp"] == []


@posix
@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path, umask, expected):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "new", b"x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == expected


@posix
@pytest.mark.parametrize("old", [0o600, 0o666, 0o444, 0o755])
def test_no_moment_is_open_to_more_users_than_the_mode(tmp_path, monkeypatch, old):
    path, seen = tmp_path / "file", []
    path.write_bytes(b"old")
    path.chmod(old)
    real_fsync = os.fsync

    def fsync(file):
        seen.append(stat.S_IMODE(os.fstat(file).st_mode))
        real_fsync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == old
    assert seen[0] == old


@posix
def test_a_link_to_nothing_makes_what_it_points_to(tmp_path):
    (tmp_path / "link").symlink_to("there")
    write_atomically(tmp_path / "link", b"x")
    assert (tmp_path / "there").read_bytes() == b"x"
    assert (tmp_path / "link").is_symlink()


@posix
def test_a_device_is_written_to_not_replaced(tmp_path):
    write_atomically("/dev/null", b"x")
    require_writable("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_leftovers_of_one_file_are_not_those_of_another(tmp_path):
    names = ["run", "run.v2", "run.v2.old", "run.1-2", "[run]"]
    temporaries = {name: _writing._temporary(tmp_path / name) for name in names}
    for temporary in temporaries.values():
        temporary.write_bytes(b"live")
    for name in names:
        remove_leftovers(tmp_path / name)
        assert not temporaries.pop(name).exists()
        assert all(temporary.exists() for temporary in temporaries.values())


@posix
def test_leftovers_of_a_link_lie_beside_its_file(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(os.path.join("there", "run"))
    temporary = _writing._temporary(tmp_path / "there" / "run")
    temporary.write_bytes(b"")
    remove_leftovers(tmp_path / "link")
    assert not temporary.exists()


def test_a_leftover_of_the_same_process_number_is_no_obstacle(tmp_path):
    _writing._temporary(tmp_path / "file").write_bytes(b"left, and longer than the new one")
    write_atomically(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_on_windows_a_file_that_somebody_reads_is_replaced_a_little_later(tmp_path, monkeypatch):
    monkeypatch.setattr(_writing, "_PAUSES", (0.0, 0.0))
    replace, calls = os.replace, []

    def busy(source, target):
        calls.append(target)
        if len(calls) < 3:
            raise PermissionError(13, "the file is in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert len(calls) == 3
    calls.clear()
    monkeypatch.setattr(_writing, "_PAUSES", ())
    with pytest.raises(PermissionError):
        write_atomically(tmp_path / "file", b"newer")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _log(kind):
    def begin(path, net):
        net.fit(X, Y, 1, verbose=False, callbacks=[kind(path)])

    return begin


def _live_curve(path):
    pytest.importorskip("matplotlib")
    return fastnn.LiveCurve(path)


BEGINNERS = {
    "checkpoint": lambda path, net: net.fit(X, Y, 1, verbose=False, checkpoint=path),
    "resume": lambda path, net: net.fit(X, Y, 1, verbose=False, checkpoint=path, resume=True),
    "ModelCheckpoint": _log(lambda path: fastnn.ModelCheckpoint(path, "loss")),
    "CSVLog": _log(fastnn.CSVLog),
    "JSONLog": _log(fastnn.JSONLog),
    "LiveCurve": _log(_live_curve),
}


def _folder(path):
    path.mkdir()
    return path, IsADirectoryError


def _no_folder(path):
    return path / "none" / "file", FileNotFoundError


def _below_a_file(path):
    path.write_bytes(b"")
    return path / "file", (NotADirectoryError, FileNotFoundError)


@pytest.mark.parametrize("place", [_folder, _no_folder, _below_a_file])
@pytest.mark.parametrize("begin", BEGINNERS)
def test_what_cannot_be_written_is_refused_before_training(begin, place, tmp_path):
    if begin in ("checkpoint", "resume", "ModelCheckpoint"):
        pytest.importorskip("safetensors")
    path, expected = place(tmp_path / "place")
    net = network()
    if os.name == "nt":
        expected = OSError
    with pytest.raises(expected, match=path.name):
        BEGINNERS[begin](path, net)
    assert not net.layers[0].parameters
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("begin", ["checkpoint", "ModelCheckpoint", "LiveCurve"])
def test_a_folder_that_is_not_writable_is_refused_before_training(begin, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")

    def read_only(path, content, mode):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(_writing, "_create", read_only)  # root may write anywhere
    net = network()
    with pytest.raises(PermissionError, match=r"cannot write to the folder.*file"):
        BEGINNERS[begin](tmp_path / "file", net)
    assert not net.layers[0].parameters


def test_the_names_in_a_model_checkpoints_path_are_checked_before_training(tmp_path):
    pytest.importorskip("safetensors")
    for wrong in ("{accuracy}.safetensors", "{validation_loss}.safetensors"):
        net = network()
        callback = fastnn.ModelCheckpoint(tmp_path / wrong, "loss")
        with pytest.raises(KeyError):
            net.fit(X, Y, 1, verbose=False, callbacks=[callback])
        assert not net.layers[0].parameters
    names = "{epoch:02d}-{loss:.1f}-{validation_error:.1f}.safetensors"
    callback = fastnn.ModelCheckpoint(tmp_path / names, "loss", save_best_only=False)
    network().fit(X, Y, 2, validation_data=(X, Y), verbose=False, callbacks=[callback])
    assert len(list(tmp_path.iterdir())) == 2


def test_json_has_no_numbers_that_are_not_finite(tmp_path):
    nan, inf = float("nan"), float("inf")
    value = {"a": [1.5, nan, (inf, -inf)], "b": {"c": nan, "d": "NaN"}, "e": None, "f": np.float64(nan)}
    expected = {"a": [1.5, None, [None, None]], "b": {"c": None, "d": "NaN"}, "e": None, "f": None}
    assert json.loads(to_json(value), parse_constant=pytest.fail) == expected
    fastnn.History([1.0, nan], [inf]).to_json(tmp_path / "history.json")
    text = (tmp_path / "history.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["loss"] == [1.0, None]


@pytest.mark.parametrize("log", [fastnn.JSONLog])
def test_a_log_of_a_run_that_diverges_is_json(log, tmp_path):
    class Diverging(fastnn.Callback):
        def on_epoch_end(self, run):
            run.history.loss[-1] = float("nan")

    with pytest.warns(RuntimeWarning, match="the training loss is nan"):
        network().fit(X, Y, 2, verbose=False, callbacks=[Diverging(), log(tmp_path / "log")])
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["loss"] for line in lines] == [None, None]


def test_a_saved_network_holds_no_nan_in_its_json(tmp_path):
    pytest.importorskip("safetensors")
    from fastnn.saving import tensors

    net = network()
    net.layers[0].init_weights = fastnn.Uniform(-float("inf"), float("nan"))
    net.save(tmp_path / "net")
    with tensors.require_safetensors().safe_open(tmp_path / "net", framework="np") as file:
        json.loads(file.metadata()["fastnn"], parse_constant=pytest.fail)
    loaded = fastnn.load(tmp_path / "net").layers[0].init_weights
    assert repr((loaded.low, loaded.high)) == "(-inf, nan)"


def test_saved_networks_of_earlier_versions_may_hold_nan(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")

    net = network()
    net.layers[0].init_weights = fastnn.Uniform(0.5, 0.7)
    monkeypatch.setattr(tensors, "to_json", lambda d: json.dumps(d).replace("0.7", "NaN"))
    net.save(tmp_path / "net")
    assert np.isnan(fastnn.load(tmp_path / "net").layers[0].init_weights.high)


@pytest.mark.skipif(sys.platform == "win32", reason="a folder's mode is that of POSIX")
def test_a_folder_that_may_not_be_listed_is_no_obstacle(tmp_path, monkeypatch):
    real_open = os.open

    def no_folders(path, flags, *mode):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *mode)

    monkeypatch.setattr(os, "open", no_folders)
    write_atomically(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"
