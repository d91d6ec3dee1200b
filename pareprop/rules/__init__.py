"""Learning rules as equations: read and checked (`definition`, `linear`), bound to a neuron model, generated, compiled.

Rules must be linear in the states x of a synapse, with coefficients that depend on the target alone:

    x[t] = M[t] x[t-1] + U[t] a[t] ;  g += w[t] . x[t] + w0[t] . x[t-1] + v[t] a[t]

where a is the arriving spike times the factor of its transmission. `bound` derives M, U, w, w0 and v for a neuron
model; `generate` writes C that computes them in each step, goes backward through an interval with them, and follows a
synapse through a step (spike variant). Engines call the generated C by address and know no rule. May import `neurons`
and the ground.

Where to add
------------
A learning rule: a file in `library/`, which is found by lying there. A name that rules may read of a step:
`definition.SIGNALS`, `bound.Bound`. Connectivity rules (which synapses there are): `network/rules`.
"""

from __future__ import annotations

from .definition import Eprop, LearningRule

__all__ = ["Eprop", "LearningRule"]
