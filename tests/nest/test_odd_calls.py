"""Whatever a script calls: it works, or one line of NEST's errors says why not."""

import warnings

import odd_calls
import pytest
from params import first

import pareprop.nest as nest
from pareprop.nest.catalogue import NODE_MODELS
from pareprop.nest.settings import DEFAULTS

MODELS = {name: [*model.defaults] for name, model in NODE_MODELS.items()}
CALLS = list(odd_calls.make_calls(MODELS, [*DEFAULTS]))
SOME = 53  # every so many-th one is called in the fast test, which meets all functions


def find_bare(calls: list[odd_calls.Call]) -> list[str]:
    """Calls that end with an error that is none of NEST's, or is told in more than a line."""
    found = []
    for text, call in calls:
        o = odd_calls.network(nest)
        try:
            call(nest, o)
        except Exception as problem:
            if not isinstance(problem, nest.NESTError) or "\n" in str(problem) or len(str(problem)) > 1200:
                found.append(f"{text}: {type(problem).__name__} {problem}")
    return found


@pytest.fixture(autouse=True)
def quiet() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    nest.ResetKernel()


def test_some_odd_calls() -> None:
    assert len(CALLS) > 20000 and not find_bare(CALLS[::SOME])


@pytest.mark.parametrize("part", first(0, range(10), rest=2))
def test_all_odd_calls(part: int) -> None:
    assert not find_bare(CALLS[part::10])
