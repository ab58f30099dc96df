"""The training loop."""

from fastnn.callbacks import Run
from fastnn.training.loop import add_epochs, check_rates, one_pass, run, under_way

__all__ = ["Run", "add_epochs", "check_rates", "one_pass", "run", "under_way"]
