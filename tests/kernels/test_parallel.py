import threading

import numpy as np
import pytest

from fastnn.kernels import _jit, activations, parallel, softmax, threads

pytestmark = pytest.mark.skipif(not _jit.COMPILED, reason="jobs are compiled")
ROW_SHAPES = [(2000, 10), (4099, 7), (301, 100), (129, 130), (40, 1000), (1, 50_000), (20_000, 1)]


@pytest.fixture
def loops(monkeypatch):
    """The parallel loops that were run: how many chunks each had."""
    found = []
    run = parallel._run

    def record(template, function, shape, rows, parameter, arrays):
        found.append(-(-shape[0] // rows))
        run(template, function, shape, rows, parameter, arrays)

    monkeypatch.setattr(parallel, "_run", record)
    return found


@pytest.fixture
def one_thread(monkeypatch):
    pool = threads.Pool(1)
    return lambda: monkeypatch.setattr(threads, "pool", lambda: pool)


@pytest.mark.parametrize("shape", ROW_SHAPES)
@pytest.mark.parametrize("function", [softmax.softmax, softmax.softmax_jvp, softmax.softmax_backward])
def test_rows_do_not_depend_on_the_number_of_threads(function, shape, dtype, rng, loops, one_thread):
    arity = 1 if function is softmax.softmax else 2
    inputs = [rng.normal(size=shape).astype(dtype) for _ in range(arity)]
    expected, out, alone = np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, dtype)
    function(*inputs, expected)
    parallel.by_rows(function, *inputs, out)
    np.testing.assert_allclose(out, expected, rtol=20 * np.finfo(dtype).eps, atol=1e-7)
    assert loops == [] if out.size < parallel.SMALL else loops[0] >= 1
    one_thread()
    parallel.by_rows(function, *inputs, alone)
    assert out.tobytes() == alone.tobytes()


@pytest.mark.parametrize("size", [0, 1, parallel.SMALL - 1, parallel.SMALL, 5 * parallel.CHUNK + 3])
@pytest.mark.parametrize("function", [activations.tanh, activations.tanh_backward])
def test_elements_have_the_bits_of_one_call(function, size, dtype, rng, loops):
    arity = 1 if function is activations.tanh else 2
    inputs = [rng.normal(size=(size, 1)).astype(dtype) for _ in range(arity)]
    expected, out = np.empty(size, dtype), np.empty((size, 1), dtype)
    function(*(array.reshape(-1) for array in inputs), expected)
    parallel.elementwise(function, *inputs, out)
    assert out.tobytes() == expected.tobytes()
    assert loops == ([] if size < parallel.SMALL else [-(-size // parallel.CHUNK)])


def test_many_python_threads_at_once(rng):
    z = rng.normal(size=(300, 400))
    expected = np.empty_like(z)
    parallel.by_rows(softmax.softmax, z, expected)
    wrong = []

    def work():
        out = np.empty_like(z)
        for _ in range(50):
            out[:] = -1
            parallel.by_rows(softmax.softmax, z, out)
            if out.tobytes() != expected.tobytes():
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
