"""What a wheel and an sdist hold, and imports from everywhere."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from build import ProjectBuilder
from build.env import DefaultIsolatedEnv
from pyproject_hooks import quiet_subprocess_runner

ROOT = Path(__file__).parents[1]
# Without compilation NumPy's scalars warn where arrays of NaN and infinity are the test.
UNCOMPILED = (
    "tests/kernels/test_parity.py",
    "tests/kernels/test_softmax.py",
    "tests/layers/test_conv2d.py",
    "tests/layers/test_dense.py",
    "tests/layers/test_elman.py",
    "tests/layers/test_pool2d.py",
    "tests/test_losses.py",
    "tests/test_activations.py",
)
STEP = """
import numpy as np, fastnn
net = fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(2, "tanh")], {"name": "SGD"})
assert np.isfinite(net.train_step(np.ones((3, 4)), np.ones((3, 2))))
print(fastnn.__file__)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in a folder of the name fastnn; beside it, the folder ``site`` has its installation."""
    folder = tmp_path_factory.mktemp("beside")
    skipped = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "build", "dist")
    shutil.copytree(ROOT, folder / "fastnn", symlinks=True, ignore=skipped)
    with DefaultIsolatedEnv() as environment:
        builder = ProjectBuilder.from_isolated_env(
            environment, folder / "fastnn", quiet_subprocess_runner
        )
        environment.install(builder.build_system_requires)
        environment.install(builder.get_requires_for_build("editable"))
        wheel = builder.build("editable", folder / "dist")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "fastnn"


def run(folder, **environment):
    return subprocess.run(
        [sys.executable, "-c", STEP],
        cwd=folder,
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_the_wheel_holds_the_kernels_as_fastnn_kernels(built):
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    kernels = {f"fastnn/{path.relative_to(ROOT)}" for path in (ROOT / "kernels").rglob("*.py")}
    assert kernels <= set(names)
    assert "fastnn/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fastnn", "fastnn_cpu"}


def test_the_sdist_holds_every_source(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = archive.getnames()
    inside = {name.split("/", 1)[1] for name in names if "/" in name}
    for path in [*(ROOT / "kernels").rglob("*.py"), *(ROOT / "fastnn").rglob("*.py")]:
        assert str(path.relative_to(ROOT)) in inside
    assert {"README.md", "LICENSE", "pyproject.toml"} <= inside


def test_the_wheel_trains_from_a_foreign_folder(built, tmp_path):
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(tmp_path / "site")
    where = run(tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert where.strip() == str(tmp_path / "site" / "fastnn" / "__init__.py")


def test_a_checkout_trains_without_installing():
    assert run(ROOT, PYTHONPATH="").strip() == str(ROOT / "fastnn" / "__init__.py")


def test_a_script_beside_an_installed_clone_imports_the_package(clone):
    script = f"""
import site, sys
sys.path[:] = [path for path in sys.path if path != {str(ROOT)!r}]
site.addsitedir({str(clone.parent / "site")!r})
import fastnn, fastnn.kernels.softmax
print(fastnn.__file__, fastnn.NeuralNetwork.__name__)
"""
    (clone.parent / "script.py").write_text(script, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    shown = subprocess.run(
        [sys.executable, clone.parent / "script.py"],
        cwd=clone.parent,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.split() == [str(clone / "fastnn" / "__init__.py"), "NeuralNetwork"]


def test_without_a_cache_folder_it_works_all_the_same(tmp_path):
    zip_free = tmp_path / "file"
    zip_free.write_text("", encoding="utf-8")
    run(ROOT, NUMBA_CACHE_DIR=str(zip_free / "below-a-file"))


def test_the_kernels_run_uncompiled_too():
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "ignore::RuntimeWarning", *UNCOMPILED],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        check=True,
        capture_output=True,
    )


def test_no_text_tells_to_install_somebody_elses_package():
    texts = [ROOT / "README.md", ROOT / "pyproject.toml", *(ROOT / "fastnn").rglob("*.py")]
    for path in texts:
        assert not re.search(r"pip install '?fastnn\b(?!-cpu)", path.read_text(encoding="utf-8")), path
