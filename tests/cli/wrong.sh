# SPDX-License-Identifier: GPL-2.0
#
# Wrong use, and what the system refuses: one line on stderr each, and the exit code that
# the help promises. Sourced by run.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # lib.sh sets status, out and err

wrong_words()
{
	refuse "no verb" 2 'which VERB*' blipmq
	refuse "unknown verb" 2 'publish: no such verb*' blipmq publish a b
	refuse "unknown option" 2 'pub: option --foo is unknown*' blipmq pub a b --foo
	refuse "unknown letter" 2 'pub: unknown option -5; put --*' blipmq pub a -5
	refuse "unknown option before the verb" 2 'option --foo*' blipmq --foo pub a b
	refuse "missing value" 2 'sub: --count needs a value*' blipmq sub a --count
	refuse "value too much" 2 'pub: --lines takes no value*' blipmq pub a --lines=1
	refuse "pub without subject" 2 'pub: which SUBJECT*' blipmq pub
	refuse "sub without pattern" 2 'sub: which PATTERN*' blipmq sub
	refuse "message in several words" 2 'pub: two: one MESSAGE only*' blipmq pub a one two
	refuse "two sources" 2 'pub: give one of MESSAGE*' blipmq pub a b --size 1
	refuse "--file without path" 2 'pub: --file: which PATH*' blipmq pub a --file
	refuse "--lines with --count" 2 'pub: --count repeats*' blipmq pub a --lines --count 2
	refuse "--raw with --json" 2 'sub: --raw prints payloads only*' blipmq sub a --raw -j
	refuse "--raw with --timestamps" 2 'sub: --raw *' blipmq sub a --raw --timestamps
	refuse "unknown policy" 2 'sub: --policy lossy: give one of drop-oldest, *' \
		blipmq sub a --policy lossy
	refuse "--bus with --server" 2 '*--server already names a bus*' \
		blipmq --bus a --server blipmq:b info
	refuse "info with an argument" 2 'info: x: takes no arguments*' blipmq info x
	refuse "help for no verb" 2 'help: x: no such verb*' blipmq help x
}

wrong_numbers()
{
	refuse "negative count" 2 'pub: --count -5: negative*from 1*' blipmq pub a b --count -5
	refuse "count 0" 2 'pub: --count 0: too small*' blipmq pub a b --count 0
	refuse "sub's count 0" 2 'sub: --count 0: too small*' blipmq sub a --count 0
	refuse "overflowing count" 2 'pub: --count 18446744073709551617: too large*' \
		blipmq pub a b --count 18446744073709551617
	refuse "count that is no number" 2 'pub: --count 3x: not a number*' \
		blipmq pub a b --count 3x
	refuse "empty count" 2 'pub: --count : not a number*' blipmq pub a b --count ''
	refuse "size beyond all limits" 2 'pub: --size 17M: too large*16777216*' \
		blipmq pub a --size 17M
	refuse "size that overflows by its suffix" 2 'pub: --size 99999999999G: too large*' \
		blipmq pub a --size 99999999999G
	refuse "negative rate" 2 'pub: --rate -1: give messages a second*' blipmq pub a b --rate -1
	refuse "rate that is no number" 2 'pub: --rate nan: *' blipmq pub a b --rate nan
	refuse "rate 0" 2 'pub: --rate 0: *' blipmq pub a b --rate 0
	refuse "entries no power of two" 2 'sub: --entries 1000: not a power of two*' \
		blipmq sub a --entries 1000
	refuse "too many entries" 2 'sub: --entries 128k: too large*65536*' \
		blipmq sub a --entries 128k
	refuse "closed ready-fd" 2 'sub: --ready-fd 9: no such open*' blipmq sub a --ready-fd 9
}

wrong_subjects()
{
	local long

	long=$(printf 'x%.0s' {1..256})
	refuse "empty subject" 2 'pub: *empty or too long: it must have 1 to 255 bytes*' \
		blipmq pub '' x
	refuse "subject too long" 2 'pub: *1 to 255 bytes*' blipmq pub "$long" x
	refuse "empty token in the middle" 2 'pub: a..b: subject token 2 is empty*' \
		blipmq pub a..b x
	refuse "empty token at the beginning" 2 'pub: .a: subject token 1 is empty*' \
		blipmq pub .a x
	refuse "empty token at the end" 2 'sub: a.: subject token 2 is empty*' blipmq sub a.
	refuse "blank in a subject" 2 'pub: a b: *at offset 1*' blipmq pub 'a b' x
	refuse "line feed in a subject stays on one line" 2 'pub: a\\nb: *' blipmq pub $'a\nb' x
	refuse "terminal control in a subject" 2 'pub: \\x1b\[2J: *' blipmq pub $'\e[2J' x
	refuse "publishing to *" 2 'pub: a.\*.b: subject token 2 is a wildcard*--literal*' \
		blipmq pub 'a.*.b' x
	refuse "publishing to >" 2 'pub: a.>: subject token 2 is a wildcard*' blipmq pub 'a.>' x
	refuse "> before the end" 2 'sub: a.>.b: *must be the last token, not token 2*' \
		blipmq sub 'a.>.b'
	refuse "one bad pattern of two" 2 'sub: a..b: *' blipmq sub good a..b
}

wrong_addresses()
{
	refuse "tcp" 2 'pub: tcp://h:1: *' blipmq pub a b --server tcp://h:1
	refuse "malformed address" 2 'pub: default: the address*' blipmq pub a b --server default
	refuse "no such bus" 1 'info: blipmq:nosuch: *no bus of that name*' blipmq info --bus nosuch
	refuse "no such bus, by environment" 1 'info: blipmq:nosuch: *' \
		env BLIPMQ_BUS=nosuch blipmq info
	refuse "the environment's address goes first" 1 'info: blipmq:b: *' \
		env BLIPMQ_BUS=a BLIPMQ_SERVER=blipmq:b blipmq info
	refuse "bus name too long" 2 'info: *1 to 63 bytes*' blipmq info --bus "$(printf 'x%.0s' {1..64})"
}

wrong_input()
{
	refuse "missing file" 1 'pub: cannot read /nonexistent: No such file*' \
		blipmq pub a --file /nonexistent
	refuse "second file missing: nothing is sent" 1 'pub: cannot read /nonexistent: *' \
		blipmq pub a --file /etc/passwd /nonexistent
	refuse "directory as a file" 1 'pub: cannot read /: Is a directory' blipmq pub a --file /
	chmod 600 "$TMP/file"
	refuse "unreadable file" 1 "pub: cannot read $TMP/file: Permission denied" \
		"${NOBODY[@]}" blipmq pub a --file "$TMP/file"
	refuse "directory on stdin" 1 'pub: cannot read stdin: Is a directory' \
		sh -c 'blipmq pub a </'
	refuse "closed stdin" 1 'pub: cannot read stdin: Bad file descriptor' \
		sh -c 'blipmq pub a <&-'
	refuse "closed stdout" 1 'info: stdout: Bad file descriptor' sh -c 'blipmq info >&-'
	refuse "full disk" 1 'info: stdout: No space left*' sh -c 'blipmq info >/dev/full'
}

# The limit of this bus is 4096 bytes.
wrong_sizes()
{
	bus max_message=4096
	head -c 4097 /dev/zero >"$TMP/file"
	refuse "message beyond the limit" 1 'pub: message 1: *(4096 bytes)*max_message*' \
		blipmq pub a --size 4097
	refuse "stdin beyond the limit" 1 'pub: stdin: *(4096 bytes)*' \
		sh -c 'blipmq pub a </dev/zero'
	refuse "file beyond the limit" 1 "pub: $TMP/file: *(4096 bytes)*" \
		blipmq pub a --file "$TMP/file"
	run sh -c 'printf "one\n%05000d\nthree\n" 7 | blipmq pub a --lines'
	same "line beyond the limit: status" 1 "$status"
	like "line beyond the limit: which, and what went before it" \
		'blipmq: pub: line 2 of stdin: *(4096 bytes)*a: published 1 message (3 bytes)*' \
		"$err"
	run sh -c 'head -c 4096 /dev/zero | blipmq pub a'
	like "message at the limit" '0 a: published 1 message (4096 bytes)*' "$status $err"
	run sh -c 'printf "%04096d\n" 7 | blipmq pub a --lines'
	like "line at the limit" '0 a: published 1 message (4096 bytes)*' "$status $err"
	bus_end
}

wrong_rights()
{
	refuse "pub without rights" 1 'pub: no right on this bus: *' "${NOBODY[@]}" blipmq pub a b
	refuse "sub without rights" 1 'sub: *' "${NOBODY[@]}" blipmq sub a
	refuse "info without rights" 1 'info: *' "${NOBODY[@]}" blipmq info
	run "${NOBODY[@]}" blipmq doctor
	like "doctor without rights" '1 *wrong  rights: *fix: *bus set*--mode 0777*' "$status $out"
	chmod 600 /dev/blipmq
	refuse "device closed to others" 1 'pub: *no permission to open /dev/blipmq*' \
		"${NOBODY[@]}" blipmq pub a b
	run "${NOBODY[@]}" blipmq doctor
	like "doctor, device closed to others" '1 *wrong  device: *chmod 666*' "$status $out"
	chmod 666 /dev/blipmq

	bus mode=0774
	refuse "pub with r only" 1 'pub: *no right to publish*' "${NOBODY[@]}" blipmq pub a b
	refuse "block without w" 1 'sub: *' "${NOBODY[@]}" blipmq sub a --policy block
	bus_end
	bus mode=0772
	refuse "sub with w only" 1 'sub: *no right to subscribe*' "${NOBODY[@]}" blipmq sub a
	run "${NOBODY[@]}" blipmq pub a b
	like "pub with w only" '0 a: published 1 message*' "$status $err"
	bus_end
}

wrong_module()
{
	local major minor

	rmmod blipmq
	refuse "pub without the module" 1 'pub: there is no /dev/blipmq: load*modprobe*' \
		blipmq pub a b
	refuse "sub without the module" 1 'sub: there is no /dev/blipmq: *' blipmq sub a
	refuse "info without the module" 1 'info: there is no /dev/blipmq: *' blipmq info
	run blipmq doctor
	like "doctor without the module" '1 *wrong  module: *; fix: *modprobe blipmq*' \
		"$status $out"
	same "doctor without the module: nothing on stderr" "" "$err"
	insmod "$BLIPMQ_MODULE"

	IFS=: read -r major minor </sys/class/misc/blipmq/dev
	rm /dev/blipmq
	run blipmq doctor
	like "doctor without the node" "1 *wrong  device: *mknod -m 666 /dev/blipmq c $major $minor*" \
		"$status $out"
	mknod -m 666 /dev/blipmq c 1 3
	run blipmq doctor
	like "doctor with another node" '1 *wrong  device: *not the module*' "$status $out"
	rm /dev/blipmq
	mknod -m 666 /dev/blipmq c "$major" "$minor"
	run blipmq doctor
	same "doctor with all in order" 0 "$status"
	same "doctor with all in order: no fix" 0 "$(grep -c fix: <<<"$out" || true)"
}
