"""The features of a model that the table of unsupported combinations (`unsupported`) names."""

from __future__ import annotations

from ..errors import quote
from ..rules.definition import LearningRule
from .losses import Loss, name_loss
from .model import Model
from .trajectory_losses import TrajectoryLoss
from .unsupported import name_variant


def list_features(model: Model) -> dict[str, str]:
    """Return the features of a whole model."""
    found, loss = name_variant(model.variant), model.loss
    if isinstance(loss, TrajectoryLoss):
        found["trajectory loss"] = f"loss {name_loss(loss)}"
    if model.is_rewarded:
        found["reward"] = "loss 'reward'"
    if isinstance(loss, Loss) and loss.has_state:
        found["loss with state"] = f"loss {name_loss(loss)}, which has a state"
    found |= {name: name for name in ("learning_signal", "activity") if getattr(model, name) is not None}
    if model.optimizer.batch_size == 1:
        found["single samples"] = "batch_size = 1"
    times = {group.params.tau_m for group in model.of_role("readout")}
    if model.local:
        found["local readouts"] = f"local_readouts '{model.local.name}'"
        times |= {model.local.tau_m} if times else set()
    if len(times) > 1:
        found["different tau_m"] = f"readouts of different tau_m ({', '.join(f'{time:g}' for time in sorted(times))})"
    if currents := [group.name for group in model.of_role("current")]:
        found["current sources"] = f"input currents '{currents[0]}'"
    if learns := [f"{group.name}.{name}" for group in model.of_role("recurrent") for name in group.learn]:
        found["parameters"] = f"parameters that learn ({', '.join(learns)})"
    if model.perturbations:
        found["perturbations"] = f"perturbations ({', '.join(item.name for item in model.perturbations)})"
    for item in model.projections:
        rule = item.learning_rule  # None: e-prop without options
        if item.plastic and rule is not None:
            found.setdefault("other rules", f"rule {quote(rule.name)} of projection '{item.name}'")
            if isinstance(rule, LearningRule) and "L" in rule.signals:
                found.setdefault("rule reads L", f"rule {quote(rule.name)}, which reads L,")
    return found
