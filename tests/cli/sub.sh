# SPDX-License-Identifier: GPL-2.0
#
# Subscribing. Sourced by run.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # lib.sh sets status, out and err

# What other forms are compared with: subject and payload, in printf's notation.
ODD=('plain' 'quote" back\\slash' 'tab\tfeed\nend' '\033[31m' 'gr\303\274n' '\377\376' '\355\240\200' 'nul\0' '')

publish_odd()
{
	local payload

	for payload in "${ODD[@]}"; do
		# shellcheck disable=SC2059
		printf "$payload" | "${NS[@]}" blipmq pub odd 2>/dev/null
	done
}

# What --raw makes of them.
odd_raw()
{
	local payload

	for payload in "${ODD[@]}"; do
		# shellcheck disable=SC2059
		printf "$payload\\n"
	done
}

sub_forms()
{
	subscribe text odd --count ${#ODD[@]}
	subscribe raw odd --count ${#ODD[@]} --raw
	subscribe json odd --count ${#ODD[@]} -j
	subscribe time odd --count ${#ODD[@]} --timestamps
	publish_odd
	end text
	same "text: status" 0 "$status"
	# shellcheck disable=SC2028
	echo 'odd plain|odd quote" back\\slash|odd tab\tfeed\nend|odd \x1b[31m|odd grün|odd \xff\xfe|odd \xed\xa0\x80|odd nul\x00|odd ' \
		>"$TMP/expected"
	same "text: one line each, controls escaped" "$(<"$TMP/expected")" \
		"$(paste -sd '|' "$TMP/text.out")"
	end raw
	odd_raw >"$TMP/expected"
	identical "raw: payload and a line feed" "$TMP/expected" "$TMP/raw.out"
	end time
	same "timestamps: time in front, else as text" 9 "$(grep -cE \
		'^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z odd ' "$TMP/time.out")"
	end json
	run python3 -IS "$HERE/json_check.py" "$TMP/json.out"
	same "JSON: parses, and says what was sent and by whom" "" "$out$err"
	same "summary in text" "received 9, dropped 0" "$(<"$TMP/text.err")"
	like "summary in JSON" '{"received":9,"dropped":0,"drops":{"oldest":0,*},"unread":0}' \
		"$(<"$TMP/json.err")"
}

# What is given twice stays in order; values of any bytes; in every form.
sub_headers()
{
	refuse "header without a colon" 2 'pub: --header plain: give it as NAME:VALUE*' \
		blipmq pub h x --header plain
	refuse "header without a name" 2 'pub: --header : the name of a user header*' \
		blipmq pub h x --header :v
	refuse "header with a blank in its name" 2 'pub: --header a b: the name of a user header*' \
		blipmq pub h x --header 'a b:v'
	refuse "more headers than there may be" 2 'pub: --header: more than 64*' \
		blipmq pub h x $(printf -- '--header=a:b %.0s' {1..65})
	refuse "larger headers than there may be" 2 'pub: --header b: there is no room*' \
		blipmq pub h x --header "a:$(printf '%050000d' 0)" --header "b:$(printf '%050000d' 0)"

	subscribe text h
	subscribe json h -j
	subscribe raw h --raw
	run blipmq pub h 'the payload' --header 'trace:  4711' --header lang:en --header trace: \
		--header $'odd:a\t"\xff]:b'
	run blipmq pub h plain
	run blipmq pub h '' --header "large:$(printf '%060000d' 0)"
	run sh -c 'printf "1\n2\n" | blipmq pub h --lines --header k:v'
	end text TERM
	# shellcheck disable=SC2028
	echo 'h [trace: 4711] [lang: en] [trace: ] [odd: a\t"\xff]:b] the payload|h plain|h [k: v] 1|h [k: v] 2' \
		>"$TMP/expected"
	same "text" "$(<"$TMP/expected")" "$(grep -v large "$TMP/text.out" | paste -sd '|')"
	same "a large one" 60013 "$(grep large "$TMP/text.out" | wc -c)"
	end json TERM
	same "JSON" '[{"name": "trace", "value": "4711"}, {"name": "lang", "value": "en"}, {"name": "trace", "value": ""}, {"name": "odd", "value_base64": "YQki/106Yg=="}] the payload
None plain
[{"name": "k", "value": "v"}] 1
[{"name": "k", "value": "v"}] 2' "$(grep -v large "$TMP/json.out" | python3 -IS -c '
import json, sys
for line in sys.stdin:
	message = json.loads(line)
	headers = message.get("headers")
	print(headers and json.dumps(headers), message["payload"])')"
	end raw TERM
	same "raw: payloads only" "the payload plain  1 2" "$(paste -sd ' ' "$TMP/raw.out")"
}

sub_patterns()
{
	subscribe several 'x.*' y 'z.>'
	for subject in x.1 x.1.2 y y.1 z z.1.2.3; do
		run blipmq pub $subject "to $subject"
	done
	end several TERM
	same "several patterns" "x.1 to x.1|y to y|z.1.2.3 to z.1.2.3" \
		"$(paste -sd '|' "$TMP/several.out")"
	subscribe twice 'w.>' w.1
	run blipmq pub w.1 again
	end twice TERM
	same "two patterns that match: it comes twice" "w.1 again|w.1 again" \
		"$(paste -sd '|' "$TMP/twice.out")"
}

sub_ends()
{
	local signal

	for signal in INT TERM HUP; do
		subscribe ended e --raw
		# It wakes to find messages and the signal.
		kill -STOP "${PID[ended]}"
		run sh -c 'seq 500 | blipmq pub e --lines'
		kill -s $signal "${PID[ended]}"
		end ended CONT
		same "SIG$signal: status" 0 "$status"
		same "SIG$signal: what was published before it is printed" 500 \
			"$(wc -l <"$TMP/ended.out")"
		same "SIG$signal: summary" "received 500, dropped 0" "$(<"$TMP/ended.err")"
	done

	subscribe count e --count 2 --raw
	run sh -c 'seq 5 | blipmq pub e --lines'
	end count
	same "--count: status" 0 "$status"
	same "--count: no more than that" "1 2" "$(paste -sd ' ' "$TMP/count.out")"
	like "--count: what it left is told" 'received 2, dropped 0*' "$(<"$TMP/count.err")"
}

# The reader of its stdout is gone, or is there and does not read.
sub_stdout()
{
	rm -f "$TMP/pipe.out"
	mkfifo "$TMP/pipe.out"
	head -n 1 "$TMP/pipe.out" >"$TMP/head" &
	subscribe pipe q
	run sh -c 'seq 3 | blipmq pub q --lines'
	end pipe
	same "reader gone after a line: status" 0 "$status"
	same "reader gone: silence" "" "$(<"$TMP/pipe.err")"
	wait

	head -c 0 "$TMP/pipe.out" &
	subscribe pipe q
	end pipe
	same "reader gone while idle: status" 0 "$status"
	same "reader gone while idle: silence" "" "$(<"$TMP/pipe.err")"
	wait

	exec 5<>"$TMP/pipe.out"
	subscribe pipe q --raw --policy block --entries 1k
	run blipmq pub q --size 1k --count 200
	end pipe TERM
	exec 5>&-
	same "reader asleep: it ends at SIGTERM" 1 "$status"
	like "reader asleep: what is missing is told" '*stdout: nobody read it*received *' \
		"$(<"$TMP/pipe.err")"
	rm "$TMP/pipe.out"

	"${NS[@]}" blipmq sub q --ready-fd 3 3>"$TMP/ready" >/dev/full 2>"$TMP/full.err" &
	PID[full]=$!
	read -r -t "$PATIENCE" <"$TMP/ready"
	run blipmq pub q x
	end full
	same "full disk: status" 1 "$status"
	like "full disk: told" 'blipmq: sub: stdout: No space left*' "$(<"$TMP/full.err")"
}

# counts NAME EXPECTED: received + all drops by reason = expected, as its summary says.
counts()
{
	python3 -IS - "$TMP/$1.err" "$2" <<-'END'
	import json, sys
	s = json.loads(open(sys.argv[1]).read().splitlines()[-1])
	assert s["dropped"] == sum(s["drops"].values()), s
	assert s["received"] + s["dropped"] == int(sys.argv[2]), s
	print({k: v for k, v in s["drops"].items() if v})
	END
}

sub_policies()
{
	subscribe oldest d -j --entries 4
	subscribe newest d -j --entries 4 --policy drop-newest
	kill -STOP "${PID[oldest]}" "${PID[newest]}"
	run sh -c 'seq 100 | blipmq pub d --lines'
	kill -CONT "${PID[oldest]}" "${PID[newest]}"
	end oldest TERM
	end newest TERM
	same "drop-oldest: received + dropped = published" "{'oldest': 96}" "$(counts oldest 100 2>&1)"
	like "drop-oldest: the newest arrives, told of a gap" \
		'*"gap":true,"payload":"97"*"payload":"100"*' "$(<"$TMP/oldest.out")"
	same "drop-newest: received + dropped = published" "{'full': 96}" "$(counts newest 100 2>&1)"
	like "drop-newest: the oldest arrive" '*"payload":"1"*"payload":"4"*' \
		"$(<"$TMP/newest.out")"

	subscribe latest d -j --entries 1
	kill -STOP "${PID[latest]}"
	run sh -c 'seq 10 | blipmq pub d --lines'
	kill -CONT "${PID[latest]}"
	end latest TERM
	same "ring of one entry: all counted" "{'oldest': 9}" "$(counts latest 10 2>&1)"
	like "ring of one entry: the latest value" '*"payload":"10"*' "$(<"$TMP/latest.out")"

	subscribe block d --raw --policy block --entries 4 --count 2000
	run sh -c 'seq 2000 | blipmq pub d --lines'
	end block
	same "block: all arrive" "2000 received 2000, dropped 0" \
		"$(wc -l <"$TMP/block.out") $(<"$TMP/block.err")"
}

# Without x on the bus messages are copied by the kernel, and all is the same.
sub_copying()
{
	bus mode=0766
	# shellcheck disable=SC2034 # subscribe has it
	AS=("${NOBODY[@]}")
	subscribe raw odd --count ${#ODD[@]} --raw
	subscribe json odd --count ${#ODD[@]} -j
	subscribe headers h --count 1
	subscribe oldest d -j --entries 4
	# shellcheck disable=SC2034
	AS=()
	publish_odd
	end raw
	odd_raw >"$TMP/expected"
	identical "copying: raw" "$TMP/expected" "$TMP/raw.out"
	end json
	run python3 -IS "$HERE/json_check.py" "$TMP/json.out"
	same "copying: JSON" "" "$out$err"
	run blipmq pub h payload --header k:v --header "large:$(printf '%060000d' 0)"
	end headers
	same "copying: user headers" "h [k: v] [large: $(printf '%060000d' 0)] payload" \
		"$(<"$TMP/headers.out")"

	kill -STOP "${PID[oldest]}"
	run sh -c 'seq 100 | blipmq pub d --lines'
	run "${NOBODY[@]}" blipmq pub d --size 300k
	kill -CONT "${PID[oldest]}"
	end oldest TERM
	same "copying: received + dropped = published" "{'oldest': 97}" \
		"$(counts oldest 101 2>&1)"
	like "copying: a message larger than the first buffer" '*"payload":"abcdef*' \
		"$(tail -n 1 "$TMP/oldest.out")"
	run "${NOBODY[@]}" blipmq doctor
	like "doctor without x" '0 *note   rights: *may subscribe publish; fix: *' "$status $out"
	bus_end
}
