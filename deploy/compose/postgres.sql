-- Run once, by the image of PostgreSQL, when it has made its data directory: a role for tidings that is no superuser, and its database.
\set password `cat /run/secrets/tidings_password`
create role tidings login password :'password';
create database tidings owner tidings;
