"""The training loop."""

from fastnn.callbacks import Run
from fastnn.training.arrays import dataset_of
from fastnn.training.loop import (
    add_epochs,
    check_rates,
    one_pass,
    report_loss,
    run,
    start_schedule,
    under_way,
)

__all__ = [
    "Run",
    "add_epochs",
    "check_rates",
    "dataset_of",
    "one_pass",
    "report_loss",
    "run",
    "start_schedule",
    "under_way",
]
