import sys

import pytest

import fastnn


@pytest.mark.parametrize(
    ("package", "call", "arguments"),
    [
        ("torch", fastnn.to_torch, (None,)),
        ("torch", fastnn.from_torch, (None,)),
        ("onnx", fastnn.export_onnx, (None, "network.onnx")),
        ("onnx", fastnn.from_onnx, ("network.onnx",)),
    ],
)
def test_an_absent_package_is_named_with_its_extra(package, call, arguments, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'fastnn-cpu\[{package}\]'"):
        call(*arguments)
