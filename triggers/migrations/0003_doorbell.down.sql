drop function tidings.ring(text);
drop function tidings.leave(text);
drop function tidings.attend(text, boolean);
drop function tidings.count_sleepers();
drop sequence tidings.sleepers;
drop table tidings.instances;
