/* From addresses to lines and names, by addr2line: asked when there is something to report. */

#include "simt_check.h"

#include <dlfcn.h>
#include <map>
#include <set>
#include <stdio.h>
#include <stdlib.h>

namespace simt
{

bool first_report(Site s, int kind)
{
    static std::set<std::pair<Site, int>> seen;

    return seen.insert(std::make_pair(s, kind)).second;
}

static bool is_helper(const char *file)
{
    static const char *name[] = { "cuda_bf16", "cuda_fp16", "simt_host.h", "vector_functions", "/c++/" };

    for (const char *n : name)
        if (strstr(file, n)) return true;
    return false;
}

/* `file:line` of a line of addr2line's answer, innermost inlined function first. */
static Line parse(char *text)
{
    char *colon = strrchr(text, ':');
    Line l = { "?", 0 };

    if (!colon) return l;
    l.line = atoi(colon + 1);
    *colon = 0;
    l.file = text;
    return l;
}

/* Asks addr2line about an address of this process; NULL: it cannot be asked. */
static FILE *addr2line(const char *option, uintptr_t pc)
{
    Dl_info info;
    char command[4096];

    if (!dladdr((void *)pc, &info)) return NULL;
    snprintf(command, sizeof command, "addr2line %s -e '%s' 0x%lx", option, info.dli_fname,
             (unsigned long)(pc - (uintptr_t)info.dli_fbase));
    return popen(command, "r");
}

static Line ask(Site pc)
{
    char text[4096];
    Line l = { "?", 0 };
    FILE *f = addr2line("-i", pc - 1); /* within the call that returns to pc */

    if (!f) return l;
    while (fgets(text, sizeof text, f)) {
        l = parse(text);
        if (!is_helper(l.file.c_str())) break;
    }
    pclose(f);
    return l;
}

std::string symbol(const void *fn)
{
    char text[4096] = "?";
    FILE *f = addr2line("-f", (uintptr_t)fn);

    if (!f) return text;
    if (fgets(text, sizeof text, f)) text[strcspn(text, "\n")] = 0;
    pclose(f);
    return text;
}

const Line &site_line(Site s)
{
    static std::map<Site, Line> known;
    auto it = known.find(s);

    if (it != known.end()) return it->second;
    if (s >> 48) return known[s] = Line{ (const char *)(s & 0xffffffffffff), (int)(s >> 48) };
    return known[s] = ask(s);
}

} // namespace simt
