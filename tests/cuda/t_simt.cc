/* The executor and its checker, on kernels with planted bugs: each must be caught, with the kernel's name and the
 * line. Built twice: t_simt has the executor alone, t_simt_checked the checker too, and catches more. */

#include <fcntl.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "simt_bugs.h"
#include "simt_rig.h"
#include "tests/tap.h"

struct Bug {
    const char *kernel;
    const char *plain;   /* what the executor alone says; "wrong": the result is; NULL: it cannot see it */
    const char *checked; /* what the checker says */
};
static const Bug bugs[] = {
    { "race_shared", "wrong", "RACE in shared s" },
    { "race_overwrite", "wrong", "RACE in shared s" },
    { "race_warp", "wrong", "RACE in shared s" },
    { "race_named_barrier", "wrong", "RACE in shared s" },
    { "race_blocks", NULL, "blocks have no order" },
    { "race_update", NULL, "RACE in device allocation" },
    { "race_streams", NULL, "no stream or event orders them" },
    { "no_wait", "wrong", "cp.async has not been waited for" },
    { "wait_without_barrier", "wrong", "UNINITIALISED read of shared s" },
    { "read_past_shared", NULL, "OUT OF BOUNDS 4-byte load of shared memory" },
    { "write_past_shared", "shared memory overrun", "OUT OF BOUNDS 4-byte store of shared memory" },
    { "wrong_row", NULL, "OUT OF BOUNDS index 255 of 'float [32]'" },
    { "read_past_device", NULL, "OUT OF BOUNDS 4-byte load of device memory, at byte 2048" },
    { "write_past_device", NULL, "OUT OF BOUNDS 4-byte store of device memory, at byte 2048" },
    { "read_freed", NULL, "which was freed" },
    { "uninitialised_shared", NULL, "UNINITIALISED read of shared s at byte" },
    { "uninitialised_device", NULL, "UNINITIALISED read of device allocation #0 at byte 1024" },
    { "misaligned_vector", "MISALIGNED 16-byte load", "MISALIGNED 16-byte load" },
    { "misaligned_pointer", NULL, "MISALIGNED pointer, to a type of 16 bytes" },
    { "host_pointer", NULL, "4-byte load of HOST memory" },
    { "divergent_barrier", "threads meet at different barriers", "threads meet at different barriers" },
    { "barrier_not_reached", "DEADLOCK: 200 of 256 threads wait, 56 have exited",
      "DEADLOCK: 200 of 256 threads wait, 56 have exited" },
    { "shuffle_in_branch", "DEADLOCK: 128 of 256 threads wait, 128 have exited",
      "DEADLOCK: 128 of 256 threads wait, 128 have exited" },
    { "shuffle_with_exited", "which have exited", "which have exited" },
    { "spins", "a kernel spins", "a kernel spins" },
    { "wrong_shuffle_lane", "wrong", "wrong" },
    { "wrong_mma_lane", "wrong", "wrong" },
    { "too_many_threads", "a block has 1 to 1024 threads", "a block has 1 to 1024 threads" },
    { "too_much_shared", "more dynamic shared memory", "more dynamic shared memory" },
    { "no_blocks", "an empty grid", "an empty grid" },
};

/* The line of simt_bugs.cu marked for this kernel; 0: none. */
static int planted_line(const char *kernel)
{
    std::string path =
        std::string(getenv("REEL_SRC") ? getenv("REEL_SRC") : ".") + "/tests/cuda/simt_bugs.cu";
    std::string mark = std::string("// planted: ") + kernel + "\n";
    FILE *f = fopen(path.c_str(), "r");
    char text[512];
    int line = 0;

    if (!f) return 0;
    for (int i = 1; fgets(text, sizeof text, f) && !line; i++)
        if (strstr(text, mark.c_str())) line = i;
    fclose(f);
    return line;
}

enum Outcome { RIGHT, WRONG, REFUSED };

/* Launches a kernel on fresh memory; some bugs lie in how. */
static Outcome run(const char *kernel)
{
    float *x = (float *)rig::alloc(512 * sizeof *x), host[256] = { 0 };
    bool good = !strcmp(kernel, "good_mma");

    for (int i = 0; i < 256; i++) x[i] = (float)(i + 1);
    rig::defined(x, 256 * sizeof *x);
    if (!strcmp(kernel, "read_freed")) rig::allocations[0].live = false;
    bug_launch(good ? "wrong_mma_lane" : kernel, x, good ? NULL : host, (cudaStream_t)1);
    if (rig::failure) return REFUSED;
    if (!strcmp(kernel, "race_streams")) bug_launch(kernel, x, host, (cudaStream_t)2);
    for (int i = 0; i < 256; i++)
        if (!(x[256 + i] == (float)(256 - i))) return WRONG;
    return RIGHT;
}

static std::string read_all(int fd)
{
    std::string text;
    char part[4096];

    for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;) text.append(part, (size_t)n);
    return text;
}

/* In a process of its own, because what it does may kill: what it said, and whether the result was wrong. */
static std::string run_apart(const char *kernel, bool *wrong)
{
    int fd[2], status;
    pid_t child;

    if (pipe(fd)) exit(99);
    fflush(stdout);
    child = fork();
    if (!child) {
        dup2(fd[1], 2);
        close(fd[0]);
        simt::abort_on_error(false);
        rig::open();
        _exit(run(kernel));
    }
    close(fd[1]);
    std::string said = read_all(fd[0]);
    close(fd[0]);
    waitpid(child, &status, 0);
    *wrong = WIFEXITED(status) && WEXITSTATUS(status) == WRONG;
    return said;
}

/* Does a line of `said` hold all of these? */
static bool line_holds(const std::string &said, const std::string &a, const std::string &b,
                       const std::string &c)
{
    for (size_t at = 0, end; at < said.size(); at = end + 1) {
        end = said.find('\n', at);
        if (end == std::string::npos) end = said.size();
        std::string line = said.substr(at, end - at);
        if (line.find(a) != std::string::npos && line.find(b) != std::string::npos &&
            line.find(c) != std::string::npos)
            return true;
    }
    return false;
}

static void caught(const Bug &b)
{
    const char *want = simt::checker.access ? b.checked : b.plain;
    bool wrong;
    std::string said = run_apart(b.kernel, &wrong), place;
    int line = planted_line(b.kernel);

    if (!want) {
        TAP_OK(said.empty() && !wrong, "%s: out of the executor's sight", b.kernel);
        return;
    }
    if (!strcmp(want, "wrong")) {
        TAP_OK(wrong, "%s: wrong result", b.kernel);
        return;
    }
    if (line && strcmp(b.kernel, "spins") && strcmp(want, "shared memory overrun"))
        place = "simt_bugs.cu:" + std::to_string(line) + ":";
    if (!TAP_OK(line_holds(said, b.kernel, place, want), "%s: %s %s", b.kernel, want, place.c_str()))
        printf("# said: %s\n", said.c_str());
}

static void quiet(const char *kernel)
{
    bool wrong;
    std::string said = run_apart(kernel, &wrong);

    if (!TAP_OK(said.empty() && !wrong, "%s: right, nothing said", kernel))
        printf("# said: %s\n", said.c_str());
}

int main(void)
{
    setenv("SIMT_SPIN_S", "1", 1);
    quiet("correct");
    quiet("good_mma");
    for (const Bug &b : bugs) caught(b);
    return tap_done();
}
