#!/bin/sh
# Where ranks run, by what the system says of their threads: divided cores, or left alone; and what the log says of it.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
. "$REEL_SRC/tests/where.sh"
hash() { "$REEL_BUILD/tests/ckpt_tool" hash "$1"; }
if ! two_processors; then # t_place has other machines
    skip "binding of real processes" "wants two cores of one NUMA node, and this process may use the processors $(may_use | tr '\n' ' ')"
    plan
    exit 0
fi

run one 1 --training.threads 0
same "a rank that is alone: its second thread on the second core, the first one is free" "$map" "0:$(printf '%s\n' "$both" "$b" | sort | tr '\n' ' ')"

run two 2 --training.bind always
same "two ranks on two cores: every thread of each on a core of its own" "$map" "0:$a 1:$b "
says "the map says so" two "NUMA $numa, bound by reel, 1 thread"
noted "the record too" two "\"cores\": *\"$a\", *\"numa\": *\"$numa\", *\"bound\": *\"bound by reel\", *\"threads\": *1"

run four 4 --training.bind always
same "four ranks on two cores are left alone" "$map" "0:$both 1:$both 2:$both 3:$both "
says "the map says so" four "processors $both, NUMA $numa, not bound, 1 thread"

run shared 2
same "one NUMA node and no batch job: others may compute here, the system balances" "$map" "0:$both 1:$both "
SLURM_JOB_ID=7 run job 2
same "a batch job has its processors for itself" "$map" "0:$a 1:$b "
SLURM_JOB_ID=7 run off 2 --training.bind never
same "training.bind: never" "$map" "0:$both 1:$both "

run many 2 --training.threads 2 --training.bind always
same "more threads than a rank's share: unbound" "$map" "0:$both 1:$both "
says "and a warning" many "training.threads: 2 ranks of 2 have more threads than cores, the first is rank 0 with 2 threads on its share of 1 core"

cat > "$TMPDIR/swapped" << END
#!/bin/sh
[ \$PMI_RANK = 0 ] && at=$b || at=$a
exec taskset -c \$at "$REEL_BUILD/reel" "\$@"
END
chmod +x "$TMPDIR/swapped"
mkdir "$TMPDIR/bin" && ln -s "$TMPDIR/swapped" "$TMPDIR/bin/reel" && ln -s "$REEL_BUILD/tests" "$TMPDIR/bin/tests"
REEL_BUILD=$TMPDIR/bin run launched 2 --training.bind always
same "ranks that were bound stay where they are" "$map" "0:$b 1:$a "
says "the map says by whom" launched "processors $b, NUMA $numa, bound by the launcher, 1 thread"

LD_PRELOAD=$REEL_BUILD/tests/no_bind.so run refused 2 --training.bind always
same "a system that does not let processes bind themselves" "$map" "0:$both 1:$both "
says "is a warning" refused "2 of 2 ranks could not be bound to cores, the first is rank 0 on .*: Operation not permitted"
noted "in the record too" refused '"warning"'
says "the map says where they are" refused "processors $both, NUMA $numa, not bound, 1 thread"

# the same bits, whoever computes them where
try "bound" train 2 "$TMPDIR/bound" --training.bind always
try "unbound" train 2 "$TMPDIR/free" --training.bind never
at=$(newest "$TMPDIR/bound")
same "the same bits" "$(hash "$TMPDIR/bound/checkpoint-$at")" "$(hash "$TMPDIR/free/checkpoint-$at")"

# GPUs (of the double) on a machine that is made up for hwloc: each rank gets the core that its card is beside
mask() { # mask BIT...: a set as hwloc writes it, words of 32 from the highest down
    for m_w in $(seq "$(($(printf '%s\n' "$@" | sort -n | tail -n 1) / 32))" -1 0); do
        m_v=0
        for m_i in "$@"; do [ $((m_i / 32)) != "$m_w" ] || m_v=$((m_v | 1 << m_i % 32)); done
        printf '0x%08x%s' $m_v "$([ "$m_w" = 0 ] || echo ,)"
    done
}
sets() { echo "cpuset=\"$1\" complete_cpuset=\"$1\" nodeset=\"$2\" complete_nodeset=\"$2\""; }
node() { # node NUMA PROCESSOR BUS
    n_sets=$(sets "$(mask "$2")" "$(mask "$1")")
    echo "<object type=\"Package\" os_index=\"$1\" $n_sets gp_index=\"1$1\">"
    echo "<object type=\"NUMANode\" os_index=\"$1\" $n_sets gp_index=\"2$1\"/>"
    echo "<object type=\"Core\" os_index=\"$1\" $n_sets gp_index=\"3$1\"><object type=\"PU\" os_index=\"$2\" $n_sets gp_index=\"4$1\"/></object>"
    echo "<object type=\"Bridge\" gp_index=\"5$1\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"0000:[$3-$3]\">"
    echo "<object type=\"PCIDev\" gp_index=\"6$1\" pci_busid=\"0000:$3:00.0\" pci_type=\"0302 [10de:20b0] [10de:144e] a1\" pci_link_speed=\"0\"/></object></object>"
}
{
    echo '<?xml version="1.0" encoding="UTF-8"?>'
    echo '<!DOCTYPE topology SYSTEM "hwloc2.dtd">'
    echo "<topology version=\"2.0\"><object type=\"Machine\" os_index=\"0\" gp_index=\"1\" $(sets "$(mask "$a" "$b")" 0x3)"
    echo "allowed_cpuset=\"$(mask "$a" "$b")\" allowed_nodeset=\"0x3\">"
    node 0 "$a" 02
    node 1 "$b" 01
    echo '</object></topology>'
} > "$TMPDIR/machine.xml"
if [ -e "$REEL_BUILD/reel_cuda_double.so" ]; then
    HWLOC_XMLFILE=$TMPDIR/machine.xml HWLOC_THISSYSTEM=1 REEL_CUDA_MODULE=$REEL_BUILD/reel_cuda_double.so REEL_TEST_DEVICE=cuda run cards 2
    same "a rank is beside its card" "$map" "0:$b 1:$a "
    says "the map says both" cards "processors $b, NUMA 1, bound by reel, 1 thread, GPU 0000:01:00.0"
    noted "the record too" cards "\"cores\": *\"$b\", *\"numa\": *\"1\", *\"bound\": *\"bound by reel\", *\"threads\": *1, *\"gpu\": *\"0000:01:00.0\""
else
    skip "a rank is beside its card" "no CUDA toolkit"
fi

# a run that makes its data first binds twice: the first binding must not look like a launcher's
rm "$TMPDIR/data.h5"
tiny=$REEL_SRC/tests/tiny_kd.yaml roles="student teacher" run twice 2 --training.bind always --models.student.init random --models.teacher.init random \
    --method.teacher_path_cache "$TMPDIR/walks"
same "a run after the teacher's run" "$map" "0:$a 1:$b "
says "is bound by reel" twice "NUMA $numa, bound by reel, 1 thread"
plan
