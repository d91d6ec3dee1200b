# Adam with one step per arrival makes up for the time steps since the latest one: the first takes the gradient, the
# others none. With moment m and variance v after the first, s = sqrt(v), b1 and b2 the betas, step i of the others is
#     w -= rate_i b1^i m / (b2^(i/2) s + epsilon) = rate_i r^i m / (s + epsilon y_i),  y_i = b2^(-i/2), r = b1 y_1
# With x = -epsilon / (s + epsilon), of which only x differs between synapses,
#     1 / (s + epsilon y_i) = sum_k (x (y_i - 1))^k / (s + epsilon)
# so that all steps together are m / (s + epsilon) sum_k x^k sum_i rate_i r^i (y_i - 1)^k: a root and a division for any
# number of steps. They are taken in parts in which y_i - 1 stays below 1/16, so that 13 terms suffice (6 in single
# precision); a part that r has made less than 1e-20 changes no weight.

cdef extern from "spike_variant/idle_adam.h" nogil:
    enum:
        IDLE_COLUMNS

    ctypedef struct IdleSums:
        int64_t first, count
        double beta_1, beta_2, keep_moment, keep_variance
        double[IDLE_COLUMNS] sums

    void add_idle(int64_t n, const double* rate, const double* powers, double* sums)
    void take_first_steps(
        int64_t n, const double* sums, real keep_1, real keep_2, real small, real keep_moment, real keep_variance,
        real low, real high, real* C, real* moment, real* variance, real* weight
    )
    void take_idle_steps(
        int64_t n, const double* sums, real small, real keep_moment, real keep_variance, real low, real high,
        real* moment, real* variance, real* weight
    )

cdef enum:
    MOST_IDLE = 128    # steps of a part
    IDLE_FIRSTS = 512  # steps since which rows wait, of which sums are kept
    FEWEST_IDLE = 2    # else they are taken one by one
