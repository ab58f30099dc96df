"""Run a part of the tests as a 64-bit ARM processor would, with QEMU, on x86-64 Linux.

    python tests/arm.py [ARGUMENTS OF PYTEST]

Debian's packages of QEMU and of Python for ARM and the wheels are downloaded into build/arm once and
unpacked there; nothing is installed. It needs apt-get, dpkg-deb and Debian's keyring.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "arm"
MIRROR, RELEASE, PYTHON = "http://deb.debian.org/debian", "bookworm", "3.11"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = [f"python{PYTHON}:arm64", "libstdc++6:arm64", "libgomp1:arm64", "qemu-user-static:amd64"]
TEST_TOOLS = ["pytest", "pytest-benchmark", "hypothesis", "mpmath", "safetensors"]
PLATFORMS = [f"manylinux{version}_aarch64" for version in ("_2_28", "_2_27", "_2_17", "2014")]
# An emulated processor is some ten times slower, so accuracy is a sample.
TESTS = [
    "tests/kernels",
    "tests/engine",
    "tests/test_concurrency.py",
    "tests/accuracy/test_elementwise.py::test_error_is_within_the_limit",
]
# What is emulated cannot be started by its name, so processes that tests start go the same way.
STARTER = """#!/bin/sh
exec {qemu} -L {root} {root}/usr/bin/python{python} "$@"
"""
CUSTOM = "import sys\nsys.executable = {starter!r}\n"


def unpack_packages(root: Path) -> None:
    """Download Debian's packages with apt's state in a folder of its own, and unpack them."""
    state = FOLDER / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    source = f"deb [signed-by={KEYRING}] {MIRROR} {RELEASE} main\n"
    (state / "sources.list").write_text(source, encoding="utf-8")
    settings = {
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Cache::archives": state / "archives",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64,arm64",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "true",
    }
    options = [f"-o{name}={value}" for name, value in settings.items()]
    subprocess.run(["apt-get", *options, "-q", "update"], check=True)
    install = ["install", "-y", "-q", "--download-only", "--no-install-recommends"]
    subprocess.run(["apt-get", *options, *install, *PACKAGES], check=True)
    for archive in sorted((state / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", archive, root], check=True)


def install_wheels(site: Path) -> None:
    """Install what the tests need from wheels for ARM."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    options = ["--quiet", "--target", site, "--upgrade", "--only-binary=:all:"]
    options += ["--python-version", PYTHON, "--implementation", "cp"]
    options += [f"--platform={platform}" for platform in PLATFORMS]
    command = [sys.executable, "-m", "pip", "install", *options, *project["dependencies"], *TEST_TOOLS]
    subprocess.run(command, check=True)


def set_up() -> Path:
    """Return the script that starts Python for ARM, after everything it needs was downloaded."""
    root, site, starter = FOLDER / "root", FOLDER / "site", FOLDER / "python"
    if not starter.exists():
        unpack_packages(root)
        install_wheels(site)
        custom = CUSTOM.format(starter=str(starter))
        (site / "sitecustomize.py").write_text(custom, encoding="utf-8")
        qemu = root / "usr/bin/qemu-aarch64-static"
        script = STARTER.format(qemu=qemu, root=root, python=PYTHON)
        starter.write_text(script, encoding="utf-8")
        starter.chmod(0o755)  # last, so that a download that broke off is repeated
    return starter


def main(arguments: list[str]) -> int:
    """Run the tests, or those that arguments name; return pytest's code."""
    if not KEYRING.exists():
        print(f"there is no {KEYRING}: install debian-archive-keyring", file=sys.stderr)
        return 1
    starter = set_up()
    variables = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{FOLDER / 'site'}",
        "PYTHONHOME": "/usr",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(FOLDER / "cache"),
    }
    command = [starter, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    if not any(argument.startswith("tests") for argument in arguments):
        command += TESTS
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
