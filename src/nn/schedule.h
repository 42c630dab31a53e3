#ifndef REEL_NN_SCHEDULE_H
#define REEL_NN_SCHEDULE_H

/* Flow-matching schedules on the host: x_t = (1 - sigma) x0 + sigma eps, t = 1000 sigma. Sigma and t
 * are f32, each operation rounded, whatever precision the networks run in: one unit in the last place
 * of t = 1000 moves the network's sinusoid by 6e-5. All functions are Local. */

#include <stdint.h>

#define REEL_SCHED_N 1000

/* A noise table, descending from sigma 1; there is no entry for sigma 0. */
struct reel_sched {
    float shift;
    float sigma[REEL_SCHED_N], t[REEL_SCHED_N];
};

/** reel_shift - (s u) / (1 + (s-1) u), u and result in [0,1]. */
float reel_shift(float s, float u);

/** reel_sched_a - table A: u_i = (1000 - i)/1000. One per role, shift = models.<role>.flow_shift. */
void reel_sched_a(struct reel_sched *tab, float shift);

/** reel_sched_b - table B: a counted-down linspace(1, 0, 1001) without its end; equals A but for the
 * last bit of some entries. Shift = pipeline.flow_shift. */
void reel_sched_b(struct reel_sched *tab, float shift);

/** reel_sched_points - table B of n points instead of 1000: sigma[n+1], from 1 down, then the 0 that the table lacks. */
void reel_sched_points(float *sigma, int n, float shift);

/** reel_sched_index - first i with the least |t_i - t|; every noising and conversion goes through it. */
int reel_sched_index(const struct reel_sched *tab, float t);
float reel_sched_sigma(const struct reel_sched *tab, float t); /* of the nearest entry */

/* How a training timestep is drawn (training.model.weighting_scheme). */
enum reel_weighting { REEL_WEIGHTING_UNIFORM, REEL_WEIGHTING_LOGIT_NORMAL, REEL_WEIGHTING_MODE };
struct reel_density {
    enum reel_weighting scheme;
    double logit_mean, logit_std, mode_scale;
};

/**
 * reel_density_index - the draw `prepare/timestep` as a table index, 0..999.
 * @draw  uniform in [0,1); for LOGIT_NORMAL a standard normal
 */
int reel_density_index(const struct reel_density *d, double draw);

/** reel_index_range - inclusive table indices [lo, hi] of min_/max_timestep_ratio (DFSFT). */
void reel_index_range(double min_ratio, double max_ratio, int *lo, int *hi);

/** reel_score_timestep - t of the integer draw tau below 1000: shifted, clamped to [0,1000], then to
 * [1000 min_ratio, 1000 max_ratio] truncated to integers (DMD2; 0 and 1: no bound). */
float reel_score_timestep(int64_t tau, float shift, double min_ratio, double max_ratio);

/**
 * reel_few_steps - timesteps of a few-step list, and the levels that the table has for them.
 * @t, @sigma  out [n]
 * @step  in [n]  integers in 0..1000, as configured
 * @warp  1: t = table entry 1000 - step (0 for step 0); 0: t = step
 */
void reel_few_steps(float *t, float *sigma, const struct reel_sched *tab, const int64_t *step, int n, int warp);

/** reel_even_sigmas - sigma_i = shift(s; (n-i)/n), i = 0..n: n sampling steps from noise to data. */
void reel_even_sigmas(float *sigma, int n, float shift);

/**
 * Levels of samplers of n steps from noise to data: sigma [n+1], the last one 0, and t [n], what the network is told.
 * Bit for bit what the reference classes hold (golden/schedulers).
 * euler            evenly spaced between the ends of table A, then shifted once more
 * unipc            evenly spaced below shift(0.999), shifted once more; t are truncated to integers
 * unipc_diffusers  1 .. 0.001 evenly spaced, shifted once; t truncated
 * Source: FastVideo models/schedulers/scheduling_{flow_match_euler_discrete,flow_unipc_multistep}.py @2f3d4074,
 * which shift in the constructor and in set_timesteps; diffusers scheduling_unipc_multistep.py @58eb52c0.
 */
void reel_sched_euler(float *sigma, float *t, int n, float shift);
void reel_sched_unipc(float *sigma, float *t, int n, float shift);
void reel_sched_unipc_diffusers(float *sigma, float *t, int n, float shift);

/**
 * UniPC of order 2 (bh2, predicts x0), flow matching: m_i is the x0 that the network gives at step i of n.
 * The corrector at step i >= 1 replaces the state that step i-1 predicted, the predictor goes on from it:
 *     x_i     <- last x_{i-1} + m m_i + m1 m_{i-1} + m2 m_{i-2}
 *     x_{i+1}  = x x_i + m m_i + m1 m_{i-1}
 * Factors of estimates that there are not yet are 0. Order 1 at the first and the last step.
 * Source: Zhao et al. 2023, UniPC; FastVideo FlowUniPCMultistepScheduler @2f3d4074.
 */
struct reel_unipc_predict { double x, m, m1; };
struct reel_unipc_correct { double last, m, m1, m2; };
struct reel_unipc_predict reel_unipc_predict(const float *sigma, int n, int i);
struct reel_unipc_correct reel_unipc_correct(const float *sigma, int n, int i);

/** reel_index_weights - DFSFT's loss weight of each table index: a bell with mean 1, 0 at index 0. */
void reel_index_weights(double w[REEL_SCHED_N]);
/** reel_t_weights - the same bell over the table's timesteps instead of its indices. */
void reel_t_weights(double w[REEL_SCHED_N], const struct reel_sched *tab);

#endif
