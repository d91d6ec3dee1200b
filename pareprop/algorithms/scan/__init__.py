"""Algorithm `scan`: composed maps of steps.

Several steps change a synapse's traces linearly, by numbers of its target.
"""
