package db

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const (
	ReadNear = readNear
	ReadFar  = readFar
	ReadPage = readPage
)

func (d *DB) ConnectReader(ctx context.Context) (*pgx.Conn, error) { return d.connect(ctx, "reader") }
