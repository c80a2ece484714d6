package main

import (
	"context"
	"fmt"
	"time"

	"tidings/db"
)

// statementLimit is how long one statement may take before its connection is given up.
const statementLimit = 30 * time.Second

// session is a writer's connection to the database.
type session struct {
	// do runs a statement, and returns its rows, which are of numbers.
	do    func(statement string, args ...any) ([][]int64, error)
	close func()
}

func connect(ctx context.Context, database *db.DB) (*session, error) {
	acquiring, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	conn, err := database.Pool.Acquire(acquiring)
	if err != nil {
		return nil, err
	}
	do := func(statement string, args ...any) ([][]int64, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementLimit)
		defer cancel()
		rows, err := conn.Query(ctx, statement, args...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var all [][]int64
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				return nil, err
			}
			var row []int64
			for _, value := range values {
				number, ok := value.(int64)
				if !ok {
					return nil, fmt.Errorf("%v is no bigint", value)
				}
				row = append(row, number)
			}
			all = append(all, row)
		}
		return all, rows.Err()
	}
	return &session{do: do, close: func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Conn().Close(ctx) // not back to the pool: what state it is in is not known
		conn.Release()
	}}, nil
}
