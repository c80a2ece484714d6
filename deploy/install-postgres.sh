#!/bin/sh
# Installs PostgreSQL's server binaries and psql with the system's package manager; does nothing if they are there.
# Only the binaries are wanted: no server is set up or started, and one that is there already is left alone.
set -eu
umask 022

oldest=14

say() {
	printf 'install-postgres: %s\n' "$*" >&2
}

# usable DIR: does DIR hold a server that is new enough, and psql if it isn't on the PATH?
usable() {
	[ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 1
	[ -x "$1/psql" ] || command -v psql >/dev/null || return 1
	major=$("$1/postgres" --version 2>/dev/null | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
	[ "${major:-0}" -ge "$oldest" ]
}

found() {
	if server=$(command -v postgres) && usable "${server%/*}"; then
		return 0
	fi
	if bindir=$(pg_config --bindir 2>/dev/null) && usable "$bindir"; then
		return 0
	fi
	# The places where systems put the programs without putting them on the PATH; tidings looks there as well.
	for bindir in \
		/usr/lib/postgresql/*/bin \
		/usr/pgsql-*/bin \
		/usr/lib/postgresql*/bin \
		/usr/libexec/postgresql* \
		/usr/bin \
		/usr/local/bin \
		/usr/local/pgsql/bin \
		/opt/homebrew/opt/postgresql@*/bin \
		/usr/local/opt/postgresql@*/bin \
		/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin \
		/Applications/Postgres.app/Contents/Versions/*/bin \
		/Library/PostgreSQL/*/bin \
		/opt/local/lib/postgresql*/bin; do
		if usable "$bindir"; then
			return 0
		fi
	done
	return 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# need_root ends the script, with the command to type, if there is no way to become root.
need_root() {
	if [ "$(id -u)" -eq 0 ]; then
		return
	fi
	if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		return
	fi
	say "PostgreSQL $oldest or newer is missing, and only root can install it. Type:"
	printf '\n    su -c %s\n\n' "'$(cd "$(dirname "$0")" && pwd)/${0##*/}'" >&2
	exit 1
}

# apt_get says only what goes wrong, and waits for another apt-get to end.
apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

# apt_install PACKAGE...: a fresh machine has no package lists, an idle one has old lists; only then are they updated.
apt_install() {
	if apt-cache show "$1" >/dev/null 2>&1 && apt_get install -y --no-install-recommends "$@"; then
		return
	fi
	apt_get update && apt_get install -y --no-install-recommends "$@"
}

# Debian's package creates a cluster at port 5432, starts it and has it started at boot, unless postgresql-common is
# told otherwise. It is told in a file of our own, which stays for the time of the installation only.
no_cluster=/etc/postgresql-common/createcluster.d/tidings-install.conf

apt_postgres() {
	trap 'as_root rm -f "$no_cluster"; as_root rmdir -p "${no_cluster%/*}" 2>/dev/null || true' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	as_root mkdir -p "${no_cluster%/*}" &&
		echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null &&
		apt_install postgresql postgresql-client
}

dnf_postgres() {
	# RHEL 8 and 9 are older by default, and have newer ones as module streams.
	default=$(dnf -q repoquery --latest-limit 1 --queryformat '%{version}\n' postgresql-server 2>/dev/null |
		sed 's/^[^0-9]*\([0-9]*\).*/\1/;q')
	if [ -n "$default" ] && [ "$default" -lt "$oldest" ]; then
		as_root dnf -y module enable postgresql:16 || as_root dnf -y module enable postgresql:15
	fi
	as_root dnf -y install postgresql-server postgresql
}

if found; then
	exit 0
fi

for manager in apt-get dnf apk pacman zypper brew none; do
	if command -v "$manager" >/dev/null; then
		break
	fi
done

case $manager in
none)
	say "PostgreSQL $oldest or newer is missing, and no package manager known here. Install the server and psql:"
	printf '\n    https://www.postgresql.org/download/\n\n' >&2
	exit 1
	;;
brew)
	if [ "$(id -u)" -eq 0 ]; then
		say "PostgreSQL $oldest or newer is missing, and Homebrew does not run as root. As your own user, type:"
		printf '\n    brew install postgresql@17\n\n' >&2
		exit 1
	fi
	;;
*)
	need_root
	;;
esac

install() {
	case $manager in
	apt-get) apt_postgres ;;
	dnf) dnf_postgres ;;
	apk) as_root apk add postgresql postgresql-client ;;
	pacman) as_root pacman -S --needed --noconfirm postgresql || as_root pacman -Sy --needed --noconfirm postgresql ;;
	zypper) as_root zypper --non-interactive install postgresql-server postgresql ;;
	brew) brew install postgresql@17 ;;
	esac
}

say "PostgreSQL $oldest or newer is missing; installing it with $manager"
if ! install || ! found; then
	say "$manager did not bring PostgreSQL $oldest or newer. Install the server and psql as described at:"
	printf '\n    https://www.postgresql.org/download/\n\n' >&2
	exit 1
fi
