"""Unsupported combinations of features, and the reasons: one table for checks and for the handbook."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InputError, quote
from ..rules.definition import LearningRule
from .connectivity import Projection

# features that cannot be combined, in the order in which a message names them, and the reason
UNSUPPORTED = {
    ("learn_delay", "spike"): "the gradient of a delay is known at the end of a sample",
    ("learn_delay", "rewire"): "both move synapses among the rows of the table",
    ("learn_delay", "learning_rule"): "rules other than e-prop without options have no gradient by delays",
    ("learn_delay", "transmission"): "factors of short-term plasticity stay with the spikes of a delay",
    ("learning_rule", "learn"): "neurons keep of each step what one of the two needs: leave out one of them",
    ("local readouts", "spike"): "their targets are compared with whole samples",
    ("local readouts", "rule reads L"): "the rule does not get the errors of local readouts",
    ("local readouts", "interval", "different tau_m"): "all signals of a neuron are filtered with one tau_m",
    ("learning_signal", "interval", "different tau_m"): "all signals of a neuron are filtered with one tau_m",
    ("learning_signal", "spike", "parameters"): "their gradients need the signals that feedback carries",
    ("learning_signal", "spike", "reward"): "TD errors are applied within the run",
    ("trajectory loss", "spike"): "the loss needs all steps of a sample at once",
    ("max_norm", "spike"): "each synapse learns by itself, at its spikes",
    ("reward", "local readouts"): "an episode has no targets of neurons",
    ("reward", "currents"): "an episode has input spikes alone",
    ("reward", "spike", "samples"): "errors are needed while an episode runs",
    ("reward", "spike", "parameters"): "parameters learn from targets alone",
    ("reward", "spike", "other rules"): "traces of TD errors follow e-prop without options",
    ("late target", "spike"): "each chunk learns from its own targets",
    ("algorithms", "interval"): "it has a single algorithm",
    ("reset", "spike", "single samples"): "weights change at spikes, in a run without pauses",
    ("replicas", "no reset"): "each sample continues the one before",
    ("replicas", "current sources"): "currents may reach into the next sample",
    ("replicas", "loss with state"): "samples change it one after the other",
    ("episodes", "current sources"): "the environment of an episode sends spikes alone",
    ("advance", "episodes"): "an episode has an end; train() runs it",
    ("advance", "replicas"): "groups of ranks share batches of whole samples",
    ("advance", "perturbations"): "they act in whole samples; leave them out",
    ("traces", "learn_delay"): "spikes arrive by delays that are not recorded",
    ("traces", "learn"): "constants of the traces change",
    ("traces", "learning_rule by equations"): "recorded traces follow e-prop",
    ("traces", "activity"): "rate errors of a script's loss are not recorded",
    ("traces", "interval", "different tau_m"): "a trace would be needed for each tau_m",
    ("traces", "spike", "reward"): "TD errors need a separate trace",
    ("traces", "spike", "dropout with c_reg"): "dropped spikes are hidden that c_reg counts",
    ("factors", "interval"): "errors are known at the end of a sample",
}

MEANINGS = {
    "learn_delay": "delays that learn", "rewire": "rewired synapses", "transmission": "short-term plasticity",
    "learning_rule": "another rule than e-prop without options", "spike": "spike variant",
    "learn": "targets with parameters that learn", "interval": "interval variant",
    "rule reads L": "a custom rule that reads learning signals",
    "different tau_m": "readouts of different `tau_m`",
    "learning_signal": "a script's `learning_signal`", "parameters": "parameters that learn",
    "trajectory loss": "a trajectory loss", "reward": "loss `Reward`", "currents": "`currents` of a sample",
    "current sources": "input currents",
    "samples": "a task without episodes", "other rules": "plastic projections with other rules",
    "late target": "targets that are known late", "reset": "`reset = true`", "no reset": "`reset = false`",
    "single samples": "`batch_size = 1`", "loss with state": "a loss with a state", "episodes": "a task with episodes",
    "traces": "recorded traces", "learning_rule by equations": "a custom rule",
    "activity": "a script's `activity`",
    "dropout with c_reg": "dropout of neurons with `c_reg`", "factors": "`factors` of a sample",
    "advance": "`Simulation.advance`", "algorithms": "`algorithms`", "replicas": "replicas",
    "local readouts": "local readouts", "max_norm": "`max_norm`", "perturbations": "perturbations",
}  # fmt: skip


def require_supported(here: str, found: Mapping[str, str]) -> None:
    """Raise `InputError`, which begins with `here`, if some features cannot be combined.

    `found` maps each feature in use to the user's setting.
    """
    for features, reason in UNSUPPORTED.items():
        if all(name in found for name in features):
            first, *others = (found[name] for name in features)
            raise InputError(f"{here}{first} does not go with {' and '.join(others)}: {reason}")


def name_variant(variant: str) -> dict[str, str]:
    """Return the feature of a variant."""
    return {variant: f"the {variant} variant"}


def list_features_of(projection: Projection, variant: str) -> dict[str, str]:
    """Return the features of a projection and its targets."""
    found, post, rule = name_variant(variant), projection.post, projection.learning_rule
    found |= {name: name for name in ("learn_delay", "rewire", "transmission") if getattr(projection, name) is not None}
    if rule is not None:
        found["learning_rule"] = f"learning_rule = {quote(rule.name)}"
    if isinstance(rule, LearningRule):
        found["learning_rule by equations"] = found["learning_rule"]
    if post.learn:
        found["learn"] = f"parameters of '{post.name}' that learn ({', '.join(post.learn)})"
    return found
