# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The part of a guest's initramfs that depends on the kernel alone: busybox, and the modules
# that reach the host's root file system. run(1) appends the rest, see pack() there.

# What a guest loads before it has a root; built into kernels of our own.
BOOT_MODULES="virtio_pci virtio_console 9pnet_virtio 9p overlay"
APPLETS="cat cp echo halt hostname ifconfig insmod ln ls mkdir mkfifo mount poweroff
rm rmmod sed setsid sh sleep stty switch_root tee wc"

# boot_modules RELEASE DIR: files of BOOT_MODULES and what they depend on, in loading order.
boot_modules()
{
	local module

	for module in $BOOT_MODULES; do
		PATH=$PATH:/usr/sbin:/sbin modprobe -d "$2" -S "$1" --show-depends "$module" || return
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# initramfs RELEASE DIR: make DIR/initramfs.cpio from DIR/lib/modules, if there are any.
initramfs()
{
	local root=$2/initramfs file n=10 applet

	ldd "$(command -v busybox)" >/dev/null 2>&1 &&
		die "busybox needs libraries, that of busybox-static does not: run tests/vm/packages vm"
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,lower,upper,new,modules}
	cp "$(command -v busybox)" "$root/bin/busybox"
	for applet in $APPLETS; do
		ln -s busybox "$root/bin/$applet"
	done
	if [ -d "$2/lib/modules/$1" ]; then
		for file in $(boot_modules "$1" "$2"); do
			cp "$file" "$root/modules/$((n++))-${file##*/}"
		done
		[ $n -gt 10 ] || die "no modules to boot $1 with"
	fi
	(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$2/initramfs.cpio"
	rm -rf "$root"
}
