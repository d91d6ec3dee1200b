"""Communication between ranks: partition, spike log, communication intervals and their messages, replica groups.

`launcher` starts MPI, `exchange` connects ranks, `channel` has the logs that they share in a run, `shared_memory` the
logs of a node. `messages` sends spikes between nodes (MPI_Allgather, MPI_Neighbor_alltoallv), `subscriptions` lists the
neurons whose spikes each node receives, `tree` adds up sums (MPI_Sendrecv). In each communication interval kernels call
`cython_core/rounds.pyx` and `exchange.pyx`, which packs messages.

May import the core utilities alone.

Where to add:

- a method to send the messages of an interval between nodes: a sender in `messages`, chosen in `exchange`;
- arrays that ranks share during a run: `channel`;
- a collective call, after which all ranks agree: a function in `collectives`.
"""
