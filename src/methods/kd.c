/* Knowledge distillation on cached teacher trajectories: the start of a few-step student. */
#include <stddef.h>

#include "methods/check.h"
#include "methods/method.h"

struct kd {
    const char *teacher_path_cache;
    struct reel_ints t_list;
    int64_t student_sample_steps, teacher_inference_steps, num_frames_per_block;
    double teacher_guidance_scale;
};

#define F(field) offsetof(struct kd, field)
static const struct reel_opt kd_opts[] = {
    { "teacher_path_cache", REEL_OPT_STR, F(teacher_path_cache), .help = "folder of the teacher's trajectories" },
    { "t_list", REEL_OPT_INTS, F(t_list), .sdflt = "[999, 937, 833, 624, 0]", .min = 0, .max = 1000,
      .unit = "timesteps", .help = "points of the trajectory that the student starts from, decreasing to 0" },
    { "student_sample_steps", REEL_OPT_INT, F(student_sample_steps), .dflt = 4, .min = 1, .max = 1000,
      .help = "steps of the student in validation" },
    { "teacher_inference_steps", REEL_OPT_INT, F(teacher_inference_steps), .dflt = 48, .min = 1, .max = 1000,
      .help = "steps of the teacher's trajectory" },
    { "teacher_guidance_scale", REEL_OPT_F64, F(teacher_guidance_scale), .dflt = 1.0,
      .help = "guidance of the trajectory" },
    { "num_frames_per_block", REEL_OPT_INT, F(num_frames_per_block), .dflt = 3, .min = 1, .max = 65536,
      .unit = "latent frames", .help = "causal student: frames that share a point" },
    { .type = REEL_OPT_END },
};

static reel_err kd_check(const struct reel_config *cfg, const void *priv)
{
    const struct kd *o = priv;

    for (int i = 1; i < o->t_list.n; i++)
        if (o->t_list.v[i] >= o->t_list.v[i - 1])
            return reel_config_fail(cfg, "method.t_list", "%lld after %lld: the list must be strictly decreasing",
                                    (long long)o->t_list.v[i], (long long)o->t_list.v[i - 1]);
    REEL_TRY(reel_check_rate(cfg));
    return reel_check_latents(cfg, 0);
}

const struct reel_method_ops reel_method_kd = {
    .name = "kd",
    .help = "knowledge distillation: regress the end of the teacher's cached trajectories",
    .targets = "fastvideo.train.methods.knowledge_distillation.kd.KDMethod|"
               "fastvideo.train.methods.knowledge_distillation.kd.KDCausalMethod|"
               "fastvideo.train.methods.knowledge_distillation.KDMethod|"
               "fastvideo.train.methods.knowledge_distillation.KDCausalMethod",
    .opts = kd_opts,
    .priv_size = sizeof(struct kd),
    .roles_needed = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_TEACHER),
    .roles_trained = REEL_ROLE(REEL_STUDENT),
    .check = kd_check,
};
