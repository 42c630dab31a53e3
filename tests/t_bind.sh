#!/bin/sh
# Where ranks run, by what the system says of their threads: divided cores, or left alone; and what the log says of it.
# timeout: 600
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
. "$REEL_SRC/tests/where.sh"
hash() { "$REEL_BUILD/tests/ckpt_tool" hash "$1"; }
all=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
if [ "$all" != 0-1 ]; then # the lists below are of this many; t_place has other machines
    skip "binding of real processes" "the test wants the processors 0 and 1, and no other (taskset -c 0,1)"
    plan
    exit 0
fi

run two 2 --training.bind always
same "two ranks on two cores: every thread of each on a core of its own" "$map" "0:0 1:1 "
says "the map says so" two "NUMA 0, bound by reel, 1 thread"
noted "the record too" two '"cores": *"0", *"numa": *"0", *"bound": *"bound by reel", *"threads": *1'

run four 4 --training.bind always
same "four ranks on two cores are left alone" "$map" "0:0-1 1:0-1 2:0-1 3:0-1 "
says "the map says so" four "processors 0-1, NUMA 0, not bound, 1 thread"

run shared 2
same "one NUMA node and no batch job: others may compute here, the system balances" "$map" "0:0-1 1:0-1 "
SLURM_JOB_ID=7 run job 2
same "a batch job has its processors for itself" "$map" "0:0 1:1 "
SLURM_JOB_ID=7 run off 2 --training.bind never
same "training.bind: never" "$map" "0:0-1 1:0-1 "

run many 2 --training.threads 2 --training.bind always
same "more threads than a rank's share: unbound" "$map" "0:0-1 1:0-1 "
says "and a warning" many "training.threads: 2 ranks of 2 have more threads than cores, the first is rank 0 with 2 threads on its share of 1 core"

cat > "$TMPDIR/swapped" << END
#!/bin/sh
exec taskset -c \$((1 - PMI_RANK)) "$REEL_BUILD/reel" "\$@"
END
chmod +x "$TMPDIR/swapped"
mkdir "$TMPDIR/bin" && ln -s "$TMPDIR/swapped" "$TMPDIR/bin/reel" && ln -s "$REEL_BUILD/tests" "$TMPDIR/bin/tests"
REEL_BUILD=$TMPDIR/bin run launched 2 --training.bind always
same "ranks that were bound stay where they are" "$map" "0:1 1:0 "
says "the map says by whom" launched "processors 1, NUMA 0, bound by the launcher, 1 thread"

LD_PRELOAD=$REEL_BUILD/tests/no_bind.so run refused 2 --training.bind always
same "a system that does not let processes bind themselves" "$map" "0:0-1 1:0-1 "
says "is a warning" refused "2 of 2 ranks could not be bound to cores, the first is rank 0 on .*: Operation not permitted"
noted "in the record too" refused '"warning"'
says "the map says where they are" refused "processors 0-1, NUMA 0, not bound, 1 thread"

# the same bits, whoever computes them where
try "bound" train 2 "$TMPDIR/bound" --training.bind always
try "unbound" train 2 "$TMPDIR/free" --training.bind never
at=$(newest "$TMPDIR/bound")
same "the same bits" "$(hash "$TMPDIR/bound/checkpoint-$at")" "$(hash "$TMPDIR/free/checkpoint-$at")"

# GPUs (of the double) on a machine that is made up for hwloc: each rank gets the core that its card is beside
node() { # node NUMA/CORE BUS
    echo "<object type=\"Package\" os_index=\"$1\" cpuset=\"0x$((1 << $1))\" complete_cpuset=\"0x$((1 << $1))\" nodeset=\"0x$((1 << $1))\" complete_nodeset=\"0x$((1 << $1))\" gp_index=\"1$1\">"
    for n_type in NUMANode Core PU; do
        echo "<object type=\"$n_type\" os_index=\"$1\" cpuset=\"0x$((1 << $1))\" complete_cpuset=\"0x$((1 << $1))\" nodeset=\"0x$((1 << $1))\" complete_nodeset=\"0x$((1 << $1))\" gp_index=\"2$1${#n_type}\">"
        [ $n_type = Core ] || echo "</object>"
    done
    echo "</object><object type=\"Bridge\" gp_index=\"3$1\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"0000:[$2-$2]\">"
    echo "<object type=\"PCIDev\" gp_index=\"4$1\" pci_busid=\"0000:$2:00.0\" pci_type=\"0302 [10de:20b0] [10de:144e] a1\" pci_link_speed=\"0\"/></object></object>"
}
{
    echo '<?xml version="1.0" encoding="UTF-8"?>'
    echo '<!DOCTYPE topology SYSTEM "hwloc2.dtd">'
    echo '<topology version="2.0">'
    echo '<object type="Machine" os_index="0" cpuset="0x3" complete_cpuset="0x3" allowed_cpuset="0x3" nodeset="0x3" complete_nodeset="0x3" allowed_nodeset="0x3" gp_index="1">'
    node 0 02
    node 1 01
    echo '</object></topology>'
} > "$TMPDIR/machine.xml"
if [ -e "$REEL_BUILD/reel_cuda_double.so" ]; then
    HWLOC_XMLFILE=$TMPDIR/machine.xml HWLOC_THISSYSTEM=1 REEL_CUDA_MODULE=$REEL_BUILD/reel_cuda_double.so REEL_TEST_DEVICE=cuda run cards 2
    same "a rank is beside its card" "$map" "0:1 1:0 "
    says "the map says both" cards "processors 1, NUMA 1, bound by reel, 1 thread, GPU 0000:01:00.0"
    noted "the record too" cards '"cores": *"1", *"numa": *"1", *"bound": *"bound by reel", *"threads": *1, *"gpu": *"0000:01:00.0"'
else
    skip "a rank is beside its card" "no CUDA toolkit"
fi

# a run that makes its data first binds twice: the first binding must not look like a launcher's
rm "$TMPDIR/data.h5"
tiny=$REEL_SRC/tests/tiny_kd.yaml roles="student teacher" run twice 2 --training.bind always --models.student.init random --models.teacher.init random \
    --method.teacher_path_cache "$TMPDIR/walks"
same "a run after the teacher's run" "$map" "0:0 1:1 "
says "is bound by reel" twice "NUMA 0, bound by reel, 1 thread"
plan
