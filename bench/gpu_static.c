/* What the built kernels are made of, read from the objects themselves: gpu_static [-l LAUNCHES] FILE...
 *
 * FILE is a cubin, an object, or reel_cuda.so: every kernel of every generation in it gets a row. LAUNCHES is what
 * SIMT_LAUNCHES=FILE makes the executor of tests/cuda write: kernel, threads of a block, dynamic shared memory;
 * with it a row is printed for each such launch, without it a block of the kernel's bound and no dynamic memory.
 *
 * The toolkit need not have a disassembler. Since Volta every instruction is 128 bits with the opcode in bits 0-11 and,
 * for memory instructions, the width in bits 73-75 (4: 32, 5: 64, 6: 128 bits). The opcodes below were found by
 * compiling one instruction at a time. Occupancy is NVIDIA's own formula, cuda_occupancy.h. */

#include <cuda_occupancy.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EM_GPU = 190, CONTAINER = 0xba55ed50, CUBIN = 2 };
enum { INFO_MAX_THREADS = 0x05, INFO_REGISTERS = 0x2f, FORM_SIZED = 4 };
enum {
    RESERVED_SHARED = 1024
}; /* of every block: since sm_90 the section of a kernel's arrays holds it too */

enum op { INSTRUCTIONS, HMMA, LDSM, LDGSTS, LDG, LDG128, STG, STG128, LDS, LDS128, LOCAL, BARRIER, N_OPS };
static const char *const op_name[N_OPS] = { "instr", "HMMA", "LDSM", "LDGSTS", "LDG",   ".128",
                                            "STG",   ".128", "LDS",  ".128",   "local", "BAR" };

struct kernel {
    const char *name; /* mangled */
    int sm, registers, static_shared, max_threads;
    int n[N_OPS];
};

struct launch {
    char name[512];
    int threads, shared;
};
static struct launch launches[4096];
static int n_launches;

static void die(const char *what, const char *file)
{
    fprintf(stderr, "gpu_static: %s: %s\n", file, what);
    exit(1);
}

/* ---- instructions ---- */

static void count(struct kernel *k, const uint64_t *word, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int opcode = (int)(word[2 * i] & 0xfff), wide = (word[2 * i + 1] >> 9 & 7) == 6;

        k->n[INSTRUCTIONS]++;
        switch (opcode) {
        case 0x23c: k->n[HMMA]++; break;
        case 0x83b: k->n[LDSM]++; break;
        case 0xfae: k->n[LDGSTS]++; break;
        case 0x981: k->n[LDG]++, k->n[LDG128] += wide; break;
        case 0x986: k->n[STG]++, k->n[STG128] += wide; break;
        case 0x984: k->n[LDS]++, k->n[LDS128] += wide; break;
        case 0x983:                       /* LDL */
        case 0x387: k->n[LOCAL]++; break; /* STL */
        case 0xb1d: k->n[BARRIER]++; break;
        }
    }
}

/* ---- occupancy ---- */

static cudaOccDeviceProp device(int sm)
{
    cudaOccDeviceProp p = {
        .computeMajor = sm / 10,
        .computeMinor = sm % 10,
        .maxThreadsPerBlock = 1024,
        .maxThreadsPerMultiprocessor = 2048,
        .regsPerBlock = 65536,
        .regsPerMultiprocessor = 65536,
        .warpSize = 32,
        .sharedMemPerBlock = 49152,
        .sharedMemPerMultiprocessor = 233472,
        .numSms = 132,
        .sharedMemPerBlockOptin = 232448,
        .reservedSharedMemPerBlock = RESERVED_SHARED,
    };

    if (sm == 80) {
        p.sharedMemPerMultiprocessor = 167936;
        p.sharedMemPerBlockOptin = 166912;
    }
    if (sm == 86 || sm == 89 || sm == 120) {
        p.maxThreadsPerMultiprocessor = 1536;
        p.sharedMemPerMultiprocessor = 102400;
        p.sharedMemPerBlockOptin = 101376;
    }
    return p;
}

/* Blocks that a multiprocessor holds at once; 0: the launch does not fit. */
static int resident(const struct kernel *k, int threads, int shared)
{
    cudaOccDeviceProp p = device(k->sm);
    cudaOccFuncAttributes f = {
        .maxThreadsPerBlock = k->max_threads,
        .numRegs = k->registers,
        .sharedSizeBytes = (size_t)k->static_shared,
        .partitionedGCConfig = PARTITIONED_GC_OFF,
        .shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN,
        .maxDynamicSharedSizeBytes = (size_t)shared,
        .numBlockBarriers = 1,
    };
    cudaOccDeviceState s = { .cacheConfig = CACHE_PREFER_NONE,
                             .carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED };
    cudaOccResult r;

    return cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &f, &s, threads, (size_t)shared)
               ? 0
               : r.activeBlocksPerMultiprocessor;
}

/* ---- output ---- */

static void print_head(void)
{
    printf("kernel\tsm\tthreads\tregs\tshared\tblocks/SM\toccupancy");
    for (int i = 0; i < N_OPS; i++) printf("\t%s", op_name[i]);
    printf("\n");
}

static void print_row(const struct kernel *k, int threads, int shared)
{
    int blocks = resident(k, threads, shared);

    printf("%s\t%d\t%d\t%d\t%d\t%d\t%d%%", k->name, k->sm, threads, k->registers, k->static_shared + shared,
           blocks, 100 * blocks * threads / device(k->sm).maxThreadsPerMultiprocessor);
    for (int i = 0; i < N_OPS; i++) printf("\t%d", k->n[i]);
    printf("\n");
}

static void print_kernel(const struct kernel *k)
{
    int rows = 0;

    for (int i = 0; i < n_launches; i++)
        if (!strcmp(launches[i].name, k->name)) {
            print_row(k, launches[i].threads, launches[i].shared);
            rows++;
        }
    if (!rows) print_row(k, k->max_threads, 0);
}

/* ---- cubins ---- */

struct cubin {
    const unsigned char *b;
    const Elf64_Ehdr *h;
    const Elf64_Shdr *s;
    int sm;
};

static const char *section_name(const struct cubin *c, int i)
{
    return (const char *)c->b + c->s[c->h->e_shstrndx].sh_offset + c->s[i].sh_name;
}

/* A section by the two parts of its name; NULL: there is none. */
static const Elf64_Shdr *section(const struct cubin *c, const char *kind, const char *kernel)
{
    size_t n = strlen(kind);

    for (int i = 0; i < c->h->e_shnum; i++)
        if (!strncmp(section_name(c, i), kind, n) && !strcmp(section_name(c, i) + n, kernel)) return &c->s[i];
    return NULL;
}

/* The next value of an attribute in .nv.info, from place *at on: entries are a form, an attribute, a size, a value. */
static const uint32_t *info(const struct cubin *c, const Elf64_Shdr *s, int attribute, size_t *at)
{
    const unsigned char *p = c->b + s->sh_offset;
    uint16_t size;

    while (*at + 4 <= s->sh_size) {
        size_t i = *at;

        memcpy(&size, p + i + 2, sizeof size);
        *at += 4 + (size_t)(p[i] == FORM_SIZED ? size : 0);
        if (p[i] == FORM_SIZED && p[i + 1] == attribute) return (const uint32_t *)(p + i + 4);
    }
    return NULL;
}

static int max_threads(const struct cubin *c, const char *kernel)
{
    const Elf64_Shdr *s = section(c, ".nv.info.", kernel);
    size_t at = 0;
    const uint32_t *dim = s ? info(c, s, INFO_MAX_THREADS, &at) : NULL;

    return dim ? (int)(dim[0] * dim[1] * dim[2]) : 1024;
}

static int registers(const struct cubin *c, const char *kernel)
{
    const Elf64_Shdr *s = section(c, ".nv.info", ""), *symbols = section(c, ".symtab", ""),
                     *names = section(c, ".strtab", "");
    const uint32_t *v;

    for (size_t at = 0; s && symbols && names && (v = info(c, s, INFO_REGISTERS, &at));) {
        const Elf64_Sym *y = (const Elf64_Sym *)(c->b + symbols->sh_offset) + v[0];

        if (!strcmp((const char *)c->b + names->sh_offset + y->st_name, kernel)) return (int)v[1];
    }
    return 0;
}

static void read_cubin(const unsigned char *b, int sm, const char *file)
{
    struct cubin c = { b, (const Elf64_Ehdr *)b, (const Elf64_Shdr *)(b + ((const Elf64_Ehdr *)b)->e_shoff),
                       sm };

    for (int i = 0; i < c.h->e_shnum; i++) {
        const char *name = section_name(&c, i);
        struct kernel k = { .name = name + 6, .sm = sm };
        const Elf64_Shdr *shared;

        if (strncmp(name, ".text.", 6)) continue;
        k.registers = registers(&c, k.name);
        k.max_threads = max_threads(&c, k.name);
        if (!k.registers) die("says nothing about registers", file);
        shared = section(&c, ".nv.shared.", k.name);
        k.static_shared = shared ? (int)shared->sh_size : 0;
        if (sm >= 90 && k.static_shared >= RESERVED_SHARED) k.static_shared -= RESERVED_SHARED;
        count(&k, (const uint64_t *)(b + c.s[i].sh_offset), c.s[i].sh_size / 16);
        print_kernel(&k);
    }
}

/* ---- containers ---- */

struct container {
    uint32_t magic;
    uint16_t version, header;
    uint64_t size; /* of the entries */
};
struct entry {
    uint16_t kind, version;
    uint32_t header;
    uint64_t size;
    uint32_t reserved[3], sm;
};

static void read_container(const unsigned char *b, const unsigned char *end, const char *file)
{
    const struct container *c = (const struct container *)b;
    const unsigned char *p = b + c->header, *last = p + c->size;

    if (last > end) die("a fat binary is cut off", file);
    while (p + sizeof(struct entry) <= last) {
        const struct entry *e = (const struct entry *)p;

        if (e->kind == CUBIN && memcmp(p + e->header, ELFMAG, SELFMAG))
            die("code is compressed: build with -Xfatbin -compress=false", file);
        if (e->kind == CUBIN) read_cubin(p + e->header, (int)e->sm, file);
        p += e->header + e->size;
    }
}

/* Fat binaries are 8-aligned in a section .nv_fatbin of an object or a shared object. */
static void read_host(const unsigned char *b, size_t n, const char *file)
{
    int found = 0;

    for (size_t i = 0; i + sizeof(struct container) <= n; i += 8) {
        const struct container *c = (const struct container *)(b + i);

        if (c->magic != CONTAINER || c->version != 1 || c->header != sizeof *c) continue;
        read_container(b + i, b + n, file);
        i += c->header + c->size - 8;
        found = 1;
    }
    if (!found) die("holds no device code", file);
}

static void read_file(const char *file)
{
    FILE *f = fopen(file, "rb");
    long n;
    unsigned char *b;

    if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < (long)sizeof(Elf64_Ehdr)) die("cannot read it", file);
    rewind(f);
    b = malloc((size_t)n);
    if (!b || fread(b, 1, (size_t)n, f) != (size_t)n) die("cannot read it", file);
    fclose(f);
    if (((Elf64_Ehdr *)b)->e_machine == EM_GPU) {
        uint32_t flags = ((Elf64_Ehdr *)b)->e_flags;

        read_cubin(b, (int)(b[EI_ABIVERSION] >= 8 ? flags >> 8 & 0xff : flags & 0xff), file);
    } else
        read_host(b, (size_t)n, file);
    free(b);
}

static void read_launches(const char *file)
{
    FILE *f = fopen(file, "r");

    if (!f) die("cannot read it", file);
    while (n_launches < 4096 && fscanf(f, "%511s %d %d", launches[n_launches].name,
                                       &launches[n_launches].threads, &launches[n_launches].shared) == 3)
        n_launches++;
    fclose(f);
}

int main(int argc, char **argv)
{
    int i = 1;

    if (argc > 3 && !strcmp(argv[1], "-l")) {
        read_launches(argv[2]);
        i = 3;
    }
    if (i >= argc) {
        fprintf(stderr, "usage: gpu_static [-l LAUNCHES] FILE...\n");
        return 1;
    }
    print_head();
    for (; i < argc; i++) read_file(argv[i]);
    return 0;
}
