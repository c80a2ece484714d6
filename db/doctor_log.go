package db

// The log: whether it is forgotten in time, and not before.
var logChecks = []check{
	{name: "log-size", well: "The log is smaller than it may be.", needs: needsSchema, look: asked(logSizeQuery)},
	{name: "log-horizon", well: "Events are kept for as long as they should be.", needs: needsSchema, look: asked(logHorizonQuery)},
	{name: "log-rotation", well: "Old events are forgotten when it is time.", needs: needsSchema, look: asked(logRotationQuery, old)},
	{name: "log-ids", well: "New entries come behind all that are there.", needs: needsSchema, look: asked(logIDsQuery)},
	{name: "log-indexes", well: "The log has its indexes.", needs: needsSchema, look: asked(logIndexesQuery)},
}

const logSizeQuery = `
select 'warning', format('The log has %s, and should have %s at most.', pg_size_pretty(sum(p.bytes)), pg_size_pretty(s.max_bytes)),
       'Let it be larger (update tidings.settings set max_bytes = …), or forget all that is there, so that clients who are behind load afresh:',
       array_fill('select tidings.rotate(true)'::text, array[8])
  from tidings.log_partitions p, tidings.settings s group by s.max_bytes having sum(p.bytes) > s.max_bytes * 1.2`

// How far back events reach, where any have been forgotten, and how large the log would be if they reached as far as they should.
const logHorizonQuery = `
with reach as (
    select s.retention, s.max_bytes, clock_timestamp() - e.started_at as reach, (select sum(p.bytes) from tidings.log_partitions p) as bytes
      from tidings.settings s, lateral (select min(e.started_at) as started_at from tidings.eras e where e.forgotten_at is null) as e
     where tidings.horizon() is not null
       and exists (select from tidings.eras f where f.forgotten_at > clock_timestamp() - s.retention / 6 and f.last_xid is not null)),
needed as (select r.*, (r.bytes * (extract(epoch from r.retention) / greatest(extract(epoch from r.reach), 1)))::numeric as needed from reach r)
select 'note', format('Events reach back for %s only, and not for the %s that they are to be kept: so much is written that the log would be larger than %s.',
                      date_trunc('second', n.reach), n.retention, pg_size_pretty(n.max_bytes)),
       'Let it be larger, or keep them for a shorter time:',
       array[format('update tidings.settings set max_bytes = %s', ceil(n.needed * 1.3 / 1048576) * 1048576)::text]
  from needed n where n.reach < n.retention * 0.8 and n.needed > n.max_bytes`

// It is due when the partition that is written is old, or large. Then the one that comes after the next is emptied, which whoever reads it keeps
// from being so.
const logRotationQuery = `
with due as (
    select e.era, s.retention from tidings.settings s, lateral (select * from tidings.eras e order by e.era desc limit 1) as e
     where e.started_at < clock_timestamp() - s.retention / 6 - interval '2 minutes'
        or pg_total_relation_size(format('tidings.log_%s', e.era & 7)::regclass) > s.max_bytes / 7 * 1.3),
holders as (
    select distinct l.pid, a.application_name, a.usename, a.xact_start
      from due join pg_class c on c.relnamespace = 'tidings'::regnamespace and c.relname in (format('log_%s', (due.era - 6) & 7), format('log_%s_by_xid', (due.era - 6) & 7))
      join pg_locks l on l.locktype = 'relation' and l.database = (select d.oid from pg_database d where d.datname = current_database()) and l.relation = c.oid and l.granted and l.pid <> pg_backend_pid()
      left join pg_stat_activity a on a.pid = l.pid
     where due.era >= 6 and (a.xact_start is null or a.xact_start < clock_timestamp() - least($1::interval, interval '1 minute')))
select 'warning', format('The oldest part of the log cannot be emptied: a transaction of process %s%s%s has read it%s and is still open.', h.pid,
                         coalesce(' (' || nullif(h.application_name, '') || ')', ''), coalesce(format(' of role %I', h.usename), ''),
                         coalesce(format(' since %s', date_trunc('second', h.xact_start)), '')),
       'End it, if it is not needed (what it asks is not shown here):', array[format('select pg_terminate_backend(%s)', h.pid), 'select tidings.rotate()']
  from holders h
union all
select 'warning', format('The log should have a new part, and the oldest be forgotten, and nobody does that%s.',
                         case when exists (select from tidings.running) then '' else ': no service runs' end),
       'A running service does it every 15 seconds; without one:', array['select tidings.rotate()']
  from due where not exists (select from holders)`

const logIDsQuery = `
select 'problem', format('Entries of the log are given numbers from %s on, and there are some up to %s: new ones are told in the wrong order, or twice.', q.last_value, m.id),
       'It was restored without its sequence, or somebody has set that back:', array[format('select setval(''tidings.log_id'', %s)', m.id)]
  from tidings.log_id q, lateral (select l.id from tidings.log l order by l.id desc limit 1) as m
 where m.id > q.last_value`

const logIndexesQuery = `
select 'problem', format('Index %s is broken, and the log is read without it.', i.indexrelid::regclass), 'Make it anew:', array[format('reindex index %s', i.indexrelid::regclass)]
  from pg_index i join pg_class c on c.oid = i.indrelid
 where c.relnamespace = 'tidings'::regnamespace and not (i.indisvalid and i.indisready)
union all
select 'problem', format('Table tidings.log_%s has no index on %s: reading the log gets slower and slower.', slot, k.name), 'Make it:',
       array[format('create index log_%s_by_%s on tidings.log_%1$s (%2$s)', slot, k.name)]
  from generate_series(0, 7) as slot
 cross join (values ('xid'), ('id')) as k(name)
 where not exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                    where i.indrelid = to_regclass('tidings.log_' || slot) and a.attname = k.name and i.indpred is null and i.indnatts = 1)`
