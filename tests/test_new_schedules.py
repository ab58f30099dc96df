"""Schedules against their formulas and torch's; schedules that count updates."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import Cosine, LinearWarmup, OneCycle, ReduceOnPlateau, StepDecay, initialize_scheduler
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.schedulers import Exponential

LOSSES = [5, 4, 4, 4, 4, 3.9, 4, 4, 4, float("nan"), 4, 3, 3, 2.99999, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]


def rates(scheduler, n):
    return [scheduler(i) for i in range(n)]


def plateau(scheduler, losses):
    found = []
    for epoch, loss in enumerate(losses):
        found.append(scheduler(epoch))
        scheduler.report(loss, epoch)
    return found


def test_rates_by_their_formulas():
    assert rates(StepDecay(1.0, 3, 0.5), 7) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    cosine = rates(Cosine(1.0, 4, lr_min=0.2), 6)
    np.testing.assert_allclose(
        cosine, [1, 0.6 + 0.4 * math.sqrt(0.5), 0.6, 0.6 - 0.4 * math.sqrt(0.5), 0.2, 0.2]
    )
    cycle = OneCycle(1.0, 101, rise=0.31, start_divisor=10, end_divisor=100)
    top = 0.31 * 101 - 1
    np.testing.assert_allclose([cycle(0), cycle(top / 2), cycle(top)], [0.1, 0.55, 1])
    np.testing.assert_allclose([cycle((top + 100) / 2), cycle(100), cycle(1000)], [0.5005, 1e-3, 1e-3])
    assert OneCycle(1.0, 1)(0) == pytest.approx(1 / 25 / 1e4)
    warm = LinearWarmup(Exponential(1.0, 0.5, 1), 4, start_factor=0.2, by_step=False)
    np.testing.assert_allclose(rates(warm, 7), [0.2, 0.4, 0.6, 0.8, 1, 0.5, 0.25])
    np.testing.assert_allclose(rates(LinearWarmup(2.0, 2, 0), 4), [0, 1, 2, 2])


def test_a_warm_up_by_steps_before_a_schedule_by_epochs():
    warm = LinearWarmup(StepDecay(1.0, 1, 0.5), 4, start_factor=0.0)
    assert warm.counts_steps
    assert [warm.rate_at(epoch, step) for epoch, step in ((0, 0), (0, 2), (1, 3), (1, 4), (2, 9))] == [
        0, 0.5, 0.375, 0.5, 0.25
    ]  # fmt: skip
    warm.lr = 2.0
    assert (warm.lr, warm.rate_at(2, 9)) == (2.0, 0.5)
    with pytest.raises(AttributeError, match="no lr to set"):
        LinearWarmup(lambda epoch: 0.1).lr = 1.0


def test_a_plateau():
    scheduler = ReduceOnPlateau(1.0, 0.5, patience=2, cooldown=1, lr_min=0.3)
    found = plateau(scheduler, LOSSES)
    assert found[:9] == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    assert min(found) == 0.3
    assert scheduler(0) == 1  # the rates of epochs that have been
    scheduler.start()
    assert scheduler(20) == 1


def test_torchs_rates():
    torch = pytest.importorskip("torch")
    lrs = torch.optim.lr_scheduler

    def compared(ours, make, n, rtol=1e-12):
        rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        theirs, found = make(rule), []
        for _ in range(n):
            found.append(rule.param_groups[0]["lr"])
            rule.step()
            theirs.step()
        np.testing.assert_allclose(rates(ours, n), found, rtol=rtol, atol=1e-15)

    compared(StepDecay(0.1, 4, 0.3), lambda o: lrs.StepLR(o, 4, 0.3), 20)
    compared(Cosine(0.1, 20, 0.01), lambda o: lrs.CosineAnnealingLR(o, 20, 0.01), 21, 1e-10)
    compared(LinearWarmup(0.1, 5), lambda o: lrs.LinearLR(o, total_iters=5), 20)
    compared(OneCycle(0.1, 50), lambda o: lrs.OneCycleLR(o, 0.1, 50, cycle_momentum=False), 50)
    compared(
        LinearWarmup(StepDecay(0.1, 4, 0.5), 5, by_step=False),
        lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o, total_iters=5), lrs.StepLR(o, 4, 0.5)], [5]),
        20,
    )
    for options in ({}, {"cooldown": 2}, {"threshold": 0.1}):
        rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        theirs = lrs.ReduceLROnPlateau(rule, factor=0.5, patience=2, min_lr=0.01, **options)
        found = []
        for loss in LOSSES:
            found.append(rule.param_groups[0]["lr"])
            theirs.step(loss)
        ours = ReduceOnPlateau(0.1, factor=0.5, patience=2, lr_min=0.01, **options)
        np.testing.assert_allclose(plateau(ours, LOSSES), found)


def test_by_name():
    assert repr(initialize_scheduler("Step", 0.1, 0.5, 3)) == repr(StepDecay(0.1, 3, 0.5))
    assert repr(initialize_scheduler("cosine", 0.1, stage_length=30)) == repr(Cosine(0.1, 30))
    assert repr(initialize_scheduler("one_cycle", 0.1, length=30)) == repr(OneCycle(0.1, 30))
    by_name = initialize_scheduler("linear_warmup", 0.1, None, 30, start_factor=0.0)
    assert repr(by_name) == repr(LinearWarmup(0.1, 30, 0.0))
    assert initialize_scheduler("reduce_on_plateau", 0.1, patience=3).patience == 3
    assert fastnn.SGD(0.1, "cosine", stage_length=7).lr_scheduler.length == 7
    with pytest.raises(ValueError, match="needs stage_length"):
        initialize_scheduler("one_cycle", 0.1)
    with pytest.raises(TypeError, match="takes no speed"):
        initialize_scheduler("cosine", 0.1, stage_length=3, speed=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepDecay(0.1, 0), "stage_length must be finite, above 0"),
        (lambda: Cosine(0.1, -1), "length"),
        (lambda: OneCycle(0.1, 10, rise=2), "rise"),
        (lambda: LinearWarmup(0.1, 10, start_factor=-1), "start_factor"),
        (lambda: ReduceOnPlateau(0.1, factor=1.0), "factor must be below 1"),
        (lambda: ReduceOnPlateau(0.1, patience=-1), "patience"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Own(fastnn.SGD):
    """Trained by layers."""


def network(scheduler, kind=fastnn.SGD, n_out=3):
    layers = [fastnn.FullyConnected(6, "tanh"), fastnn.FullyConnected(n_out, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, kind(lr_scheduler=scheduler), seed=0)


def data(n=40):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), np.eye(3)[rng.integers(0, 3, n)]


def ahead(step):
    return 0.5 / (1 + step)


ahead.by_step = True


@pytest.mark.parametrize("make", [lambda: OneCycle(0.5, 15), lambda: ahead], ids=["one cycle", "own"])
def test_updates_are_counted_on_both_roads(make):
    X, Y = data()
    nets = [network(make(), kind) for kind in (fastnn.SGD, Own)]
    by_hand = network("constant")
    for net in nets:
        net.fit(X, Y, epochs=3, batch_size=8, shuffle=False, verbose=False)
        assert net.optimizer.updates == 15
    for _ in range(3):
        for i in range(0, 40, 8):
            by_hand.optimizer.lr = make()(by_hand.optimizer.updates)
            by_hand.train_step(X[i : i + 8], Y[i : i + 8])
    for net in nets:
        np.testing.assert_allclose(net.flat_parameters, by_hand.flat_parameters, rtol=1e-10, atol=1e-12)
        net.fit(X, Y, epochs=1, batch_size=8, verbose=False)
        assert net.optimizer.updates == 5  # a run begins at 0
        net.train_step(X, Y)
        assert net.optimizer.updates == 6


def test_calls_of_update_are_one_until_a_name_comes_again():
    optimizer = fastnn.SGD(lr_scheduler=ahead)
    steps = [optimizer.update(name, np.zeros(1), np.ones(1))[0] for name in ("W", "b", "W", "b", "b")]
    assert steps == [0.5, 0.5, 0.25, 0.25, 0.5 / 3]
    assert optimizer.updates == 3


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
def test_many_networks_side_by_side_end_as_after_a_fit_of_their_own():
    X, Y = data()
    schedulers = [lambda: OneCycle(0.5, 15), lambda: ReduceOnPlateau(1.0, 0.5, 0)]
    together = [network(make()) for make in schedulers]
    fastnn.fit_many(together, X, Y, epochs=3, batch_size=8)
    for net, make in zip(together, schedulers, strict=True):
        alone = network(make())
        alone.fit(X, Y, epochs=3, batch_size=8, verbose=False)
        np.testing.assert_array_equal(net.flat_parameters, alone.flat_parameters)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearWarmup(Cosine(0.5, 20, by_step=True), 10),
        lambda: LinearWarmup(StepDecay(0.5, 2), 7),
        lambda: LinearWarmup(ReduceOnPlateau(5.0, 0.1, 0), 7),
        lambda: ReduceOnPlateau(5.0, 0.1, 0),
        lambda: OneCycle(0.5, 30),
    ],
)
def test_a_run_that_was_broken_off_goes_on_with_the_same_bits(make, tmp_path):
    pytest.importorskip("safetensors")
    X, Y = data()

    class Stop(fastnn.Callback):
        def on_epoch_begin(self, run):
            if run.epoch == 4:
                raise KeyboardInterrupt

    def fit(net, **options):
        net.fit(X, Y, 6, 8, validation_data=(X, Y), verbose=False, **options)
        return net

    whole, path = fit(network(make())), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(network(make()), checkpoint=path, checkpoint_every=0, callbacks=[Stop()])
    resumed = fit(network(make()), checkpoint=path, resume=True)
    np.testing.assert_array_equal(resumed.flat_parameters, whole.flat_parameters)
    assert resumed.optimizer.updates == 30
    loaded = fastnn.load(path)
    assert repr(loaded.optimizer) == repr(whole.optimizer)
    assert loaded.optimizer.learning_rate == whole.optimizer.learning_rate
