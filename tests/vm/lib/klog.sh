# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What a guest's kernel log must not contain.

# Lines of context shown before and after the first complaint.
KLOG_BEFORE=3
KLOG_AFTER=50

KLOG_COMPLAINTS='WARNING:
BUG:
kernel BUG at
Oops
Kernel panic
general protection fault
Unable to handle kernel
unable to handle page fault
INFO: task .* blocked for more than
INFO: lockdep is turned off
INFO: trying to register non-static key
rcu: .*(stall|starved)
rcu_.*(detected|self-detected) .*stall
possible (circular|recursive) locking
(suspicious|invalid) RCU usage
inconsistent lock state
sleeping function called from invalid context
scheduling while atomic
soft lockup
KASAN:
KCSAN:
UBSAN:
ODEBUG:
kmemleak: .*(new suspected memory leak|unreferenced object)
refcount_t:
(list_add|list_del) corruption
Bad page (state|map)
Bad rss-counter
page allocation failure
SLUB: Unable to allocate
slab .*: .*(Poison|Redzone|Object already free)
Objects remaining
Freeing (unallocated|freed) memory
unregister_netdevice: waiting for
invoked oom-killer
blipmq-vm: FAIL'

# klog_complaints LOG: what LOG complains of, with some context; false if it does.
klog_complaints()
{
	! grep -aE -m 1 -B $KLOG_BEFORE -A $KLOG_AFTER \
		"$(printf %s "$KLOG_COMPLAINTS" | tr '\n' '|')" "$1" | tr -d '\r'
}
