drop function tidings.settle();
drop table tidings.home;
drop function tidings.since(text);
drop function tidings.cursor();
drop function tidings.position_snapshot(text);
drop function tidings.position_text(pg_snapshot);
drop function tidings.origin();
