# Algorithm `static`: fixed weights, which a ring may hold for later steps.


cdef inline bint is_spread_static(Rows rows, int64_t b) noexcept nogil:
    """Whether spikes at the block use the ring: weights do not change until they arrive."""
    return rows.settings[b].algorithm == STATIC and is_spread(rows, b)


cdef void spread_static(Engine engine, int64_t t, Rows rows) noexcept nogil:
    """Add input of step t at static synapses with several delays; see delivery.pxi.

    If the ring is not valid, earlier spikes are spread again.
    """
    cdef int64_t step = t, b
    cdef Spikes* inputs = &engine.channel.inputs.at
    if engine.ring.shape[0] == 0:
        return
    if engine.spread_until != t:
        engine.ring[:] = 0.0
        step = max(t - engine.ring.shape[0] + 1, 0)
    while step <= t:
        for b in range(rows.blocks.shape[0]):
            if rows.blocks[b, NUMBER] == 0 and is_spread_static(rows, b):
                spread(rows, b, segments_of(rows, b, &inputs, engine.channel.received), engine.channel.base, step, t,
                       engine.ring)
        step += 1
    engine.spread_until = step
    take_slot(engine.ring[t % engine.ring.shape[0]], engine.neurons.arriving)
