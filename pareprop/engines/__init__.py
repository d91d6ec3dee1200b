"""The two variants of e-prop: run a sample, learn, hold state between samples.

May import `network`, `parallel` and the ground.

Where to add
------------
A loss: `losses`. A step of an optimizer: `plasticity`. What both variants share: `base`.
"""
