import platform

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pytest_benchmark_update_machine_info(config, machine_info):
    from fastnn.kernels._jit import machine

    machine_info["kernels"] = {k: v for k, v in machine().items() if k != "CPU features"}
    machine_info["numpy"] = np.__version__
    machine_info["system"] = platform.platform()


@pytest.fixture
def timed(benchmark):
    """Time a call that was verified and warmed up, and note its throughput in rows a second."""

    def run(function, rows):
        function()
        function()
        benchmark(function)
        if benchmark.stats is not None:  # None when benchmarks are switched off
            benchmark.extra_info["rows_per_second"] = rows / benchmark.stats["median"]

    return run
