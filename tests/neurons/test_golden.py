"""The slow twin of models given as equations against the golden cases: it is what the compiled kernels are measured by."""

from pathlib import Path

import neuron_twin as twin
import numpy as np
import pytest

CASES = Path(__file__).parents[1] / "cases"
FILES = sorted(CASES.rglob("*.h5"))
