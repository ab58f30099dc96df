"""One contestant a process, on the cases of ``fastnn.bench``: verified, warmed up, timed."""

import pytest

from fastnn.bench import contestants, machine, timing

SECONDS = 0.05  # for each benchmark of a round


def pytest_addoption(parser):
    parser.addoption("--contestant", default="fastnn", choices=list(contestants.TABLE))
    parser.addoption("--threads", type=int, default=machine.cores())


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "default")  # what peers warn of is no failure of theirs


def pytest_report_header(config):
    name = config.getoption("contestant")
    version = contestants.version(name) or "absent"
    lines = [f"contestant: {name} {version}, {config.getoption('threads')} threads"]
    warning = machine.busy(machine.load_average())
    return lines + ([warning] if warning else [])


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info.update(machine.describe())


@pytest.fixture(scope="session")
def contestant(request):
    name = request.config.getoption("contestant")
    if contestants.version(name) is None:
        pytest.skip(f"absent: {name} is not installed")
    return contestants.load(name, request.config.getoption("threads"))


@pytest.fixture
def timed(benchmark, contestant, request):
    """Time a case, and note what it reaches."""

    def run(case):
        benchmark.group = case.key
        call = contestant.call(case)
        if call is None:
            pytest.skip(f"{request.config.getoption('contestant')} has no {case.kernel}")
        wrong = contestant.verify(case, call)
        assert wrong is None, wrong
        samples, calls = timing.plan(timing.warm_up(call), SECONDS)
        benchmark.pedantic(call, rounds=samples, iterations=calls)
        if benchmark.stats is not None:  # None when benchmarks are switched off
            seconds = benchmark.stats.stats.median / case.at_once
            benchmark.extra_info.update(
                {"GB/s": case.bytes / seconds / 1e9, "GFLOP/s": case.flops / seconds / 1e9},
                case=case.key,
                contestant=request.config.getoption("contestant"),
                threads=request.config.getoption("threads"),
            )

    return run
