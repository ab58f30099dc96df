"""All settings are in pyproject.toml; this is about ``pip install -e`` only."""

from pathlib import Path

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel


class PlainEditable(editable_wheel):
    """Puts the checkout on ``sys.path``, where its link ``fastnn/kernels`` is one.

    By default the mapping of ``fastnn.kernels`` gives an import hook, which is asked last: after a
    folder of the name ``fastnn`` on ``sys.path``, such as the checkout itself beside a script. That
    would be imported as a namespace package, without any names. A package that is found on
    ``sys.path`` wins over it.
    """

    def finalize_options(self) -> None:
        if Path(__file__).parent.joinpath("fastnn", "kernels", "__init__.py").is_file():
            self.distribution.package_dir = {"": "."}
        super().finalize_options()


setup(cmdclass={"editable_wheel": PlainEditable})
