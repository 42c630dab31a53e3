/* .metadata from entries: the smallest pickle that torch reads. */
#include <string.h>

#include "ckpt/dcp.h"

#define META  "torch.distributed.checkpoint.metadata"
#define FILES "torch.distributed.checkpoint.filesystem"

/* How the nested dictionary of the training state is cut: by prefix, how many dotted names each
 * part has; REST takes all that is left. Keys under no prefix: one name a part. */
#define REST (-1)
static const struct cut { const char *prefix; int names[4]; } cuts[] = {
    { "roles.", { 3, REST } },              /* roles.student.transformer | blocks.0.to_q.weight */
    { "optimizers.", { 2, REST } },         /* optimizers.student | state.transformer.... */
    { "schedulers.", { 2, 1, REST } },      /* schedulers.student | scheduler | last_epoch */
    { "callbacks.ema.", { 1, 1, 1, REST } }, /* callbacks | ema | student_ema | blocks.0.to_q.weight */
};

static const struct cut *cut_of(const char *key)
{
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
        if (strncmp(key, cuts[i].prefix, strlen(cuts[i].prefix)) == 0) return &cuts[i];
    return NULL;
}

static int names_long(const char *s, int names)
{
    const char *p = s;

    if (names == REST) return (int)strlen(s);
    while (*p && (*p != '.' || --names)) p++;
    return (int)(p - s);
}

int reel_dcp_path_parts(const char *key, int *len, int max)
{
    const struct cut *c = cut_of(key);
    int n = 0;

    while (*key && n < max) {
        int names = n == max - 1 ? REST : c && n < 4 ? c->names[n] : 1;
        len[n] = names_long(key, names);
        key += len[n++];
        if (*key == '.') key++;
    }
    return n;
}

/* class ) NEWOBJ } ( ... caller writes the items, then close_obj */
static void open_obj(struct reel_pw *w, const char *module, const char *name)
{
    reel_pw_global(w, module, name);
    reel_pw_op(w, REEL_P_EMPTY_TUPLE);
    reel_pw_op(w, REEL_P_NEWOBJ);
    reel_pw_op(w, REEL_P_EMPTY_DICT);
    reel_pw_op(w, REEL_P_MARK);
}

static void close_obj(struct reel_pw *w)
{
    reel_pw_op(w, REEL_P_SETITEMS);
    reel_pw_op(w, REEL_P_BUILD);
}

static void put_size(struct reel_pw *w, const int64_t *n, int nd)
{
    reel_pw_global(w, "torch", "Size");
    reel_pw_ints(w, n, nd);
    reel_pw_tuple(w, 1);
    reel_pw_op(w, REEL_P_REDUCE);
}

/* The five-part state: newer torch adds strides, which older torch refuses. */
static void put_properties(struct reel_pw *w, const char *type)
{
    reel_pw_global(w, META, "TensorProperties");
    reel_pw_op(w, REEL_P_EMPTY_TUPLE);
    reel_pw_op(w, REEL_P_NEWOBJ);
    reel_pw_op(w, REEL_P_MARK);
    reel_pw_global(w, "torch", type);
    reel_pw_global(w, "torch.serialization", "_get_layout");
    reel_pw_str(w, "torch.strided");
    reel_pw_tuple(w, 1);
    reel_pw_op(w, REEL_P_REDUCE);
    reel_pw_op(w, REEL_P_FALSE);
    reel_pw_global(w, META, "_MEM_FORMAT_ENCODING");
    reel_pw_int(w, 0);
    reel_pw_tuple(w, 1);
    reel_pw_op(w, REEL_P_REDUCE);
    reel_pw_op(w, REEL_P_FALSE);
    reel_pw_op(w, REEL_P_TUPLE);
    reel_pw_op(w, REEL_P_BUILD);
}

static void put_tensor(struct reel_pw *w, const struct reel_dcp_entry *e)
{
    open_obj(w, META, "TensorStorageMetadata");
    reel_pw_str(w, "properties");
    put_properties(w, e->type->name);
    reel_pw_str(w, "size");
    put_size(w, e->n, e->nd);
    reel_pw_str(w, "chunks");
    reel_pw_op(w, REEL_P_EMPTY_LIST);
    reel_pw_op(w, REEL_P_MARK);
    for (int i = 0; i < e->n_chunks; i++) {
        open_obj(w, META, "ChunkStorageMetadata");
        reel_pw_str(w, "offsets");
        put_size(w, e->chunk[i].off, e->nd);
        reel_pw_str(w, "sizes");
        put_size(w, e->chunk[i].n, e->nd);
        close_obj(w);
    }
    reel_pw_op(w, REEL_P_APPENDS);
    close_obj(w);
}

static void put_entries(struct reel_pw *w, const struct reel_dcp_entry *e, int n)
{
    reel_pw_op(w, REEL_P_EMPTY_DICT);
    if (n) reel_pw_op(w, REEL_P_MARK);
    for (int i = 0; i < n; i++) {
        reel_pw_str(w, e[i].key);
        if (e[i].type) {
            put_tensor(w, &e[i]);
        } else {
            reel_pw_global(w, META, "BytesStorageMetadata");
            reel_pw_op(w, REEL_P_EMPTY_TUPLE);
            reel_pw_op(w, REEL_P_NEWOBJ);
        }
    }
    if (n) reel_pw_op(w, REEL_P_SETITEMS);
}

static void put_planner(struct reel_pw *w, const struct reel_dcp_entry *e, int n)
{
    reel_pw_op(w, REEL_P_EMPTY_DICT);
    if (n) reel_pw_op(w, REEL_P_MARK);
    for (int i = 0; i < n; i++) {
        int len[16], parts = reel_dcp_path_parts(e[i].key, len, 16);
        const char *s = e[i].key;
        reel_pw_str(w, s);
        reel_pw_op(w, REEL_P_MARK);
        for (int k = 0; k < parts; s += len[k++] + 1) reel_pw_strn(w, s, (size_t)len[k]);
        reel_pw_op(w, REEL_P_TUPLE);
    }
    if (n) reel_pw_op(w, REEL_P_SETITEMS);
}

static void put_place(struct reel_pw *w, const struct reel_dcp_entry *e, int i)
{
    open_obj(w, META, "MetadataIndex");
    reel_pw_str(w, "fqn");
    reel_pw_str(w, e->key);
    reel_pw_str(w, "index");
    if (e->type) {
        reel_pw_int(w, i);
        reel_pw_str(w, "offset");
        put_size(w, e->chunk[i].off, e->nd);
    } else {
        reel_pw_op(w, REEL_P_NONE);
    }
    close_obj(w);
    open_obj(w, FILES, "_StorageInfo");
    reel_pw_str(w, "relative_path");
    reel_pw_str(w, e->chunk[i].path);
    reel_pw_str(w, "offset");
    reel_pw_int(w, (int64_t)e->chunk[i].at);
    reel_pw_str(w, "length");
    reel_pw_int(w, (int64_t)e->chunk[i].len);
    close_obj(w);
}

static void put_places(struct reel_pw *w, const struct reel_dcp_entry *e, int n)
{
    reel_pw_op(w, REEL_P_EMPTY_DICT);
    if (n) reel_pw_op(w, REEL_P_MARK);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < e[i].n_chunks; k++) put_place(w, &e[i], k);
    if (n) reel_pw_op(w, REEL_P_SETITEMS);
}

static void put_storage_meta(struct reel_pw *w, const char *save_id)
{
    open_obj(w, META, "StorageMeta");
    reel_pw_str(w, "checkpoint_id");
    reel_pw_op(w, REEL_P_NONE);
    reel_pw_str(w, "save_id");
    reel_pw_str(w, save_id);
    reel_pw_str(w, "load_id");
    reel_pw_op(w, REEL_P_NONE);
    reel_pw_str(w, "modules");
    reel_pw_op(w, REEL_P_EMPTY_LIST);
    close_obj(w);
}

void reel_dcp_put_metadata(struct reel_pw *w, const struct reel_dcp_entry *e, int n, const char *save_id)
{
    reel_pw_begin(w);
    open_obj(w, META, "Metadata");
    reel_pw_str(w, "state_dict_metadata");
    put_entries(w, e, n);
    reel_pw_str(w, "planner_data");
    put_planner(w, e, n);
    reel_pw_str(w, "storage_data");
    put_places(w, e, n);
    reel_pw_str(w, "storage_meta");
    put_storage_meta(w, save_id);
    reel_pw_str(w, "version");
    reel_pw_str(w, "1.0.0");
    close_obj(w);
    reel_pw_end(w);
}
