"""Networks as ONNX files, run by ONNX Runtime, and read back; files of others."""

import numpy as np
import pytest

import fastnn

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
NotImplementedByRuntime = pytest.importorskip(
    "onnxruntime.capi.onnxruntime_pybind11_state"
).NotImplemented


def run(model, X):
    """Return a model's output by ONNX Runtime; ``model`` is a path or bytes."""
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})[-1]


def test_there_and_back(activation, dtype, tmp_path, trained, close):
    if activation.onnx is None and not isinstance(activation, fastnn.Linear):
        pytest.skip("ONNX has no such operator")
    net, X = trained(activation, dtype)
    path = tmp_path / "network.onnx"
    fastnn.export_onnx(net, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    try:
        found = run(path, X)
    except NotImplementedByRuntime:  # some operators in float64
        assert dtype == np.float64
        found = evaluator(str(path)).run(None, {"input": X})[0]
        fastnn.export_onnx(net, tmp_path / "float32.onnx", dtype="float32")
        theirs = run(tmp_path / "float32.onnx", X.astype("float32"))
        close(theirs, net.predict(X).astype("float32"))
    assert found.dtype == dtype
    compared = "float32" if activation.onnx and activation.onnx.single_constants else dtype
    close(found.astype(compared), net.predict(X).astype(compared))

    back = fastnn.from_onnx(path)
    assert vars(back.layers[0].activation) == vars(activation)
    np.testing.assert_array_equal(back.predict(X), net.predict(X))


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "log_softmax"])
def test_the_last_activation_and_any_batch(last, tmp_path, trained, close):
    net, X = trained("relu", "float32", last)
    path = tmp_path / "network.onnx"
    fastnn.export_onnx(net, path)
    for n in (1, 7, 50):
        close(run(path, X[:n]), net.predict(X[:n]))


@pytest.mark.parametrize("sequences", [False, True])
def test_recurrent_networks(sequences, tmp_path, close):
    layers = [fastnn.Elman(4, "relu", return_sequences=True), fastnn.Elman(3)]
    layers = [*layers, fastnn.FullyConnected(2, "softmax")] if not sequences else layers[:1]
    net = fastnn.NeuralNetwork("l2", layers, {"name": "SGD", "lr": 0.1}, seed=0, dtype="float32")
    X = np.random.default_rng(0).normal(size=(7, 2, 6)).astype("float32")
    net.forward(X)
    path = tmp_path / "network.onnx"
    fastnn.export_onnx(net, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    close(run(path, X), net.predict(X))
    close(run(path, X[:2, :, :3]), net.predict(X[:2, :, :3]))


def test_a_network_without_parameters_leaves_the_old_file(tmp_path):
    path = tmp_path / "network.onnx"
    path.write_text("old", encoding="utf-8")
    net = fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(2, "relu")], fastnn.SGD(0.1))
    with pytest.raises(RuntimeError, match="no parameters"):
        fastnn.export_onnx(net, path)
    assert path.read_text(encoding="utf-8") == "old"


RNG = np.random.default_rng(0)
W, B = RNG.standard_normal((3, 2)).astype("float32"), RNG.standard_normal(2).astype("float32")


def written(path, nodes, constants=None, outputs=("y",)):
    """Write a model from ``x (batch, 3)`` with the constants ``W (3, 2)`` and ``b (2,)``."""
    constants = {"W": W, "b": B} | (constants or {})
    for _, _, made, _ in nodes:
        constants.pop(made, None)
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(op, list(x), [y], **attributes) for op, x, y, attributes in nodes],
        "graph",
        [helper.make_tensor_value_info("x", float32, ["n", 3])],
        [helper.make_tensor_value_info(name, float32, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


GEMM = ("Gemm", "xWb", "z", {})


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("MatMul", "xW", "p", {}), ("Add", "pb", "y", {})], {}),
        ([("MatMul", "xW", "p", {}), ("Add", "bp", "y", {})], {"b": B.reshape(1, 2)}),
        ([("MatMul", "xW", "y", {})], {}),
        ([("Gemm", "xWb", "y", {"transB": 1, "alpha": 0.5, "beta": 2.0})], {"W": W.T.copy()}),
        ([("Gemm", "xWb", "y", {"alpha": -0.1, "beta": 0.0})], {}),
        ([("Gemm", "xWb", "y", {"transB": 0, "beta": 1.5})], {"b": B.reshape(1, 2)}),
        ([("Gemm", "xWb", "y", {"beta": -3.0})], {"b": B[:1]}),
        ([("Gemm", "xWb", "y", {})], {"b": B[:1].reshape(())}),
        ([("Gemm", "xWb", "y", {"transB": 1})], {"W": W[:, :1].T.copy(), "b": B[:1].reshape(1, 1)}),
        ([("Gemm", "xW", "p", {}), ("Add", "pb", "y", {})], {}),
        ([("Transpose", "V", "W", {"perm": [1, 0]}), ("MatMul", "xW", "y", {})], {"V": W.T.copy()}),
        ([("Constant", "", "c", {"value": numpy_helper.from_array(B)}), ("Gemm", "xWc", "y", {})], {}),
        ([GEMM, ("Sigmoid", "z", "s", {}), ("Mul", "sz", "y", {})], {}),
        ([GEMM, ("Softmax", "z", "y", {"axis": 1})], {}),
        ([GEMM, ("LogSoftmax", "z", "y", {})], {}),
        ([GEMM, ("Gelu", "z", "y", {})], {}),
        ([GEMM, ("LeakyRelu", "z", "y", {})], {}),
        ([GEMM, ("PRelu", "zs", "y", {})], {"s": np.array([0.2], "float32")}),
        ([("Flatten", "x", "f", {}), ("Gemm", "fWb", "z", {}), ("Identity", "z", "y", {})], {}),
        ([("Cast", "x", "f", {"to": 1}), ("Gemm", "fWb", "z", {}), ("Dropout", "z", "y", {})], {}),
    ],
    ids=lambda value: "-".join(node[0] for node in value) if isinstance(value, list) else "",
)
def test_graphs_of_others(nodes, constants, tmp_path, close):
    path = written(tmp_path / "model.onnx", nodes, constants)
    X = RNG.standard_normal((5, 3)).astype("float32")
    close(fastnn.from_onnx(path).predict(X), run(path, X))


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([("Erf", "x", "y", {})], "the node Erf that makes 'y' is not converted.*There are: Gemm"),
        ([GEMM, ("Softmax", "z", "y", {"axis": 0})], "Softmax"),
        ([GEMM, ("Mul", "zb", "y", {})], "Mul"),
        ([("MatMul", "Wx", "y", {})], "a constant matrix"),
        ([("Add", "xb", "y", {})], "Add is taken only of a constant after"),
        ([("Relu", "x", "y", {})], "ReLU follows no linear layer"),
        ([("Relu", "W", "y", {})], "'W' is a constant"),
        ([("Identity", "x", "y", {})], "no linear layer to convert"),
    ],
)
def test_what_cannot_be_converted_is_named(nodes, named, tmp_path):
    with pytest.raises(TypeError, match=named):
        fastnn.from_onnx(written(tmp_path / "model.onnx", nodes))


U = RNG.standard_normal((4, 3)).astype("float32")
NO_ROWS, NO_COLUMNS = np.zeros((0, 2), "float32"), np.zeros((3, 0), "float32")


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([GEMM, ("Gemm", "zU", "y", {})], {"U": U}, r"layer 1 has W \(4, 3\), layer 0 .* 2 out"),
        ([GEMM, ("Relu", "z", "r", {}), ("MatMul", "rU", "y", {})], {"U": U}, "layer 1 has W"),
        ([GEMM, ("Gemm", "zU", "y", {"transB": 1})], {"U": U}, r"layer 1 has W \(3, 4\)"),
        ([("Gemm", "xWb", "y", {"transB": 1})], {}, r"Gemm adds \(2,\) to rows of 3"),
        ([("Gemm", "xWb", "y", {})], {"b": np.ones((5, 2), "float32")}, r"adds \(5, 2\) to rows of 2"),
        ([("MatMul", "xW", "p", {}), ("Add", "pb", "y", {})], {"b": U[0]}, r"adds \(3,\) to rows of 2"),
        ([("MatMul", "xW", "y", {})], {"W": NO_ROWS}, r"layer 0 has W \(0, 2\)"),
        ([("MatMul", "xW", "y", {})], {"W": NO_COLUMNS}, r"layer 0 has W \(3, 0\)"),
        ([("Gemm", "xWb", "y", {"alpha": "two"})], {}, "alpha 'two', which is no number"),
        ([("Gemm", "xWb", "y", {"transB": [1]})], {}, "transB .1., which is no number"),
        ([("Gemm", "x", "y", {})], {}, "Gemm has 1 inputs"),
        ([("Add", "x", "y", {})], {}, "Add has 1 inputs"),
        ([("Mul", "x", "y", {})], {}, "Mul has 1 inputs"),
        ([("Relu", "", "y", {})], {}, "Relu has 0 inputs"),
        ([GEMM, ("PRelu", "z", "y", {})], {}, "PRelu has 1 inputs"),
        ([GEMM, ("LeakyRelu", "z", "y", {"alpha": "x"})], {}, "alpha"),
        ([("Transpose", "V", "W", {"perm": [7]}), ("MatMul", "xW", "y", {})], {"V": W}, "transposed"),
        ([("Transpose", "", "W", {}), ("MatMul", "xW", "y", {})], {}, "Transpose has 0 inputs"),
        ([("Constant", "", "W", {"value": 1.5}), ("MatMul", "xW", "y", {})], {}, "cannot be read"),
        ([("Relu", "y", "y", {})], {}, "the graph has a cycle: 'y'"),
        ([("Relu", "z", "y", {}), ("Gemm", "yWb", "z", {})], {}, "the graph has a cycle"),
        ([("Identity", "z", "y", {}), ("Identity", "y", "z", {})], {}, "the graph has a cycle"),
        (
            [("Identity", "W", "V", {}), ("Transpose", "V", "W", {}), ("Gemm", "xV", "y", {})],
            {},
            "cycle",
        ),
        ([("MatMul", "yW", "p", {}), ("Add", "pb", "y", {})], {}, "the graph has a cycle"),
    ],
)
def test_damaged_graphs_are_refused_with_the_files_name(nodes, constants, message, tmp_path):
    path = written(tmp_path / "damaged.onnx", nodes, constants)
    with pytest.raises(ValueError, match=rf"damaged\.onnx: .*{message}"):
        fastnn.from_onnx(path)


@pytest.mark.parametrize(
    ("dims", "data"),
    [((10**6, 10**6), b""), ((2**62, 4), b"\0" * 24), ((-3, 2), b"\0" * 7), ((3, 2), b"")],
)
def test_a_tensor_of_an_absurd_shape_is_refused(dims, data, tmp_path):
    path = written(tmp_path / "model.onnx", [("MatMul", "xW", "y", {})])
    model = onnx.load(path)
    (tensor,) = (t for t in model.graph.initializer if t.name == "W")
    tensor.dims[:], tensor.raw_data = dims, data
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"model\.onnx: the tensor 'W' cannot be read"):
        fastnn.from_onnx(path)


def test_what_is_not_there_or_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        fastnn.from_onnx(tmp_path / "none.onnx")
    with pytest.raises(OSError, match=tmp_path.name):
        fastnn.from_onnx(tmp_path)


def mutated(content, rng):
    """Return a file's content with some bytes flipped, cut out, doubled, or replaced by others."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place, length = int(rng.integers(len(content))), int(rng.integers(1, 12))
        kind = rng.integers(5)
        if kind == 0:
            content[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del content[place : place + length]
        elif kind == 2:
            content[place:place] = content[place : place + length]
        elif kind == 3:
            other = int(rng.integers(len(content)))
            content[place : place + length] = content[other : other + length]
        else:
            del content[place:]
        if not content:
            break
    return bytes(content)


def test_mutations_of_a_file_give_a_network_or_the_one_error(tmp_path):
    rng = np.random.default_rng(0)
    nodes = [
        ("Identity", "x", "i", {}), ("Transpose", "V", "T", {"perm": [1, 0]}),
        ("Gemm", "iTb", "z", {"alpha": 0.5, "transB": 0}), ("Sigmoid", "z", "s", {}),
        ("Mul", "zs", "m", {}), ("MatMul", "mU", "p", {}), ("Add", "pc", "q", {}),
        ("Elu", "q", "e", {"alpha": 0.5}), ("Gemm", "eUc", "g", {"transB": 1}),
        ("Softmax", "g", "y", {}),
    ]  # fmt: skip
    U = rng.standard_normal((2, 2)).astype("float32")
    path = written(tmp_path / "model.onnx", nodes, {"V": W.T.copy(), "U": U, "c": B})
    content = path.read_bytes()
    assert len(fastnn.from_onnx(path).layers) == 3
    refused = []
    for _ in range(800):
        path.write_bytes(mutated(content, rng))
        try:
            net = fastnn.from_onnx(path)
        except (TypeError, ValueError) as error:
            refused.append(repr(error))
        else:
            with np.errstate(all="ignore"):
                assert len(net.predict(np.ones((2, net.layers[0].n_in)))) == 2
    assert 100 < len(refused) < 800
    assert all("model.onnx" in error for error in refused)
    assert all(error.startswith(("TypeError", "ValueError")) for error in refused)


def test_one_output_of_several(tmp_path):
    nodes = [GEMM, ("Softmax", "z", "p", {}), ("ArgMax", "p", "label", {"axis": 1})]
    path = written(tmp_path / "model.onnx", nodes, outputs=("label", "p"))
    with pytest.raises(ValueError, match="the outputs label, p: choose one by output="):
        fastnn.from_onnx(path)
    with pytest.raises(ValueError, match="no output 'q'; it has label, p"):
        fastnn.from_onnx(path, output="q")
    assert fastnn.from_onnx(path, output="p").loss.name == "cross_entropy"


@pytest.mark.parametrize("content", [b"", b"no model at all, only text"])
def test_files_that_are_no_models(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no ONNX model"):
        fastnn.from_onnx(path)


def test_logits(tmp_path):
    path = written(tmp_path / "model.onnx", [("Gemm", "xWb", "y", {})])
    net = fastnn.from_onnx(path, logits=True)
    np.testing.assert_allclose(net.predict(np.ones((2, 3))).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.filterwarnings("ignore")  # of PyTorch's exporters
def test_what_pytorch_exports(dynamo, tmp_path, close):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if dynamo:
        pytest.importorskip("onnxscript", reason="PyTorch's exporter needs onnxscript")
    nn = torch.nn
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 6, bias=False), nn.GELU(), nn.Dropout(),
        nn.Sequential(nn.Linear(6, 4), nn.LeakyReLU(0.2)), nn.Linear(4, 2), nn.Softmax(1),
    ).eval()  # fmt: skip
    X = RNG.standard_normal((5, 3)).astype("float32")
    path = tmp_path / "model.onnx"
    torch.onnx.export(module, (torch.from_numpy(X),), path, opset_version=20, dynamo=dynamo)
    net = fastnn.from_onnx(path)
    assert net.loss.name == "cross_entropy"
    close(net.predict(X), run(path, X))
