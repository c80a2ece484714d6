#!/bin/bash
# Counts the instructions of PostgreSQL's backend that one transaction takes which inserts one row: without a trigger,
# with triggers that do more and more of what a watched table's does, and with that one. Unlike times, the figures are the
# same in every run.
#
#     cmd/benchmarks/instructions.sh [DIRECTORY-OF-POSTGRESQL'S-PROGRAMS]
#
# It needs Go, valgrind and PostgreSQL's programs, and takes about five minutes. Run as root, PostgreSQL runs as postgres.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${1:-$(pg_config --bindir)}
dir=$(mktemp -d)
export PGHOST=$dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PGOPTIONS="-c client_min_messages=warning"
as() { if [ "$(id -u)" = 0 ]; then su postgres -c "$*"; else bash -c "$*"; fi; }
if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; fi
server=
stop() { if [ -n "$server" ]; then as "$bin/pg_ctl -D $dir/data -m fast -w stop" >/dev/null; wait "$server" || true; server=; fi; }
trap 'stop; rm -rf "$dir"' EXIT

# start runs the server under callgrind, which writes a file for each backend when it ends.
start() {
	as "cd $dir && exec valgrind --tool=callgrind --trace-children=yes --callgrind-out-file=$dir/%p.out \
		$bin/postgres -D $dir/data -c fsync=off -c autovacuum=off -c listen_addresses= -c unix_socket_directories=$dir" >"$dir/log" 2>&1 &
	server=$!
	until psql -qc 'select 1' >/dev/null 2>&1; do
		kill -0 "$server"
		sleep 0.1
	done
}

# Tables have rows already, so that their indexes have more than one level.
rows="insert into %s (author_id, title, content) select 1, 'A message', 'filler' from generate_series(1, 20000)"

# table makes a table of the name, and a trigger of the kind, with the settings of its function, that has the body.
table() { # name, when, settings, body
	psql -q <<-SQL
		create table $1 (like messages including all);
		${rows//%s/$1};
		create function $1() returns trigger language plpgsql $3 as \$f\$
		declare n bigint;
		begin
		$4
		return null;
		end \$f\$;
		create trigger t after insert on $1 $2 execute function $1();
	SQL
}

as "$bin/initdb -D $dir/data -A trust -U postgres" >/dev/null
start
go run ./cmd/tidings migrate up --database-url "postgres://postgres@localhost/postgres?host=$dir&port=5432" >/dev/null

statement="for each statement"
transition="referencing new table as new_rows for each statement"
json='pg_catalog.to_json(r.*)'
guarded="case when greatest(pg_catalog.octet_length(r.title), pg_catalog.octet_length(r.content)) > 16777216 then 'null' else $json end"
into="insert into tidings.log_0 (topic, type, key, data) select 'messages', 'message_added', k, j from"
few="$into (select r.id::text, $guarded from new_rows r limit 8) as few(k, j); get diagnostics n = row_count;"
bell="if n = 8 or pg_catalog.pg_sequence_last_value('tidings.sleepers') > 0 then raise exception 'nobody is asleep'; end if;"

psql -qc "create table none (like messages including all)" -c "${rows//%s/none}" -c "
	create table outbox (id bigserial primary key, topic text not null, data jsonb not null, at timestamptz not null default now());
	insert into outbox (topic, data) select 'messages', '{}' from generate_series(1, 20000);
	insert into tidings.log_0 (topic, type, key, data) select 'messages', 'message_added', n, '{}' from generate_series(1, 20000) n"
table a "$statement" "" ""
table b "$transition" "" ""
table c "$transition" "" "$into (select r.id::text, $json from new_rows r) as every(k, j);"
table d "$transition" "" "$into (select r.id::text, $json from new_rows r limit 8) as few(k, j); get diagnostics n = row_count;"
table e "$transition" "" "$few"
table f "$transition" "" "$few $bell"
table g "$transition" "security definer" "$few $bell"
table h "$transition" "security definer set timezone = 'UTC'" "$few $bell"
psql -qc "create table watched (like messages including all)" -c "${rows//%s/watched}" -c "select tidings.watch('watched', read => 'public')" >/dev/null
table plain "for each row" "" "insert into outbox (topic, data) values ('messages', to_jsonb(new));"

# total prints the instructions of a backend that inserts so many rows.
total() { # table, rows
	local pid
	pid=$( (echo "select pg_backend_pid();"
		echo "prepare p as insert into public.$1 (author_id, title, content) values (1, 'A message',
			'What is written here is as long as a short message is, two lines perhaps, and always the same.');"
		yes 'execute p;' | head -n "$2") | psql -qAt)
	until [ -s "$dir/$pid.out" ] && grep -q '^totals:' "$dir/$pid.out"; do sleep 0.1; done
	awk '/^totals:/ {print $2}' "$dir/$pid.out"
}

each() { echo $((($(total "$1" 400) - $(total "$1" 100)) / 300)); }

none=$(each none)
echo "| Instructions, in thousands | A transaction | The trigger's | More than the row above |"
echo "| --- | ---: | ---: | ---: |"
last=$none
row() { # table, text
	local n
	n=$(each "$1")
	awk -v text="$2" -v n="$n" -v none="$none" -v last="$last" 'BEGIN {printf "| %s | %.0f | %.0f | %s |\n", text, n / 1000, (n - none) / 1000, last ? sprintf("%.0f", (n - last) / 1000) : ""}'
	last=$n
}
awk -v n="$none" 'BEGIN {printf "| no trigger | %.0f | | |\n", n / 1000}'
row a 'a statement trigger that does nothing'
row b 'with a transition table'
row c 'that writes its rows to the log, with both indexes'
row d '… no more than eight, and counts them'
row e '… without what is too large'
row f '… and looks whether somebody is asleep'
row g '… with the rights of its owner'
row h '… with the time zone set'
row watched '**a watched table**'
last=
row plain 'a row trigger that writes an outbox, with one index'
