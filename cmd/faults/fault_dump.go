package main

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

var restoredDump = fault{
	name: "restored-dump", title: "pg_dump restored elsewhere", about: "writers rest while the database is dumped and restored into another cluster, to which all is led then",
	short: true, fleets: []fleet{alone, twoBy}, resets: resetsAlways,
	prepare: func(ctx context.Context, s *stage) error { return s.prepareOther(ctx) },
	cause: func(ctx context.Context, s *stage) error {
		pause(ctx, s.load.duration/2)
		s.writers.rest()
		defer s.writers.goOn()
		return s.moveByDump(context.WithoutCancel(ctx))
	},
	check: func(s *stage, r *row) {
		if reasons := slices.Sorted(maps.Keys(s.crowd.reasons)); len(reasons) != 1 || reasons[0] != "foreign" {
			r.wrong = append(r.wrong, fmt.Sprintf("the resets should all be foreign: %v", s.crowd.reasons))
		}
	},
}

// prepareOther makes an empty cluster that has nothing to do with the first.
func (s *stage) prepareOther(ctx context.Context) error {
	home := filepath.Join(s.dir, "made")
	embedded, database, err := startEmbedded(ctx, home)
	if err != nil {
		return err
	}
	// A dump has no roles.
	_, err = database.Pool.Exec(ctx, `create role tidings_reader nologin; alter role tidings password '`+s.workshop.password+`'`)
	database.Close()
	embedded.Stop()
	if err != nil {
		return err
	}
	other, err := s.workshop.newCluster(ctx, filepath.Join(s.dir, "b"), filepath.Join(home, "postgres"), nil)
	if other != nil {
		s.clusters = append(s.clusters, other)
	}
	if err != nil {
		return err
	}
	return other.start(ctx)
}

func (s *stage) moveByDump(ctx context.Context) error {
	from, to := s.clusters[0], s.clusters[1]
	dump := filepath.Join(s.dir, "dump")
	if err := command(ctx, nil, nil, from.program("pg_dump"), "-Fc", "-f", dump, "-d", from.url()); err != nil {
		return err
	}
	if err := command(ctx, nil, nil, from.program("pg_restore"), "--exit-on-error", "-d", to.url(), dump); err != nil {
		return err
	}
	// What was committed in the other cluster lies before all that is committed in this one: 2 is no transaction's id there.
	if err := to.exec(ctx, `update ledger set xid = '2'`); err != nil {
		return err
	}
	s.main.Store(to)
	if err := from.stop(); err != nil {
		return err
	}
	return s.lead(to.address())
}
