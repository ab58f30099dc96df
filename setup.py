"""Changes ``pip install -e``; all settings are in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel


class PlainEditable(editable_wheel):
    """Puts the checkout on ``sys.path``, if ``fastnn/kernels`` is a symbolic link there.

    By default setuptools installs an import hook for ``fastnn.kernels``, as its folder has another
    name. Python uses the hook only after it has searched ``sys.path``. There a folder ``fastnn``, such
    as the checkout beside a script, would be imported as a namespace package without any names. A
    package on ``sys.path`` comes before a namespace package.
    """

    def finalize_options(self) -> None:
        if Path(__file__).parent.joinpath("fastnn", "kernels", "__init__.py").is_file():
            self.distribution.package_dir = {"": "."}
        super().finalize_options()


setup(cmdclass={"editable_wheel": PlainEditable})
