package db

import "cmp"

// Vacuuming. The log itself is not vacuumed, but emptied.
var vacuumChecks = []check{
	{name: "autovacuum", well: "Autovacuum is on.", look: asked(autovacuumQuery)},
	{name: "dead-rows", well: "The tables of tidings have few dead rows.", needs: needsSchema, look: asked(deadRowsQuery, func(e *examination) any { return cmp.Or(e.Limits.DeadRows, 50000) })},
}

const autovacuumQuery = `
select 'warning', format('%s is off in the whole server: tables grow, and transaction ids run out.', s.name), 'As a superuser, switch it on, and reload:',
       array[format('alter system set %I = on', s.name), 'select pg_reload_conf()']
  from pg_settings s where s.name in ('autovacuum', 'track_counts') and s.reset_val = 'off'
union all
select 'warning', format('Autovacuum is switched off for %s, which is written all the time.', c.oid::regclass), 'Take that back:',
       array[format('alter table %s reset (autovacuum_enabled)', c.oid::regclass)]
  from pg_class c
 where c.relnamespace = to_regnamespace('tidings') and c.relkind = 'r' and c.relname !~ '^log(_[0-7])?$'
   and exists (select from unnest(c.reloptions) as o(option) where o.option in ('autovacuum_enabled=false', 'autovacuum_enabled=off', 'autovacuum_enabled=0', 'autovacuum_enabled=no'))`

const deadRowsQuery = `
select 'warning', format('Table %s has %s dead rows, and %s that live: reading it gets slower.', s.relid::regclass, s.n_dead_tup, s.n_live_tup),
       'Vacuum it; if that does not help, an old transaction or slot keeps them:', array[format('vacuum %s', s.relid::regclass)]
  from pg_stat_user_tables s
 where s.schemaname = 'tidings' and s.relname !~ '^log(_[0-7])?$' and s.n_dead_tup > $1::bigint and s.n_dead_tup > s.n_live_tup`
