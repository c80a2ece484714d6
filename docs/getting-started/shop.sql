-- A small shop, as it may have been for years: what docs/getting-started.md is told with. Nothing in it knows of tidings.

create table customers (
    id            uuid        primary key default gen_random_uuid(),
    email         text        not null unique,
    name          text        not null,
    password_hash text        not null,
    preferences   jsonb       not null default '{}',
    created_at    timestamptz not null default now()
);

create table products (
    sku   text          primary key,
    name  text          not null,
    price numeric(10,2) not null,
    stock integer       not null check (stock >= 0)
);

create type order_status as enum ('placed', 'paid', 'shipped', 'cancelled');

-- By year, as the old ones are moved away some day. The primary key of a partitioned table has the column by which it is divided.
create sequence order_number;
create table orders (
    id          bigint        not null default nextval('order_number'),
    customer_id uuid          not null references customers,
    status      order_status  not null default 'placed',
    total       numeric(10,2) not null default 0,
    ship_to     jsonb         not null,
    placed_at   timestamptz   not null default now(),
    primary key (id, placed_at)
) partition by range (placed_at);
create table orders_2025 partition of orders for values from ('2025-01-01') to ('2026-01-01');
create table orders_2026 partition of orders for values from ('2026-01-01') to ('2027-01-01');
create table orders_later partition of orders default;

create table order_items (
    order_id bigint        not null,
    line     smallint      not null,
    sku      text          not null references products,
    quantity integer       not null check (quantity > 0),
    price    numeric(10,2) not null,
    primary key (order_id, line)
);

insert into customers (id, email, name, password_hash, preferences) values
    ('a11ce000-0000-4000-8000-000000000001', 'alice@example.com', 'Alice', '$argon2id$1', '{"newsletter": true}'),
    ('b0b00000-0000-4000-8000-000000000002', 'bob@example.com',   'Bob',   '$argon2id$2', '{}');
insert into products values ('tea', 'Tea, 100 g', 6.50, 40), ('pot', 'Teapot', 24.00, 7), ('cup', 'Cup', 4.20, 120);
insert into orders (customer_id, status, total, ship_to, placed_at) values
    ('a11ce000-0000-4000-8000-000000000001', 'shipped', 30.50, '{"city": "Riga"}',   '2025-11-03 10:15+00'),
    ('b0b00000-0000-4000-8000-000000000002', 'paid',    24.00, '{"city": "Lisbon"}', '2026-02-11 08:40+00'),
    ('a11ce000-0000-4000-8000-000000000001', 'placed',   8.40, '{"city": "Riga"}',   '2026-02-12 19:05+00');
insert into order_items values (1, 1, 'tea', 1, 6.50), (1, 2, 'pot', 1, 24.00), (2, 1, 'pot', 1, 24.00), (3, 1, 'cup', 2, 4.20);
