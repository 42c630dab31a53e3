/* Every command of the program: the command line, its help and the man page come from this list. */
#include "train/commands.h"

static const struct reel_cmd train = {
    .name = "train", .run_flags = "*", .help = "train or distil a model; the command when none is named",
    .examples = "  mpiexec -n 8 reel train --config run.yaml\n"
                "  srun --mpi=pmi2 reel train --config run.yaml --resume latest --max-wall 3h50m\n"
                "  reel train --config run.yaml --dry-run\n",
    .ends = "saves after the running step; --resume latest goes on",
};
#define F(field) offsetof(struct reel_plan_flags, field)
static const struct reel_opt plan_flags[] = {
    { "machine", REEL_OPT_STR, F(machine), .unit = "NAME|FILE",
      .help = "whose rates give the time of a step and the memory of a rank: h100, a100, or a file of --measure" },
    { "measure", REEL_OPT_STR, F(measure), .unit = "FILE",
      .help = "no plan: measure products, attention, memory, links and latency of this job's ranks, and write them" },
    { "memory-gib", REEL_OPT_F64, F(memory_gib), .min = 0, .max = 1e6, .unit = "GiB",
      .help = "memory of a rank: a plan that needs more is refused, with layouts that fit; 0: what --machine has" },
    { .type = REEL_OPT_END },
};
#undef F
static const struct reel_cmd plan = {
    .name = "plan", .run_flags = "config|lenient", .flags = plan_flags, .flags_size = sizeof(struct reel_plan_flags),
    .help = "memory, communication and time per rank, before anything is allocated; on one rank, for any number of them",
    .examples = "  reel plan --config run.yaml --machine h100\n"
                "  reel plan --config run.yaml --memory-gib 80 --training.distributed.num_gpus 64 \\\n"
                "    --training.distributed.hsdp_replicate_dim 8 --training.distributed.hsdp_shard_dim 8\n",
};

static const struct reel_cmd preprocess = {
    .name = "preprocess", .flags = reel_preprocess_opts, .flags_size = sizeof(struct reel_preprocess_args),
    .help = "videos and captions to one data set of latents and text vectors",
    .examples = "  mpiexec -n 8 reel preprocess --videos clips --output data.h5 --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers\n"
                "  reel preprocess --demo-clips 64 --output demo.h5\n",
    .ends = "keeps what is encoded; the same command goes on",
};
static const struct reel_cmd check = {
    .name = "check", .args = "SET|CHECKPOINT|RUN", .min_args = 1, .max_args = 1,
    .help = "a data set, or a checkpoint: checksums, shapes, normalisation, completeness; of a run's folder the newest checkpoint",
    .examples = "  reel check data.h5\n"
                "  reel check outputs/run/checkpoint-1000\n",
};

#define F(field) offsetof(struct reel_generate_flags, field)
static const struct reel_opt generate_flags[] = {
    { "prompt", REEL_OPT_STR, F(prompt), .unit = "TEXT", .help = "what the film shows" },
    { "prompts", REEL_OPT_STR, F(prompts), .unit = "FILE", .help = "a film of each: .txt, one a line; .json, a list; .csv, a column \"caption\"" },
    { "negative-prompt", REEL_OPT_STR, F(negative), .unit = "TEXT", .help = "what guidance moves away from; absent: the preset's, with built-in text vectors none" },
    { "checkpoint", REEL_OPT_STR, F(checkpoint), .unit = "PATH|latest",
      .help = "checkpoint or output folder with the weights, and the configuration where --config gives none; absent: models.student.init_from" },
    { "ema", REEL_OPT_BOOL, F(ema), .help = "the student's average, which the callback ema keeps, instead of its weights" },
    { "model", REEL_OPT_STR, F(model), .unit = "FOLDER|REPOSITORY", .help = "a Diffusers folder or cached repository instead of models.student.init_from; needs no --config" },
    { "out", REEL_OPT_STR, F(out), .sdflt = "generated", .unit = "PATH",
      .help = "folder of films and a contact sheet; x.mp4: one film; x.png: a contact sheet alone" },
    { "seed", REEL_OPT_INT, F(seed), .dflt = 1024, .max = 9e18, .help = "seed of the noise; film i of a list has noise of its own" },
    { "height", REEL_OPT_INT, F(height), .min = 16, .max = 16384, .flags = REEL_OPT_NULLABLE, .unit = "pixels", .help = "height of a film; absent: training.data.num_height" },
    { "width", REEL_OPT_INT, F(width), .min = 16, .max = 16384, .flags = REEL_OPT_NULLABLE, .unit = "pixels", .help = "width of a film; absent: training.data.num_width" },
    { "frames", REEL_OPT_INT, F(frames), .min = 1, .max = 262144, .flags = REEL_OPT_NULLABLE, .unit = "pictures", .help = "frames of a film, 4k+1; absent: training.data.num_frames" },
    { "fps", REEL_OPT_F64, F(fps), .min = 0.1, .max = 1000, .flags = REEL_OPT_NULLABLE, .unit = "pictures a second", .help = "pictures a second of a film; absent: the preset's, 16; with the built-in codec 8" },
    { "sampler", REEL_OPT_ENUM, F(sampler), .choices = "auto|" REEL_GENERATE_SAMPLERS,
      .help = "unipc, euler: many steps, guided; fewstep: a distilled student's; streaming, causal: a causal student's few or many "
              "steps, chunk by chunk; real: no model, other clips of the captions through the codec, the best that measures can be" },
    { "steps", REEL_OPT_INT, F(steps), .min = 1, .max = REEL_GENERATE_MAX_STEPS, .flags = REEL_OPT_NULLABLE,
      .help = "sampling steps, evenly spaced; absent: the few that a student is trained for, else 50" },
    { "guidance", REEL_OPT_F64, F(guidance), .min = -1e6, .max = 1e6, .flags = REEL_OPT_NULLABLE,
      .help = "guidance scale of unipc, euler and causal; 1: the prompt alone; absent: the preset's, 2 with built-in text vectors, causal 1" },
    { "shift", REEL_OPT_F64, F(shift), .min = 1e-3, .max = 1000, .flags = REEL_OPT_NULLABLE, .help = "shift of the timesteps; absent: pipeline.flow_shift" },
    { "batch", REEL_OPT_INT, F(batch), .min = 1, .max = 65536, .flags = REEL_OPT_NULLABLE, .unit = "films",
      .help = "films sampled at once by a data-parallel group; absent: 1, with --clips 16" },
    { "clips", REEL_OPT_INT, F(clips), .max = 1048576, .unit = "clips",
      .help = "instead of a prompt: captions of this many held-out built-in clips, and measures of the result" },
    { "benchmark", REEL_OPT_INT, F(benchmark), .max = 250, .help = "of --clips: which held-out captions and which noise" },
    { .type = REEL_OPT_END },
};
#undef F
static const struct reel_cmd generate = {
    .name = "generate", .run_flags = "config|override-output-dir|lenient", .config_optional = 1, .flags = generate_flags,
    .flags_size = sizeof(struct reel_generate_flags), .help = "films of prompts from a checkpoint or a Diffusers folder",
    .examples = "  reel generate --checkpoint outputs/run --prompt \"a red circle moves left\" --out films\n"
                "  mpiexec -n 8 reel generate --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --prompts prompts.txt --height 480 --width 832 --frames 81\n",
};
#define F(field) offsetof(struct reel_export_flags, field)
static const struct reel_opt export_flags[] = {
    { "role", REEL_OPT_STR, F(role), .sdflt = "student", .help = "whose weights" },
    { "ema", REEL_OPT_BOOL, F(ema), .help = "the student's average, which the callback ema keeps, instead of its weights" },
    { "lora", REEL_OPT_BOOL, F(lora), .help = "of a checkpoint of adapters: these alone, as PEFT and Diffusers load them" },
    { "merge", REEL_OPT_BOOL, F(merge), .help = "of a checkpoint of adapters: the base with the adapters added to its weights" },
    { "base", REEL_OPT_STR, F(base), .unit = "DIR",
      .help = "Diffusers folder or repository id that gives config.json and the other components; absent: the role's init_from" },
    { "dtype", REEL_OPT_ENUM, F(dtype), .choices = "f32|bf16", .help = "type of the stored weights" },
    { "shard-bytes", REEL_OPT_INT, F(shard_bytes), .dflt = 5e9, .min = 1, .max = 9e18, .unit = "bytes",
      .help = "largest file of weights; a model above it is several files and an index" },
    { .type = REEL_OPT_END },
};
#undef F
static const struct reel_cmd export = {
    .name = "export", .args = "CHECKPOINT|RUN DIR", .min_args = 2, .max_args = 2, .flags = export_flags,
    .flags_size = sizeof(struct reel_export_flags),
    .help = "a checkpoint as a Diffusers folder that other tools load",
    .examples = "  reel export outputs/run/checkpoint-1000 student --ema --dtype bf16\n",
};

#define F(field) offsetof(struct reel_import_flags, field)
static const struct reel_opt import_flags[] = {
    { "base", REEL_OPT_STR, F(base), .unit = "DIR",
      .help = "Diffusers folder or repository id that gives config.json and the other components; needed for a single file" },
    { "model", REEL_OPT_STR, F(model), .sdflt = "wan", .unit = "NAME", .help = "the model whose parameters these are: a registry name" },
    { "role", REEL_OPT_STR, F(role), .sdflt = "student", .help = "of a checkpoint: whose weights" },
    { "dtype", REEL_OPT_ENUM, F(dtype), .choices = "keep|f32|bf16", .help = "type of the stored weights of a folder; a checkpoint holds f32" },
    { "shard-bytes", REEL_OPT_INT, F(shard_bytes), .dflt = 5e9, .min = 1, .max = 9e18, .unit = "bytes",
      .help = "largest file of weights; a model above it is several files and an index" },
    { .type = REEL_OPT_END },
};
#undef F
static const struct reel_cmd import = {
    .name = "import", .args = "MODEL DIR|checkpoint-N", .min_args = 2, .max_args = 2, .flags = import_flags,
    .flags_size = sizeof(struct reel_import_flags),
    .help = "weights of others (Diffusers, the authors', one safetensors file) as a folder for init_from, or as a checkpoint",
    .examples = "  reel import Wan2.1-T2V-1.3B wan\n"
                "  reel import student outputs/run/checkpoint-1000\n",
};

#define F(field) offsetof(struct reel_trajectories_flags, field)
static const struct reel_opt trajectories_flags[] = {
    { "output", REEL_OPT_STR, F(output), .unit = "DIR", .help = "folder to write; absent: method.teacher_path_cache" },
    { "samples-per-file", REEL_OPT_INT, F(samples_per_file), .dflt = REEL_PART_SAMPLES, .min = 1, .max = 1048576, .unit = "samples",
      .help = "samples of a file of the folder; a run that is stopped keeps the files that are whole" },
    { .type = REEL_OPT_END },
};
#undef F
static const struct reel_cmd trajectories = {
    .name = "trajectories", .run_flags = "config|lenient", .flags = trajectories_flags, .flags_size = sizeof(struct reel_trajectories_flags),
    .help = "the trajectories of a teacher that the method kd learns from; train makes those that are missing, too",
    .examples = "  mpiexec -n 8 reel trajectories --config kd.yaml\n",
    .ends = "keeps the files that are whole; the same command goes on",
};

static const struct reel_opt report_flags[] = {
    { "html", REEL_OPT_STR, offsetof(struct reel_report_flags, html), .unit = "FILE", .help = "the page to write; absent: report.html in the folder" },
    { .type = REEL_OPT_END },
};
static const struct reel_cmd report = {
    .name = "report", .args = "RUN", .min_args = 1, .max_args = 1, .flags = report_flags, .flags_size = sizeof(struct reel_report_flags),
    .help = "how a run went and why it ended, also while it runs: a summary, and an HTML page with plots",
    .examples = "  reel report outputs/run\n",
};

const struct reel_cmd *const reel_commands[] = { &train, &plan, &preprocess, &trajectories, &check, &generate, &export, &import, &report, NULL };
