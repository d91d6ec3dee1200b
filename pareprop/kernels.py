"""The only door to the compiled kernels."""

from pareprop.core import build_info, exchange, interval, optimizers, random, rows, spike, topology

__all__ = ["build_info", "exchange", "interval", "optimizers", "random", "rows", "spike", "topology"]
