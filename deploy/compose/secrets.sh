#!/bin/sh
# Makes the secrets that compose.yaml takes from files, those that are missing, in folder secrets beside it.
# Nobody else on this machine may enter the folder. The files themselves may be read: they are mounted as they are, and the
# containers' users are none of this machine's.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
chmod 700 secrets
cd secrets

# keep NAME: what is read becomes the secret NAME, whole or not at all.
keep() {
	cat >"$1.new"
	chmod 444 "$1.new"
	mv "$1.new" "$1"
}

# random: 32 bytes that may stand in a URL.
random() {
	openssl rand -hex 32
}

for name in postgres_password live_password tidings_secret grafana_password redis_password; do
	[ -e "$name" ] || random | keep "$name"
done
# What follows from these is written each time.
printf 'postgres://live:%s@postgres:5432/live?sslmode=disable\n' "$(cat live_password)" | keep database_url
printf 'redis://:%s@redis:6379/0\n' "$(cat redis_password)" | keep redis_url
printf 'user default on >%s ~* &* +@all\n' "$(cat redis_password)" | keep redis_users
