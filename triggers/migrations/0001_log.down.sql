drop view tidings.log_partitions;
drop function tidings.horizon();
drop function tidings.rotate(boolean);
drop function tidings.current_partition();
drop table tidings.eras;
drop table tidings.log cascade;
drop sequence tidings.log_id;
drop table tidings.settings;
comment on schema tidings is null;
