package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	ReadNear = readNear
	ReadFar  = readFar
	ReadPage = readPage
)

var ReservedType = reservedType

func (p *Presence) CheckEvery() time.Duration { return p.checkEvery() }

func (d *DB) ConnectReader(ctx context.Context) (*pgx.Conn, error) { return d.connect(ctx, "reader") }

// Statement is one with its arguments.
type Statement struct {
	SQL  string
	Args []any
}

// ListStatements are the statements for a page of each of the lists that have the page's order.
func ListStatements(page Page) map[string]Statement {
	statements := make(map[string]Statement)
	add := func(name string, l interface {
		sql(Page, []int64, []condition) (string, []any)
	}, parents []int64, conditions ...condition) {
		sql, args := l.sql(page, parents, conditions)
		statements[name] = Statement{sql, args}
	}
	if page.Order == ByName {
		add("users by name", userList(page.Order), nil)
		return statements
	}
	by := condition{"author_id = ?::bigint", 7}
	add("users", userList(page.Order), nil)
	add("messages", messageList(page.Order), nil)
	add("messages of one", messageList(page.Order), nil, by)
	add("messages of some", messageList(page.Order), []int64{1, 2, 3})
	add("comments", commentList(page.Order), nil)
	add("comments of one", commentList(page.Order), nil, by)
	add("comments on some", commentList(page.Order), []int64{1, 2, 3})
	return statements
}
