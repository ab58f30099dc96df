"""The engine: whole steps of a network in one compiled call."""

from fastnn.engine.engine import Engine, obstacle

__all__ = ["Engine", "obstacle"]
