drop table comments;
drop table messages;
drop table users;
drop function touch_updated_at();
