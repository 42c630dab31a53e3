/* libsentencepiece behind C functions. No exception leaves this file. */
#include "encode/spm.h"

#include <sentencepiece_processor.h>

#include <cstdio>
#include <exception>
#include <vector>

struct reel_spm {
    sentencepiece::SentencePieceProcessor sp;
};

struct reel_spm *reel_spm_open(const void *model, size_t bytes, char *why, size_t size)
{
    reel_spm *m = nullptr;

    try {
        m = new reel_spm;
        auto status = m->sp.LoadFromSerializedProto({ static_cast<const char *>(model), bytes });
        if (status.ok()) return m;
        snprintf(why, size, "%s", status.error_message());
    } catch (const std::exception &e) {
        snprintf(why, size, "%s", e.what());
    }
    delete m;
    return nullptr;
}

void reel_spm_close(struct reel_spm *m) { delete m; }

int reel_spm_pieces(const struct reel_spm *m) { return m->sp.GetPieceSize(); }

int reel_spm_eos(const struct reel_spm *m) { return m->sp.eos_id(); }

int reel_spm_has_bytes(const struct reel_spm *m)
{
    for (int i = 0; i < m->sp.GetPieceSize(); i++)
        if (m->sp.IsByte(i)) return 1;
    return 0;
}

int reel_spm_encode(const struct reel_spm *m, const char *text, size_t bytes, int32_t *id, int most)
{
    try {
        std::vector<int> ids;
        if (!m->sp.Encode({ text, bytes }, &ids).ok()) return -1;
        for (size_t i = 0; i < ids.size() && i < static_cast<size_t>(most); i++) id[i] = ids[i];
        return static_cast<int>(ids.size());
    } catch (const std::exception &) {
        return -1;
    }
}
