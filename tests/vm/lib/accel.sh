# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# KVM where it works, translation where not. /dev/kvm alone says little: nested in some
# clouds it is there and guests hang, so a kernel is booted under it once.

# Seconds in which a kernel under KVM must have come as far as looking for its first program.
KVM_BOOT=20

# kvm_boots IMAGE: does IMAGE boot so far under KVM?
kvm_boots()
{
	timeout $KVM_BOOT qemu-system-x86_64 -M q35 -accel kvm -cpu host -m 512M -nodefaults \
		-no-user-config -display none -no-reboot -serial stdio -kernel "$1" \
		-append "console=ttyS0 panic=-1 nokaslr" </dev/null 2>/dev/null |
		grep -aq 'Kernel panic - not syncing: VFS'
}

# tsc_khz: see tsc.c.
tsc_khz()
{
	local program=$CACHE/tsc-khz

	if [ "$VM/tsc.c" -nt "$program" ]; then
		need gcc build
		mkdir -p "$CACHE"
		gcc -O2 -o "$program.$$" "$VM/tsc.c"
		mv "$program.$$" "$program"
	fi
	"$program"
}

# accel IMAGE: set ACCEL, options for QEMU, and CLOCK, for the kernel's command line. The
# answer for KVM is kept for each kernel of the host.
accel()
{
	local answer

	answer=$CACHE/kvm/$(uname -r)
	if [ -w /dev/kvm ] && [ ! -e "$answer" ]; then
		mkdir -p "$CACHE/kvm"
		if kvm_boots "$1"; then
			echo yes >"$answer"
		else
			say "/dev/kvm is there, but a guest does not boot under it: not used"
			echo no >"$answer"
		fi
	fi
	# shellcheck disable=SC2034 # run uses both
	if [ -w /dev/kvm ] && [ "$(cat "$answer")" = yes ]; then
		ACCEL="-accel kvm -cpu host"
		CLOCK=""
	else
		# An emulated rep movsb takes a step for each byte: rather words.
		ACCEL="-accel tcg,thread=multi -cpu max,-erms,-fsrm"
		CLOCK="tsc=reliable no_timer_check tsc_early_khz=$(tsc_khz)"
	fi
}
