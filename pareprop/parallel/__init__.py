"""What ranks tell each other: the partition, the spike log, the rounds and their messages, groups of ranks.

May import the ground: `errors`, `kernels`, `arrays`, `rng`, `timers`, `machine`.

Where to add
------------
A way to send the messages of a round between nodes: a sender in `messages`, chosen in `exchange`.
What an engine needs to share while it runs: `channel`.
Something that all ranks agree on: a function in `collectives`.
"""
