"""Run the programs on all of their data; save their learning curves in docs/."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = Path(__file__).parent


def main():
    """Run the programs and copy their plots."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("data", "lenet", "sinewave"):
            subprocess.run([sys.executable, PROGRAMS / f"{name}.py"], cwd=folder, check=True)
            picture = Path(folder, f"{name}.png")
            if picture.is_file():
                shutil.copy(picture, PROGRAMS.parent / f"{name}-curve.png")


if __name__ == "__main__":
    main()
