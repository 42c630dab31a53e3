/* Writes the reference from the option tables at build time: mkref man | bash | example. */
#include <stdio.h>
#include <string.h>

#include "config/doc.h"
#include "train/cli.h"
#include "train/schema.h"

int main(int argc, char **argv)
{
    static struct reel_all_kinds kinds;
    const struct reel_schema *schema = reel_schema_init(&kinds);

    if (argc == 2 && !strcmp(argv[1], "man")) reel_doc_man(schema, reel_commands, reel_run_flags, PACKAGE_VERSION, stdout);
    else if (argc == 2 && !strcmp(argv[1], "bash")) reel_doc_bash(schema, reel_commands, reel_run_flags, stdout);
    else if (argc == 2 && !strcmp(argv[1], "example")) reel_doc_example(schema, stdout);
    else {
        fprintf(stderr, "usage: mkref man|bash|example\n");
        return 1;
    }
    return fflush(stdout) != 0;
}
