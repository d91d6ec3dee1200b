"""How each projection of the spike variant learns: its way of learning, which a plan picks from `plan.WAYS`.

Each way is a class in the file of its name; `way` has their base, `request` all that the choice depends on. A plan is
made from the model alone, so that it is the same on all ranks. Memory, checkpoints, predictions of costs, notices and
kernels read it. Bytes per synapse, target (4) and weight (8) included; a table is as wide as its widest projection:

======= ============================================================= =====================================
way     for                                                           bytes
======= ============================================================= =====================================
static  fixed weights                                                 12
readout weights of readouts                                           20, +8 for each number of the optimizer
prefix  plain neurons of one tau_m, gradient descent                  28, +8 if kappa_reg differs
scan    adaptive, tau_m that differs, Adam and others that step at    28, +8 if kappa_reg differs,
        arrivals, kappa = 0, short time constants, synapses that      +8 adaptive, +8 tau_m that differs,
        move, neurons given by equations                              or rewired, +8 for each number of the
                                                                      optimizer (Adam 2, momentum 1) and
                                                                      each trace of the equations
lines   Adam and others that step in each time step, onto neurons of  as scan
        the package with one filter
rule    learning rules given by equations                             20, +8 for each state, and each number
                                                                      of the optimizer
steps   with a step of the optimizer in each time step tight bounds   as scan
        and signs, what `lines` leaves; cutoff within the lag;
        neurons with more than 10 states; a part of e-prop; rewards
        with a cutoff, or with a kappa_reg of its own
======= ============================================================= =====================================

For each source and delay, on every rank: 56 bytes, +8 unless gradient descent, +16 with scan.
For each neuron, with steps: psi and L of as many steps as the longest cutoff, at most 1 024. With scan: 640 bytes,
320 if no neuron adapts, 1 280 if kappa_reg differs, and 17 + m steps of its history; given by equations, 72 for each
number of a composed map, 8 for each number by which a spike enters it, both in lines of eight, 80, and 128 for each
derivative that takes long to compute: `iaf_psc_exp` 848, 1 552 if synapses learn at both ports, `adex` 976.

May import `network`, `neurons`, `parallel`, `rules` and the ground.

Where to add
------------
A way: a file with a class of `way.Way`, and its place in `plan.WAYS`. An optimizer needs nothing here.
"""
