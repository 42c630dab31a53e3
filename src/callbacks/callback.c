#include "callbacks/callback.h"

#define REEL_CALLBACK(name) extern const struct reel_callback_ops reel_callback_##name;
#include "callbacks/callbacks.def"
#undef REEL_CALLBACK

const struct reel_callback_ops *const reel_callbacks[] = {
#define REEL_CALLBACK(name) &reel_callback_##name,
#include "callbacks/callbacks.def"
#undef REEL_CALLBACK
    NULL,
};

#define FIRE(hook, ...)                                                                            \
    for (int i = 0; i < n; i++)                                                                    \
        if (cb[i].ops->hook) REEL_TRY(cb[i].ops->hook(__VA_ARGS__));                               \
    return REEL_OK

reel_err reel_callbacks_init(struct reel_cb *cb, int n) { FIRE(init, &cb[i]); }
reel_err reel_callbacks_layout(struct reel_cb *cb, int n, struct reel_arena *a) { FIRE(layout, &cb[i], a); }
reel_err reel_callbacks_prepare(struct reel_cb *cb, int n) { FIRE(prepare, &cb[i]); }
reel_err reel_callbacks_before_optim(struct reel_cb *cb, int n, struct reel_step *st) { FIRE(before_optim, &cb[i], st); }
reel_err reel_callbacks_step_end(struct reel_cb *cb, int n, struct reel_step *st) { FIRE(step_end, &cb[i], st); }
reel_err reel_callbacks_after_step(struct reel_cb *cb, int n, long step) { FIRE(after_step, &cb[i], step); }

void reel_callbacks_rehearse(struct reel_cb *cb, int n)
{
    for (int i = 0; i < n; i++)
        if (cb[i].ops->rehearse) cb[i].ops->rehearse(&cb[i]);
}

void reel_callbacks_fini(struct reel_cb *cb, int n)
{
    for (int i = 0; i < n; i++)
        if (cb[i].ops->fini) cb[i].ops->fini(&cb[i]);
}
