package db

import "cmp"

// What keeps the log from being emptied, dead rows from being vacuumed, and transaction ids from being used again.
var transactionChecks = []check{
	{name: "old-transactions", well: "No transaction has been open for long.", look: asked(oldTransactionsQuery, old)},
	{name: "prepared-transactions", well: "No prepared transaction waits for its end.", look: asked(preparedQuery, old)},
	{name: "replication-slots", well: "No replication slot that nobody uses holds anything back.", look: asked(slotsQuery, func(e *examination) any { return cmp.Or(e.Limits.SlotBytes, 1<<30) })},
	{name: "xid-age", well: "Transaction ids are far from running out.", look: asked(xidAgeQuery, func(e *examination) any { return e.Limits.Age })},
}

const oldTransactionsQuery = `
select case when a.state like 'idle in transaction%' then 'warning' else 'note' end,
       format('Process %s%s of role %I has had a transaction open since %s%s: nothing that is written after it is vacuumed, what it has read of the log is not emptied, and what it has locked is waited for.',
              a.pid, coalesce(' (' || nullif(a.application_name, '') || ')', ''), a.usename, date_trunc('second', a.xact_start),
              case when a.state like 'idle in transaction%' then ', and says nothing' else ', and is at work' end),
       'What it asks is not shown here. If it is not needed, end it; that it does not come again, by idle_in_transaction_session_timeout of its role:',
       array[format('select pg_terminate_backend(%s)', a.pid)]
  from pg_stat_activity a
 where a.datname = current_database() and a.backend_type = 'client backend' and a.pid <> pg_backend_pid() and a.xact_start < clock_timestamp() - $1::interval
union all
select 'note', format('What %s processes of other roles do is not shown to role %I: old transactions may be among them.', count(*), current_user),
       'Let it see that:', array[format('grant pg_monitor to %I', current_user)]
  from pg_stat_activity a
 where a.datname = current_database() and a.backend_type is null and a.pid <> pg_backend_pid()
having count(*) > 0`

const preparedQuery = `
select 'warning', format('Transaction %L was prepared at %s by role %I, and has not ended: it keeps its locks, and rows from being vacuumed, also when the server restarts.',
                         p.gid, date_trunc('second', p.prepared), p.owner),
       'Whoever has prepared it knows whether it is to be committed (commit prepared) or not:', array[format('rollback prepared %L', p.gid)]
  from pg_prepared_xacts p where p.database = current_database() and p.prepared < clock_timestamp() - $1::interval`

const slotsQuery = `
select case when s.bytes >= $1::bigint or s.wal_status in ('unreserved', 'lost') or greatest(age(s.xmin), age(s.catalog_xmin)) > 10000000 then 'warning' else 'note' end,
       format('Nobody uses replication slot %s, which holds back %s of WAL%s.', s.slot_name, coalesce(pg_size_pretty(s.bytes), 'nothing'),
              coalesce(format(', and rows that are dead for %s transactions from being vacuumed', greatest(age(s.xmin), age(s.catalog_xmin))), '')),
       'If whoever has made it does not come back:', array[format('select pg_drop_replication_slot(%L)', s.slot_name)]
  from (select r.*, case when pg_is_in_recovery() then 0 else pg_wal_lsn_diff(pg_current_wal_lsn(), r.restart_lsn) end as bytes from pg_replication_slots r) as s
 where not s.active and not s.temporary`

// Aggressive vacuuming begins at autovacuum_freeze_max_age; at two thousand millions, PostgreSQL takes no writes any more.
const xidAgeQuery = `
select case when a.age > 1500000000 then 'problem' else 'warning' end,
       format('The oldest row that is not frozen is %s transactions old; at 2,000,000,000 PostgreSQL takes no writes any more.', to_char(a.age, 'FM999,999,999,999')),
       'Find out what keeps autovacuum from it (other checks say so), and vacuum:', array['vacuum (freeze)']
  from (select greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) as age from pg_database d where d.datname = current_database()) as a
 where a.age > coalesce(nullif($1::bigint, 0), 2 * current_setting('autovacuum_freeze_max_age')::bigint) or a.age > 1500000000`
