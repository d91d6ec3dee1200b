"""Algorithm `prefix`: a gradient is the difference of two prefix sums over the history, plus a term that decays.

For neurons that do not adapt and share one `tau_m`. An arrival here is a plain arrival: the unit of all costs.
"""
