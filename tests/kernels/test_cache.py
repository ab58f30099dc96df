"""Compiled kernels on disk: fresh, never mixed up, whatever folders are writable."""

import gc
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn.kernels import activations
from fastnn.kernels.compiling import cache
from fastnn.kernels.compiling.jit import COMPILED, NumbaError

pytestmark = pytest.mark.skipif(not COMPILED, reason="nothing is compiled")

ROOT = Path(__file__).parents[2]
INNER = "from fastnn.kernels.compiling.jit import exact\n\n@exact\ndef inner(x):\n    return x + {}\n"
OUTER = """
from fastnn.kernels.compiling.jit import exact
from fastnn.kernels.inner import inner

@exact
def outer(x):
    return inner(x)
"""
CALL = """
from fastnn.kernels.compiling import cache
from fastnn.kernels.outer import outer
{}
print(outer(1.0), outer(1), len(cache.compiled))
"""
# float32 in every second process; small arrays by a kernel, large ones by a job.
TOGETHER = """
import sys
import numpy as np
import fastnn
from fastnn import reference
from fastnn.kernels.compiling import cache
for number in map(int, sys.argv[1:]):
    dtype = ("float64", "float32")[number % 2]
    for shape in ((3, 5), (300, 300)):
        X = np.random.default_rng(0).normal(size=shape).astype(dtype)
        for name in ("ReLU", "TanH", "ArcTan"):
            got, want = getattr(fastnn, name)().forward(X), getattr(reference, name)().forward(X)
            assert got.dtype == dtype
            np.testing.assert_allclose(got, want, rtol=1e-5 if dtype == "float32" else 1e-13)
print(len(cache.compiled))
"""


@pytest.fixture
def package(tmp_path):
    """Return the folder of a copy of fastnn with two more kernels, one of which calls the other."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fastnn", tmp_path / "site" / "fastnn", ignore=skip)
    kernels = tmp_path / "site" / "fastnn" / "kernels"
    (kernels / "inner.py").write_text(INNER.format(1), encoding="utf-8")
    (kernels / "outer.py").write_text(OUTER, encoding="utf-8")
    return tmp_path / "site"


def call(package, statement="", **environment):
    """Return what `outer` gives for a float and an integer, how many kernels compiled, and stderr."""
    clean = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    clean["XDG_CACHE_HOME"] = clean["HOME"] = str(package.parent / "home")  # the latter on macOS
    done = subprocess.run(
        [sys.executable, "-c", CALL.format(statement)],
        cwd=package,
        env=clean | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        umask=0o022 if os.name == "posix" else -1,  # a __pycache__ that only its user can write to
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def kept(package):
    return sorted((package / "fastnn" / "kernels" / "__pycache__").glob("*er-*.nbc"))


def test_code_is_kept_beside_the_kernels_and_found_again(package):
    assert call(package) == (["2.0", "2", "2"], "")
    assert len(kept(package)) == 2
    assert call(package) == (["2.0", "2", "0"], "")


def test_a_change_of_an_inlined_file_is_seen(package):
    call(package)
    (package / "fastnn" / "kernels" / "inner.py").write_text(INNER.format(2), encoding="utf-8")
    assert call(package)[0] == ["3.0", "3", "2"]
    assert call(package)[0] == ["3.0", "3", "0"]
    assert len(kept(package)) == 2  # what was not fresh is overwritten


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, None], ids=["empty", "zeros", "half"])
def test_a_broken_file_is_replaced(package, content):
    call(package)
    for path in kept(package):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    assert call(package)[0] == ["2.0", "2", "2"]
    assert call(package)[0] == ["2.0", "2", "0"]


STAMP, CODE = bytes(range(32)), pickle.dumps(list(range(300)))


@pytest.fixture
def written(tmp_path):
    """Return a file of the cache, whose folder the cache made."""
    path = tmp_path / "folder" / "kernel.nbc"
    assert cache._write(path, STAMP, CODE)
    assert cache._read(path, STAMP) == CODE
    return path


def test_every_flipped_bit_and_every_truncation_is_noticed(written):
    content = written.read_bytes()
    for place in range(len(content)):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << place % 8
        written.write_bytes(spoilt)
        assert cache._read(written, STAMP) is None, place
        written.write_bytes(content[:place])
        assert cache._read(written, STAMP) is None, place
    written.write_bytes(content + b"\0")
    assert cache._read(written, STAMP) is None
    written.unlink()
    written.mkdir()
    assert cache._read(written, STAMP) is None


def test_damaged_code_is_compiled_anew_and_replaced(package):
    call(package)
    for share in (0.01, 0.2, 0.4, 0.6, 0.8, 0.99):
        for path in kept(package):
            content = bytearray(path.read_bytes())
            content[int(share * len(content))] ^= 16
            path.write_bytes(content)
        assert call(package) == (["2.0", "2", "2"], "")
    assert call(package) == (["2.0", "2", "0"], "")


@pytest.mark.parametrize(
    "code",
    [b"", b"no pickle", pickle.dumps(7), pickle.dumps(()), pickle.dumps((1,) * 12), b"cnone\nthere\n."],
)
def test_code_that_cannot_be_unpickled_is_compiled_anew_and_replaced(package, code):
    call(package)
    for path in kept(package):
        path.write_bytes(path.read_bytes()[:32] + hashlib.sha256(code).digest() + code)
    assert call(package) == (["2.0", "2", "2"], "")
    assert call(package) == (["2.0", "2", "0"], "")


posix = pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")


@posix
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
def test_a_folder_that_others_can_write_to_is_neither_read_nor_written(written, mode):
    written.parent.chmod(mode)
    assert cache._read(written, STAMP) is None
    assert not cache._write(written.with_name("other.nbc"), STAMP, CODE)
    assert [path.name for path in written.parent.iterdir()] == ["kernel.nbc"]
    written.parent.chmod(0o755)
    assert cache._read(written, STAMP) == CODE


@posix
@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_can_write_to_is_not_read_but_replaced(written, mode):
    written.chmod(mode)
    assert cache._read(written, STAMP) is None
    assert cache._write(written, STAMP, CODE)
    assert cache._read(written, STAMP) == CODE


@posix
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_another_user_owns_is_not_read_what_root_owns_is(written, what, monkeypatch):
    owners = {"folder": written.parent.stat().st_ino, "file": written.stat().st_ino}
    owner = {owners[what]: 12345}
    real_stat, real_fstat = os.stat, os.fstat

    def owned(found):
        values = list(found)
        values[4] = owner.get(found.st_ino, found.st_uid)
        return os.stat_result(values)

    monkeypatch.setattr(os, "stat", lambda *given, **options: owned(real_stat(*given, **options)))
    monkeypatch.setattr(os, "fstat", lambda file: owned(real_fstat(file)))
    assert cache._read(written, STAMP) is None
    owner[owners[what]] = 0
    assert cache._read(written, STAMP) == CODE
    monkeypatch.setattr(os, "geteuid", lambda: 12345)  # another user reads what root wrote
    owner.update(dict.fromkeys(owners.values(), 0))
    assert cache._read(written, STAMP) == CODE


@posix
def test_folder_and_files_are_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        path = tmp_path / "folder" / "kernel.nbc"
        assert cache._write(path, STAMP, CODE)
    finally:
        os.umask(before)
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o755, 0o644)
    assert cache._read(path, STAMP) == CODE


@posix
def test_where_others_can_write_the_next_folder_is_used_or_a_warning_says_so(package):
    beside = package / "fastnn" / "kernels" / "__pycache__"
    beside.mkdir()
    beside.chmod(0o777)
    assert call(package) == (["2.0", "2", "2"], "")
    assert call(package) == (["2.0", "2", "0"], "")
    assert not kept(package)
    chosen = package.parent / "chosen"
    assert call(package, NUMBA_CACHE_DIR=chosen)[0][2] == "2"
    (inner,) = chosen.iterdir()
    inner.chmod(0o777)
    for _ in range(2):
        result, said = call(package, NUMBA_CACHE_DIR=chosen)
        assert result[2] == "2"
        assert said.count(f"other users can write to {inner} (run: chmod go-w '{inner}')") == 1


def test_a_folder_that_is_not_writable_is_read(package):
    call(package)
    before = kept(package)
    folder = before[0].parent
    folder.chmod(0o555)
    try:
        assert call(package) == (["2.0", "2", "0"], "")
    finally:
        folder.chmod(0o755)
    assert kept(package) == before


def test_where_the_package_is_not_writable_the_users_folder_is(package):
    (package / "fastnn" / "kernels" / "__pycache__").write_text(
        "", encoding="utf-8"
    )  # nothing can be made below it
    assert call(package) == (["2.0", "2", "2"], "")
    assert list((package.parent / "home").rglob("*.nbc"))
    assert call(package) == (["2.0", "2", "0"], "")


def test_without_any_folder_it_works_and_warns_once(package):
    (package / "fastnn" / "kernels" / "__pycache__").write_text("", encoding="utf-8")
    (package.parent / "home").write_text("", encoding="utf-8")
    result, said = call(package)
    assert result == ["2.0", "2", "2"]
    assert said.count("NUMBA_CACHE_DIR") == 1
    assert call(package, "import warnings; warnings.simplefilter('ignore')")[1] == ""
    chosen = package.parent / "chosen"
    assert call(package, NUMBA_CACHE_DIR=chosen) == (["2.0", "2", "2"], "")
    assert call(package, NUMBA_CACHE_DIR=chosen) == (["2.0", "2", "0"], "")


def test_a_compilation_that_takes_long_is_logged(package):
    logged = "import logging; logging.basicConfig(level='INFO'); cache._SLOW = 0"
    result, said = call(package, logged)
    assert result[2] == "2"
    assert said.count("INFO:fastnn:compiling kernels for this machine, once; they are kept in") == 1
    assert "compiling" not in call(package, logged)[1]  # they were kept


@pytest.mark.parametrize(("slow", "lines"), [("0", 1), ("1e9", 0)])
def test_a_person_at_a_terminal_reads_why_it_takes_long(package, slow, lines):
    ours, theirs = pytest.importorskip("pty", reason="this system has no terminals").openpty()
    program = CALL.format(f"cache._SLOW = {slow}")
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=package, env=os.environ | {"PYTHONPATH": ""}, stderr=theirs, check=True)
    os.write(theirs, b"end\n")
    said = os.read(ours, 10_000).decode()
    assert said.count("fastnn: compiling kernels for this machine") == lines
    os.close(ours)
    os.close(theirs)


NOTEBOOK = """
import sys, types
shell = types.SimpleNamespace(kernel=object())
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
cache._SLOW = {}
"""


@pytest.mark.parametrize(("slow", "lines"), [("0", 1), ("1e9", 0)])
def test_a_notebook_says_why_it_takes_long(package, slow, lines):
    said, errors = call(package, NOTEBOOK.format(slow))
    assert " ".join(said).count("fastnn: compiling kernels for this machine, once; they are") == lines
    assert said[-3:] == ["2.0", "2", "2"]
    assert errors == ""


@pytest.mark.parametrize(
    "ipython",
    ["None", "types.ModuleType('IPython')", "types.SimpleNamespace(get_ipython=lambda: None)"],
)
def test_where_ipython_runs_no_notebook_nothing_is_said(package, ipython):
    program = NOTEBOOK.format(0) + f"sys.modules['IPython'] = {ipython}"
    assert call(package, program) == (["2.0", "2", "2"], "")


@pytest.mark.parametrize("processes", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_processes_that_start_together_do_not_mix_up_code(processes, tmp_path):
    def start(*numbers):
        return subprocess.Popen(
            [sys.executable, "-c", TOGETHER, *map(str, numbers)],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    for process in [start(number) for number in range(processes)]:
        said, errors = process.communicate()
        assert process.returncode == 0, errors
        assert int(said) > 0
    said, errors = start(0, 1).communicate()
    assert (said, errors) == ("0\n", "")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_compilation_that_fails_leaves_the_garbage_collector_on():
    with pytest.raises(NumbaError):
        activations.relu("no", "arrays")
    assert gc.isenabled()
