"""Communication between ranks: the partition, the spike log, the rounds and their messages, groups of ranks.

`launcher` starts MPI, `exchange` connects ranks, `channel` has the logs that they share in a run, `shared_memory` those
of a node. `messages` sends spikes between nodes (MPI_Allgather, MPI_Neighbor_alltoallv), `hearing` knows who hears
whom, `tree` adds up sums (MPI_Sendrecv). In each round, kernels call `cython_core/rounds.pyx`, and `exchange.pyx`,
which packs messages.

May import the ground: `errors`, `kernels`, `arrays`, `rng`, `timers`, `machine`, `installation`.

Where to add
------------
A way to send the messages of a round between nodes: a sender in `messages`, chosen in `exchange`.
Arrays that the ranks of an engine share during a run: `channel`.
A collective call, after which all ranks agree: a function in `collectives`.
"""
