-- What an author has written is listed by time and id: many rows of one transaction have the same time.
create index messages_author_created on messages (author_id, created_at, id);
create index comments_author_created on comments (author_id, created_at, id);
drop index messages_author;
drop index comments_author;
