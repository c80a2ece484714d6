#!/bin/sh
# Installs what only the tests need, with the system's package manager: a C compiler for the race detector, Chromium for the
# tests in a browser, Node and npm for the tests with GraphQL's clients; and with npm these clients, in http/testdata/npm, and the programs of
# several versions of PostgreSQL, in db/testdata/npm; PgBouncer; what is typed in docs/getting-started.md; and Redis, for the tests of many instances;
# and the proxies, Prometheus and systemd's own checks, for the tests of deploy. Does nothing if all is there. Without a compiler it fails; without
# the rest it warns.
# With the word faults it installs what make faults needs instead: libfaketime and Redis, without which it warns.
set -eu

say() {
	printf 'install-test-tools: %s\n' "$*" >&2
}

# The compiler alone is not enough, the C library's headers must be there; on macOS the race detector needs neither.
has_compiler() {
	[ "$(uname -s)" = Darwin ] && return 0
	cc=$(go env CC 2>/dev/null) || cc=
	printf '#include <stdlib.h>\n#include <pthread.h>\n' | ${cc:-gcc} -fsyntax-only -x c - 2>/dev/null
}

has_chromium() {
	for browser in chromium chromium-browser google-chrome google-chrome-stable headless-shell headless_shell \
		/snap/bin/chromium \
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
		/Applications/Chromium.app/Contents/MacOS/Chromium; do
		if command -v "$browser" >/dev/null; then
			return 0
		fi
	done
	return 1
}

# The clients need Node 18.
has_node() {
	command -v npm >/dev/null && node -e 'process.exit(process.versions.node.split(".")[0] < 18 ? 1 : 0)' 2>/dev/null
}

# npm writes .package-lock.json last.
has_packages() {
	[ -e "$1/node_modules/.package-lock.json" ] && [ ! "$1/package-lock.json" -nt "$1/node_modules/.package-lock.json" ]
}

has_clients() { has_packages "$clients"; }

# They are there for Linux on x86-64 alone.
has_versions() {
	[ "$(uname -sm)" != 'Linux x86_64' ] || { has_packages "$versions" && [ -e "$versions/node_modules/linked" ]; }
}

has_pgbouncer() { command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; }

# What the documents have their readers type, and is not everywhere.
has_typed() {
	command -v bash >/dev/null && command -v curl >/dev/null && command -v openssl >/dev/null &&
		{ python3 -c 'import websockets' || /usr/bin/python3 -c 'import websockets'; } 2>/dev/null
}

has_redis() {
	command -v redis-server >/dev/null && command -v redis-cli >/dev/null
}

# What deploy has files for.
missing_servers() {
	for program in nginx caddy haproxy prometheus; do
		command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || printf '%s ' "$program"
	done
}

has_deployed() {
	[ -z "$(missing_servers)" ] && command -v wget >/dev/null && { command -v systemd-analyze >/dev/null || [ "$(uname -s)" = Darwin ]; }
}

# macOS lets no library be put before the system's programs: it is of no use there.
has_faketime() {
	[ "$(uname -s)" = Darwin ] && return 0
	for library in /usr/lib/*/faketime/libfaketime.so.1 /usr/lib64/faketime/libfaketime.so.1 /usr/lib/faketime/libfaketime.so.1 \
		/usr/lib/libfaketime.so* /usr/local/lib/faketime/libfaketime.so.1; do
		if [ -e "$library" ]; then
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

can_install() {
	case $manager in
	none) return 1 ;;
	brew) [ "$(id -u)" -ne 0 ] ;;
	*) [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; } ;;
	esac
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

install_compiler() {
	case $manager in
	apt-get) apt_install gcc libc6-dev ;;
	dnf) as_root dnf -y install gcc ;;
	apk) as_root apk add gcc musl-dev ;;
	pacman) as_root pacman -S --needed --noconfirm gcc || as_root pacman -Sy --needed --noconfirm gcc ;;
	zypper) as_root zypper --non-interactive install gcc glibc-devel ;;
	brew) brew install gcc ;;
	esac
}

install_chromium() {
	case $manager in
	apt-get)
		# Ubuntu has it as a snap only.
		if [ -e /etc/os-release ] && grep -q '^ID=ubuntu' /etc/os-release; then
			command -v snap >/dev/null && as_root snap install chromium
		else
			apt_install chromium chromium-sandbox fonts-liberation
		fi
		;;
	dnf) as_root dnf -y install chromium ;; # on RHEL from EPEL
	apk) as_root apk add chromium font-liberation ;;
	pacman) as_root pacman -S --needed --noconfirm chromium || as_root pacman -Sy --needed --noconfirm chromium ;;
	zypper) as_root zypper --non-interactive install chromium ;;
	brew) brew install --cask google-chrome ;;
	esac
}

install_node() {
	case $manager in
	apt-get) apt_install nodejs npm ;;
	dnf) as_root dnf -y install nodejs npm ;;
	apk) as_root apk add nodejs npm ;;
	pacman) as_root pacman -S --needed --noconfirm nodejs npm || as_root pacman -Sy --needed --noconfirm nodejs npm ;;
	zypper) as_root zypper --non-interactive install nodejs npm ;;
	brew) brew install node ;;
	esac
}

# install_packages DIRECTORY leaves what it installs to whose directory it is, also when root installs it.
install_packages() {
	(cd "$1" && npm ci --ignore-scripts --no-audit --no-fund >&2) || return
	if [ "$(id -u)" -eq 0 ]; then
		# shellcheck disable=SC2012 # stat's options are not the same everywhere
		chown -R "$(ls -ldn "$1" | awk '{ print $3 ":" $4 }')" "$1/node_modules"
	fi
}

install_clients() { install_packages "$clients"; }

install_versions() {
	install_packages "$versions" && (cd "$versions" && node link.mjs && touch node_modules/linked)
}

install_pgbouncer() {
	case $manager in
	apt-get)
		apt_install pgbouncer
		# The package starts it as a service, which nobody has asked for.
		if [ -d /run/systemd/system ]; then
			as_root systemctl disable --now pgbouncer >/dev/null 2>&1 || true
		fi
		;;
	dnf) as_root dnf -y install pgbouncer ;; # on RHEL from the PostgreSQL project's packages
	apk) as_root apk add pgbouncer ;;
	pacman) as_root pacman -S --needed --noconfirm pgbouncer || as_root pacman -Sy --needed --noconfirm pgbouncer ;;
	zypper) as_root zypper --non-interactive install pgbouncer ;;
	brew) brew install pgbouncer ;;
	esac
}

install_typed() {
	case $manager in
	apt-get) apt_install bash curl openssl python3 python3-websockets ;;
	dnf) as_root dnf -y install bash curl openssl python3 python3-websockets ;;
	apk) as_root apk add bash curl openssl python3 py3-websockets ;;
	pacman) as_root pacman -S --needed --noconfirm bash curl openssl python python-websockets || as_root pacman -Sy --needed --noconfirm bash curl openssl python python-websockets ;;
	zypper) as_root zypper --non-interactive install bash curl openssl python3 python3-websockets ;;
	brew) brew install python3 && python3 -m pip install --user --break-system-packages websockets ;;
	esac
}

install_redis() {
	case $manager in
	apt-get) apt_install redis-server redis-tools ;;
	dnf) as_root dnf -y install redis || as_root dnf -y install valkey-compat-redis ;;
	apk) as_root apk add redis ;;
	pacman) as_root pacman -S --needed --noconfirm redis || as_root pacman -Sy --needed --noconfirm redis ;;
	zypper) as_root zypper --non-interactive install redis ;;
	brew) brew install redis ;;
	esac
}

# Their packages start them, now and at each boot: not what tests want, and the port may be another's.
apt_servers() {
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'as_root rm -f "$policy"' EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	apt_install "$@"
	if command -v systemctl >/dev/null; then
		as_root systemctl disable --quiet "$@" 2>/dev/null || true
	fi
}

install_deployed() {
	servers=$(missing_servers)
	# shellcheck disable=SC2086 # names of packages
	case $manager in
	apt-get) { [ -z "$servers" ] || apt_servers $servers; } && apt_install wget systemd ;;
	dnf) as_root dnf -y install nginx caddy haproxy wget systemd && as_root dnf -y install golang-github-prometheus ;;
	apk) as_root apk add nginx caddy haproxy prometheus wget ;;
	pacman) as_root pacman -S --needed --noconfirm nginx caddy haproxy prometheus wget || as_root pacman -Sy --needed --noconfirm nginx caddy haproxy prometheus wget ;;
	zypper) as_root zypper --non-interactive install nginx caddy haproxy golang-github-prometheus-prometheus wget ;;
	brew) brew install nginx caddy haproxy prometheus wget ;;
	esac
}

install_faketime() {
	case $manager in
	apt-get) apt_install libfaketime ;;
	dnf) as_root dnf -y install libfaketime ;; # on RHEL from EPEL
	apk) as_root apk add libfaketime ;;
	pacman) as_root pacman -S --needed --noconfirm libfaketime || as_root pacman -Sy --needed --noconfirm libfaketime ;;
	zypper) as_root zypper --non-interactive install libfaketime ;;
	*) return 1 ;;
	esac
}

# how_to says what to type, for what this user cannot install.
how_to() {
	script=$(cd "$(dirname "$0")" && pwd)/${0##*/}
	case $manager in
	none) printf '\n    (with a package manager not known here) gcc, the C library headers, Chromium, PgBouncer, bash, curl, openssl, Python with websockets, Redis, nginx, Caddy, HAProxy, Prometheus, wget, Node, npm\n\n' >&2 ;;
	brew) printf '\n    %s\n\n' "$script    # as your own user: Homebrew does not run as root" >&2 ;;
	*) printf '\n    su -c %s\n\n' "'$script'" >&2 ;;
	esac
}

clients=$(cd "$(dirname "$0")/../http/testdata/npm" && pwd)
versions=$(cd "$(dirname "$0")/../db/testdata/npm" && pwd)

if [ "${1-}" = faults ]; then
	if has_faketime && has_redis; then
		exit 0
	fi
elif has_compiler && has_chromium && has_typed && has_pgbouncer && has_redis && has_deployed && has_node && has_clients && has_versions; then
	exit 0
fi

for manager in apt-get dnf apk pacman zypper brew none; do
	if command -v "$manager" >/dev/null; then
		break
	fi
done

if [ "${1-}" = faults ]; then
	if can_install && ! has_faketime; then
		say "libfaketime is missing; installing it with $manager"
		install_faketime || :
	fi
	if can_install && ! has_redis; then
		say "Redis is missing; installing it with $manager"
		install_redis || :
	fi
	has_faketime || say "warning: libfaketime is missing: clocks will not jump"
	has_redis || say "warning: redis-server is missing: nothing is tried with Redis"
	exit 0
fi

if ! has_compiler; then
	if ! can_install; then
		say "a C compiler is missing, and this user cannot install it. Type:"
		how_to
		exit 1
	fi
	say "a C compiler is missing; installing it with $manager"
	install_compiler
fi

if ! has_chromium; then
	if ! can_install; then
		say "warning: Chromium, for the tests in a browser, is missing, and this user cannot install it. Type:"
		how_to
	else
		say "Chromium is missing; installing it with $manager"
		if ! install_chromium; then
			say "warning: $manager could not install Chromium: the tests in a browser need Chromium or Google Chrome"
		fi
	fi
fi

if ! has_typed; then
	if ! can_install; then
		say "warning: bash, curl, openssl or Python with websockets, for the tests of the documents, is missing, and this user cannot install it. Type:"
		how_to
	else
		say "bash, curl, openssl or Python with websockets is missing; installing it with $manager"
		if ! install_typed; then
			say "warning: $manager could not install them: the tests of the documents need bash, curl, openssl and Python with websockets"
		fi
	fi
fi

if ! has_pgbouncer; then
	if ! can_install; then
		say "warning: PgBouncer, for the tests with a pooler, is missing, and this user cannot install it. Type:"
		how_to
	else
		say "PgBouncer is missing; installing it with $manager"
		if ! install_pgbouncer; then
			say "warning: $manager could not install PgBouncer: the tests with a pooler need it"
		fi
	fi
fi

if ! has_redis; then
	if ! can_install; then
		say "warning: Redis, for the tests of many instances, is missing, and this user cannot install it. Type:"
		how_to
	else
		say "Redis is missing; installing it with $manager"
		if ! install_redis; then
			say "warning: $manager could not install Redis: the tests of many instances need redis-server and redis-cli"
		fi
	fi
fi

if ! has_deployed; then
	if ! can_install; then
		say "warning: nginx, Caddy, HAProxy, Prometheus, wget or systemd-analyze, for the tests of deploy, is missing, and this user cannot install it. Type:"
		how_to
	else
		say "nginx, Caddy, HAProxy, Prometheus, wget or systemd-analyze is missing; installing it with $manager"
		if ! install_deployed || ! has_deployed; then
			say "warning: $manager could not install them all: some tests of deploy need nginx, Caddy, HAProxy, Prometheus, wget and systemd-analyze"
		fi
	fi
fi

if ! has_node; then
	if ! can_install; then
		say "warning: Node 18 or newer and npm, for the tests with GraphQL's clients, are missing, and this user cannot install them. Type:"
		how_to
		exit 0
	fi
	say "Node and npm are missing; installing them with $manager"
	if ! install_node || ! has_node; then
		say "warning: $manager could not install Node 18 or newer and npm: the tests with GraphQL's clients need them"
		exit 0
	fi
fi

if ! has_clients; then
	say "GraphQL's clients are missing; installing them with npm"
	if ! install_clients; then
		say "warning: npm could not install what $clients/package-lock.json lists: the tests with GraphQL's clients need it"
	fi
fi

if ! has_versions; then
	say "several versions of PostgreSQL are missing; installing them with npm"
	if ! install_versions; then
		say "warning: npm could not install what $versions/package-lock.json lists: the tests run with one version of PostgreSQL"
	fi
fi
