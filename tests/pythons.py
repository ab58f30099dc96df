"""Run the tests with each version of Python that is to be had, in an environment of its own.

    python tests/pythons.py [VERSION ...] [-- ARGUMENTS OF PYTEST]

An interpreter is looked for on PATH, among pyenv's, and with uv, which may download it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "pythons"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def find(version: str) -> str | None:
    """Return an interpreter of a version, or None if there is none."""
    candidates = [shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates += map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))
    if uv := shutil.which("uv"):
        subprocess.run([uv, "python", "install", "--quiet", version])
        found = subprocess.run([uv, "python", "find", version], capture_output=True, text=True)
        candidates += found.stdout.split()
    return next((path for path in candidates if path and runs(path, version)), None)


def runs(interpreter: str, version: str) -> bool:
    """Return whether an interpreter starts and is of a version: pyenv's shims may stand for none."""
    program = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    done = subprocess.run([interpreter, "-c", program], capture_output=True, text=True)
    return done.stdout.strip() == version


def set_up(interpreter: str, version: str) -> Path:
    """Return the interpreter of an environment that holds what the tests need."""
    environment = FOLDER / version
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp, wanted = environment / "installed.toml", ROOT / "pyproject.toml"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        subprocess.run([interpreter, "-m", "venv", "--clear", environment], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--editable", f"{ROOT}[test]"], check=True)
        shutil.copyfile(wanted, stamp)
    return python


def run(version: str, arguments: list[str]) -> str:
    """Run the tests with a version; return how they ended."""
    interpreter = find(version)
    if interpreter is None:
        return "not run, there is no such interpreter"
    print(f"\n== {version}: {interpreter} ==", flush=True)
    try:
        python = set_up(interpreter, version)
    except subprocess.CalledProcessError as error:
        return f"not run, what the tests need cannot be installed: {error}"
    done = subprocess.run([python, "-m", "pytest", *(arguments or ["-q", "-n", "auto"])], cwd=ROOT)
    return "passed" if done.returncode == 0 else f"failed with code {done.returncode}"


def main(arguments: list[str]) -> int:
    """Run the tests with the versions named, or with all; return 1 if any failed."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    versions, rest = arguments[:split] or list(VERSIONS), arguments[split + 1 :]
    results = {version: run(version, rest) for version in versions}
    print()
    for version, result in results.items():
        print(f"Python {version}: {result}")
    return int(any(result.startswith("failed") for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
