# SPDX-License-Identifier: GPL-2.0
#
# blipmq bus, and other verbs on a bus that is not the default. Sourced by run.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # lib.sh sets status, out and err

# Before the command: a user without any privilege, who may own a bus.
USER_ID=3001
USER=(setpriv --reuid $USER_ID --regid $USER_ID --clear-groups --bounding-set=-all)

bus_words()
{
	refuse "bus without action" 2 'bus: add, set, del or show?*' blipmq bus
	refuse "unknown action" 2 'bus: make: give one of add, set, del, show*' blipmq bus make x
	refuse "add without name" 2 'bus: add which NAME?*' blipmq bus add
	refuse "set without name" 2 'bus: set which NAME?*' blipmq bus set --mode 0
	refuse "del without name" 2 'bus: del which NAME?*' blipmq bus del
	refuse "two names" 2 'bus: b: one NAME only*' blipmq bus show a b
	refuse "set without option" 2 'bus: default: set what?*' blipmq bus set default
	refuse "del with an option" 2 'bus: del takes no options*' blipmq bus del x --mode 0777
	refuse "show with an option" 2 'bus: show takes no options*' blipmq bus show --share 1/2
	refuse "--bus beside it" 2 'bus: name the bus without --bus*' blipmq --bus x bus show
	refuse "mode that is not octal" 2 'bus: --mode 0778: give three octal digits*' \
		blipmq bus set default --mode 0778
	refuse "mode too large" 2 'bus: --mode 1777: *' blipmq bus set default --mode 1777
	refuse "mode as letters" 2 'bus: --mode rwx: *' blipmq bus set default --mode rwx
	refuse "no such user" 2 'bus: --owner nosuchuser: no such user*' \
		blipmq bus set default --owner nosuchuser
	refuse "no such group" 2 'bus: --group nosuchgroup: no such group*' \
		blipmq bus set default --group nosuchgroup
	refuse "user id that is none" 2 'bus: --owner 4294967295: no such user*' \
		blipmq bus set default --owner 4294967295
	refuse "share without a whole" 2 'bus: --share 3: give a part of a whole, such as 3/4*' \
		blipmq bus set default --share 3
	refuse "share of nothing" 2 'bus: --share 1/0: *' blipmq bus set default --share 1/0
	refuse "share beyond the whole" 2 'bus: --share 5/4: *' blipmq bus set default --share 5/4
	refuse "no share" 2 'bus: --share 0/4: *' blipmq bus set default --share 0/4
	refuse "block budget beyond the minute" 2 'bus: --block-budget 60001: too large*60000*' \
		blipmq bus set default --block-budget 60001
	refuse "name too long" 2 'bus: *1 to 63 bytes*' blipmq bus add "$(printf 'x%.0s' {1..64})"
}

# What the kernel refuses comes in its own words.
bus_refusals()
{
	bus budget=1048576 max_budget=2097152
	refuse "malformed name" 1 'bus: a b: a bus name has letters, digits*' blipmq bus add 'a b'
	refuse "name that looks like an option" 1 'bus: -x: a bus name has letters*' \
		blipmq bus add -- -x
	refuse "no such bus to show" 1 'bus: nosuch: this network namespace has no such bus*' \
		blipmq bus show nosuch
	refuse "no such bus to set" 1 'bus: nosuch: *no such bus*' blipmq bus set nosuch --mode 0
	refuse "no such bus to delete" 1 'bus: nosuch: *no such bus*' blipmq bus del nosuch
	refuse "deleting the default" 1 'bus: default: default is always there*' \
		blipmq bus del default
	refuse "a second one" 1 'bus: default: there is a bus of that name' blipmq bus add default
	refuse "budget above the most" 1 'bus: default: more than the max budget*' \
		blipmq bus set default --budget 3M
	refuse "budget of nothing" 1 'bus: default: a budget is 16 pages at the least' \
		blipmq bus set default --budget 0
	refuse "another max budget" 1 'bus: default: the max budget of a bus is fixed*' \
		blipmq bus set default --max-budget 4M
	refuse "more than the host gives" 1 'bus: big: more than host_pages*' \
		blipmq bus add big --max-budget 512G
	refuse "add without privilege" 1 'bus: plant: making a bus takes CAP_NET_ADMIN*' \
		"${NOBODY[@]}" blipmq bus add plant
	refuse "set without privilege, unseen" 1 'bus: default: *no such bus that you may see' \
		"${NOBODY[@]}" blipmq bus set default --mode 0777
	run blipmq bus set default --mode 0771
	refuse "set without privilege" 1 'bus: default: you are not the owner of the bus*' \
		"${NOBODY[@]}" blipmq bus set default --mode 0777
	bus_end
}

bus_forms()
{
	bus budget=8388608
	run blipmq bus show default
	same "bus show" "0 default: mode 0770, owner root, no group
  budget: 8 MiB of at most 8 MiB, share 3/4, block budget 5000 ms a minute" "$status $out"
	run blipmq bus add plant --mode 0751 --owner $USER_ID --group daemon --budget 1M \
		--max-budget 2M --share 1/3 --block-budget 100
	same "bus add says nothing" "0 " "$status $out$err"
	run blipmq bus show plant
	same "bus show, of another" "0 plant: mode 0751, owner $USER_ID, group daemon
  budget: 1 MiB of at most 2 MiB, share 33/100, block budget 100 ms a minute" "$status $out"
	run blipmq bus set plant --budget 2M --group none --share 1/1
	same "bus set says nothing" "0 " "$status $out$err"
	run blipmq -j bus show
	same "bus show in JSON" "0
default 0770 0 None 8388608 8388608 75 5000
plant 0751 $USER_ID None 2097152 2097152 100 100" "$status
$(python3 -IS -c '
import json, sys
for bus in map(json.loads, sys.stdin):
    print(*(bus.get(key) for key in ("name", "mode", "owner", "group", "budget", "max_budget",
                                     "share", "block_budget")))' <"$TMP/out")"
	run "${USER[@]}" blipmq bus show -j
	like "bus show of one's own only" '{"name":"plant",*}' "$out"
	run "${USER[@]}" blipmq bus set plant --mode 0700
	same "the owner may set it" "0 " "$status $err"
	run "${NOBODY[@]}" blipmq bus show
	same "bus show of nothing" "0 " "$status $out$err"
	run sh -c 'blipmq bus show >/dev/full'
	like "bus show to a full disk" '1 blipmq: bus: stdout: No space left*' "$status $err"
	run "${USER[@]}" blipmq bus del plant
	same "the owner may delete it" "0 " "$status $err"
	refuse "what is deleted" 1 'info: blipmq:plant: *no bus of that name*' \
		blipmq info --bus plant
	bus_end
}

# Messages stay on their bus; programs on one that is deleted are told.
bus_others()
{
	bus
	run blipmq bus add plant --mode 0700 --max-budget 1M
	refuse "pub on a bus without rights" 1 'pub: no right on this bus: *' \
		"${NOBODY[@]}" blipmq pub --bus plant a b
	subscribe there --bus plant a --count 2
	subscribe here a --count 1
	run env BLIPMQ_BUS=plant blipmq pub a there
	like "pub on a bus" '0 *1 subscription*' "$status $err"
	run blipmq pub a here
	run blipmq pub --server blipmq:plant a again
	end there
	same "sub on a bus" $'0 a there\na again' "$status $(<"$TMP/there.out")"
	end here
	same "sub on the default" "0 a here" "$status $(<"$TMP/here.out")"
	run blipmq info --bus plant
	like "info on a bus" '0 bus: plant*budget: 1 MiB*' "$status $out"
	subscribe left --bus plant a
	run blipmq bus del plant
	end left
	like "sub on a bus that is deleted" '1 blipmq: sub: the bus was deleted*' \
		"$status $(<"$TMP/left.err")"
	bus_end
}

# A right that is taken away counts at once.
bus_revoked()
{
	bus mode=0777
	AS=("${USER[@]}")
	subscribe reader a
	AS=()
	run blipmq bus set default --mode 0773
	end reader
	like "sub that may not subscribe any more" '1 blipmq: sub: no right to subscribe*' \
		"$status $(<"$TMP/reader.err")"
	AS=("${USER[@]}")
	run blipmq bus set default --mode 0777
	subscribe mapper a
	AS=()
	run blipmq bus set default --mode 0776
	run blipmq pub a b
	end mapper
	same "sub that may not map any more" \
		"1 blipmq: sub: the messages were unmapped: the bus is gone, or the right to map it" \
		"$status $(<"$TMP/mapper.err")"
	run blipmq bus set default --mode 0775
	refuse "pub that may not publish any more" 1 'pub: a: no right to publish*bus set*' \
		"${USER[@]}" blipmq pub a b
	bus_end
}
