package main

import (
	"context"
	"fmt"
)

// fault is one way of breaking things.
type fault struct {
	name  string
	title string // in the table
	about string // what is done, in a sentence

	short    bool              // part of the short run, with the first of the fleets
	fleets   []fleet           // with which it is tried; nil: one instance without Redis
	settings map[string]string // of PostgreSQL
	flags    []string          // of the service
	pace     func(n int) *pace // how the nth client reads; nil: as fast as it can
	resets   resets            // what is to be expected of them

	// possible says why it cannot be had on this machine; nil: it can.
	possible func() error
	// prepare is called before the clients come. What it gives to s.atEnd is done at the end.
	prepare func(ctx context.Context, s *stage) error
	// cause breaks things while writers write, until ctx ends, and leaves everything repaired. nil: it waits.
	cause func(ctx context.Context, s *stage) error
	// check looks at what only this fault has to show, once all is counted. It returns what is wrong.
	check func(s *stage, r *row)
}

// resets is what is to be expected of them under a fault.
type resets int

const (
	resetsNever  resets = iota // nothing is gone that a cursor could stand for
	resetsMay                  // some cursors may have become worthless
	resetsAlways               // every client's cursor has
)

// faults are all, in the order of the table.
var faults []*fault

func init() {
	faults = []*fault{
		&noFault,
		&killServer, &killInstance, &killLeader, &killFollower, &pauseLeader, &rollingRestart,
		&killPostgres, &killAmidRollbacks, &restartPostgres,
		&killListener, &killConnections,
		&cutDatabase, &silenceDatabase, &spoilDatabase, &cutOneDatabase, &silenceOneDatabase,
		&killRedis, &hangRedis, &emptyRedis, &fullRedis,
		&cutRedis, &spoilRedis, &cutOneRedis,
		&cutClients, &silenceClients, &spoilClients,
		&slowClients,
		&fullDisk,
		&jumpingClock,
		&openTransaction,
		&restoredDump,
		&failover, &laggingFailover,
	}
}

func findFault(name string) *fault {
	for _, f := range faults {
		if f.name == name {
			return f
		}
	}
	return nil
}

func faultNames() []string {
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

// impossible is why a fault cannot be had on this machine.
type impossibleError struct{ error }

func impossible(format string, args ...any) error {
	return impossibleError{fmt.Errorf(format, args...)}
}
