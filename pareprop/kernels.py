"""The only door to the compiled kernels."""

from pareprop.core import random, topology

__all__ = ["random", "topology"]
