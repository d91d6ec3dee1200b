"""A generator of spikes at given times."""

import numpy as np

from ...values import Given, Values
from ..errors import NESTErrors, make_refusal
from ..settings import to_ms, to_steps
from .base import EMPTY, SpikeSource, check_times

OFF_GRID = ("precise_times", "allow_offgrid_times", "shift_now_spikes")  # options for times off the grid
LISTS = ("spike_times", "spike_weights", "spike_multiplicities")
UNSUPPORTED = {"spike_weights": "give weights to the connections"}  # must stay empty; the advice of the refusal


class SpikeGenerator(SpikeSource):
    """NEST's `spike_generator`."""

    name = "spike_generator"

    @classmethod
    def list_parameters(cls) -> Values:
        """Return parameters with their defaults."""
        return super().list_parameters() | dict.fromkeys(LISTS, EMPTY) | dict.fromkeys(OFF_GRID, False)

    @classmethod
    def check(cls, values: Given, changed: Given, where: str, dt: float) -> None:
        """Check parameters, see `Device.check`."""
        if changed.keys() & set(OFF_GRID):
            precise, *others = (np.asarray(values[name], bool) for name in OFF_GRID)
            if np.any(precise & (others[0] | others[1])):
                raise NESTErrors.BadProperty(
                    f"{where}: Option precise_times cannot be set to true when either "
                    "allow_offgrid_times or shift_now_spikes is set to true."
                )
        for key, instead in UNSUPPORTED.items():
            if np.size(changed.get(key, EMPTY)) > 0:
                raise make_refusal(f"{key} = {changed[key]} ({where})", instead)
        super().check(values, changed, where, dt)
        if "spike_times" in changed:
            step = 0.0 if values["precise_times"] else dt
            least = -dt if values["shift_now_spikes"] else 0
            check_times(changed["spike_times"], "spike_times", where, step, False, least)
        if changed.keys() & {"spike_times", "spike_multiplicities"}:
            _check_multiplicities(changed, len(values["spike_times"]), values["spike_multiplicities"], where)

    def list_spikes(self, clock: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return spikes, see `SpikeSource.list_spikes`; their times count from the origin."""
        window, times = self.window, self.get("origin") + self.get("spike_times")
        steps = to_steps(times, self.dt)
        first, last = np.searchsorted(steps, (max(clock, window.start), min(end, window.stop)), side="right")
        stamps, early = steps[first:last], np.zeros(last - first)
        if self.get("precise_times"):
            early = np.maximum(to_ms(stamps, self.dt) - times[first:last], 0.0)
        multiplicity = self.get("spike_multiplicities")
        if len(multiplicity):
            n = multiplicity[first:last].astype(np.int64)
            stamps, early = np.repeat(stamps, n), np.repeat(early, n)
        return stamps, early


def _check_multiplicities(changed: Given, n_times: int, multiplicities: np.ndarray, where: str) -> None:
    n = len(multiplicities)
    if n and (n < n_times or (n > n_times and "spike_multiplicities" in changed)):
        raise NESTErrors.BadProperty(
            f"{where}: spike_multiplicities must have the same number of elements as spike_times, {n_times}, not {n}"
        )
    if np.any(multiplicities != np.rint(multiplicities)):
        raise NESTErrors.TypeMismatch(f"{where}: spike_multiplicities must be whole numbers")
