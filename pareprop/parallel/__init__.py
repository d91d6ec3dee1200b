"""Communication between ranks: the partition, the spike log, the rounds and their messages, groups of ranks.

May import the ground: `errors`, `kernels`, `arrays`, `rng`, `timers`, `machine`, `installation`.

Where to add
------------
A way to send the messages of a round between nodes: a sender in `messages`, chosen in `exchange`.
Arrays that the ranks of an engine share during a run: `channel`.
A collective call, after which all ranks agree: a function in `collectives`.
"""
