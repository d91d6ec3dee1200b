/* Steps and sweeps of neuron models as written by hand: see neuron_cost.py, which puts elementary.h before it.

   p: parameters, the same for all neurons; a: arrays over neurons. Each step has states, then what arrives, then I, z, the
   refractory counter and psi, then what is kept; each sweep has adjoints, then psi and credit, L and rate, then what was
   kept, then that of the step before. */

#define LOOP _Pragma("GCC ivdep") for (long j = 0; j < n; j++)

static inline double fired_of(double x, double r) { return (x >= 0) & (r <= 1) ? 1.0 : 0.0; }

void iaf_bsshslm_2020_step(long n, const double *p, double *const *a)
{
    double *restrict V = a[0], *restrict in = a[1], *restrict I = a[2], *restrict z = a[3], *restrict r = a[4],
           *restrict psi = a[5];
    const double P = p[0], Z = p[1], PI = p[2], th = p[3], tref = p[4], low = p[5], h = p[20], w = p[21];
    LOOP {
        double v = P * V[j] + Z * in[j] + PI * I[j] - th * z[j];
        v = v >= low ? v : low;
        double x = v - th, y = 1 - fabs(x) * w;
        in[j] = 0;
        psi[j] = r[j] <= 1 ? h * (y > 0 ? y : 0) : 0;
        double fired = fired_of(x, r[j]);
        z[j] = fired;
        r[j] = fired != 0 ? tref : r[j] > 1 ? r[j] - 1 : 0;
        V[j] = v;
    }
}
void iaf_bsshslm_2020_sweep(long n, const double *p, double *const *a)
{
    double *restrict l = a[0], *restrict psi = a[1], *restrict L = a[2], *restrict rate = a[3];
    const double P = p[0], Z = p[1], share = p[2];
    LOOP {
        double b = l[j] + psi[j] * (share * L[j] + rate[j]);
        psi[j] = Z * b;
        l[j] = P * b;
    }
}
void iaf_psc_exp_step(long n, const double *p, double *const *a)
{
    double *restrict V = a[0], *restrict ie = a[1], *restrict ii = a[2], *restrict pe = a[3], *restrict pi = a[4],
           *restrict I = a[5], *restrict z = a[6], *restrict r = a[7], *restrict psi = a[8];
    const double P22 = p[0], P11e = p[1], P11i = p[2], P20 = p[3], P21e = p[4], P21i = p[5], E = p[6], th = p[7],
                 Vr = p[8], tref = p[9], h = p[20], w = p[21];
    LOOP {
        double v = r[j] > 0 ? V[j] : E + P22 * (V[j] - E) + P21e * ie[j] + P21i * ii[j] + P20 * I[j];
        ie[j] = P11e * ie[j] + pe[j];
        ii[j] = P11i * ii[j] + pi[j];
        pe[j] = pi[j] = 0;
        double x = v - th, y = 1 - fabs(x) * w;
        psi[j] = r[j] <= 1 ? h * (y > 0 ? y : 0) : 0;
        double fired = fired_of(x, r[j]);
        z[j] = fired;
        r[j] = fired != 0 ? tref : r[j] > 1 ? r[j] - 1 : 0;
        V[j] = fired != 0 ? Vr : v;
    }
}
void iaf_psc_exp_sweep(long n, const double *p, double *const *a)
{
    double *restrict lv = a[0], *restrict le = a[1], *restrict li = a[2], *restrict b0 = a[3], *restrict b1 = a[4],
           *restrict L = a[5], *restrict rate = a[6];
    const double P22 = p[0], P11e = p[1], P11i = p[2], P21e = p[3], P21i = p[4], share = p[5];
    LOOP {
        double b = lv[j] + b0[j] * (share * L[j] + rate[j]), e = le[j], i = li[j];
        b0[j] = e;
        b1[j] = i;
        lv[j] = P22 * b;
        le[j] = P21e * b + P11e * e;
        li[j] = P21i * b + P11i * i;
    }
}
void adex_step(long n, const double *p, double *const *a)
{
    double *restrict V = a[0], *restrict W = a[1], *restrict in = a[2], *restrict I = a[3], *restrict z = a[4],
           *restrict r = a[5], *restrict psi = a[6], *restrict kV = a[7], *restrict kf = a[8];
    const double c = p[0], gL = p[1], E = p[2], th = p[3], D = p[4], gD = p[5], keep = p[6], less = p[7], Vp = p[8],
                 Vr = p[9], b = p[10], tref = p[11], up = p[12], h = p[20], w = p[21];
    LOOP {
        double x = (V[j] - th) * D, e = elementary_exp(x <= 10 ? x : 10);
        double v = r[j] > 0 ? V[j] : V[j] + c * (gL * (E - V[j]) + gD * e - W[j] + I[j] + in[j]);
        double u = keep * W[j] + less * (V[j] - E), was = r[j] > 0 ? 2.0 : 0.0, over = v - Vp;
        in[j] = 0;
        psi[j] = r[j] <= 1 ? h * elementary_exp(-fabs(over + up) * w) : 0;
        double fired = fired_of(over, r[j]);
        z[j] = fired;
        r[j] = fired != 0 ? tref : r[j] > 1 ? r[j] - 1 : 0;
        kV[j] = v;
        kf[j] = fired + was;
        V[j] = fired != 0 ? Vr : v;
        W[j] = fired != 0 ? u + b : u;
    }
}
void adex_sweep(long n, const double *p, double *const *a)
{
    double *restrict lv = a[0], *restrict lw = a[1], *restrict psi = a[2], *restrict L = a[3], *restrict rate = a[4],
           *restrict kV = a[5], *restrict kf = a[6], *restrict oV = a[7], *restrict of = a[8];
    const double c = p[0], gL = p[1], th = p[3], D = p[4], g = p[5], keep = p[6], less = p[7], Vr = p[9], b = p[10],
                 share = p[12];
    LOOP {
        double old = (of[j] == 1) | (of[j] == 3) ? Vr : oV[j], x = (old - th) * D, still = kf[j] >= 2 ? 1.0 : 0.0;
        double m = (kf[j] == 1) | (kf[j] == 3) ? 0 : lv[j];
        m += psi[j] * (share * L[j] + rate[j] + (Vr - kV[j]) * lv[j] + b * lw[j]);
        double slope = x <= 10 ? g * elementary_exp(x) : 0;
        psi[j] = still != 0 ? 0 : c * m;
        lv[j] = (still != 0 ? 1 : 1 + c * (slope - gL)) * m + less * lw[j];
        lw[j] = (still != 0 ? 0 : -c) * m + keep * lw[j];
    }
}
void iaf_cond_exp_step(long n, const double *p, double *const *a)
{
    double *restrict V = a[0], *restrict ge = a[1], *restrict gi = a[2], *restrict pe = a[3], *restrict pi = a[4],
           *restrict I = a[5], *restrict z = a[6], *restrict r = a[7], *restrict psi = a[8], *restrict kV = a[9],
           *restrict ke = a[10], *restrict ki = a[11], *restrict kI = a[12], *restrict kf = a[13];
    const double gL = p[0], gE = p[1], Ee = p[2], Ei = p[3], c = p[4], keep_e = p[5], keep_i = p[6], th = p[7],
                 Vr = p[8], tref = p[9], h = p[20], w = p[21];
    LOOP {
        double g = gL + ge[j] + gi[j], to = (gE + ge[j] * Ee + gi[j] * Ei + I[j]) / g;
        double v = r[j] > 0 ? V[j] : to + (V[j] - to) * elementary_exp(-c * g), was = r[j] > 0 ? 2.0 : 0.0;
        double x = v - th, y = 1 + fabs(x) * w;
        ke[j] = ge[j] = keep_e * ge[j] + pe[j];
        ki[j] = gi[j] = keep_i * gi[j] + pi[j];
        pe[j] = pi[j] = 0;
        psi[j] = r[j] <= 1 ? h / (y * y) : 0;
        double fired = fired_of(x, r[j]);
        z[j] = fired;
        r[j] = fired != 0 ? tref : r[j] > 1 ? r[j] - 1 : 0;
        kV[j] = v;
        kI[j] = I[j];
        kf[j] = fired + was;
        V[j] = fired != 0 ? Vr : v;
    }
}
void iaf_cond_exp_sweep(long n, const double *p, double *const *a)
{
    double *restrict lv = a[0], *restrict le = a[1], *restrict li = a[2], *restrict b0 = a[3], *restrict b1 = a[4],
           *restrict L = a[5], *restrict rate = a[6], *restrict kV = a[7], *restrict kI = a[8], *restrict kf = a[9],
           *restrict oV = a[10], *restrict oe = a[11], *restrict oi = a[12], *restrict of = a[13];
    const double gL = p[0], gE = p[1], Ee = p[2], Ei = p[3], c = p[4], keep_e = p[5], keep_i = p[6], Vr = p[8],
                 share = p[9];
    LOOP {
        double g = gL + oe[j] + oi[j], of_g = 1 / g, to = (gE + oe[j] * Ee + oi[j] * Ei + kI[j]) * of_g;
        double f = elementary_exp(-c * g), old = (of[j] == 1) | (of[j] == 3) ? Vr : oV[j];
        double m = (kf[j] == 1) | (kf[j] == 3) ? 0 : lv[j], both = c * f * (old - to), e = le[j], i = li[j];
        m += b0[j] * (share * L[j] + rate[j] + (Vr - kV[j]) * lv[j]);
        b0[j] = e;
        b1[j] = i;
        lv[j] = kf[j] >= 2 ? m : f * m;
        le[j] = (kf[j] >= 2 ? 0 : (Ee - to) * of_g * (1 - f) - both) * m + keep_e * e;
        li[j] = (kf[j] >= 2 ? 0 : (Ei - to) * of_g * (1 - f) - both) * m + keep_i * i;
    }
}
