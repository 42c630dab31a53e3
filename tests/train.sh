# Running `reel train` on tests/tiny.yaml; source it after lib.sh.
# train RANKS OUT [override...]: replicate 1 x shard RANKS with the global micro-batch of 4 unless overridden.
tiny=$REEL_SRC/tests/tiny.yaml
train() {
    tr_n=$1
    tr_out=$2
    shift 2
    "$REEL_BUILD/tests/mpirun.sh" -n "$tr_n" "$REEL_BUILD/reel" train --config "$tiny" \
        --models.student.init_from "$REEL_SRC/tests/tiny" --training.data.data_path "$TMPDIR/data.h5" \
        --training.distributed.num_gpus "$tr_n" --training.distributed.hsdp_shard_dim "$tr_n" \
        --training.data.train_batch_size $((4 / tr_n)) --training.threads 1 \
        --override-output-dir "$tr_out" "$@"
}

# state DIR: a digest of every shard file of a checkpoint
state() { cat "$1"/dcp/*.distcp 2> /dev/null | sha256sum | cut -d' ' -f1; }
