/* Steps and sweeps of two neuron models as written by hand: see neuron_cost.py, which puts elementary.h before it. */

#define N const double *restrict
#define M double *restrict
void iaf_psc_exp_step(long n, N P22, N P11e, N P11i, N P20, N P21e, N P21i, N E, N th, N Vr, N tref, N I, M pe, M pi,
                      M V, M ie, M ii, M z, M r, M psi, N h, N w)
{
    _Pragma("GCC ivdep")
    for (long j = 0; j < n; j++) {
        double v = r[j] > 0 ? V[j] : E[j] + P22[j] * (V[j] - E[j]) + P21e[j] * ie[j] + P21i[j] * ii[j] + P20[j] * I[j];
        ie[j] = P11e[j] * ie[j] + pe[j];
        ii[j] = P11i[j] * ii[j] + pi[j];
        pe[j] = pi[j] = 0;
        double left = r[j] > 1 ? r[j] - 1 : 0, x = v - th[j], y = 1 - fabs(x) * w[j];
        psi[j] = left == 0 ? h[j] * (y > 0 ? y : 0) : 0;
        double fired = (x >= 0) & (left == 0) ? 1.0 : 0.0;
        z[j] = fired;
        r[j] = fired != 0 ? tref[j] : left;
        V[j] = fired != 0 ? Vr[j] : v;
    }
}
void iaf_psc_exp_sweep(long n, N P22, N P11e, N P11i, N P21e, N P21i, N L, N rate, M lv, M le, M li, M b0, M b1,
                       double share)
{
    _Pragma("GCC ivdep")
    for (long j = 0; j < n; j++) {
        double a = lv[j] + b0[j] * (share * L[j] + rate[j]), e = le[j], i = li[j];
        b0[j] = e;
        b1[j] = i;
        lv[j] = P22[j] * a;
        le[j] = P21e[j] * a + P11e[j] * e;
        li[j] = P21i[j] * a + P11i[j] * i;
    }
}
void adex_step(long n, N c, N gL, N E, N th, N D, N gD, N keep, N less, N Vp, N Vr, N b, N tref, N I, M port, M V, M W,
               M z, M r, M psi, M kV, M kf, N h, N w, N up)
{
    _Pragma("GCC ivdep")
    for (long j = 0; j < n; j++) {
        double x = (V[j] - th[j]) * D[j];
        double e = elementary_exp(x <= 10 ? x : 10);
        double v = r[j] > 0 ? V[j] : V[j] + c[j] * (gL[j] * (E[j] - V[j]) + gD[j] * e - W[j] + I[j] + port[j]);
        double u = keep[j] * W[j] + less[j] * (V[j] - E[j]), was = r[j] > 0 ? 2.0 : 0.0;
        double left = r[j] > 1 ? r[j] - 1 : 0, over = v - Vp[j];
        port[j] = 0;
        psi[j] = left == 0 ? h[j] * elementary_exp(-fabs(over + up[j]) * w[j]) : 0;
        double fired = (over >= 0) & (left == 0) ? 1.0 : 0.0;
        z[j] = fired;
        r[j] = fired != 0 ? tref[j] : left;
        kV[j] = v;
        kf[j] = fired + was;
        V[j] = fired != 0 ? Vr[j] : v;
        W[j] = fired != 0 ? u + b[j] : u;
    }
}
