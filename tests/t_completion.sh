#!/bin/bash
# shellcheck shell=bash
case ${BASH_VERSION:-sh}:$SHELLOPTS in sh:* | *posix*) exec bash "$0" ;; esac
# bash completion, as bash asks for it: the words of a line, and which one is being written.
. "$REEL_SRC/tests/lib.sh"
# shellcheck source=/dev/null
. "$REEL_BUILD/completions/reel"
complete_line() { # complete_line WORD...: what is offered for the last one, on one line
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _reel
    echo "${COMPREPLY[*]}"
}
is() { # is TEXT WANTED WORD...
    same "$1" "$2" "$(complete_line "${@:3}")"
}
has() { # has TEXT WANTED WORD...: among what is offered
    case " $(complete_line "${@:3}") " in *" $2 "*) ok "$1" ;; *) not_ok "$1"; echo "# no $2 in: $(complete_line "${@:3}")" ;; esac
}
none() { if [ -z "$(complete_line "${@:2}")" ]; then ok "$1"; else not_ok "$1"; echo "# $(complete_line "${@:2}")"; fi; }
cd "$TMPDIR" || exit 1
touch 'a run.yaml' other.h5
mkdir checkpoint-5

[ "$(complete -p reel)" = "complete -F _reel reel" ]
verdict $? "bash knows whom to ask"
same "every command" "$("$REEL_BUILD/reel" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort | tr '\n' ' ')help " "$(complete_line reel '' | tr ' ' '\n' | sed '/^help$/d' | sort | tr '\n' ' ')help "
is "a command" "train trajectories" reel tra
is "a command's flag" "--machine --measure --memory-gib" reel plan --m
has "a run's flag" "--resume-from-checkpoint" reel train --re
has "without a command: train" "--dry-run" reel --d
none "not of another command" reel check --dry
is "an enumeration" "f32 bf16" reel export --dtype ''
is "behind =" "bf16" reel export --dtype = b
is "at =" "f32 bf16" reel export --dtype =
is "a key" "--training.loop.max_train_steps" reel train --config x --training.loop.max
has "a role's key" "--models.critic.init_from" reel train --models.critic.
has "a method's key" "--method.cfg_uncond.on_missing" reel train --method.cfg
has "a callback's" "--callbacks.validation.every_steps" reel train --callbacks.validation.
is "a key's choices" "auto cpu cuda" reel train --training.device ''
is "true or false" "false" reel train --models.student.trainable f
none "no guess at a number" reel train --training.loop.max_train_steps ''
is "a file" "a run.yaml" reel train --config a
is "a folder" "checkpoint-5" reel check check
is "help" "report" reel help rep
missing=
for key in $("$REEL_BUILD/reel" --help-config training | sed -n 's/^  \([^ ].*\)/--training.\1/p'); do
    case " $(complete_line reel train "$key") " in *" $key "*) ;; *) missing="$missing $key" ;; esac
done
if [ -z "$missing" ]; then ok "every key of training"; else not_ok "every key of training:$missing"; fi
# ---- what --help shows
bad="" wide=0
for cmd in $("$REEL_BUILD/reel" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    "$REEL_BUILD/reel" "$cmd" --help > "$TMPDIR/help"
    wide=$((wide + $(grep -cE '^.{131}| $' "$TMPDIR/help")))
    examples=$(sed -n '/^examples:/,/^$/s/^  //p' "$TMPDIR/help")
    case $examples in *"reel $cmd "*) ;; *) bad="$bad $cmd:none" ;; esac
    for flag in $(printf '%s' "$examples" | sed 's/--mpi=pmi2//' | grep -oE -e '--[^ ]+'); do
        case " $(complete_line reel "$cmd" "$flag") " in *" $flag "*) ;; *) bad="$bad $cmd:$flag" ;; esac
    done
done
if [ -z "$bad" ]; then ok "every command has examples, of flags that it knows"; else not_ok "examples:$bad"; fi
same "no line of help is too long, or ends in a space" 0 "$wide"
if command -v "${SHELLCHECK:=shellcheck}" > /dev/null; then try "shellcheck" "$SHELLCHECK" -s bash "$REEL_BUILD/completions/reel"; else skip "shellcheck" "not installed (tests/packages.txt)"; fi
plan
