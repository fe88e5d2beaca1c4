# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Debian's own kernels: resolved from apt's lists, downloaded and unpacked into the cache,
# never installed.

STOCK_CODENAME=bookworm
# The few modules that guests use, of some 4,000; unpacking all takes longer than booting.
STOCK_MODULES="fs/9p fs/fscache fs/netfs fs/overlayfs fs/fuse net/9p drivers/virtio
drivers/char/virtio_console.ko* drivers/net/veth.ko* drivers/net/dummy.ko* drivers/net/tun.ko*"

# stock_release NAME: the newest release of NAME, such as 6.1 or 6.12-rt, in apt's lists.
stock_release()
{
	local series=${1%-rt} flavour=amd64

	[ "$series" = "$1" ] || flavour=rt-amd64
	apt_names $STOCK_CODENAME \
		"linux-headers-${series//./[.]}[.][0-9]+(-[0-9]+)?([+][a-z0-9]+)?-$flavour" |
		sed 's/^linux-headers-//' | sort -V | tail -n 1
}

# stock_image RELEASE DIR: kernel and modules into DIR.
stock_image()
{
	local package patterns=() dir

	package=$(apt_names $STOCK_CODENAME "linux-image-${1//[.+]/.}(-unsigned)?" | sort | head -n 1)
	[ -n "$package" ] || die "apt's lists have no image of $1"
	for dir in $STOCK_MODULES; do
		patterns+=("*/modules/$1/kernel/$dir")
	done
	apt_fetch $STOCK_CODENAME "$package" "$2/.image" |
		tar -x -C "$2" --wildcards '*/vmlinuz-*' \
			"*/modules/$1/modules.*" "${patterns[@]}" 2>"$2/tar.log" ||
		# Not every kernel has every one of these directories.
		! grep -v -e 'Not found in archive' -e 'Exiting with failure' "$2/tar.log" >&2 || return
	[ ! -d "$2/usr/lib/modules" ] || mv "$2/usr/lib" "$2/lib"
	mv "$2"/boot/vmlinuz-* "$2/vmlinuz"
	find "$2/lib/modules" -name '*.ko.xz' -exec xz -d {} +
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$2" "$1"
}

# stock_headers RELEASE DIR FINAL: what modules are built against, into DIR, which is going
# to be renamed FINAL: the Makefile in it wants absolute paths.
stock_headers()
{
	local package

	mkdir -p "$2"
	for package in linux-headers-"$1" $(apt_field $STOCK_CODENAME "linux-headers-$1" Depends |
			grep -oE 'linux-(headers|kbuild)-[^ ,]+'); do
		apt_fetch $STOCK_CODENAME "$package" "$2/.deb" | tar -x -C "$2" || return
	done
	sed -i "s#\([ =]\)/usr/src/#\1$3/usr/src/#" "$2/usr/src/linux-headers-$1/Makefile"
}

# stock_make NAME: the newest kernel of that name into the cache.
stock_make()
{
	local name=$1 release dir tmp headers

	need busybox vm
	need cpio vm
	need depmod vm
	need xz vm
	apt_update $STOCK_CODENAME
	release=$(stock_release "$name")
	[ -n "$release" ] || die "apt's lists have no kernel $name"
	dir=$CACHE/kernels/$name/$release
	[ ! -e "$dir/kernel.env" ] || return 0
	tmp=$CACHE/kernels/$name/.new
	rm -rf "$tmp" "$dir"
	mkdir -p "$tmp"
	stock_headers "$release" "$tmp/headers" "$dir/headers" &
	headers=$!
	stock_image "$release" "$tmp"
	wait $headers
	initramfs "$release" "$tmp"
	kernel_env "$name" "$release" "$dir/vmlinuz" "$dir/headers/usr/src/linux-headers-$release" \
		"$dir" >"$tmp/kernel.env"
	mv "$tmp" "$dir"
}
