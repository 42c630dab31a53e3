#!/bin/sh
# reel report: what the page and the summary say is what metrics.jsonl holds, of whole, torn, crashed, resumed, running and refused runs.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
report() { "$REEL_BUILD/reel" report "$@"; }
says() { # says TEXT PATTERN: in the summary of the last report
    if grep -q -e "$2" "$TMPDIR/out"; then ok "$1"; else not_ok "$1"; echo "# no '$2'"; show "$TMPDIR/out"; fi
}
xml() { xmllint --nonet --xpath "$2" "$1" 2> "$TMPDIR/xml.err"; } # the page is XML, too
cell() { xml "$1" "string(//table[@id='values']/tr[td[1]='$2']/td[$3])"; }
have_xml() { command -v xmllint > /dev/null; }
page() { # page FILE: a parser takes all of it, and nothing is fetched
    if ! have_xml; then skip "$1 is well-formed" "xmllint is not installed (tests/packages.txt)"; return; fi
    try "the page is well-formed" xmllint --nonet --noout "$1"
    same "and fetches nothing" "0 0" "$(xml "$1" 'count(//@src | //@href | //script | //link | //iframe)') $(grep -c 'url(\|@import' "$1")"
}

# ---- a real run: two ranks, then on from its checkpoint, then one that fails
out=$TMPDIR/run
train 2 "$out" > "$TMPDIR/run.log" 2>&1
try "a run" report "$out"
cp "$TMPDIR/out" "$TMPDIR/first"
log=$out/tracker/metrics.jsonl
says "its end" "steps from step 0: done, after step 6"
says "its layout" "2 ranks = replicate 1 x shard 2 x tp 1, sp 1; cpu"
says "its configuration" "config  *init_from .*/tiny, data_path .*/data.h5, train_batch_size 2, gradient_accumulation_steps 2, learning_rate 0.001, lr_scheduler cosine$"
says "its saves" "saves  *2, the last at step 6"
says "no warnings" "warnings  none"
page "$out/report.html"
value() { sed -n "s|.*\"step\": $1,.*\"$2\": \\([^,}]*\\).*|\\1|p" "$log"; } # value STEP NAME
nine() { LC_ALL=C awk -v v="$1" 'BEGIN { printf "%.9g", v }'; }
if have_xml; then
    for name in total_loss grad_norm/student samples_per_sec memory/planned_gib time/backward; do
        same "$name of the first and the last step" "$(nine "$(value 1 $name)") $(nine "$(value 6 $name)")" \
            "$(cell "$out/report.html" $name 3) $(cell "$out/report.html" $name 4)"
    done
    for name in time/data time/forward time/comm_wait time/optimizer time/checkpoint time/validation flops_per_sec lr/student step_time_sec memory/host_peak_gib; do
        same "$name at every step" 6 "$(cell "$out/report.html" $name 2)"
    done
    same "a line for every loss, learning rate, and phase" 1 "$(xml "$out/report.html" "boolean(count(//*[local-name()='path'][starts-with(@class,'line')]) > 12)" | sed 's/true/1/')"
    same "the ranks" 2 "$(xml "$out/report.html" "count(//details[summary='Ranks']//tr[td])")"
    same "where they run" "$(uname -n) 1" "$(xml "$out/report.html" "concat(//details[summary='Ranks']//tr[3]/td[2], ' ', //details[summary='Ranks']//tr[3]/td[6])")"
    same "the configuration" 1 "$(xml "$out/report.html" "count(//pre[contains(., 'max_train_steps: 6')])")"
fi

train 2 "$out" --training.loop.max_train_steps 9 --training.optimizer.learning_rate 2e-3 --resume-from-checkpoint "$out/checkpoint-3" > "$TMPDIR/run.log" 2>&1
try "resumed at step 3" report "$out"
says "two starts" "6 steps from step 3: done, after step 9"
says "what changed" "drift: training.optimizer.learning_rate was .*, is .*"
have_xml && same "steps that were done again count once" 9 "$(cell "$out/report.html" total_loss 2)"
REEL_FAULT=data_read:1:8
export REEL_FAULT
train 2 "$out" --training.loop.max_train_steps 12 --resume-from-checkpoint latest > "$TMPDIR/run.log" 2>&1
unset REEL_FAULT
try "and one that failed" report "$out"
says "why it ended" "failed after step [0-9]*: rank 1: .*injected fault"
printf '{"step": 11, "time": 17' >> "$log"
try "a torn line" report "$out"
says "is no record" "failed after step"

# ---- a rank that keeps the others waiting: rank 1, in the other half of a tensor parallel pair, is three seconds late in step 3
late() {
    REEL_FAULT=late:1:3 train 2 "$TMPDIR/late" --training.distributed.hsdp_shard_dim 1 --training.distributed.tp_size 2 --training.data.train_batch_size 4
}
try "a run with a late rank" late
says "the closing table names the slowest rank" "^slowest rank  *[01] on $(uname -n): [0-9.]* s beside waiting, \(1.[0-9]*\|2.00\) times the mean"
log=$TMPDIR/late/tracker/metrics.jsonl
at_3() { value 3 "ranks/$1"; }
same "who was late" 1.0 "$(at_3 work_max_rank)"
awk "BEGIN { exit !($(at_3 work_max_sec) >= 3 && $(at_3 work_mean_sec) >= 1.5 && $(at_3 work_mean_sec) < $(at_3 work_max_sec)) }"
verdict $? "how late, beside the mean"
awk "BEGIN { exit !($(at_3 memory_max_gib) > 0 && $(at_3 host_max_gib) >= $(at_3 host_mean_gib) && $(at_3 host_mean_gib) > 0) }"
verdict $? "memory of all ranks"
try "its report" report "$TMPDIR/late"
says "how the ranks differ" "a rank works .* the slowest .* (medians); rank [01] on $(uname -n) is the slowest in"
LC_ALL=C awk 'BEGIN { for (i = 1; i <= 9; i++) printf "{\"step\": %d, \"time\": %d, \"step_time_sec\": 1.0, \"time/comm_wait\": 0.5, \"ranks/work_mean_sec\": 0.5, \"ranks/work_max_sec\": 0.9, \"ranks/work_max_rank\": %d.0, \"ranks/data_mean_sec\": 0.1, \"ranks/data_max_sec\": DATA}\n", i, i, i % 5 ? 7 : 3 }' \
    > "$TMPDIR/metrics.jsonl"
hint() { # hint TEXT DATA PATTERN [SED]
    sed -i "s/_max_sec\": \(DATA\|[0-9.]*\)}/_max_sec\": $2}/; $4" "$TMPDIR/metrics.jsonl"
    try "a log of ranks" report "$TMPDIR/metrics.jsonl" --html "$TMPDIR/ranks.html"
    says "$1" "$3"
}
hint "who is slow" 0.1 "40% of the time ranks wait for a slower one, mostly for rank 7: compare"
says "and how often" "rank 7 is the slowest in 89% of the steps"
hint "whose data are slow" 0.4 "40% of the time ranks wait for the data of another, mostly of rank 7:"
hint "now this one, now that one" 0.1 "40% of the time ranks wait for slower ones, now this one" 's/"step": \([0-9]*\)\(.*\)max_rank": [37]/"step": \1\2max_rank": \1/'
hint "no rank: the network" 0.1 "100% of the time goes to waiting for other ranks" 's/work_max_sec": 0.9/work_max_sec": 0.5/'

# ---- written by hand
hand=$TMPDIR/hand
mkdir -p "$hand/tracker"
cat > "$hand/tracker/metrics.jsonl" << 'EOF'
{"step": 1, "time": 1700000000.0, "total_loss": 2.5, "a<b>&\"c\"'": 1.0}
{"step": 1, "time": 1700000001.0, "warning": {"text": "<script>alert(1)</script> & \"so on\""}}
{"step": 1, "time": 1700000001.0, "text": {"config_drift": "[{\"key\": \"training.data.seed\", \"was\": \"3\", \"is\": \"4\", \"changes\": \"results\"}]"}}
{"step": 1, "time": 1700000002.0, "videos": {"val": [{"path": "x.mp4", "caption": "</td><b>"}]}}
[1, 2]
no record
{"step": 2, "time": 1700000003.0, "total_loss": "NaN"}
{"step": 2, "time": 1700000004.0, "save": {"seconds": 2.0}}
{"step": 2, "time": 1700000005.0, "text": {"config_drift": "[{\"key\": \"training.data.seed\", \"was\": \"3\", \"is\": \"4\", \"changes\": \"results\"}]"}}
EOF
try "a log without a start, and lines that are no records" report "$hand" --html "$TMPDIR/hand.html"
says "a warning" "<script>alert(1)</script> & \"so on\""
says "a drift, once with a count" "drift: training.data.seed was 3, is 4, which changes results (2 times, the last at step 2)$"
same "and no second time" 1 "$(grep -c training.data.seed "$TMPDIR/out")"
says "how it ended" "killed, or died, after step 2 without another word"
says "the loss was not finite" "the loss was not finite in 1 step"
says "lines that are none" "2 lines of the log are no records"
page "$TMPDIR/hand.html"
if have_xml; then
    same "the page has it once too" "1 1" "$(xml "$TMPDIR/hand.html" "count(//td[contains(., 'training.data.seed')])") $(xml "$TMPDIR/hand.html" "count(//td[contains(., '(2 times, the last at step 2)')])")"
    same "text is no markup" 0 "$(xml "$TMPDIR/hand.html" "count(//script | //td//b)")"
    same "a name that looks like markup" 1 "$(xml "$TMPDIR/hand.html" "count(//table[@id='values']//td[.=concat('a<b>&\"c\"', \"'\")])")"
    same "not finite" "2 2.5 1" "$(cell "$TMPDIR/hand.html" total_loss 2) $(cell "$TMPDIR/hand.html" total_loss 4) $(cell "$TMPDIR/hand.html" total_loss 9)"
fi
flock "$hand/tracker/lock" "$REEL_BUILD/reel" report "$hand" --html "$TMPDIR/hand.html" > "$TMPDIR/out" 2>&1
says "a run that holds its lock" "still running, after step 2; last heard of"

# ---- many records: decimated, and nothing that stood out is lost
mkdir -p "$TMPDIR/many/tracker"
LC_ALL=C awk 'BEGIN { for (i = 1; i <= 50000; i++) printf "{\"step\": %d, \"time\": %d, \"total_loss\": %.6f, \"step_time_sec\": 1.0}\n", i, i, i == 31234 ? 77.5 : i == 777 ? -3.25 : 1 + i % 7 / 10 }' \
    > "$TMPDIR/many/tracker/metrics.jsonl"
try "50000 steps" report "$TMPDIR/many"
says "the lowest" "lowest -3.25 at step 777"
page "$TMPDIR/many/report.html"
if have_xml; then
    same "all are counted" 50000 "$(cell "$TMPDIR/many/report.html" total_loss 2)"
    same "the outlier is there" 77.5 "$(cell "$TMPDIR/many/report.html" total_loss 7)"
fi
[ "$(wc -c < "$TMPDIR/many/report.html")" -lt 400000 ]
verdict $? "the page stays small"
cat > "$TMPDIR/many/tracker/metrics.jsonl" << 'EOF'
{"step": 1, "time": 1, "total_loss": 1.5, "finetune_loss": 1.5, "generator_loss": 0.0, "update_student": 0.0, "memory/planned_gib": 0.00301, "time/data": 0.002}
{"step": 2, "time": 2, "total_loss": 1.25, "finetune_loss": 1.25, "generator_loss": 0.25, "update_student": 1.0, "memory/planned_gib": 0.00301, "time/data": 0.002}
EOF
try "small numbers" report "$TMPDIR/many"
says "their units" "memory  *3.082 MiB planned"
if have_xml; then
    same "a loss of steps that do not train the student is none" "1 0.25" "$(cell "$TMPDIR/many/report.html" generator_loss 2) $(cell "$TMPDIR/many/report.html" generator_loss 5)"
    same "lines that would hide each other are one" "total_loss = finetune_loss 1.25" "$(xml "$TMPDIR/many/report.html" "normalize-space(//figcaption/span[contains(., 'total_loss')])")"
    same "units of plots" "MiB/ms a step" "$(xml "$TMPDIR/many/report.html" "concat(//h3[contains(., 'Memory')]/small, '/', //h3[contains(., 'phase')]/small)")"
fi
printf '{"step": 1, "time": 1, "total_loss": 0.5}\n' > "$TMPDIR/many/tracker/metrics.jsonl"
try "one step" report "$TMPDIR/many"
page "$TMPDIR/many/report.html"

# ---- refusals
fails "a folder that is not there" "report: .*/nowhere is not there; name the output folder of a run" report "$TMPDIR/nowhere"
mkdir "$TMPDIR/bare"
fails "no run" "report: .*/bare has no tracker/metrics.jsonl" report "$TMPDIR/bare"
: > "$TMPDIR/metrics.jsonl"
fails "an empty log" "metrics.jsonl holds no record" report "$TMPDIR/metrics.jsonl"
fails "a page that cannot be written" "/nowhere/x.html" report "$out" --html "$TMPDIR/nowhere/x.html"
fails "no run named" "report: missing argument: RUN" report
plan
