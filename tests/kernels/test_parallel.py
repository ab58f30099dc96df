import threading

import numpy as np
import pytest

from fastnn.kernels import activations, cross_entropy, losses, parallel, softmax
from fastnn.kernels.compiling import jit
from fastnn.kernels.step import threads

pytestmark = pytest.mark.skipif(not jit.COMPILED, reason="jobs are compiled")
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
    assert loops == [] if out.nbytes < parallel.SMALL_ROWS else loops[0] >= 1
    one_thread()
    parallel.by_rows(function, *inputs, alone)
    assert out.tobytes() == alone.tobytes()


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 16383, 16384, 5 * parallel.CHUNK + 3])
@pytest.mark.parametrize("function", [activations.tanh, activations.tanh_backward])
def test_elements_have_the_bits_of_one_call(function, size, dtype, rng, loops):
    arity = 1 if function is activations.tanh else 2
    inputs = [rng.normal(size=(size, 1)).astype(dtype) for _ in range(arity)]
    expected, out = np.empty(size, dtype), np.empty((size, 1), dtype)
    function(*(array.reshape(-1) for array in inputs), expected)
    parallel.elementwise(function, *inputs, out)
    assert out.tobytes() == expected.tobytes()
    threads_ = threads.pool().n_threads
    chunks = -(-size // (parallel.CHUNK * threads_)) * threads_
    assert loops == ([] if out.nbytes < parallel.SMALL else [chunks])


def test_what_is_cheap_goes_to_several_threads_later(rng, loops):
    z = rng.normal(size=parallel.SMALL_PLAIN // 8)
    for size in (z.size - 1, z.size):
        parallel.elementwise(activations.relu, z[:size], np.empty(size))
    assert len(loops) == 1


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


@pytest.mark.parametrize("shape", [(1700, 10), (301, 100), (40, 1000), (3, 50_000)])
def test_sums_of_losses_are_those_of_one_call(shape, dtype, rng):
    z, (n, k) = rng.normal(size=shape).astype(dtype), shape
    y = rng.uniform(size=shape).astype(dtype)
    labels, samples, classes = rng.integers(0, k, n), rng.uniform(size=n), rng.uniform(size=k)
    out, expected = np.empty((2, *shape), dtype)
    eps = np.finfo(float).eps

    total = parallel.sum_by_rows(cross_entropy.softmax_cross_entropy, z, y, out)
    assert total == pytest.approx(cross_entropy.softmax_cross_entropy(z, y, n, expected), rel=4 * eps)
    assert np.max(abs(out - expected)) <= 4 * np.finfo(dtype).eps * np.max(abs(expected))

    given = labels, samples, classes, 0.1
    total = parallel.sum_by_labels(cross_entropy.softmax_cross_entropy_labels, z, *given, out)
    wanted = cross_entropy.softmax_cross_entropy_labels(z, *given, n, expected)
    assert total == pytest.approx(wanted, rel=4 * eps)
    assert np.max(abs(out - expected)) <= 4 * np.finfo(dtype).eps * np.max(abs(expected))

    total = parallel.sum_elementwise(losses.binary_cross_entropy, z, y, out)
    flat = z.reshape(-1), y.reshape(-1), n, expected.reshape(-1)
    assert total == pytest.approx(losses.binary_cross_entropy(*flat), rel=1e-12)
    assert out.tobytes() == expected.tobytes()


def test_sums_know_nan_and_infinity(rng):
    z, y = rng.normal(size=(2, 300, 100))
    out = np.empty_like(z)
    z[200, 3] = np.nan
    assert np.isnan(parallel.sum_by_rows(cross_entropy.softmax_cross_entropy, z, y, out))
    assert np.isnan(out).any(axis=1).tolist() == [i == 200 for i in range(300)]
    z[200, 3] = -np.inf
    assert parallel.sum_elementwise(losses.binary_cross_entropy, z, abs(y), out) == np.inf
