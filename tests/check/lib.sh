# SPDX-License-Identifier: GPL-2.0
#
# Words that the programs behind make's targets share. Sourced by bash.

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
OUT=${O:-$TREE/build}
# What messages begin with: the directory of the program.
NAME=$(basename "$(dirname "$(readlink -f "$0")")")

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "$NAME" "$*" >&2
	exit 1
}

# plural N WORD: "1 check", "2 checks".
plural()
{
	if [ "$1" -eq 1 ]; then
		say "$1 $2"
	else
		say "$1 $2s"
	fi
}

# packages SET...: see tests/vm/packages; it is silent if nothing is missing.
packages()
{
	"$TREE/tests/vm/packages" "$@"
}
