/* The executor's launches as operations of streams. */
#include "fake.h"

namespace fake
{

static void launch(simt::Launch *l, cudaStream_t s)
{
    std::shared_ptr<simt::Launch> kept(l);
    Call call("");
    cudaError_t fault = injected("cudaLaunchKernel");

    if (call.error) {
        report(call.error);
        return;
    }
    enqueue({ stream_of(s) }, KERNEL, l->kernel, [=](Op &) {
        if (fault == cudaErrorLaunchTimeout) return false; /* it never ends */
        if (fault) break_device(fault);
        else simt::run(*kept);
        return true;
    });
}

static void refused(cudaError_t e)
{
    Call call("");
    report(e);
}

static const simt::Allocation *allocation(const void *p) { return find(p); }
static uint32_t now() { return running ? running->id : 0; }
static simt::OpInfo info(uint32_t id) { return { op_what(id), op_stream(id) }; }

void launches_init()
{
    simt::runtime = { launch, refused, arena(), arena_bytes(), allocation, now, info, happens_before };
}

} // namespace fake
