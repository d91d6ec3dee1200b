"""What ranks tell each other: the partition, the spike log, the rounds and their messages, groups of ranks.

May import the ground: `errors`, `kernels`, `arrays`, `rng`, `timers`, `machine`.

Where to add
------------
A way to send the messages of a round: a sender in `messages`, chosen in `exchange`.
Something that all ranks agree on: a function in `collectives`.
"""
