"""Algorithm `rule`: learning rules given by equations.

Values of a step are computed once per target; synapses read them.
"""
