"""Learning rules as equations: read and checked (`definition`, `linear`), bound to a neuron model, generated, compiled.

Rules must be linear in the states x of a synapse, with coefficients that depend on the target alone:

    x[t] = M[t] x[t-1] + U[t] a[t] ;  g += w[t] . x[t] + w0[t] . x[t-1] + v[t] a[t]

where a is the arriving spike times the factor of its transmission. `bound` derives M, U, w, w0 and v for a neuron
model; `generate` writes C that computes them in each step, runs the backward pass of an interval, and advances a
synapse by a step (spike variant). Engines call the C by address and contain no rule.

May import `neurons` and the core utilities.

Where to add:

- a learning rule: a file `library/NAME.toml` with its equations; no other file names it;
- a name that rules may read in a step: `definition.SIGNALS` and `bound.BoundRule`.
"""

from __future__ import annotations

from .definition import Eprop, LearningRule

__all__ = ["Eprop", "LearningRule"]
