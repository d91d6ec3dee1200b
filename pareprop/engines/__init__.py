"""Engines of the two variants of e-prop: run a sample, learn, hold state between samples.

May import `network`, `neurons`, `parallel`, `algorithms`, `rules` and the core utilities.

Where to add:

- a variant: an entry of `VARIANTS` in `network/variants.py`, a subclass of `base.Engine`, an entry of `ENGINES` below,
  and kernels in `cython_core`;
- state that an engine keeps between samples: its `state`, and `nest/growth.py`, which copies it into a grown network;
- a recorded quantity of neurons: a field of `Recorded` in `base` and its unit; of synapses: `traces`;
- a perturbation: a class in `network/perturbations.py`, a method of `Model`, its effect in `perturbed`;
- optimizers of neuron parameters: `parameters`; traces of the spike variant: `parameter_traces`.
"""

from ..network.variants import ENGINES

ENGINES |= {"interval": "interval.Interval", "spike": "spike.Spike"}  # type: ignore[dict-item]  # until they are used
