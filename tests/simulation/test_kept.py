"""What observers keep in checkpoints comes back as it was, or is refused before the training."""

import collections
import enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pareprop
from pareprop import InputError, Observer
from pareprop.tasks.sine_waves import SineWaves

BEST = {
    "inf": float("inf"), "nan": float("nan"), "int64": np.int64(-3), "float32": np.float32(0.1),
    "bool_": np.bool_(True), "true": True, "none": None, "text": "ä\n\ud800", "bytes": b"\xff\0", "complex": 1 - 2j,
    "frozen": frozenset({(1, 2)}), "tuple": (1, (2, [3, float("-inf")])), "long": 10**300,
    "table": {"a": {1: "one", (2, 3): [4]}, "$": "kind", "numpy": {np.str_("b"): 1}}, "empty": [],
    "time": np.datetime64("2026-01-01"),
    "in a list": [np.arange(3, dtype=">i2"), {"deep": np.zeros((2, 0))}], "0-d": np.array(2.5),
    "int8": np.arange(-2, 2, dtype=np.int8),
    "big-endian": np.arange(3.0).astype(">f8"),
    "texts": np.array(["a", "longer"]), "fields": np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
    "plain": np.array([[1.0, np.nan]]), "no axes": np.zeros((0, 3)),
    "transposed": np.arange(6.0).reshape(2, 3).T, "read only": np.broadcast_to(1.0, (2, 2)),
}  # fmt: skip


class Keeper(Observer):
    """Keeps what it is given."""

    def __init__(self, kept: Any, later: Any = None) -> None:
        self.kept, self.later, self.found = kept, later, None

    def after_iteration(self, simulation: Any, iteration: int, loss: float) -> None:
        self.kept = self.later or self.kept

    def state(self, simulation: Any) -> Any:
        return self.kept

    def load_state(self, state: Any) -> None:
        self.found = state


def train(out: Path, observer: Observer, **options: Any) -> pareprop.Trained:
    task = SineWaves(n_rec=6, n_in=5, n_step=20, iterations=2, figures="none")
    return pareprop.run(None, task, out, observers=[observer], quiet=True, **options)


def require_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected), (found, expected)
    if isinstance(expected, np.ndarray | np.generic):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            require_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            require_same(*pair)
    else:
        assert found == expected or (found != found and expected != expected)


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    train(tmp_path / "run", Keeper(BEST), until=1)
    again = Keeper({})
    train(tmp_path / "run", again, restart=True)
    assert sorted(again.found) == sorted(BEST)
    for name, value in BEST.items():
        require_same(again.found[name], value)


class Own:
    """A kind of the script."""

    def __repr__(self) -> str:
        return "Own()"


Pair = collections.namedtuple("Pair", "a b")


class Stage(enum.IntEnum):
    """A number with a name."""

    FIRST = 1


DEEP: list = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"best": Own()}, r"observer Keeper: state\(\)\['best'\] = Own\(\) is a Own; a checkpoint keeps numbers"),
        ({"a": [1, {"b": Own()}]}, r"state\(\)\['a'\]\[1\]\['b'\] = Own"),
        ({"queue": collections.deque([1])}, "is a deque"),
        ({"pair": Pair(1, 2)}, r"\['pair'\] = Pair.* is a Pair; a checkpoint keeps"),
        ({"a": [collections.defaultdict(int)]}, r"\['a'\]\[0\] = .* is a defaultdict"),
        ({"seen": collections.Counter("a")}, "is a Counter"),
        ({"stage": Stage.FIRST}, "is a Stage"),
        ({"records": np.rec.array([(1, 2.0)], names="a,b")}, "is a recarray"),
        (collections.OrderedDict(a=1), "must return a dict"),
        ({"objects": np.array([None])}, r"\['objects'\] is an array with objects"),
        ({"masked": np.ma.array([1.0], mask=[True])}, "an array with a mask"),
        ({"deep": DEEP}, "nested deeper"),
        ({"long": 10**5000}, "more digits"),
        ({3: 1}, "must return a dict with texts as keys"),
        ([1], "must return a dict"),
        (None, "must return a dict"),
    ],
)
def test_what_no_checkpoint_keeps_is_refused_before_the_training(tmp_path: Path, state: Any, told: str) -> None:
    trained = []

    class Seen(Keeper):
        """Notes that it was trained."""

        def before_sample(self, *_: object) -> None:
            trained.append(1)

    Seen.__name__ = "Keeper"
    with pytest.raises(InputError, match=told) as caught:
        train(tmp_path / "run", Seen(state))
    assert not trained and str(caught.value).count("state()") == 1


def test_what_becomes_unfit_later_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\['x'\] = Own.*no checkpoint was written before"):
        train(tmp_path / "run", Keeper({"x": 1}, {"x": Own()}))
