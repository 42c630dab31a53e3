/* From a site to its line, by addr2line: asked once per site, when there is something to report. */

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

static Line ask(Site pc)
{
    Dl_info info;
    char command[4096], text[4096];
    Line l = { "?", 0 };

    if (!dladdr((void *)pc, &info)) return l;
    snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%lx", info.dli_fname,
             (unsigned long)(pc - 1 - (uintptr_t)info.dli_fbase));
    FILE *f = popen(command, "r");
    if (!f) return l;
    while (fgets(text, sizeof text, f)) {
        l = parse(text);
        if (!is_helper(l.file.c_str())) break;
    }
    pclose(f);
    return l;
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
