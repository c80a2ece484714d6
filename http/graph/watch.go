package graph

import (
	"context"
	"slices"

	"tidings/db"
)

// mayWatch says why the viewer may not make tables live, nil if he may. Who is an administrator of the application need not be one of the
// database: that he may read any table by this is for whoever runs the service to say.
func (s *session) mayWatch(ctx context.Context) error {
	if err := s.mayAdminister(ctx); err != nil {
		return err
	}
	if !s.options.AdminWatch {
		return errorf(CodeForbidden, "tables are made live by whoever runs the service, in psql or by tidings watch: with --admin-watch, administrators may, too")
	}
	return nil
}

func (mutations) WatchTable(ctx context.Context, input WatchTableInput) (*WatchTablePayload, error) {
	s := of(ctx)
	if err := s.mayWatch(ctx); err != nil {
		return nil, err
	}
	if input.Columns != nil && len(input.Columns) == 0 {
		return nil, badInput("columns", "names at least one column, or is left out for all")
	}
	topic, err := s.store.DB.WatchTable(ctx, db.Watch{
		Table: input.Table, Topic: value(input.Topic), Event: value(input.Event), Key: value(input.Key), Columns: input.Columns, Read: input.Read,
	})
	if err != nil {
		return nil, err
	}
	watches, err := s.store.DB.Watches(ctx)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(watches, func(w db.Watch) bool { return w.Topic == topic })
	if at < 0 { // somebody has ended it meanwhile
		return nil, db.ErrGone
	}
	return &WatchTablePayload{Watched: watchedTable(watches[at]), ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) UnwatchTable(ctx context.Context, input UnwatchTableInput) (*UnwatchTablePayload, error) {
	s := of(ctx)
	if err := s.mayWatch(ctx); err != nil {
		return nil, err
	}
	if err := s.store.DB.UnwatchTable(ctx, input.Table); err != nil {
		return nil, err
	}
	return &UnwatchTablePayload{Table: input.Table, ClientMutationID: input.ClientMutationID}, nil
}
