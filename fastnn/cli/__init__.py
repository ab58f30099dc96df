"""The command line: ``fastnn train``, ``bench``, ``profile``, ``warmup`` and ``info``.

``fastnn --version`` and ``fastnn info`` also run without the packages of the ``demo`` extra.
"""

import sys


def main() -> None:
    """Run the command line; without its extras, say how to install them."""
    try:
        from fastnn.cli.app import app
    except ImportError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(_without_extras(error.name))
    app()


def _without_extras(missing: str) -> str | None:
    """Run a command that works without the packages of the extra; else return what to install."""
    if sys.argv[1:] == ["--version"]:
        from fastnn._version import __version__

        print(f"fastnn {__version__}")
        return None
    if sys.argv[1:] == ["info"]:
        from fastnn.cli.info import report

        print(report())
        return None
    return (
        f"the fastnn command needs {missing}: pip install 'fastnn-cpu[demo]'\n"
        "(from a checkout: pip install '.[demo]'); fastnn info and fastnn --version work without it"
    )
