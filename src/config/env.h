#ifndef REEL_CONFIG_ENV_H
#define REEL_CONFIG_ENV_H

#include <stdio.h>

/* The environment variables that reel reads, each once, here. X(name, help) */
#define REEL_ENV_LIST(X)                                                                           \
    X(REEL_FAULT, "site:rank:nth: make the nth pass of that rank through that site fail (tests)")  \
    X(HF_HUB_CACHE, "Hugging Face cache; looked up in the order of this list")                     \
    X(HUGGINGFACE_HUB_CACHE, "old name of HF_HUB_CACHE")                                           \
    X(HF_HOME, "parent of the cache: $HF_HOME/hub")                                                \
    X(XDG_CACHE_HOME, "parent of the cache: $XDG_CACHE_HOME/huggingface/hub")                      \
    X(HOME, "parent of the cache: $HOME/.cache/huggingface/hub")                                   \
    X(REEL_CUDA_MODULE, "file of the CUDA module instead of the reel_cuda.so beside the program")  \
    X(CUDA_VISIBLE_DEVICES, "devices of this rank")                                                \
    X(OMP_NUM_THREADS, "shown only: training.threads counts")                                      \
    X(OPENBLAS_NUM_THREADS, "shown only: the BLAS library reads it")                               \
    X(WANDB_MODE, "disabled: write no W&B run")                                                    \
    X(CUDA_LAUNCH_BLOCKING, "warned about at the start of a run, like those below")                 \
    X(CUDA_DEVICE_MAX_CONNECTIONS, "1: communication queues behind compute")                       \
    X(NVIDIA_TF32_OVERRIDE, "1: f32 products lose 13 bits")                                        \
    X(NCCL_P2P_DISABLE, "1: GPUs of a node talk through host memory")                              \
    X(NCCL_SHM_DISABLE, "1: the same through the network")                                         \
    X(NCCL_IB_DISABLE, "1: nodes talk through TCP")                                                \
    X(NCCL_ALGO, "fixes what NCCL chooses better")                                                 \
    X(NCCL_PROTO, "fixes what NCCL chooses better")                                                \
    X(UCX_TLS, "transports of MPI; without shared memory ranks of a node use the network")         \
    X(MPIR_CVAR_ASYNC_PROGRESS, "1: a thread of MPI spins")                                        \
    X(MPICH_ASYNC_PROGRESS, "1: a thread of MPI spins")                                            \
    X(MALLOC_PERTURB_, "slows every allocation")                                                   \
    X(MALLOC_CHECK_, "slows every allocation")                                                     \
    X(SLURM_JOB_ID, "shown in the run's record")                                                   \
    X(SLURM_RESTART_COUNT, "how often the job was requeued")                                       \
    X(SLURM_STEP_NUM_TASKS, "tasks of the step: must agree with the size of the MPI world")       \
    X(OMPI_COMM_WORLD_SIZE, "tasks of Open MPI's launcher: the same")                              \
    X(SLURM_PROCID, "which of the tasks says that they do not agree")                              \
    X(OMPI_COMM_WORLD_RANK, "the same of Open MPI's")                                              \
    X(SLURM_NTASKS, "shown only")                                                                  \
    X(SLURM_LOCALID, "shown only")                                                                 \
    X(SLURM_JOB_NUM_NODES, "shown only")                                                           \
    X(SLURM_JOB_NODELIST, "shown only")                                                            \
    X(SLURM_CPUS_PER_TASK, "shown only")                                                           \
    X(SLURM_JOB_END_TIME, "seconds since 1970: the job's end, for training.checkpoint.max_wall")

enum reel_env_name {
#define X(name, help) REEL_ENV_##name,
    REEL_ENV_LIST(X)
#undef X
    REEL_ENV_N
};

/* A value is NULL when the variable is not set; it points into the process's environment. */
struct reel_env { const char *v[REEL_ENV_N]; };
extern const struct reel_env_help { const char *name, *help; } reel_env_help[REEL_ENV_N];

/** reel_env_read - capture every variable of the list: the program's only getenv. Local. */
void reel_env_read(struct reel_env *env);
/** reel_env_get - e.g. reel_env_get(env, REEL_ENV_HF_HOME). Local. */
const char *reel_env_get(const struct reel_env *env, enum reel_env_name name);
/** reel_env_dump - the variables that are set, as YAML comment lines. Local. */
void reel_env_dump(const struct reel_env *env, FILE *f);

#endif
