# SPDX-License-Identifier: GPL-2.0
#
# Publishing. Sourced by run.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # lib.sh sets status, out and err

pub_reports()
{
	run blipmq pub lonely.one x
	same "nobody listens: status" 0 "$status"
	same "nobody listens: report" \
		"lonely.one: published 1 message (1 bytes), delivered to 0 subscriptions" "$err"
	run blipmq pub lonely.one x --require-subscriber
	same "nobody listens, --require-subscriber" 3 "$status"

	subscribe one heard.one --raw
	subscribe two 'heard.*' --raw
	run blipmq pub heard.one x --require-subscriber
	same "two listen, --require-subscriber" 0 "$status"
	same "two listen: report" \
		"heard.one: published 1 message (1 bytes), delivered to 2 subscriptions" "$err"
	same "stdout is empty" "" "$out"
	run blipmq pub heard.one x --count 3
	same "report of several" \
		"heard.one: published 3 messages (3 bytes), delivered 6 times" "$err"
	run blipmq -j pub heard.two x --count 2
	same "report in JSON" \
		'{"subject":"heard.two","messages":2,"bytes":2,"deliveries":2,"lonely":0}' "$out"
	end one TERM
	end two TERM
	same "first subscriber's messages" "x x x x" "$(paste -sd ' ' "$TMP/one.out")"
	same "second subscriber's messages" "x x x x x x" "$(paste -sd ' ' "$TMP/two.out")"
}

# An exact subscription holds the topic: its type stays.
pub_types()
{
	refuse "type without a name" 2 'pub: --type: the value is empty*' blipmq pub typed x --type ''
	refuse "type with a control character" 2 'pub: --type: a type*at most 255 bytes*' \
		blipmq pub typed x --type $'a\nb'
	refuse "type with too long a name" 2 'pub: --type: a type*at most 255 bytes*' \
		blipmq pub typed x --type "$(printf 'x%.0s' {1..256})"
	subscribe all typed --raw
	run blipmq pub typed one --type sample/2
	same "the first who states a type: status" 0 "$status"
	refuse "another type is refused, and says which it is" 1 \
		'pub: typed: the topic has another type: *subject (its type is sample/2)' \
		blipmq pub typed two --type sample/1
	run blipmq pub typed three --type sample/2
	run blipmq pub typed four
	end all TERM
	same "what is refused is not published; who states none is not refused" "one three four" \
		"$(paste -sd ' ' "$TMP/all.out")"
}

pub_payloads()
{
	subscribe all 'p.>' --raw --policy block
	run blipmq pub p.empty ''
	run sh -c ': | blipmq pub p.nothing'
	run sh -c 'printf "a\0b\377\n" | blipmq pub p.bytes'
	run blipmq pub p.options -- -5
	run blipmq pub p.blanks '  two  words '
	run blipmq pub 'p.*.>' letters --literal
	same "wildcards taken literally" 0 "$status"
	printf one >"$TMP/file1"
	printf two >"$TMP/file2"
	run blipmq pub p.files --file "$TMP/file1" "$TMP/file2" --count 2
	run blipmq pub p.size --size 30
	end all TERM
	printf '%s\n' '' '' >"$TMP/expected"
	printf 'a\0b\377\n\n' >>"$TMP/expected"
	printf '%s\n' -5 '  two  words ' letters one one two two abcdefghijklmnopqrstuvwxyzabcd \
		>>"$TMP/expected"
	identical "payloads of all kinds arrive as they were" "$TMP/expected" "$TMP/all.out"

	head -c 16777216 /dev/urandom >"$TMP/expected"
	subscribe all p.large --raw --count 1
	run sh -c 'blipmq pub p.large <"$1"' sh "$TMP/expected"
	same "16 MiB: status" 0 "$status"
	end all
	echo >>"$TMP/expected"
	identical "16 MiB of stdin arrive as they were" "$TMP/expected" "$TMP/all.out"
	rm "$TMP/expected" "$TMP/all.out"
}

pub_lines()
{
	subscribe all lines --raw --policy block
	run sh -c 'printf "a\0b\n\nlast" | blipmq pub lines --lines'
	same "lines with NUL, empty, and without a feed at the end: report" \
		"lines: published 3 messages (7 bytes), delivered 3 times" "$err"
	run sh -c ': | blipmq pub lines --lines'
	same "no line at all" "0 lines: published 0 messages (0 bytes), delivered 0 times" \
		"$status $err"
	end all TERM
	printf 'a\0b\n\nlast\n' >"$TMP/expected"
	identical "lines arrive as they were" "$TMP/expected" "$TMP/all.out"

	seq 50000 >"$TMP/expected"
	subscribe all lines --raw --policy block --count 50000
	run sh -c 'blipmq pub lines --lines <"$1"' sh "$TMP/expected"
	end all
	same "50000 lines: status of the subscriber" 0 "$status"
	identical "50000 lines arrive in order" "$TMP/expected" "$TMP/all.out"
}

# The second line is written when the first one has arrived: what is typed does not wait.
pub_interactive()
{
	subscribe all typed --raw
	rm -f "$TMP/typed"
	mkfifo "$TMP/typed"
	blipmq pub typed --lines <"$TMP/typed" 2>"$TMP/err" &
	PID[typist]=$!
	exec 5>"$TMP/typed"
	echo first >&5
	file_has "$TMP/all.out" 1
	same "a line arrives while stdin stays open" first "$(<"$TMP/all.out")"
	printf 'sec' >&5
	printf 'ond\n' >&5
	file_has "$TMP/all.out" 2
	same "a line in two writes is one" "first second" "$(paste -sd ' ' "$TMP/all.out")"
	exec 5>&-
	end typist
	same "stdin's end ends it" 0 "$status"
	end all TERM
}

# By the kernel's times. There is no bound on how late they may be, but an idle machine
# keeps the schedule.
pub_rate()
{
	subscribe all paced -j --count 21
	run blipmq pub paced x --count 21 --rate 20
	end all
	same "21 messages at 20 a second take more than half of one" "21 True" "$(python3 -IS -c '
import json, sys
seconds = [float(json.loads(line)["time"][17:-1]) for line in sys.stdin]
print(len(seconds), (seconds[-1] - seconds[0]) % 60 > 0.5)' <"$TMP/all.out")"
}

pub_signals()
{
	# Shells ignore SIGINT for what they put in the background.
	blipmq pub a b --count 1000000 --rate 10 2>"$TMP/pub.err" &
	PID[pub]=$!
	waits "${PID[pub]}"
	end pub INT
	same "interrupted pub dies by the signal" 130 "$status"
	like "interrupted pub says what went" 'a: published * message*' "$(<"$TMP/pub.err")"

	mkfifo "$TMP/silent"
	blipmq pub a <"$TMP/silent" 2>"$TMP/pub.err" &
	PID[pub]=$!
	exec 5>"$TMP/silent"
	waits "${PID[pub]}"
	end pub TERM
	exec 5>&-
	same "pub that waits for stdin ends at SIGTERM" 143 "$status"

	subscribe full blocked --policy block --entries 1
	kill -STOP "${PID[full]}"
	blipmq pub blocked b --count 1000000 2>"$TMP/pub.err" &
	PID[pub]=$!
	waits "${PID[pub]}"
	end pub TERM
	same "pub that waits for a full ring ends at SIGTERM" 143 "$status"
	same "pub that waits for a full ring: no complaint" "" "$(grep ^blipmq: "$TMP/pub.err" || true)"
	kill -CONT "${PID[full]}"
	end full TERM
}
