drop function tidings.ring(text);
drop function tidings.leave(text);
drop function tidings.attend(text, boolean);
drop table tidings.instances;
