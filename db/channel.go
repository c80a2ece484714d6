package db

import (
	"context"
	"fmt"
)

// Channel is the store of the application's tables.
type Channel struct {
	DB *DB
}

// Demonstrate writes a few users, messages and comments, if there are no users yet.
func (c *Channel) Demonstrate(ctx context.Context) error {
	if _, err := c.DB.Pool.Exec(ctx, demonstration); err != nil {
		return fmt.Errorf("write demonstration: %w", explain(err))
	}
	return nil
}

const demonstration = `
with empty as (select where not exists (select from users)),
u as (
    insert into users (username, display_name)
    select v.* from empty, (values ('ada', 'Ada'), ('boris', 'Борис'), ('chloe', 'Chloé')) as v
    returning id, username),
m as (
    insert into messages (author_id, title, content, created_at, updated_at)
    select u.id, v.title, v.content, now() - v.ago, now() - v.ago
      from (values ('ada', 'Welcome', 'This is the information channel. Whoever writes a row, everybody sees it at once.', interval '3 minutes'),
                   ('boris', 'Как это работает', 'Триггер пишет журнал, сервер читает его и рассказывает всем подписчикам.', interval '2 minutes'),
                   ('chloe', 'Try it', 'Paste the psql line from the terminal and watch this page.', interval '1 minute')) as v (username, title, content, ago)
      join u using (username)
     order by v.ago desc
    returning id, title)
insert into comments (message_id, author_id, content)
select m.id, u.id, v.content
  from (values ('Welcome', 'chloe', 'Nice to be here!'), ('Try it', 'ada', 'It works from any tool that speaks SQL.')) as v (title, username, content)
  join m using (title) join u using (username)`

// HasTables reports whether the application's tables are in the database.
func (c *Channel) HasTables(ctx context.Context) (bool, error) {
	var has bool
	err := c.DB.Pool.QueryRow(ctx, `select to_regclass('tidings.migrations_channel') is not null
		and to_regclass('messages') is not null and to_regclass('comments') is not null and to_regclass('users') is not null`).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("look for the application's tables: %w", explain(err))
	}
	return has, nil
}

// HasRows reports whether the application's tables are there and have rows.
func (c *Channel) HasRows(ctx context.Context) (bool, error) {
	has, err := c.HasTables(ctx)
	if err != nil || !has {
		return false, err
	}
	err = c.DB.Pool.QueryRow(ctx, `select exists (select from users) or exists (select from messages)`).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("look for rows: %w", explain(err))
	}
	return has, nil
}

// OpenToAll lets anybody follow what is told of the channel, and not only who has signed in.
func (c *Channel) OpenToAll(ctx context.Context) error {
	for _, statement := range []string{
		`update tidings.watches set read = 'public' where topic in ('messages', 'comments')`,
		`update tidings.streams set read = 'public' where topic in ('presence', 'activity')`,
	} {
		if _, err := c.DB.Pool.Exec(ctx, statement); err != nil {
			return fmt.Errorf("open the channel to all: %w", explain(err))
		}
	}
	return nil
}
