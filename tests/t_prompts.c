/* Prompt files of validation: every form, and what a wrong one says. */
#include <stdlib.h>
#include <string.h>

#include "callbacks/prompts.h"
#include "tap.h"

static struct reel_prompts p;

static reel_err parse(const char *path, const char *text)
{
    char *copy = strdup(text);
    reel_err e;

    reel_prompts_free(&p);
    reel_err_clear();
    e = reel_prompts_parse(&p, path, copy, strlen(text));
    free(copy);
    return e;
}

/* Prompts as one string, '|' between. */
static int gives(const char *path, const char *text, const char *want)
{
    char all[512] = "";

    if (parse(path, text)) return 0;
    for (int i = 0; i < p.n; i++) strcat(strcat(all, i ? "|" : ""), p.text[i]);
    return !strcmp(all, want);
}

static int says(const char *path, const char *text, const char *want)
{
    reel_err e = parse(path, text);
    int right = e == REEL_EDATA && strstr(reel_errrec()->msg, want) && p.n == 0 && !p.text;

    if (!right) printf("# %d: %s\n", e, reel_errrec()->msg);
    return right;
}

static void json(void)
{
    TAP_OK(gives("p.json", "[\"a\", \"b, c\"]", "a|b, c"), "a list of strings");
    TAP_OK(gives("p.json", "{\"data\": [{\"caption\": \"a\", \"height\": 480}, {\"caption\": \"b\"}], \"x\": 1}", "a|b"), "an object with data");
    TAP_OK(gives("p.json", "[{\"caption\": \"a\"}, \"b\"]", "a|b"), "objects and strings");
    TAP_OK(gives("p.json", "{\"data\": [{\"caption\": \"a,]\\\"},\",}, \n ],\n}", "a,]\"},"), "commas behind a last entry, not those inside strings");
    TAP_OK(gives("p.json", "[\"\\u4e00 \xc3\xa9\"]", "\xe4\xb8\x80 \xc3\xa9"), "UTF-8 and escapes");
    TAP_OK(says("p.json", "[\"a\"\n \"b\"]", "p.json:2:"), "a missing comma: line and column");
    TAP_OK(says("p.json", "[\"a\",, \"b\"]", "p.json:1:"), "two commas are none too many to forgive");
    TAP_OK(says("p.json", "[,]", "no prompt in it"), "a comma alone");
    TAP_OK(says("p.json", "{\"data\": [{\"caption\": \"a\"}, {\"prompt\": \"b\"}]}", "entry 1 is neither a prompt nor an object with a \"caption\""), "no caption: which entry");
    TAP_OK(says("p.json", "{\"prompts\": [\"a\"]}", "expected a list of prompts"), "another object");
    TAP_OK(says("p.json", "[]", "no prompt in it"), "an empty list");
    TAP_OK(says("p.json", "[\"a\\u0000b\"]", "NUL"), "a NUL character");
    TAP_OK(says("p.json", "", "not valid JSON"), "an empty file");
    TAP_OK(says("p.json", "[\"a", "not valid JSON"), "a string that does not end");
}

static void csv(void)
{
    TAP_OK(says("p.csv", "caption\na\n\xe9t\xe9\n", "p.csv: line 3 is not UTF-8 text"), "Latin-1");
    TAP_OK(says("p.txt", "a\n\xff\xfe b", "p.txt: line 2 is not UTF-8 text"), "and of lines");
    TAP_OK(gives("p.csv", "caption\na\nb\n", "a|b"), "one column");
    TAP_OK(gives("p.csv", "\xef\xbb\xbfid,caption,fps\r\n1,\"a, \"\"b\"\"\nc\",16\r\n2,d,16\r\n", "a, \"b\"\nc|d"),
           "a mark, other columns, quotes, a line break, CRLF");
    TAP_OK(gives("p.csv", "caption,x\na,1\n\n\"b\",2", "a|b"), "a blank line, no line end");
    TAP_OK(says("p.csv", "prompt\na\n", "names no column \"caption\""), "no such column");
    TAP_OK(says("p.csv", "x,caption\n1,a\n2\n", "p.csv:3: 1 fields, but the caption is field 2"), "a short record: line");
    TAP_OK(says("p.csv", "caption\n\"a\nb", "p.csv:2: a quoted field does not end"), "an open quote: line");
    TAP_OK(says("p.csv", "caption\n\"a\" b\n", "p.csv:2: text behind a closing quote"), "text behind a quote");
    TAP_OK(gives("p.csv", "\ncaption,\"x\"\n\n\"b\",c\"d\n\r\n", "b"), "blank lines, a quote within");
    TAP_OK(says("p.csv", "caption\n", "no prompt in it"), "a head alone");
    TAP_OK(says("p.csv", "", "no prompt in it"), "an empty file");
}

static void lines(void)
{
    TAP_OK(gives("p.txt", "\xef\xbb\xbf" "a, b\n\n \t \r\n  c\td \r\n[e]", "a, b|c\td|[e]"), "a mark, empty lines, blanks around, CRLF, no line end");
    TAP_OK(says("p.txt", "\n \n", "no prompt in it"), "nothing but blanks");
}

static void names(void)
{
    TAP_OK(says("d/p.parquet", "PAR1", "pandas.read_parquet(\"d/p.parquet\")[[\"caption\"]].to_csv(\"prompts.csv\""), "parquet: the cure");
    TAP_OK(says("d/p.arrow", "ARROW1", "pandas.read_feather(\"d/p.arrow\")"), "arrow: the cure");
    TAP_OK(says("p.doc", "a\n", "must end in .json, .csv or .txt"), "another name");
    TAP_OK(reel_prompts_known("a.json") && reel_prompts_known("a.arrow") && !reel_prompts_known("json") && !reel_prompts_known("a.jsonl"),
           "names that are known");
}

int main(void)
{
    json();
    csv();
    lines();
    names();
    reel_prompts_free(&p);
    return tap_done();
}
