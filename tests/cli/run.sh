#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# shellcheck source-path=SCRIPTDIR
#
# The command line tool as its user sees it: what it refuses, says and prints. TAP on
# stdout, at the end "N passed, N failed"; status 1 if something failed. Runs in a guest,
# as root; elsewhere it starts one. Arguments: the cases to run instead of all.

set -eu

HERE=$(dirname "$(readlink -f "$0")")
TREE=$(dirname "$(dirname "$HERE")")

if [ ! "${BLIPMQ_MODULE:-}" ]; then
	exec "$TREE/tests/vm/run" -- "$HERE/run.sh" "$@"
fi

. "$HERE/lib.sh"
. "$HERE/wrong.sh"
. "$HERE/pub.sh"
. "$HERE/sub.sh"
. "$HERE/look.sh"
. "$HERE/bus.sh"

CASES=(
	wrong_words wrong_numbers wrong_subjects wrong_addresses wrong_input wrong_sizes
	wrong_rights wrong_module
	pub_reports pub_payloads pub_lines pub_interactive pub_rate pub_signals pub_types
	sub_forms sub_headers sub_patterns sub_ends sub_stdout sub_policies sub_copying
	look_help look_info look_doctor look_completion
	bus_words bus_refusals bus_forms bus_others bus_revoked
)
[ $# -eq 0 ] || CASES=("$@")

TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
chmod 755 "$TMP"
mkfifo "$TMP/ready" "$TMP/nothing"
: >"$TMP/file"
unset BLIPMQ_BUS BLIPMQ_SERVER

for case in "${CASES[@]}"; do
	begin=$SECONDS
	$case
	echo "# $case: $((SECONDS - begin)) s"
done
echo "1..$((passed + failed))"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
