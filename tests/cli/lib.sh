# SPDX-License-Identifier: GPL-2.0
#
# What the cases of the command line tool share. Sourced by run.sh.
# shellcheck shell=bash

PARAMETERS=/sys/module/blipmq/parameters
# How long a program may take that is expected to come to an end, in seconds: far beyond
# what is needed, so that a slow machine is no failure.
PATIENCE=60
# Before the command: without any privilege.
# shellcheck disable=SC2034
NOBODY=(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all)

passed=0
failed=0
status=0
out=""
err=""
# Before the command: to get into another network namespace.
NS=()
# Of what runs in the background, by name.
declare -A PID

# --- verdicts

# ok NAME [DIAGNOSIS...] / not_ok: one line of TAP.
ok()
{
	passed=$((passed + 1))
	echo "ok $((passed + failed)) - $1"
}

not_ok()
{
	local line

	failed=$((failed + 1))
	echo "not ok $((passed + failed)) - $1"
	shift
	for line; do
		printf '%s\n' "$line" | head -n 20 | cut -c 1-300 | sed 's/^/# /'
	done
}

# same NAME EXPECTED FOUND
same()
{
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "expected: $2" "found: $3"
	fi
}

# like NAME PATTERN TEXT: a pattern of the shell.
like()
{
	# shellcheck disable=SC2053
	if [[ $3 == $2 ]]; then
		ok "$1"
	else
		not_ok "$1" "expected: $2" "found: $3"
	fi
}

# identical NAME FILE FILE
identical()
{
	if cmp -s "$2" "$3"; then
		ok "$1"
	else
		not_ok "$1" "$(cmp "$2" "$3" 2>&1 || true)" "$(wc -c "$2" "$3")"
	fi
}

# --- running

# run COMMAND...: its output in $out and $err, its exit code in $status.
run()
{
	status=0
	echo poison >"$TMP/out"
	echo poison >"$TMP/err"
	"${NS[@]}" "$@" >"$TMP/out" 2>"$TMP/err" || status=$?
	out=$(<"$TMP/out")
	err=$(<"$TMP/err")
}

# refuse NAME CODE PATTERN COMMAND...: it says nothing but one line on stderr, which begins
# with the program's name and matches PATTERN, and exits with CODE.
refuse()
{
	local name=$1 code=$2 pattern=$3 lines

	shift 3
	run "$@"
	mapfile lines <"$TMP/err"
	# shellcheck disable=SC2053
	if [ $status -eq "$code" ] && [ ! -s "$TMP/out" ] && [ ${#lines[@]} -eq 1 ] &&
			[[ ${lines[0]} == *$'\n' && $err == "blipmq: "$pattern ]]; then
		ok "$name"
	else
		not_ok "$name" "expected: status $code, stderr: blipmq: $pattern" \
			"found: status $status, stderr: $err" "stdout: $out"
	fi
}

# --- what runs in the background

tick()
{
	read -r -t 0.05 <>"$TMP/nothing" || true
}

TICKS=$((PATIENCE * 20))

# subscribe NAME ARGUMENT...: a subscriber, which has subscribed when this returns. Its
# output goes to $TMP/NAME.out and .err. AS goes before the command.
AS=()
subscribe()
{
	local name=$1

	shift
	"${NS[@]}" "${AS[@]}" blipmq sub --ready-fd 3 "$@" 3>"$TMP/ready" >"$TMP/$name.out" \
		2>"$TMP/$name.err" &
	PID[$name]=$!
	ready "$name"
}

ready()
{
	if ! read -r -t $PATIENCE <"$TMP/ready"; then
		not_ok "subscriber $1 becomes ready" "$(cat "$TMP/$1.err")"
	fi
}

# waits PID: until it is blipmq, catches SIGTERM, and sleeps.
SIGTERM_BIT=0x4000
waits()
{
	local name state caught field value ticks

	for ((ticks = 0; ticks < TICKS; ticks++)); do
		{
			read -r _ name
			caught=0 state=""
			while read -r field value _; do
				case $field in
				State:) state=$value ;;
				SigCgt:) caught=$((16#$value)) ;;
				esac
			done
		} <"/proc/$1/status"
		if [ "$name" = blipmq ] && [ "$state" = S ] && [ $((caught & SIGTERM_BIT)) -ne 0 ]; then
			return
		fi
		tick
	done
}

# end NAME [SIGNAL]: wait for it, after a signal if one is given; its exit code in $status.
# What does not end is killed.
end()
{
	local pid=${PID[$1]} ticks

	[ ! "${2:-}" ] || kill -s "$2" "$pid"
	for ((ticks = 0; ticks < TICKS; ticks++)); do
		kill -0 "$pid" 2>/dev/null || break
		tick
	done
	kill -KILL "$pid" 2>/dev/null || true
	status=0
	wait "$pid" || status=$?
}

# file_has FILE LINES: wait until it has so many.
file_has()
{
	local ticks

	for ((ticks = 0; ticks < TICKS; ticks++)); do
		[ "$(wc -l <"$1")" -lt "$2" ] || return 0
		tick
	done
}

# --- buses of one's own

# bus PARAMETER=VALUE...: a fresh default bus in a network namespace of its own, made with
# these parameters; what is run goes there until bus_end.
bus()
{
	local setting before=()

	for setting; do
		before+=("${setting%%=*}=$(cat "$PARAMETERS/${setting%%=*}")")
		echo "${setting#*=}" >"$PARAMETERS/${setting%%=*}"
	done
	# shellcheck disable=SC2016 # the inner shell expands it
	unshare -n sh -c 'echo >"$1"; exec sleep 3600' sh "$TMP/ready" &
	BUS=$!
	read -r -t $PATIENCE <"$TMP/ready"
	NS=(nsenter -t "$BUS" -n)
	"${NS[@]}" blipmq info >/dev/null
	for setting in "${before[@]}"; do
		echo "${setting#*=}" >"$PARAMETERS/${setting%%=*}"
	done
}

bus_end()
{
	kill "$BUS"
	wait "$BUS" || true
	NS=()
}
