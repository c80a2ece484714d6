create index messages_author on messages (author_id, created_at);
create index comments_author on comments (author_id, created_at);
drop index messages_author_created;
drop index comments_author_created;
