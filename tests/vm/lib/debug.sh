# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The debug kernel, and the kernel source that it and the style checks come from: Debian's
# newest linux-source, built with the fragments in configs/.

SOURCE_CODENAME=trixie
DEBUG_FRAGMENTS="base debugcommon kasan"
# What the debug kernel is for: a build without one of these proves nothing.
DEBUG_OPTIONS="KASAN KASAN_GENERIC PROVE_LOCKING PROVE_RCU LOCKDEP DEBUG_KMEMLEAK UBSAN
UBSAN_BOUNDS DEBUG_ATOMIC_SLEEP FAULT_INJECTION FAILSLAB FAIL_PAGE_ALLOC FAULT_INJECTION_USERCOPY
MEMCG NET_NS USER_NS USERFAULTFD IA32_EMULATION OVERLAY_FS 9P_FS NET_9P_VIRTIO VIRTIO_CONSOLE"
# What one takes of disk (MB), and how many files its build compiles: for the percentage.
DEBUG_DISK=4000
DEBUG_OBJECTS=1530

# source_versions: of every linux-source in apt's lists, such as 7.3; the newest first.
source_versions()
{
	apt_names $SOURCE_CODENAME 'linux-source-[0-9.]+' | sed 's/^linux-source-//' | sort -rV
}

# source_dir VERSION: where the newest package of linux-source-VERSION is unpacked.
source_dir()
{
	echo "$CACHE/source/$(apt_field $SOURCE_CODENAME "linux-source-$1" Version |
		tr -c 'a-zA-Z0-9.\n-' _)"
}

# source_make VERSION: unpack linux-source-VERSION, without what no build here reads.
source_make()
(
	dir=$(source_dir "$1")
	lock "$CACHE/source/lock" "linux-source is being unpacked"
	[ ! -d "$dir" ] || return 0
	rm -rf "$dir.new"
	mkdir -p "$dir.new"
	apt_fetch $SOURCE_CODENAME "linux-source-$1" "$dir.deb" |
		tar -xO --wildcards '*/linux-source-*.tar.xz' |
		tar -xJ -C "$dir.new" --strip-components=1 --exclude='*/arch/*/boot/dts' \
			--exclude='*/drivers/gpu/drm/amd/include' || return
	mv "$dir.new" "$dir"
)

debug_fragments()
{
	local fragment

	for fragment in $DEBUG_FRAGMENTS; do
		echo "$VM/configs/$fragment.config"
	done
}

# debug_config SRC BUILD: write BUILD/.config, and say which options did not make it there.
debug_config()
{
	local option missing=""

	# shellcheck disable=SC2046 # none of these has a blank in its name but the tree's own
	(cd "$1" && scripts/kconfig/merge_config.sh -n -O "$2" $(debug_fragments)) \
		>"$2/config.log" 2>&1 || {
		say "the debug configuration does not merge: see $2/config.log"
		return 1
	}
	for option in $DEBUG_OPTIONS; do
		grep -qx "CONFIG_$option=y" "$2/.config" || missing="$missing $option"
	done
	[ -z "$missing" ] || {
		say "the debug kernel's configuration lacks:$missing"
		return 1
	}
}

# progress: copy make's output, which is read, to nowhere; say how far it is.
progress()
{
	local step built=0 next=0

	while read -r step _; do
		[ "$step" = CC ] || [ "$step" = AS ] || continue
		if [ $built -ge $next ] && [ $built -lt $DEBUG_OBJECTS ]; then
			say "debug kernel: $((100 * built / DEBUG_OBJECTS))%" \
				"($built of about $DEBUG_OBJECTS files)"
			next=$((built + DEBUG_OBJECTS / 20))
		fi
		built=$((built + 1))
	done
}

# debug_build SRC BUILD: compile; what is there from an interrupted build is kept.
debug_build()
{
	local log=$2/build.log

	say "building the debug kernel, about 20 minutes on 2 cores; log: $log"
	(set -o pipefail
	 nice -n 10 make -C "$1" O="$2" -j"$(nproc)" bzImage modules 2>&1 </dev/null |
		tee "$log" | progress) || {
		say "the debug kernel does not build, the log is $log; it ends so:"
		tail -n 15 "$log" >&2
		return 1
	}
}

# debug_whole DIR: is the kernel in DIR built, and from the fragments that the tree has now?
debug_whole()
{
	# shellcheck disable=SC2046
	cat $(debug_fragments) | cmp -s - "$1/fragments"
}

# debug_try VERSION: the debug kernel of linux-source-VERSION into the cache.
debug_try()
{
	local source dir release

	source_make "$1" || return
	source=$(source_dir "$1")
	dir=$CACHE/kernels/debug/${source##*/}
	[ ! -e "$dir/kernel.env" ] || ! debug_whole "$dir" || return 0
	rm -f "$dir/kernel.env"
	mkdir -p "$dir/build"
	debug_config "$source" "$dir/build" || return
	debug_build "$source" "$dir/build" || return
	release=$(cat "$dir/build/include/config/kernel.release")
	initramfs "$release" "$dir" || return
	# shellcheck disable=SC2046
	cat $(debug_fragments) >"$dir/fragments"
	kernel_env debug "$release" "$dir/build/arch/x86/boot/bzImage" "$dir/build" "$dir" \
		>"$dir/.env"
	mv "$dir/.env" "$dir/kernel.env"
}

debug_make()
{
	local program version free

	for program in gcc make flex bison bc rsync cpio; do
		need $program kernel
	done
	mkdir -p "$CACHE"
	free=$(df -Pm "$CACHE" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge $DEBUG_DISK ] || compgen -G "$CACHE/kernels/debug/*/build" >/dev/null ||
		die "the debug kernel takes $DEBUG_DISK MB below $CACHE, where $free MB are free"
	apt_update $SOURCE_CODENAME
	for version in $(source_versions); do
		if debug_try "$version"; then
			return
		fi
		say "no debug kernel from linux-source-$version: trying the one before"
	done
	die "no linux-source makes a debug kernel"
}
