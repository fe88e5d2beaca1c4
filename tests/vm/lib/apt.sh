# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A private apt for each Debian release that kernels come from: its own lists and sources
# below the cache, the host's mirror, keys and proxy. Nothing of the host's apt changes, no
# root is needed, and a host that does not list a suite gets it all the same.

# Lists younger than this are not fetched again (minutes).
APT_FRESH=30

apt_get()
{
	local codename=$1

	shift
	apt-get -q -c "$CACHE/apt/$codename/apt.conf" "$@"
}

# The mirrors that the host itself uses: "RELEASE URI" lines, as its own apt reads them.
apt_mirrors()
{
	# shellcheck disable=SC2016 # apt fills these in
	apt-get indextargets --format '$(ORIGIN)|$(RELEASE) $(REPO_URI)' \
		'Created-By: Packages' 'Component: main' |
		sed -nE 's/^(Debian)?[|]//p' | sort -u
}

apt_sources()
{
	local codename=$1 keys=/usr/share/keyrings/debian-archive-keyring.gpg
	local host main security suite

	host=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	main=$(apt_mirrors | awk -v r="$host" '$1 == r { print $2; exit }')
	[ -n "$main" ] || die "apt on this machine names no mirror of its own release '$host'"
	security=$(apt_mirrors | awk -v r="$host-security" '$1 == r { print $2; exit }')
	for suite in "$codename" "$codename-updates" "$codename-backports"; do
		echo "deb [signed-by=$keys] $main $suite main"
	done
	echo "deb [signed-by=$keys] ${security:-${main%/}-security} $codename-security main"
}

# apt_conf DIR: everything apt would share with the host, redirected; hooks that clean up
# after or refresh the host's own lists are left out.
apt_conf()
{
	cat <<-END
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	Dir::Etc::sourcelist "$1/sources.list";
	Dir::Etc::sourceparts "$1/none.d";
	Dir::Etc::preferences "$1/none";
	Dir::Etc::preferencesparts "$1/none.d";
	Dir::State::lists "$1/lists";
	Dir::State::status "$1/status";
	Dir::Cache "$1";
	Dir::Cache::pkgcache "pkgcache.bin";
	Dir::Cache::srcpkgcache "srcpkgcache.bin";
	Dir::Cache::archives "$1/archives";
	Acquire::Languages "none";
	Acquire::Retries "3";
	Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
	Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
	APT::Sandbox::User "";
	APT::Architecture "amd64";
	END
}

# apt_update CODENAME: lists that are fresh. A mirror out of reach is no failure here: older
# lists may do, and what is missing is said when something is looked for.
apt_update()
(
	dir=$CACHE/apt/$1

	lock "$dir/lock" "lists of $1"
	if [ -n "$(find "$dir/updated" -mmin -$APT_FRESH 2>/dev/null)" ]; then
		return
	fi
	mkdir -p "$dir/lists/partial" "$dir/archives/partial" "$dir/none.d"
	: >"$dir/status"
	apt_sources "$1" >"$dir/sources.list"
	apt_conf "$dir" >"$dir/apt.conf"
	say "updating the list of $1's packages"
	if apt_get "$1" update >"$dir/update.log" 2>&1; then
		touch "$dir/updated"
	else
		say "apt-get update failed, older lists are used:"
		grep -E '^(E|W|Err)' "$dir/update.log" >&2 || true
	fi
)

# apt_names CODENAME REGEX: names of packages, all of REGEX matching.
apt_names()
{
	apt-cache -c "$CACHE/apt/$1/apt.conf" pkgnames | grep -Ex -- "$2" || true
}

# apt_field CODENAME PACKAGE FIELD: FIELD of the newest version of PACKAGE.
apt_field()
{
	apt-cache -c "$CACHE/apt/$1/apt.conf" show --no-all-versions "$2" |
		sed -n "s/^$3: //p;T;q"
}

# apt_fetch CODENAME PACKAGE DIR: download PACKAGE and write the contents of its data
# archive to stdout as tar. DIR takes the file meanwhile.
apt_fetch()
{
	local codename=$1 package=$2 dir=$3

	say "fetching $package ($(($(apt_field "$codename" "$package" Size) >> 20)) MB)"
	mkdir -p "$dir"
	(cd "$dir" && apt_get "$codename" download "$package" >apt.log 2>&1) || {
		grep -E '^(E|W|Err)' "$dir/apt.log" >&2 || true
		say "cannot download $package"
		return 1
	}
	dpkg-deb --fsys-tarfile "$dir/${package}"_*.deb || return
	rm -rf "$dir"
}
