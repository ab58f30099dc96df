"""The training loop."""

from fastnn.callbacks import Run
from fastnn.training.loop import check_rates, one_pass, run, under_way, warn_if_lost, weighted_mean

__all__ = ["Run", "check_rates", "one_pass", "run", "under_way", "warn_if_lost", "weighted_mean"]
