drop function tidings.ring(text);
drop view tidings.running;
drop function tidings.report(text, jsonb);
drop function tidings.leave(text);
drop function tidings.serving_roles();
drop function tidings.attend(text, boolean);
drop function tidings.count_sleepers();
drop sequence tidings.sleepers;
drop table tidings.instances;
