-- Accounts of those who sign in here, and what they have signed in.

create table accounts (
    user_id       bigint      primary key references users on delete cascade,
    password_hash text        not null,
    changed_at    timestamptz not null default now()
);
comment on table accounts is 'users who sign in here with a password; others are signed in by whoever issues their tokens';
comment on column accounts.password_hash is 'argon2id, with its parameters and salt';
comment on column accounts.changed_at is 'when the password was set';

-- A session that is ended expires at once. Expired ones are deleted a few at a time, when others begin or are refreshed.
create table sessions (
    id         uuid        primary key default gen_random_uuid(),
    user_id    bigint      not null references accounts on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null check (isfinite(expires_at)),
    used_at    timestamptz not null default now()
);
comment on table sessions is 'a user signed in on some device, until it expires';
comment on column sessions.id is 'the claim sid of the access tokens';
comment on column sessions.expires_at is 'when it ends, however often it is refreshed; in the past: it has ended';
comment on column sessions.used_at is 'when it was begun or refreshed last';
create index sessions_user on sessions (user_id);
create index sessions_expires on sessions (expires_at);

create table refresh_tokens (
    hash       bytea       primary key check (octet_length(hash) = 32),
    session_id uuid        not null references sessions on delete cascade,
    issued_at  timestamptz not null default now(),
    used_at    timestamptz
);
comment on table refresh_tokens is 'what sessions are refreshed with; each is used once, and kept as long as its session, so that a second use is noticed';
comment on column refresh_tokens.hash is 'SHA-256 of the token, which is kept nowhere';
comment on column refresh_tokens.used_at is 'when it was used first; null: not yet';
create index refresh_tokens_session on refresh_tokens (session_id);
