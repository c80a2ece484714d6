select tidings.unwatch('comments');
select tidings.unwatch('messages');
