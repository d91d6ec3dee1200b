"""scripts/episode_cost.py: parts of an episode that add up, decisions by their count."""

import episode_cost
import pytest

from pareprop.parallel.exchange import Alone


def test_parts_of_an_episode() -> None:
    settings = ["n_rec=8", "cells=3", "batch_size=2", "decisions=3"]
    found = episode_cost.measure(Alone(), "reach", settings, 2)
    assert found["all"] == pytest.approx(found["environment"] + found["wait"] + found["network"])
    assert found["environment"] > 0 and found["wait"] == found["Allgather"] == 0 and found["network"] > 0
    assert 1 <= found["decisions"] <= 3 and found["processor"] > 0


def test_a_task_without_episodes_is_refused() -> None:
    with pytest.raises(SystemExit, match="lemniscate has no episodes"):
        episode_cost.measure(Alone(), "lemniscate", [], 1)
