package db

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Page is which part of a list is asked for.
type Page struct {
	Limit         int    // how many rows at most
	FromEnd       bool   // counted from the end
	After, Before *Place // exclusive; nil: the list's ends
	Order         Order
}

// Order is a list's order.
type Order int

// The orders. ByName is of users alone.
const (
	NewestFirst Order = iota
	OldestFirst
	ByName
)

// Place is where a row stands in a list: it stays where it is whatever is written.
type Place struct {
	Key string // what the list is ordered by, as PostgreSQL prints it in JSON: the same under any DateStyle
	ID  int64  // and then by this
}

// Listed is a part of a list.
type Listed[T any] struct {
	Rows   []T
	Places []Place // of the rows
	More   bool    // there are rows behind them or, counted from the end, before them
}

// list is a table that is read page by page.
type list[T any] struct {
	relation[T]
	parent       string // the column with the id of whose list it is
	key, keyType string
	descending   bool
}

// condition is a part of a WHERE clause, in which ? stands for the value.
type condition struct {
	sql   string
	value any
}

// sql is the statement for a page of each parent or, where there are none, of the whole table. Its rows begin with the parent's
// id and the key as text.
func (l list[T]) sql(page Page, parents []int64, conditions []condition) (string, []any) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	var where strings.Builder
	and := func(sql string) {
		if where.Len() > 0 {
			where.WriteString(" and ")
		}
		where.WriteString(sql)
	}
	from := ""
	if parents != nil {
		from = fmt.Sprintf("unnest(%s::bigint[]) as p(id)", arg(parents))
		and(l.parent + " = p.id")
	}
	for _, c := range conditions {
		and(strings.ReplaceAll(c.sql, "?", arg(c.value)))
	}
	behind, before := ">", "<"
	if l.descending {
		behind, before = before, behind
	}
	if p := page.After; p != nil {
		and(fmt.Sprintf("(%s, id) %s (%s::%s, %s::bigint)", l.key, behind, arg(p.Key), l.keyType, arg(p.ID)))
	}
	if p := page.Before; p != nil {
		and(fmt.Sprintf("(%s, id) %s (%s::%s, %s::bigint)", l.key, before, arg(p.Key), l.keyType, arg(p.ID)))
	}
	direction := "asc"
	if l.descending != page.FromEnd {
		direction = "desc"
	}
	order := fmt.Sprintf("order by %s %s, id %s", l.key, direction, direction)
	if where.Len() == 0 {
		and("true")
	}
	limit := arg(page.Limit + 1) // one more tells whether there are more
	columns := l.list()
	place := fmt.Sprintf("to_json(%s) #>> '{}' as place", l.key)
	if parents == nil {
		return fmt.Sprintf("select 0::bigint, %s, %s from %s where %s %s limit %s::bigint", place, columns, l.table, where.String(), order, limit), args
	}
	return fmt.Sprintf(`select p.id, t.place, t.%s from %s cross join lateral (
		select row_number() over (%s) as n, %s, %s from %s where %s %[3]s limit %[8]s::bigint) as t
		order by p.id, t.n`, strings.Join(l.columns, ", t."), from, order, place, columns, l.table, where.String(), limit), args
}

// read reads a page of each parent, by parent; parents nil: of the whole table, as that of parent 0.
func (l list[T]) read(ctx context.Context, r *Reading, page Page, parents []int64, conditions []condition) (map[int64]Listed[T], error) {
	type row struct {
		parent int64
		place  Place
		value  T
	}
	sql, args := l.sql(page, parents, conditions)
	rows, err := collect(ctx, r, l.table, sql, args, func(raw pgx.CollectableRow) (got row, err error) {
		id, columns := l.fields(&got.value)
		err = raw.Scan(append([]any{&got.parent, &got.place.Key}, columns...)...)
		got.place.ID = *id
		return got, err
	})
	if err != nil {
		return nil, err
	}
	byParent := make(map[int64]Listed[T])
	for _, got := range rows {
		p := byParent[got.parent]
		if len(p.Rows) == page.Limit {
			p.More = true
		} else {
			p.Rows, p.Places = append(p.Rows, got.value), append(p.Places, got.place)
		}
		byParent[got.parent] = p
	}
	for _, p := range byParent {
		if page.FromEnd {
			slices.Reverse(p.Rows)
			slices.Reverse(p.Places)
		}
	}
	return byParent, nil
}

// nested reads a page of each parent, once where one is given more often.
func (l list[T]) nested(ctx context.Context, r *Reading, page Page, parents []int64) (map[int64]Listed[T], error) {
	if len(parents) == 0 {
		return map[int64]Listed[T]{}, nil
	}
	return l.read(ctx, r, page, slices.Compact(slices.Sorted(slices.Values(parents))), nil)
}

// contains is an ILIKE pattern for texts with the part in them.
func contains(part string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(part) + "%"
}

// created are the conditions of a span of time.
func created(from, before *time.Time) (conditions []condition) {
	if from != nil {
		conditions = append(conditions, condition{"created_at >= ?::timestamptz", *from})
	}
	if before != nil {
		conditions = append(conditions, condition{"created_at < ?::timestamptz", *before})
	}
	return conditions
}
