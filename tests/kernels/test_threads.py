"""The pool under conditions that abort or hang others, each in a process with a time limit."""

import os
import subprocess
import sys

import pytest
from processes import PATIENCE

SETUP = """
import os, sys, threading, time, warnings
import numpy as np
import fastnn
from fastnn import pace

pace._WAKING = float("inf")  # no trial: steps are always shared
warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)  # that it may hang
Z = np.random.default_rng(1).normal(size=(300, 400))

def softmax():
    return fastnn.SoftMax().forward(Z).tobytes()

def train(seed=0, steps=100, n=256):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 20)), rng.integers(0, 3, n)
    layers = [fastnn.FullyConnected(64, "relu"), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=seed)
    for _ in range(steps):
        net.train_step(X, y)
    return [p.tobytes() for layer in net.layers for p in layer.parameters.values()]

def meanwhile(work):
    "Run work over and over in another thread; return what ends that, after at least one more turn."
    stop, turns, failures = [], [0], []
    def repeat():
        try:
            while not stop:
                work()
                turns[0] += 1
        except BaseException as failure:
            failures.append(failure)
    thread = threading.Thread(target=repeat)
    thread.start()
    def end():
        last = turns[0] + 1
        while turns[0] < last and not failures:
            time.sleep(0.001)
        stop.append(1)
        thread.join()
        assert not failures, failures
    return end

def right():
    "Whether a child, of whatever kind, computes as its parent does."
    return train() == expected and softmax() == expected_softmax

"""
EXPECTED = "expected, expected_softmax = train(), softmax()\n"


def run(code, setup=SETUP + EXPECTED, **environment):
    command = [sys.executable, "-c", setup + code]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, f"code {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def run_script(path, code):
    """Run code from a file, so that processes it starts can import it."""
    path.write_text(SETUP + code, encoding="utf-8")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"code {done.returncode}: {done.stdout}{done.stderr}"


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def test_the_network_trained_here_is_large_enough_for_several_threads():
    run("""
from fastnn.kernels.step import threads
pool = threads.pool()
before = pool._block[pool._start]  # the number of loops there were
train(steps=3)
assert pool._block[pool._start] >= before + 3
""")


def test_helpers_that_are_held_stay_awake_between_loops():
    run("""
from fastnn.kernels.step import threads

def wait_until(awake):
    while pool._awake[0] != awake:
        time.sleep(0.0001)

with fastnn.set_num_threads(2):
    pool = threads.pool()
    pool._spins_held = 2**60  # so that a busy machine does not send them to sleep
    with pool.held(), pool.held():
        wait_until(1)
        time.sleep(0.003)  # many times as long as they spin otherwise
        assert pool._awake[0] == 1
    wait_until(0)
""")


def test_many_python_threads_at_once():
    run("""
wanted = [train(seed) for seed in range(4)]
wrong = []

def work(seed):
    for _ in range(3):
        if train(seed) != wanted[seed] or softmax() != expected_softmax:
            wrong.append(seed)

workers = [threading.Thread(target=work, args=(i % 4,)) for i in range(8)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert not wrong, wrong
""")


@forks
def test_after_fork():
    run("""
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if right() else 1)
    assert right()
    assert os.waitpid(child, 0)[1] == 0
""")


@forks
def test_fork_while_another_thread_is_inside_a_kernel():
    run("""
end = meanwhile(softmax)
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if right() else 1)
    assert os.waitpid(child, 0)[1] == 0
end()
assert right()
""")


@forks
def test_a_forked_child_keeps_the_setting():
    run("""
fastnn.set_num_threads(3)
assert right()
child = os.fork()
if child == 0:
    from fastnn.kernels.step import threads
    os._exit(0 if right() and fastnn.get_num_threads() == threads.pool().n_threads == 3 else 1)
assert os.waitpid(child, 0)[1] == 0
""")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_beside_blas(threads):
    run(
        """
A = np.random.default_rng(0).normal(size=(300, 300))
product = A @ A
def multiply():
    assert np.allclose(A @ A, product)
ends = [meanwhile(multiply) for _ in range(2)]
for _ in range(5):
    assert right()
for end in ends:
    end()
""",
        OPENBLAS_NUM_THREADS=threads,
    )


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=forks), "forkserver"])
def test_in_a_pool_of_processes(method, tmp_path):
    run_script(
        tmp_path / "script.py",
        f"""
import multiprocessing
if __name__ == "__main__":
    wanted = train()
    with multiprocessing.get_context({method!r}).Pool(2) as processes:
        results = processes.map(train, [0] * 4)
    assert results == [wanted] * 4
    assert train() == wanted
""",
    )


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_under_joblib(backend, tmp_path):
    pytest.importorskip("joblib")
    run_script(
        tmp_path / "script.py",
        f"""
import joblib
if __name__ == "__main__":
    wanted = train()
    run = joblib.Parallel(n_jobs=2, backend={backend!r})
    assert run(joblib.delayed(train)(0) for _ in range(4)) == [wanted] * 4
    counts = run(joblib.delayed(fastnn.get_num_threads)() for _ in range(4))
    if {backend!r} == "loky":  # it divides the cores among its workers
        assert max(counts) <= max(joblib.cpu_count() // 2, 1), counts
    assert train() == wanted
""",
    )


def test_a_new_thread_is_as_fast_as_an_old_one():
    """Its stack is not mapped yet, where vectors without a lane to load or store may be slow."""
    run("""
fastnn.set_num_threads(1)

def fastest(Z):
    "Return the least processor time of many calls, which other processes hardly lengthen."
    times = []
    for _ in range(50):
        start = time.thread_time_ns()
        fastnn.SoftMax().forward(Z)
        times.append(time.thread_time_ns() - start)
    return min(times)

def new_thread_s(Z):
    found = []
    thread = threading.Thread(target=lambda: found.append(fastest(Z)))
    thread.start()
    thread.join()
    return found[0]

for k in (3, 9, 20):
    for dtype in (np.float32, np.float64):
        Z = np.zeros((300, k), dtype)
        tries = ((new_thread_s(Z), fastest(Z)) for _ in range(20))
        assert any(new <= 4 * old for new, old in tries), (k, dtype)
""")


def test_the_interpreter_exits_while_helpers_spin():
    for _ in range(4):
        assert run("fastnn.set_num_threads(4); softmax(); print('end', flush=True)") == "end\n"


def test_the_interpreter_exits_while_threads_train():
    run("""
for _ in range(3):
    threading.Thread(target=lambda: [train() for _ in range(100)], daemon=True).start()
assert right()
""")


def test_the_setting_changes_while_others_run():
    run("""
ends = [meanwhile(lambda: train(steps=5)), meanwhile(softmax)]
for i in range(60):
    fastnn.set_num_threads(1 + i % 4)
    assert softmax() == expected_softmax
    if i % 20 == 0:
        assert right()
for end in ends:
    end()
helpers = [thread for thread in threading.enumerate() if thread.name == "fastnn"]
for helper in helpers[: -fastnn.get_num_threads()]:
    helper.join()  # those of earlier pools go home
assert sum(thread.name == "fastnn" for thread in threading.enumerate()) < fastnn.get_num_threads()
""")


def test_without_more_threads_from_the_system_work_goes_on():
    run("""
start = threading.Thread.start
def refuse(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
fastnn.set_num_threads(4)
assert right()
""")
