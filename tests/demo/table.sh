# SPDX-License-Identifier: GPL-2.0
#
# What a person sees of the demonstration. Sourced by guest, whose variables it shows.

BAR=####################
BAR_WIDTH=${#BAR}
# Seconds between two looks at what is going on: live, and for those who read a log.
LIVE_EVERY=1
PLAIN_EVERY=10

# Lines of the live table that are on the screen, and when it is due again.
DRAWN=0
DUE=0

# number N: with commas.
number()
{
	local n=$1 text=""

	while [ ${#n} -gt 3 ]; do
		text=,${n: -3}$text
		n=${n%???}
	done
	echo "$n$text"
}

# megabytes N
megabytes()
{
	echo "$(($1 / 1000000)).$(($1 / 100000 % 10)) MB"
}

# microseconds: now.
microseconds()
{
	echo "${EPOCHREALTIME/./}"
}

# per_second N: N by the time since BEGIN.
per_second()
{
	local elapsed=$(($(microseconds) - BEGIN))

	number $(($1 * 1000000 / (elapsed + 1)))
}

# printed PART WHOLE: what a reader has printed of what it should; nothing is known of one
# that prints elsewhere, with a WHOLE of 0.
printed()
{
	local n

	[ "$2" -gt 0 ] || return 0
	n=$(($1 * BAR_WIDTH / $2))
	printf '[%s%*s] %9s' "${BAR:0:n}" $((BAR_WIDTH - n)) "" "$(megabytes "$1")"
}

# totals: the line that says it all.
totals()
{
	printf '%s messages  %s  %s deliveries  %s drops  %s messages/s' \
		"$(number "$MESSAGES")" "$(megabytes "$SENT")" "$(number "$DELIVERIES")" \
		"$(number "$(bus_dropped)")" "$(per_second "$MESSAGES")"
}

# line TEXT: one of the live table.
line()
{
	printf '%s\033[K\n' "$*"
	DRAWN=$((DRAWN + 1))
}

# draw: the live table, over the one that is on the screen.
draw()
{
	local sizes n

	[ $DRAWN -eq 0 ] || printf '\033[%dA' $DRAWN
	DRAWN=0
	mapfile -t sizes < <(stat -c %s "$TMP"/out.?)
	line "  $(totals)"
	for n in $READERS; do
		line "$(printf '  %d  %-16s %s  %s' "$n" "${PATTERN[n]}" \
			"$(printed "${sizes[n - 1]}" "${WANT_BYTES[n]}")" "${STATE[n]}")"
	done
}

# progress [last]: show how far it is, if it is time.
progress()
{
	[ $SECONDS -ge $DUE ] || [ $# -gt 0 ] || return 0
	if [ "$LIVE" = live ]; then
		DUE=$((SECONDS + LIVE_EVERY))
		draw
	else
		DUE=$((SECONDS + PLAIN_EVERY))
		echo "  $(totals)"
	fi
}

# table_end: what is printed next comes below the live table.
table_end()
{
	DRAWN=0
}

heading()
{
	table_end
	printf '\n  %-6s  %-16s  %10s  %10s  %s\n' reader "$@"
}

row()
{
	printf '  %-6s  %-16s  %10s  %10s  %s\n' "$@"
}
