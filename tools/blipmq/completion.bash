# SPDX-License-Identifier: GPL-2.0
# bash completion for blipmq. Verbs and options come from the tool's own help.
# shellcheck shell=bash

# What begins with two spaces under a heading: its first words.
_blipmq_list()
{
	blipmq help "${@:2}" 2>/dev/null |
		sed -n "/^$1/,/^\$/ s/^  \( *-[a-z], \| *\)\([a-z-]*\).*/\2/p"
}

_blipmq_complete()
{
	mapfile -t COMPREPLY < <(compgen "$@" -- "${COMP_WORDS[COMP_CWORD]}")
}

_blipmq()
{
	local i verb="" word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--bus | --server) i=$((i + 1)) ;;
		-*) ;;
		*) verb=${COMP_WORDS[i]}; break ;;
		esac
	done

	case $before in
	--bus | --server | --count | --rate | --size | --type | --header | --entries | --ready-fd | --mode | \
		--budget | --max-budget | --share | --block-budget)
		COMPREPLY=()
		return ;;
	--owner)
		_blipmq_complete -u
		return ;;
	--group)
		_blipmq_complete -g
		return ;;
	--policy)
		_blipmq_complete -W "$(_blipmq_list Policies sub)"
		return ;;
	esac
	case $word in
	-*)
		_blipmq_complete -W "$(_blipmq_list Options ${verb:+"$verb"})"
		return ;;
	esac
	case $verb in
	"" | help)
		_blipmq_complete -W "$(_blipmq_list Verbs)" ;;
	bus)
		case $before in
		bus) _blipmq_complete -W "add set del show" ;;
		esac ;;
	pub)
		case " ${COMP_WORDS[*]} " in
		*" --file "*) _blipmq_complete -f ;;
		esac ;;
	esac
}

complete -F _blipmq blipmq
