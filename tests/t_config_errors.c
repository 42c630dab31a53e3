/* Wrong configurations: each gives one line that says where, what, and what would be right. */
#include "tests/cfg.h"

/* A right run, one key per line, so that a case can replace a line. */
static const char *const base[] = {
    "models:",                                  /* 1 */
    "  student:",                               /* 2 */
    "    _target_: wan_causal",                 /* 3 */
    "    init_from: x",                         /* 4 */
    "    trainable: true",                      /* 5 */
    "  teacher:",                               /* 6 */
    "    _target_: wan",                        /* 7 */
    "    init_from: x",                         /* 8 */
    "    trainable: false",                     /* 9 */
    "  critic:",                                /* 10 */
    "    _target_: wan",                        /* 11 */
    "    init_from: x",                         /* 12 */
    "    trainable: true",                      /* 13 */
    "method:",                                  /* 14 */
    "  _target_: self_forcing",                 /* 15 */
    "  rollout_mode: simulate",                 /* 16 */
    "  dmd_denoising_steps: [1000, 500]",       /* 17 */
    "  fake_score_learning_rate: 1e-5",         /* 18 */
    "  fake_score_betas: [0.0, 0.999]",         /* 19 */
    "  fake_score_lr_scheduler: constant",      /* 20 */
    "training:",                                /* 21 */
    "  distributed:",                           /* 22 */
    "    num_gpus: 4",                          /* 23 */
    "    hsdp_replicate_dim: 2",                /* 24 */
    "    hsdp_shard_dim: 2",                    /* 25 */
    "  data:",                                  /* 26 */
    "    data_path: d",                         /* 27 */
    "    num_height: 48",                       /* 28 */
    "    num_width: 80",                        /* 29 */
    "    num_latent_t: 6",                      /* 30 */
    "  optimizer:",                             /* 31 */
    "    learning_rate: 1.0e-3",                /* 32 */
    "    lr_scheduler: constant",               /* 33 */
    "  loop:",                                  /* 34 */
    "    max_train_steps: 10",                  /* 35 */
    "  checkpoint:",                            /* 36 */
    "    output_dir: o",                        /* 37 */
    "callbacks:",                               /* 38 */
    "  grad_clip:",                             /* 39 */
    "    max_grad_norm: 1.0",                   /* 40 */
    "pipeline:",                                /* 41 */
    "  flow_shift: 5",                          /* 42 */
};
#define NBASE ((int)(sizeof base / sizeof *base))

struct wrong {
    int line;             /* replaced; 0: none, the text is appended; negative: inserted after -line */
    const char *text;     /* NULL: line deleted */
    const char *override; /* token or NULL */
    const char *message;  /* begins so */
    const char *also;     /* and contains this; NULL: nothing more */
};

static const struct wrong cases[] = {
    /* spelling */
    { 35, "    max_train_step: 10", NULL, "run.yaml:35:5: training.loop.max_train_step: unknown key", "did you mean 'max_train_steps'?" },
    { 32, "    learning_rat: 1", NULL, "run.yaml:32:5: training.optimizer.learning_rat: unknown key", "'learning_rate'" },
    { -26, "    learning_rate: 1", NULL, "run.yaml:27:5: training.data.learning_rate: unknown key", "it belongs at training.optimizer.learning_rate" },
    { 16, "  rolout_mode: simulate", NULL, "run.yaml:16:3: method.rolout_mode: unknown key", "'rollout_mode'" },
    { 40, "    max_norm: 1", NULL, "run.yaml:40:5: callbacks.grad_clip.max_norm: unknown key", "max_grad_norm" },
    { 42, "  flowshift: 5", NULL, "run.yaml:42:3: pipeline.flowshift: unknown key", "'flow_shift'" },
    { 5, "    trainabel: true", NULL, "run.yaml:5:5: models.student.trainabel: unknown key", "'trainable'" },
    { 41, "pipelin:", NULL, "run.yaml:41:1: pipelin: unknown section", "'pipeline'" },
    { 31, "  optimiser:", NULL, "run.yaml:31:3: training.optimiser: unknown key", "'optimizer'" },
    { 0, NULL, "--training.optimizer.lerning_rate=1", "command line: training.optimizer.lerning_rate: unknown key", "'learning_rate'" },
    { -22, "    optimizer.learning_rate: 1", NULL, "run.yaml:23:5: training.distributed.optimizer.learning_rate: unknown key", NULL },
    /* sections and targets */
    { 21, "trainin:", NULL, "run.yaml:21:1: trainin: unknown section", "'training'" },
    { 15, "  _target_: fastvideo.train.methods.rl.diffusion_nft.DiffusionNFTMethod", NULL,
      "run.yaml:15:13: method: 'fastvideo.train.methods.rl.diffusion_nft.DiffusionNFTMethod' is not a method of this program", "known: sft (fastvideo" },
    { 3, "    _target_: fastvideo.train.models.ltx2.LTX2Model", NULL,
      "run.yaml:3:15: models.student: 'fastvideo.train.models.ltx2.LTX2Model' is not a model of this program", "wan_causal" },
    { 3, NULL, NULL, "run.yaml:3:5: models.student: missing key '_target_'", NULL },
    { 15, "  _target_: 5", NULL, "run.yaml:15:13: method: _target_: expected a string, got an integer", NULL },
    { 15, "  _target_: ''", NULL, "run.yaml:15:13: method: _target_: expected a string, got an empty one", NULL },
    { 4, NULL, NULL, "run.yaml:3:5: models.student: missing key 'init_from'", NULL },
    { 39, "  grad_clips:", NULL, "run.yaml:40:5: callbacks.grad_clips: 'grad_clips' is not a callback of this program", "grad_clip" },
    { 40, "    # nothing", NULL, "run.yaml:39:13: callbacks.grad_clip: null is no callback; write 'grad_clip: {}'", NULL },
    { 42, "  - 5", NULL, "run.yaml:42:3: pipeline: expected a mapping, got a list", NULL },
    { -21, "  model: 5", NULL, "run.yaml:22:10: training.model: expected a mapping, got an integer", NULL },
    /* types and bounds */
    { 23, "    num_gpus: four", NULL, "run.yaml:23:15: training.distributed.num_gpus: expected an integer, got a string: four", NULL },
    { 23, "    num_gpus: 4.5", NULL, "run.yaml:23:15: training.distributed.num_gpus: expected an integer, got a number: 4.5", NULL },
    { 23, "    num_gpus: on", NULL, "run.yaml:23:15: training.distributed.num_gpus: expected an integer, got a boolean: on", NULL },
    { 23, "    num_gpus: 0", NULL, "run.yaml:23:15: training.distributed.num_gpus: 0 is out of bounds: 1 to", NULL },
    { 24, "    hsdp_replicate_dim: -1", NULL, "run.yaml:24:25: training.distributed.hsdp_replicate_dim: -1 is out of bounds", NULL },
    { 25, "    hsdp_shard_dim: -1", NULL, "run.yaml:25:21: training.distributed.hsdp_shard_dim: -1 is out of bounds", NULL },
    { -22, "    sp_size: -1", NULL, "run.yaml:23:14: training.distributed.sp_size: -1 is out of bounds", NULL },
    { 32, "    learning_rate: fast", NULL, "run.yaml:32:20: training.optimizer.learning_rate: expected a number, got a string: fast", NULL },
    { 32, "    learning_rate: -1.0", NULL, "run.yaml:32:20: training.optimizer.learning_rate: -1.0 is out of bounds: 0 to", NULL },
    { 32, "    learning_rate: .nan", NULL, "run.yaml:32:20: training.optimizer.learning_rate: expected a finite number", NULL },
    { 33, "    betas: 0.9", NULL, "run.yaml:33:12: training.optimizer.betas: expected two numbers", "[0.9, 0.999]" },
    { 33, "    betas: [0.9, 1.0]", NULL, "run.yaml:33:12: training.optimizer.betas: 1.0 is not in [0, 1)", NULL },
    { 33, "    lr_scheduler: cosin", NULL, "run.yaml:33:19: training.optimizer.lr_scheduler: 'cosin' is not one of constant,", "did you mean cosine?" },
    { 33, "    lr_scheduler: piecewise_constant", NULL, "run.yaml:33:19: training.optimizer.lr_scheduler: 'piecewise_constant' is not one of", "cosine" },
    { 5, "    trainable: 1", NULL, "run.yaml:5:16: models.student.trainable: expected true or false, got an integer: 1", NULL },
    { 5, "    trainable: 'true'", NULL, "run.yaml:5:16: models.student.trainable: expected true or false, got a string: true", NULL },
    { 4, "    init_from: [x]", NULL, "run.yaml:4:16: models.student.init_from: expected a string, got a list", NULL },
    { -5, "    num_frames_per_block: 4", NULL, "run.yaml:6:27: models.student.num_frames_per_block: 4 is out of bounds: 1 to 3", NULL },
    { -5, "    attention_backend: FLASH", NULL, "run.yaml:6:24: models.student.attention_backend: 'FLASH' is not one of", "FLASH_ATTN?" },
    { -26, "    preprocessed_data_type: t2va", NULL, "run.yaml:27:29: training.data.preprocessed_data_type: 't2va' is not one of t2v, text_only", NULL },
    { -36, "    max_wall: soon", NULL, "run.yaml:37:15: training.checkpoint.max_wall: expected a duration", "3h50m" },
    { -21, "  tracker: {trackers: [wanb]}", NULL, "run.yaml:22:24: training.tracker.trackers: 'wanb' is not one of", "wandb?" },
    { 17, "  dmd_denoising_steps: 1000", NULL, "run.yaml:17:24: method.dmd_denoising_steps: expected a list of integers, got an integer: 1000", NULL },
    { 0, NULL, "--training.data.seed=x", "command line: training.data.seed: expected an integer, got a string: x", NULL },
    { 0, NULL, "--training.data", "command line: missing value for override --training.data", NULL },
    { 0, NULL, "data", "command line: expected --dotted.key, got 'data'", NULL },
    /* roles */
    { 10, "  critik:", NULL, "run.yaml:2:3: models: the method self_forcing needs a role 'critic'; is 'critik' meant?", NULL },
    { 9, "    trainable: true", NULL, "run.yaml:9:16: models.teacher.trainable: the method self_forcing keeps the teacher frozen", NULL },
    { 13, "    trainable: false", NULL, "run.yaml:13:16: models.critic.trainable: the method self_forcing trains the critic", NULL },
    { 3, "    _target_: wan", NULL, "run.yaml:3:15: models.student._target_: wan is bidirectional", "wan_causal" },
    { -7, "    num_frames_per_block: 3", NULL, "run.yaml:8:27: models.teacher.num_frames_per_block: only causal models", NULL },
    { -5, "    lora: {enable: true}", NULL, "run.yaml:6:11: models.student.lora: enabled without a rank", NULL },
    { -9, "    lora: {enable: true, rank: 4}", NULL, "run.yaml:10:11: models.teacher.lora: enabled on a role with trainable: false", NULL },
    /* layout */
    { 23, "    num_gpus: 8", NULL, "run.yaml:25:21: training.distributed.hsdp_shard_dim: hsdp_replicate_dim 2 x hsdp_shard_dim 2 x tp_size 1 is 4, not num_gpus 8", "must be 4" },
    { 25, "    hsdp_shard_dim: 3", NULL, "run.yaml:25:21: training.distributed.hsdp_shard_dim: hsdp_replicate_dim 2 x hsdp_shard_dim 3", "multiply to 4" },
    { -22, "    sp_size: 3", NULL, "run.yaml:23:14: training.distributed.sp_size: 3 does not divide the 4 ranks", NULL },
    { -22, "    tp_size: 3", NULL, "run.yaml:23:14: training.distributed.tp_size: 3 does not divide num_gpus 4", NULL },
    /* sizes */
    { 28, "    num_height: 50", NULL, "run.yaml:28:17: training.data.num_height: 50 is not a multiple of 16; nearest: 48 or 64", NULL },
    { 29, "    num_width: 81", NULL, "run.yaml:29:16: training.data.num_width: 81 is not a multiple of 16; nearest: 80 or 96", NULL },
    { -26, "    num_frames: 20", NULL, "run.yaml:27:17: training.data.num_frames: 20 is not 4k+1; nearest: 17 or 21", NULL },
    { -26, "    num_frames: 25", NULL, "run.yaml:31:19: training.data.num_latent_t: 6 latent frames are 21 pixel frames, not num_frames 25", "(which makes 7)" },
    { 27, "    data_path: {d: 0}", NULL, "run.yaml:27:16: training.data.data_path: no data are left", NULL },
    { 27, NULL, NULL, "run.yaml:22:3: training: missing key 'data.data_path'", NULL },
    { 30, NULL, NULL, "run.yaml:27:5: training.data.num_latent_t: a simulated rollout needs the number of frames", NULL },
    /* optimizer, checkpoint, vsa, pipeline */
    { 33, "    lr_scheduler: polynomial\n    lr_warmup_steps: 10", NULL, "run.yaml:34:22: training.optimizer.lr_warmup_steps: 10 leaves polynomial nothing of max_train_steps 10", NULL },
    { 37, "    training_state_checkpointing_steps: 5", NULL, "run.yaml:37:5: training.checkpoint.output_dir: checkpoints are on (every 5 steps)", NULL },
    { 37, "    resume_from_checkpoint: Latest", NULL, "run.yaml:37:29: training.checkpoint.resume_from_checkpoint: latest means", NULL },
    { -21, "  vsa: {decay_rate: 0.1}", NULL, "run.yaml:22:21: training.vsa.decay_rate: decay_rate and decay_interval_steps go together", NULL },
    { 42, "  vae_sp: true", NULL, "run.yaml:42:11: pipeline.vae_sp: needs vae_tiling", NULL },
    { 42, "  dit_config: {local_attn_size: 3, sink_size: 3}", NULL, "run.yaml:42:47: pipeline.dit_config.sink_size: 3 leaves nothing", NULL },
    /* method */
    { 16, NULL, NULL, "run.yaml:15:3: method: missing key 'rollout_mode'", NULL },
    { 16, "  rollout_mode: data", NULL, "run.yaml:16:17: method.rollout_mode: Self-Forcing always simulates", NULL },
    { 17, "  dmd_denoising_steps: []", NULL, "run.yaml:17:24: method.dmd_denoising_steps: an empty list", NULL },
    { 17, "  dmd_denoising_steps: [500, 500]", NULL, "run.yaml:17:24: method.dmd_denoising_steps: 500 after 500: the list must be strictly decreasing", NULL },
    { 17, "  dmd_denoising_steps: [1001, 500]", NULL, "run.yaml:17:25: method.dmd_denoising_steps: 1001 is out of bounds: 1 to 1000", NULL },
    { 18, "  fake_score_learning_rate: 0", NULL, "run.yaml:18:29: method.fake_score_learning_rate: must be above 0", NULL },
    { -14, "  cfg_uncond: {text: drop}", NULL, "run.yaml:15:22: method.cfg_uncond.text: drop: Wan cannot run without text", NULL },
    { -14, "  cfg_uncond: {image: zero}", NULL, "run.yaml:15:23: method.cfg_uncond.image: Wan has no such channel", NULL },
    { -14, "  min_timestep_ratio: 0.9\n  max_timestep_ratio: 0.1", NULL, "run.yaml:16:23: method.max_timestep_ratio: 0.1 is below min_timestep_ratio 0.9", NULL },
    { -14, "  enable_gradient_in_rollout: false", NULL, "run.yaml:15:31: method.enable_gradient_in_rollout: false leaves the student without a gradient", NULL },
    { -14, "  start_gradient_frame: 4", NULL, "run.yaml:15:25: method.start_gradient_frame: 4 is beyond the last block, which starts at frame 3", NULL },
    { -5, "    num_frames_per_block: 2", NULL, "run.yaml:16:3: method.chunk_size: 3 must equal models.student.num_frames_per_block 2", NULL },
    { -14, "  same_step_across_blocks: maybe", NULL, "run.yaml:15:28: method.same_step_across_blocks: expected true or false", NULL },
    /* callbacks */
    { -38, "  ema: {decay: 1.5}", NULL, "run.yaml:39:16: callbacks.ema.decay: 1.5 is out of bounds: 0 to 1", NULL },
    { -38, "  validation: {pipeline_target: wan}", NULL, "run.yaml:39:15: callbacks.validation: missing key 'dataset_file'", NULL },
    { -38, "  v: {_target_: validation, pipeline_target: wan, dataset_file: p.doc}", NULL, "run.yaml:39:65: callbacks.v.dataset_file: the prompt file must end in .json, .csv or .txt", NULL },
    { -38, "  validation: {pipeline_target: wan, dataset_file: p.json, rollout_mode: streaming}", NULL, "run.yaml:39:74: callbacks.validation.rollout_mode: streaming contradicts", NULL },
    { -38, "  validation: {pipeline_target: fastvideo.pipelines.basic.ltx2.ltx2_pipeline.LTX2Pipeline, dataset_file: p.json}", NULL,
      "run.yaml:39:33: callbacks.validation.pipeline_target: 'fastvideo.pipelines.basic.ltx2.ltx2_pipeline.LTX2Pipeline' is not one of wan, wan_dmd", NULL },
};

static char *document(const struct wrong *w)
{
    char *s = NULL;
    size_t n;
    FILE *f = open_memstream(&s, &n);

    for (int i = 1; i <= NBASE; i++) {
        if (i != w->line) fprintf(f, "%s\n", base[i - 1]);
        else if (w->text) fprintf(f, "%s\n", w->text);
        if (i == -w->line) fprintf(f, "%s\n", w->text);
    }
    fclose(f);
    return s;
}

static void run_case(const struct wrong *w)
{
    char *text = document(w);
    struct reel_config *c = cfg_parse(text, "run.yaml", w->override != NULL, &w->override, 0);
    const char *msg = reel_errrec()->msg;
    int ok = !c && reel_errrec()->code == REEL_ECONFIG && !strncmp(msg, w->message, strlen(w->message)) &&
             (!w->also || strstr(msg, w->also)) && !strchr(msg, '\n');

    TAP_OK(ok, "%s", c ? "a wrong configuration was accepted" : msg);
    if (!ok) printf("# wanted: %s ... %s\n", w->message, w->also ? w->also : "");
    reel_config_free(c);
    free(text);
}

/* One SFT document, for the rules of the fine-tuning methods. */
static const char sft[] = "models: {student: {_target_: wan, init_from: x}}\n"
                          "method: {_target_: sft}\n"
                          "training: {data: {data_path: d}, optimizer: {learning_rate: 1}}\n";

static const struct { int n; const char *over[3]; const char *message; } on_sft[] = {
    { 1, { "--training.optimizer.learning_rate=0" }, "command line: training.optimizer.learning_rate: must be above 0 for sft" },
    { 1, { "--training.data.preprocessed_data_type=text_only" }, "command line: training.data.preprocessed_data_type: text_only data have no latents" },
    { 1, { "--method._target_=tfsft" }, "s:1:30: models.student._target_: wan is bidirectional; teacher forcing" },
    { 2, { "--method._target_=tfsft", "--models.student._target_=wan_causal" }, NULL },
    { 3, { "--method._target_=tfsft", "--models.student._target_=wan_causal", "--pipeline.dit_config.local_attn_size=4" },
      "command line: pipeline.dit_config.local_attn_size: 4: teacher forcing has no window" },
    { 2, { "--method._target_=dfsft", "--method.chunk_size=0" }, "command line: method.chunk_size: 0 is out of bounds: 1 to" },
    { 2, { "--method._target_=dfsft", "--method.chunk_size=1.5" }, "command line: method.chunk_size: expected an integer, got a number: 1.5" },
    { 2, { "--method._target_=dfsft", "--method.chunk_size=true" }, "command line: method.chunk_size: expected an integer, got a boolean: true" },
    { 2, { "--method._target_=dfsft", "--method.chunk_size= " }, "command line: method.chunk_size: expected an integer" },
    { 1, { "--training.data.seed=9223372036854775807" }, "command line: training.data.seed: 9223372036854775807 is too large: at most 9000000000000000000" },
    { 1, { "--training.data.seed=1e19" }, "command line: training.data.seed: 1e19 is too large: at most 9000000000000000000" },
    { 1, { "--training.data.seed=9e18" }, NULL },
    { 1, { "--training.data.seed=-1" }, "command line: training.data.seed: -1 is too small: at least 0" },
    { 1, { "--method._target_=kd" }, "s:2:9: method: missing key 'teacher_path_cache'" },
    { 2, { "--method._target_=kd", "--method.teacher_path_cache=c" }, NULL },
    { 1, { "--models.student.trainable=false" }, "command line: models.student.trainable: the method sft trains the student" },
    { 1, { "--training=5" }, "command line: training: expected a mapping, got an integer" },
    { 1, { "--pipeline=p.json" }, "command line: pipeline: a path to a JSON file is not read" },
    { 1, { "--training.checkpoint.max_wall=1h" }, "command line: training.checkpoint.output_dir: max_wall saves before it stops" },
};

static void fine_tuning(void)
{
    for (size_t i = 0; i < sizeof on_sft / sizeof *on_sft; i++) {
        struct reel_config *c = cfg_parse(sft, "s", on_sft[i].n, on_sft[i].over, 0);
        const char *want = on_sft[i].message, *msg = reel_errrec()->msg;

        TAP_OK(want ? !c && !strncmp(msg, want, strlen(want)) : c != NULL, "sft: %s", c ? "accepted" : msg);
        if (want && !c && strncmp(msg, want, strlen(want)) != 0) printf("# wanted: %s\n", want);
        reel_config_free(c);
    }
}

static void roots(void)
{
    static const struct { const char *text, *message; } t[] = {
        { "", "r:1:1: expected a mapping at the top, got null" },
        { "- 1\n", "r:1:1: expected a mapping at the top, got a list" },
        { "method: {}\n", "r:1:1: missing section 'models'" },
        { "models: {}\nmethod: {_target_: sft}\n", "r:1:1: missing section 'training'" },
        { "models: {}\nmethod:\ntraining: {}\n", "r:2:8: method: expected a mapping, got null" },
        { "models: {}\nmethod: {_target_: sft}\ntraining:\n", "r:3:10: training: expected a mapping, got null" },
        { "models: {}\nmethod: {}\ntraining: {}\n", "r:2:9: method: missing key '_target_'" },
    };

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct reel_config *c = cfg_parse(t[i].text, "r", 0, NULL, 0);

        TAP_OK(!c && !strncmp(reel_errrec()->msg, t[i].message, strlen(t[i].message)), "root: %s", reel_errrec()->msg);
        reel_config_free(c);
    }
}

int main(void)
{
    const struct wrong none = { 0 };
    char *text = document(&none);
    struct reel_config *c = cfg_parse(text, "run.yaml", 0, NULL, 0);

    TAP_OK(c != NULL, "the base of the cases is right%s%s", c ? "" : ": ", c ? "" : reel_errrec()->msg);
    reel_config_free(c);
    free(text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(&cases[i]);
    fine_tuning();
    roots();
    return tap_done();
}
