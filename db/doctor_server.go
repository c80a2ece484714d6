package db

import (
	"context"
	"fmt"
)

// The server that was reached, and its settings.
var serverChecks = []check{
	{name: "server-version", look: lookAtVersion},
	{name: "primary", well: "It is the primary, and takes writes.", look: asked(primaryQuery)},
	{name: "settings", well: "No setting ends what tidings does, or loses what was told.", asFound: true, look: asked(settingsQuery)},
	{name: "doorbell", well: "The doorbell is switched off for nobody.", look: asked(doorbellQuery)},
	{name: "replica-role", well: "No role or database has its triggers switched off.", look: asked(replicaRoleQuery)},
}

// newestVersion is the newest PostgreSQL that tidings is tried with.
const newestVersion = 18

// brokenBefore are the minor versions of a major one that have what loses data, where that is known: before this one.
var brokenBefore = map[int]int{14: 4} // CREATE INDEX CONCURRENTLY, REINDEX CONCURRENTLY

func lookAtVersion(ctx context.Context, e *examination) error {
	var version int
	if err := e.tx.QueryRow(ctx, `select current_setting('server_version_num')::integer`).Scan(&version); err != nil {
		return err
	}
	e.well = fmt.Sprintf("PostgreSQL %d.%d is one of those that tidings is tried with.", version/10000, version%10000)
	judgeVersion(e, version/10000, version%10000)
	return nil
}

func judgeVersion(e *examination, major, minor int) {
	switch {
	case major < MinVersion:
		e.add(SeverityProblem, fmt.Sprintf("PostgreSQL %d is older than tidings needs.", major), fmt.Sprintf("Upgrade to PostgreSQL %d or later.", MinVersion))
	case major > newestVersion:
		e.add(SeverityNote, fmt.Sprintf("PostgreSQL %d is newer than tidings was tried with, which is %d at most.", major, newestVersion),
			"Look for a newer version of tidings.")
	case minor < brokenBefore[major]:
		e.add(SeverityWarning, fmt.Sprintf("PostgreSQL %d.%d has mistakes that break indexes.", major, minor),
			fmt.Sprintf("Install %d.%d or later, and REINDEX what was made with CONCURRENTLY.", major, brokenBefore[major]))
	}
}

const primaryQuery = `
select 'problem', 'This is a standby: it takes no writes, and tidings writes heartbeats and who is online.',
       'Give the primary''s URL, or that of all hosts, with target_session_attrs: postgres://a,b/name?target_session_attrs=read-write', null::text[]
 where pg_is_in_recovery()
union all
select 'problem', 'Transactions of this role are read only: default_transaction_read_only is on.', 'Switch it off for the role:',
       array[format('alter role %I in database %I set default_transaction_read_only = off', current_user, current_database())]
  from pg_settings s where s.name = 'default_transaction_read_only' and s.reset_val = 'on' and not pg_is_in_recovery()`

// Of a setting, what it is at the beginning of a session: that is what the service's are. A time of 0 is none.
const settingsQuery = `
with setting as (select s.name, s.reset_val, s.source, case when s.vartype = 'integer' then s.reset_val::bigint end as number from pg_settings s)
select v.level, format(v.found, s.reset_val), v.mend,
       case when s.source = 'client' then null else array[format(v.sql, v.name, current_user, current_database())] end
  from (values
    ('statement_timeout', 1, 4999, 'warning', 'statement_timeout ends what takes longer than %s ms: rows that clients load, and what they have missed.',
     'Switch it off for the role that serves (or take it out of the URL):', 'alter role %2$I in database %3$I set %1$I = 0'),
    ('transaction_timeout', 1, 14999, 'warning', 'transaction_timeout ends what takes longer than %s ms: queries, and what clients have missed.',
     'Switch it off for the role that serves (or take it out of the URL):', 'alter role %2$I in database %3$I set %1$I = 0'),
    ('idle_in_transaction_session_timeout', 1, 1999, 'warning', 'idle_in_transaction_session_timeout ends transactions that pause for %s ms, as queries of many parts do.',
     'Switch it off for the role that serves (or take it out of the URL):', 'alter role %2$I in database %3$I set %1$I = 0'),
    ('idle_session_timeout', 1, 299999, 'note', 'idle_session_timeout ends connections that are idle for %s ms: those of the pool are opened again and again.',
     'Switch it off for the role that serves (or take it out of the URL):', 'alter role %2$I in database %3$I set %1$I = 0')
  ) as v(name, least, most, level, found, mend, sql)
  join setting s on s.name = v.name and s.number between v.least and v.most
union all
select v.level, v.found, v.mend, array[format(v.sql, v.name, current_user, current_database())] || case when v.sql like 'alter system%' then array['select pg_reload_conf()'] else '{}' end
  from (values
    ('synchronous_commit', 'off', 'note', 'synchronous_commit is off: a crash may take back what was told to clients.',
     'Switch it on for the database:', 'alter database %3$I set %1$I = on'),
    ('fsync', 'off', 'warning', 'fsync is off: if the machine crashes, the database may be lost.',
     'Switch it on, and reload:', 'alter system set %1$I = on'),
    ('default_transaction_isolation', 'repeatable read', 'note', 'Transactions are REPEATABLE READ by default: their writes ring the doorbell even where nobody sleeps.',
     'Have the default be READ COMMITTED, and say otherwise where it matters:', 'alter database %3$I set %1$I = ''read committed'''),
    ('default_transaction_isolation', 'serializable', 'note', 'Transactions are SERIALIZABLE by default: their writes ring the doorbell even where nobody sleeps.',
     'Have the default be READ COMMITTED, and say otherwise where it matters:', 'alter database %3$I set %1$I = ''read committed''')
  ) as v(name, value, level, found, mend, sql)
  join setting s on s.name = v.name and s.reset_val = v.value
union all
-- Of a connection by a socket file, they mean nothing.
select 'note', format('tcp_keepalives_idle is %s: a connection whose other end has vanished is kept for that long; one that listens keeps NOTIFY''s queue from being emptied.',
                      case s.reset_val::integer when 0 then 'the system''s' else s.reset_val || ' s' end),
       'Have the role''s connections be looked after:',
       array[format('alter role %I in database %I set tcp_keepalives_idle = 60', current_user, current_database())]
  from pg_settings s
 where s.name = 'tcp_keepalives_idle' and s.reset_val::integer not between 1 and 600 and inet_client_addr() is not null and s.setting::integer not between 1 and 600`

const doorbellQuery = `
select 'note', format('The doorbell is switched off%s%s: events come with the next poll, up to a second later.',
                      ' for ' || case when r.oid is null then 'everybody' else format('role %I', r.rolname) end,
                      case when d.oid is null then '' else format(' in database %I', d.datname) end),
       'Where that is not meant (by whoever uses PREPARE TRANSACTION it is):',
       array[case when r.oid is null then format('alter database %I reset tidings.doorbell', d.datname)
                  when d.oid is null then format('alter role %I reset tidings.doorbell', r.rolname)
                  else format('alter role %I in database %I reset tidings.doorbell', r.rolname, d.datname) end]
  from pg_db_role_setting s
  left join pg_database d on d.oid = s.setdatabase
  left join pg_roles r on r.oid = s.setrole
 where (s.setdatabase = 0 or d.datname = current_database())
   and exists (select from unnest(s.setconfig) as c(setting) where lower(c.setting) in
               ('tidings.doorbell=off', 'tidings.doorbell=false', 'tidings.doorbell=no', 'tidings.doorbell=0', 'tidings.doorbell=f', 'tidings.doorbell=n'))`

const replicaRoleQuery = `
select 'problem', format('session_replication_role is %s for %s%s: no trigger fires of what is written there, and clients miss it.', split_part(c.setting, '=', 2),
                         case when r.oid is null then 'everybody' else format('role %I', r.rolname) end,
                         case when d.oid is null then '' else format(' in database %I', d.datname) end),
       'Take that back; clients that have missed something load afresh when they are told by tidings.broadcast, or connect anew without a cursor:',
       array[case when r.oid is null then format('alter database %I reset session_replication_role', d.datname)
                  when d.oid is null then format('alter role %I reset session_replication_role', r.rolname)
                  else format('alter role %I in database %I reset session_replication_role', r.rolname, d.datname) end]
  from pg_db_role_setting s
  cross join lateral unnest(s.setconfig) as c(setting)
  left join pg_database d on d.oid = s.setdatabase
  left join pg_roles r on r.oid = s.setrole
 where (s.setdatabase = 0 or d.datname = current_database()) and c.setting like 'session\_replication\_role=%' and c.setting not like '%=origin' and c.setting not like '%=local'
union all
select 'problem', 'session_replication_role is replica in the server''s configuration: no trigger fires, and clients miss all that is written.',
       'Take it out of the configuration, and reload:', array['alter system reset session_replication_role', 'select pg_reload_conf()']
  from pg_settings s where s.name = 'session_replication_role' and s.reset_val = 'replica' and s.source = 'configuration file'`
