-- Run once, by the image of PostgreSQL, when it has made its data directory: a role for tidings that is no superuser, and its database.
-- Not of the name tidings: PostgreSQL would look for its tables in schema tidings first, and make them there.
\set password `cat /run/secrets/live_password`
create role live login password :'password';
create database live owner live;
