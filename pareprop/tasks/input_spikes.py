"""Input spikes from the files of a SONATA simulation, cut into samples that follow each other in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..network.model import Model
from ..network.parameters import suggest_name
from ..parallel.spike_log import SpikeLog
from ..sonata import spikes


class InputSpikes:
    """Recorded spikes of the input populations of a model.

    `files` has spike files and the populations they are for. A file that does not fit raises `InputError`, whose
    message names file, population and problem.
    """

    def __init__(self, files: list[tuple[Path, str]], model: Model) -> None:
        inputs = {population.name: population for population in model.of_role("input")}
        steps, ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for path, name in files:
            if name not in inputs:
                raise InputError(f"{path}: node_set = '{name}' is not a virtual population{suggest_name(name, inputs)}")
            step, source = spikes.read(path, name, inputs[name].size, model.dt_ms)
            steps.append(step)
            ids.append(source + model.offset(inputs[name]))
        both = np.unique(np.stack([np.concatenate(steps), np.concatenate(ids)]), axis=1)  # one spike per step
        self._steps, self._ids = both

    def sample(self, index: int, n_steps: int) -> SpikeLog:
        """Return the spikes of sample `index`, which has steps [index n_steps, (index + 1) n_steps) of the files."""
        first, last = np.searchsorted(self._steps, [index * n_steps, (index + 1) * n_steps])
        return SpikeLog.from_spikes(self._steps[first:last] - index * n_steps, self._ids[first:last], n_steps)
