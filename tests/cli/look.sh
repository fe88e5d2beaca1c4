# SPDX-License-Identifier: GPL-2.0
#
# Help, version, info, doctor and completion. Sourced by run.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # lib.sh sets status, out and err

look_help()
{
	local verb

	run blipmq help
	same "help: status, stderr" "0 " "$status $err"
	for verb in pub sub info doctor help; do
		like "help names $verb" "*  $verb *" "$out"
	done
	like "help has the exit codes" '*Exit codes:*3  pub --require-subscriber*' "$out"
	for verb in pub sub info doctor; do
		run blipmq help $verb
		like "help $verb has worked examples" "0 usage: blipmq $verb *Examples:*  *blipmq $verb*" \
			"$status $out"
	done
	same "no line of the help is wider than a terminal" "" \
		"$(for verb in "" pub sub info doctor help; do blipmq help $verb; done | grep -E '.{81}' || true)"
	run blipmq sub --help
	like "--help behind a verb" '0 usage: blipmq sub *' "$status $out"
	run blipmq --version
	like "version" '0 blipmq [0-9]*.[0-9]*.[0-9]*' "$status $out"
	run blipmq --version -j
	like "version in JSON" '0 {"version":"*","contract":1}' "$status $out"
}

look_info()
{
	bus budget=8388608
	run blipmq info
	like "info" '0 bus: default*your rights: subscribe publish map*largest message: 2 MiB*budget: 8 MiB*' \
		"$status $out"
	like "info: nobody subscribes" $'*\n  patterns: 0\n  subscriptions: 0\n*' "$out"
	run blipmq pub counted x --count 7
	run blipmq info -j
	same "info in JSON" "default 8388608 True 7 7 1 0" "$(python3 -IS -c '
import json, sys
i = json.load(sys.stdin)
print(i["bus"], i["budget"], i["rights"]["map"], i["published"], i["lonely"], i["topics"],
      sum(i["events"].values()))' <"$TMP/out")"
	# Two subscribe to one pattern, one of them to a wildcard as well.
	subscribe exact one
	subscribe wild one 'two.*'
	run blipmq info
	like "info: exact patterns and wildcards" $'*\n  patterns: 2\n  subscriptions: 3\n*' "$out"
	run blipmq info -j
	like "info: patterns in JSON" '*,"patterns":2,"subscriptions":3,*' "$out"
	end exact TERM
	end wild TERM
	run "${NOBODY[@]}" blipmq info
	run blipmq -j info
	like "info counts who was denied" '*"denied":1,*' "$out"
	run env BLIPMQ_BUS=default blipmq info
	like "bus from the environment" '0 bus: default*' "$status $out"
	bus_end
}

look_doctor()
{
	run blipmq -j doctor
	same "doctor in JSON" "0 kernel module device rights contract budget" "$status $(python3 -IS -c '
import json, sys
print(*(json.loads(line)["check"] for line in sys.stdin))' <"$TMP/out")"
}

# complete WORD...: what the last word may become.
complete_words()
{
	bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _blipmq; echo "${COMPREPLY[*]}"' \
		"$TREE/tools/blipmq/completion.bash" "$@"
}

look_completion()
{
	same "completion of verbs" "pub sub info bus doctor help" "$(complete_words blipmq '')"
	same "completion of options" "--require-subscriber" "$(complete_words blipmq pub a --re)"
	same "completion of what is done with a bus" "add set del show" \
		"$(complete_words blipmq bus '')"
	same "completion of policies" "drop-oldest drop-newest block" \
		"$(complete_words blipmq sub a --policy '')"
}
