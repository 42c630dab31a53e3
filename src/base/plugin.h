#ifndef REEL_BASE_PLUGIN_H
#define REEL_BASE_PLUGIN_H

/* A model, method or callback is one file. It ends with
 *
 *     REEL_EXPORT(REEL_KIND_METHOD, my_method);
 *
 * where `const struct reel_method_ops reel_method_my_method` is what it offers. In the program that line
 * only checks that the ops exist; with -DREEL_AS_PLUGIN it is the one symbol of a shared object,
 *
 *     cc -shared -fPIC -DREEL_AS_PLUGIN $(pkg-config --cflags reel) my_method.c -o my_method.so
 *
 * which a configuration names as `_target_: ./my_method.so:my_method`. See reel-plugin(7). */

#include <stdint.h>

enum reel_plugin_kind { REEL_KIND_MODEL = 1, REEL_KIND_METHOD, REEL_KIND_CALLBACK };

/* What a shared object tells of one export; its first two members never change. */
struct reel_plugin {
    uint32_t abi;      /* REEL_ABI of the headers it was built with */
    uint32_t kind;     /* enum reel_plugin_kind */
    uint64_t ops_size; /* of the ops struct of its kind */
    const void *ops;
};

#define REEL_PLUGIN_SYMBOL(name)     "reel_plugin_" name
#define REEL_OPS_REEL_KIND_MODEL(n)    reel_model_##n
#define REEL_OPS_REEL_KIND_METHOD(n)   reel_method_##n
#define REEL_OPS_REEL_KIND_CALLBACK(n) reel_callback_##n

#ifdef REEL_AS_PLUGIN
#include "base/abi.h" /* REEL_ABI: a checksum of the headers that plugins see */
#define REEL_EXPORT(k, name)                                                                       \
    extern const struct reel_plugin reel_plugin_##name;                                            \
    __attribute__((visibility("default"))) const struct reel_plugin reel_plugin_##name = {         \
        .abi = REEL_ABI, .kind = k, .ops_size = sizeof REEL_OPS_##k(name), .ops = &REEL_OPS_##k(name), \
    }
#else
#define REEL_EXPORT(k, name) _Static_assert(sizeof REEL_OPS_##k(name) > 0, "the ops that the file exports")
#endif

#endif
