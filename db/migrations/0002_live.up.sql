-- Messages by their id, comments by the message they belong to.
select tidings.watch('messages', event => 'message', key => 'id', read => 'public');
select tidings.watch('comments', event => 'comment', key => 'message_id', read => 'public');
