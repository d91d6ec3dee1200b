"""What NEST 3.10 answers to small scripts, kept in `answers` beside them."""

import json
import warnings
from typing import Any

import asking
import pytest

import pareprop.nest as nest

SCRIPTS = {name: script for subject in asking.SUBJECTS for name, script in asking.scripts(subject).items()}
ANSWERS = {}
for subject in asking.SUBJECTS:
    ANSWERS |= json.loads((asking.FOLDER / f"{subject}.json").read_text())


def assert_like(found: Any, expected: Any) -> None:
    """The same, real numbers to the digits that are kept, and those near 0."""
    if isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), (found, expected)
        for one, other in zip(found, expected, strict=True):
            assert_like(one, other)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        assert_like(list(found.values()), list(expected.values()))
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-11)
    else:
        assert found == expected


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gets_the_answers_of_nest(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_like(asking.run(SCRIPTS[name], nest), ANSWERS[name])


@pytest.mark.peer
def test_nest_still_answers_so() -> None:
    peer = pytest.importorskip("nest")
    assert_like({name: asking.run(script, peer) for name, script in SCRIPTS.items()}, ANSWERS)
