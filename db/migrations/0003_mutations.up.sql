-- What was asked for with a key of the client's: asked for again, it is not done again.
create table mutations (
    user_id bigint      not null,
    key     text        not null check (octet_length(key) between 1 and 200),
    digest  bytea       not null,
    row_id  bigint,
    done_at timestamptz not null default now(),
    primary key (user_id, key)
);
comment on table mutations is 'what was done for clients that may ask for it again, for a day';
comment on column mutations.user_id is '0: nobody''s';
comment on column mutations.digest is 'of what was asked for';
comment on column mutations.row_id is 'what came of it';
create index mutations_done on mutations (done_at);
