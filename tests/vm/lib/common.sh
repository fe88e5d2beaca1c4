# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Places and words that every program of tests/vm shares. Sourced by bash.

VM=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
TREE=${VM%/tests/vm}
CACHE=${BLIPMQ_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/blipmq}

# Exit status of a program that cannot do its work; run has a reason for another.
DIE=1

say()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die()
{
	say "$@"
	exit $DIE
}

# need PROGRAM SET: fail, naming the package set that brings the program.
need()
{
	command -v "$1" >/dev/null ||
		PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ||
		die "$1 is missing: run tests/vm/packages $2"
}

# lock FILE WHAT: hold FILE exclusively until this process ends. Children inherit the
# lock, so a build that outlives an interrupted caller keeps the next one out.
lock()
{
	mkdir -p "$(dirname "$1")"
	exec {LOCK_FD}>>"$1"
	flock -n "$LOCK_FD" && return
	say "waiting for another process: $2"
	flock "$LOCK_FD"
}
