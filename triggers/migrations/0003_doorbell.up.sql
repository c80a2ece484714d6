-- The doorbell. A transaction that notifies commits under a lock of the whole cluster, so it is rung only for someone
-- asleep: a server that has much to read stays awake, reads every few milliseconds, and says so here.
--
-- A server falls asleep so: it says asleep and commits; then, in another transaction, takes a transaction id; reads on
-- until no transaction below that one runs any more; and waits. Whoever still read "awake" after writing has a lower id,
-- since a writer has its id before its trigger looks here, and was awaited. This needs a look with a snapshot that is
-- taken after the row was written: a writer above READ COMMITTED has none, and rings always.

-- Nothing in it has to outlive a crash: all who are here connect again then, and say so again.
create unlogged table tidings.instances (
    name       text        primary key,
    asleep     boolean     not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at    timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table  tidings.instances is 'the servers that read the log';
comment on column tidings.instances.asleep is 'it waits for the doorbell; otherwise it reads all the time';
comment on column tidings.instances.seen_at is 'when it last said anything; one that has not for a minute is forgotten';

create function tidings.attend(instance text, asleep boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into tidings.instances as i (name, asleep) values (attend.instance, attend.asleep)
        on conflict (name) do update set asleep = excluded.asleep, seen_at = clock_timestamp();
    delete from tidings.instances i
     where i.seen_at not between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute';
end $$;
comment on function tidings.attend(text, boolean) is
    'says that a server is there, and whether it wants the doorbell rung; forgets those that are gone. Servers call it.';
revoke all on function tidings.attend(text, boolean) from public;

create function tidings.leave(instance text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    delete from tidings.instances i where i.name = instance
$$;
comment on function tidings.leave(text) is 'says that a server is no longer there. Servers call it.';
revoke all on function tidings.leave(text) from public;

create function tidings.ring(topic text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' or exists (select from tidings.instances where asleep) then
        perform pg_notify('tidings', '{"topic":' || to_json(topic) || ',"xid":"' || pg_current_xact_id() || '"}');
    end if;
end $$;
comment on function tidings.ring(text) is 'rings the doorbell if anybody is asleep, as the trigger functions do';
revoke all on function tidings.ring(text) from public;
