-- Messages by their id, comments by the message they belong to.
select tidings.watch('messages', event => 'message', key => 'id', typing => true);
select tidings.watch('comments', event => 'comment', key => 'message_id', typing => true);
