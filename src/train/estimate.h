#ifndef REEL_TRAIN_ESTIMATE_H
#define REEL_TRAIN_ESTIMATE_H

/* What a step of a planned run moves and how long it takes on a machine whose rates are known. */

#include "train/run.h"

/* What one rank's device and links do. Rates that are not known are 0: what they limit is left out. */
struct reel_machine {
    char name[48];
    double gemm_flops, attention_flops;      /* per second, in the type of the activations */
    double memory_bytes, memory_bandwidth;   /* bytes; bytes/s */
    double node_bandwidth, network_bandwidth; /* bytes/s that a rank receives from its node, from others */
    double latency_s;                        /* of one collective */
    double ranks_per_node;
    int card; /* a GPU's rates, whatever plans with them runs on */
};

/**
 * reel_machine_find - a machine by name ("h100", "a100"), or the file that `reel plan --measure` wrote. Local.
 * Errors: REEL_ECONFIG unknown name; a line of the file that is none of its keys; no rates of compute.
 */
reel_err reel_machine_find(struct reel_machine *m, const char *name_or_file);
/**
 * reel_machine_measure - this job's ranks, with matrices of dt; rank 0 writes the file. Collective(world).
 * Errors, agreed: REEL_EIO, REEL_ENOMEM.
 */
reel_err reel_machine_measure(struct reel_backend *be, reel_dtype dt, struct reel_comm *world, const char *file);
/** reel_machine_compute - gemm_flops and attention_flops of the slowest rank while all work; 0: no memory. Collective(world). */
void reel_machine_compute(struct reel_machine *m, struct reel_backend *be, reel_dtype dt, struct reel_comm *world);
/** reel_machine_gemm - FLOP/s of this rank's f32 products while the others do the same; NaN: no memory. Collective(world). */
double reel_machine_gemm(struct reel_backend *be, struct reel_comm *world);

/* A step of one rank: means over the steps of a period in which methods alternate. */
struct reel_estimate {
    double flops, attention_flops;       /* model operations, recomputed ones included */
    double bytes[REEL_NAXIS][REEL_NCOLL]; /* received */
    double memory;                        /* all arenas, of the host's memory also what saving and callbacks take beside; or a text encoder's, if more */
    double compute_s, exposed_s, hidden_s, optim_s, step_s; /* communication waited for, and behind compute; 0: not known */
};

/** reel_estimate_on_host - 1 if the arenas of a planned run are the host's memory; m NULL: on the device that plans. Local. */
int reel_estimate_on_host(const struct reel_run *r, const struct reel_machine *m);

/** reel_estimate_before - bytes of a rank that are taken and given back before its arenas are: a text encoder's. Local. */
double reel_estimate_before(const struct reel_run *r);

/** reel_estimate_step - of a run that reel_run_plan made; m NULL: no times. Local. */
void reel_estimate_step(struct reel_run *r, const struct reel_machine *m, struct reel_estimate *e);

#endif
