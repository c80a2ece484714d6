-- The event log: what changed, written in the transaction that changed it.

comment on schema tidings is 'tidings: turns this database into a live one';

-- Settings of the live part. One row; change it with UPDATE, then call tidings.refresh().
create table tidings.settings (
    only_row        boolean  primary key default true check (only_row),
    retention       interval not null default '1 day' check (retention >= '1 minute'),
    max_bytes       bigint   not null default 17179869184 check (max_bytes >= 1048576),
    chunk_bytes     integer  not null default 32768 check (chunk_bytes > 0),
    max_value_bytes integer  not null default 16777216 check (max_value_bytes > 0),
    reader_role     name,
    installation    text     not null default md5(gen_random_uuid()::text),
    signals         text     not null default 'tidings_' || md5(gen_random_uuid()::text) check (octet_length(signals) between 1 and 63 and signals <> 'tidings')
);
comment on table  tidings.settings is 'settings of the live part (one row); call tidings.refresh() after a change';
comment on column tidings.settings.retention is 'how long events are kept, at least, unless max_bytes are fewer';
comment on column tidings.settings.max_bytes is 'about how large the log may become; beyond it the oldest are forgotten early';
comment on column tidings.settings.chunk_bytes is 'bytes of row text after which a statement''s rows go on in another log entry';
comment on column tidings.settings.max_value_bytes is 'a row of which a value is longer is announced without its data';
comment on column tidings.settings.reader_role is
    'the role as which tables with row security are read for clients; null: tidings_reader, where that could be made';
comment on column tidings.settings.installation is 'random; part of what tells this database''s cursors from another''s';
comment on column tidings.settings.signals is
    'random and secret: the NOTIFY channel on which servers tell each other what is kept nowhere; NOTIFY and LISTEN ask for no rights';
insert into tidings.settings default values;

create sequence tidings.log_id;
comment on sequence tidings.log_id is 'ids of log entries';

-- An entry is a row, or a chunk of the rows of one statement in the order in which it wrote them.
create table tidings.log (
    id      bigint      not null default nextval('tidings.log_id'),
    xid     xid8        not null default pg_current_xact_id(),
    at      timestamptz not null default clock_timestamp(),
    topic   text        not null,
    type    text        not null,
    key     text,
    old_key text,
    data    json,
    rows    text[],
    acl     text[]
);
comment on table  tidings.log is 'the event log; an entry is a row that was written, or a chunk of the rows of one statement';
comment on column tidings.log.xid is 'the writing transaction; with a pg_snapshot it tells what is new';
comment on column tidings.log.at is 'when the entry was written (wall clock)';
comment on column tidings.log.type is 'the events'' type, such as message_added';
comment on column tidings.log.key is 'the row''s key; null where the table has none, or was truncated';
comment on column tidings.log.old_key is 'for an update that moved the row to another key: the key before; otherwise null';
comment on column tidings.log.data is 'the row; a JSON null where it is too large to be told; null for a truncation; for a chunk, how many rows it has';
comment on column tidings.log.rows is
    'null, or a chunk: its rows as JSON texts (null where too large), then their keys and, if one of them moved, their keys before';
comment on column tidings.log.acl is
    'null: whoever may subscribe may have it; otherwise three texts for each row, that tell who may have it (see tidings.guard_kind), or none, for everybody';

-- Entries are written to one of eight partitions by its name: which one stands in the trigger functions, and tidings.rotate()
-- writes them anew for the next. They are partitions by inheritance, since to route a row to a declared one, or to check that it
-- belongs there, takes an eighth of what a trigger needs for a row. Nothing is ever dead in them but what was rolled
-- back, and they are emptied as a whole: vacuuming them would be in vain.
do $$
begin
    for slot in 0..7 loop
        execute format('create table tidings.log_%s () inherits (tidings.log) with (autovacuum_enabled = off)', slot);
        -- What is new is found by "xid >= ..." or "xid = any (...)", and where that is much, its pages by "id >= ...".
        execute format('create index log_%s_by_xid on tidings.log_%1$s (xid)', slot);
        execute format('create index log_%s_by_id on tidings.log_%1$s (id)', slot);
        begin
            execute format('alter table tidings.log_%s alter data set compression lz4, alter rows set compression lz4', slot);
        exception when feature_not_supported then
            null; -- this PostgreSQL was built without it
        end;
    end loop;
end $$;
-- Of nothing, so that the partitions' can be merged with them.
create index log_by_xid on tidings.log (xid);
create index log_by_id on tidings.log (id);

create table tidings.eras (
    era          bigint      primary key,
    started_at   timestamptz not null default clock_timestamp(),
    forgotten_at timestamptz,
    last_xid     xid8,
    ended        pg_snapshot
);
comment on table  tidings.eras is 'the log''s ages, of which the last one goes on; era mod 8 is its partition, until it is forgotten';
comment on column tidings.eras.ended is 'which transactions had ended when the entries were forgotten: no other has lost any';
comment on column tidings.eras.last_xid is 'the highest transaction id among the forgotten entries';
insert into tidings.eras (era) values (0);

create function tidings.current_partition() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select 'log_' || (era & 7) from tidings.eras order by era desc limit 1
$$;
comment on function tidings.current_partition() is 'the partition to which entries are written';

create function tidings.rotate(force boolean default false) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
    current_era bigint;
    oldest_era  bigint;
    last        xid8;
begin
    -- With an older snapshot it would not see all the entries that it empties, and cursors that need them would seem to be good.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'tidings.rotate() cannot be called under %: call it under READ COMMITTED', upper(current_setting('transaction_isolation'))
            using errcode = 'invalid_transaction_state';
    end if;
    if not pg_try_advisory_xact_lock(hashtextextended('tidings.rotate', 0)) then
        return false; -- another instance is at it, or a table is just being watched
    end if;
    select max(era) into current_era from tidings.eras;

    -- Seven eras hold entries and the eighth partition stays empty: a transaction that goes on writing to the era in which it
    -- began, and one that has just read the name of the partition, never meet the TRUNCATE.
    if not force and exists (
        select from tidings.eras e, tidings.settings s
         where e.era = current_era and e.started_at > clock_timestamp() - s.retention / 6
           and pg_total_relation_size(format('tidings.log_%s', current_era & 7)::regclass) < s.max_bytes / 7) then
        return false;
    end if;

    -- The partition that comes after the next one is emptied now; the next one was emptied at the last rotation.
    oldest_era := current_era - 6;
    if oldest_era >= 0 then
        begin
            execute format('lock table tidings.log_%s in access exclusive mode', oldest_era & 7);
        exception when lock_not_available then
            return false; -- an open transaction still uses it: the current era goes on a little longer
        end;
        execute format('select xid from tidings.log_%s order by xid desc limit 1', oldest_era & 7) into last; -- max(xid8) is PostgreSQL 15's
        execute format('truncate tidings.log_%s', oldest_era & 7);
        -- Where there was nothing, what was forgotten last stays so.
        update tidings.eras set forgotten_at = clock_timestamp(), last_xid = greatest(last, tidings.horizon()),
                                ended = case when last is not null then pg_current_snapshot()
                                             else (select e.ended from tidings.eras e where e.ended is not null order by e.era desc limit 1) end
         where era = oldest_era;
        delete from tidings.eras where era < oldest_era - 100;
    end if;

    insert into tidings.eras (era) values (current_era + 1);
    perform tidings.install_functions(w) from tidings.watches w join pg_class c on c.oid = w.relation;
    return true;
end $$;
comment on function tidings.rotate(boolean) is
    'begins a new partition of the log when it is time, and empties the oldest; returns whether it did. Servers call it.';
revoke all on function tidings.rotate(boolean) from public;

-- The position below which nothing can be resumed, or null while nothing was ever forgotten.
create function tidings.horizon() returns xid8
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select last_xid from tidings.eras where last_xid is not null order by last_xid desc limit 1
$$;
comment on function tidings.horizon() is 'the highest transaction id of which entries have been forgotten; null: none';

create view tidings.log_partitions as
    select c.relname::text as partition,
           e.era,
           e.started_at,
           pg_total_relation_size(c.oid) as bytes,
           e.era = (select max(era) from tidings.eras) as current
      from generate_series(0, 7) as slot
      join pg_class c on c.oid = ('tidings.log_' || slot)::regclass
      left join tidings.eras e on (e.era & 7) = slot and e.forgotten_at is null
     order by e.era desc nulls last;
comment on view tidings.log_partitions is 'the log''s partitions: age, size, and which one is being written';
