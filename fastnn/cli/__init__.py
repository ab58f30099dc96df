"""The command line: ``fastnn train``, ``bench``, ``profile``, ``warmup`` and ``info``."""

import sys


def main() -> None:
    """Run the command line; without its extras, say how to install them."""
    try:
        from fastnn.cli.app import app
    except ImportError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"the fastnn command needs {error.name}: pip install 'fastnn-cpu[demo]'")
    app()
