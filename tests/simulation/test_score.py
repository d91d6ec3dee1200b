"""Scores of samples: of classes, losses and episodes."""

import copy
import pickle

import numpy as np
import pytest
from scipy.stats import binomtest

from pareprop import Score
from pareprop.simulation.score import compute_wilson_interval


@pytest.mark.parametrize(("n_right", "n"), [(0, 1), (1, 1), (0, 100), (91, 100), (100, 100), (7, 13), (9_312, 10_000)])
def test_interval_is_that_of_wilson(n_right: int, n: int):
    expected = binomtest(n_right, n).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(compute_wilson_interval(n_right, n), expected, atol=1e-12)


def test_a_classification_has_accuracy_confusion_and_counts() -> None:
    score = Score([0.5, 1.0, 1.5, 3.0], [0, 2, 2, 1], [0, 2, 1, 1], n_classes=4)
    assert (float(score), score.accuracy, score.value, score.n_right) == (1.5, 0.75, 0.25, 3)
    expected = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]  # rows: classes; columns: what was predicted
    assert score.confusion.tolist() == expected and score.counts.tolist() == [1, 1, 2, 0]
    np.testing.assert_equal(score.class_accuracy, [1.0, 1.0, 0.5, np.nan])
    assert score.format_line("test") == "test accuracy: 0.750 (95 % interval 0.30 to 0.95, n = 4)"
    assert f"{score} {score:.2f}" == "1.5 1.50" and "accuracy: 0.750" in repr(score)
    for other in (copy.deepcopy(score), pickle.loads(pickle.dumps(score))):
        assert (other, other.labels, other.n_classes) == (1.5, score.labels, 4)
