/* Names of learning-rate schedules; their values are in the golden folder schedulers. */
#include "optim/lr.h"
#include "tap.h"

int main(void)
{
    TAP_OK(reel_lr_find("cosin") == -1 && reel_lr_find("linear") == REEL_LR_LINEAR, "names are found whole");
    TAP_OK(reel_lr_find("") == -1 && reel_lr_find("constant") == REEL_LR_CONSTANT &&
               reel_lr_find("polynomial") == REEL_LR_POLYNOMIAL, "the first and the last");
    return tap_done();
}
