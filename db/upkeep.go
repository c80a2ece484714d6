package db

import (
	"context"
	"errors"
	"time"
)

// upkeepInterval is how often the log's partitions and the watches are looked after.
const upkeepInterval = 15 * time.Second

// upkeep forgets old events, and gives new partitions of watched tables their triggers where no event trigger does.
// Every instance does it; in the database one at a time gets to.
func (r *Reader) upkeep(ctx context.Context) error {
	complained := false
	for pause(ctx, upkeepInterval) {
		if following, _ := r.following(); following {
			continue // the one that leads does it
		}
		err := r.upkeepOnce(ctx)
		if err != nil && ctx.Err() == nil && !complained && r.Status().Live { // otherwise it has been said that the database cannot be read
			r.Logger.Warn("the log's upkeep does not succeed", "error", err)
			complained = true
		}
		complained = complained && err != nil
	}
	return nil
}

func (r *Reader) upkeepOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upkeepInterval)
	defer cancel()
	var rotated bool
	if err := r.DB.Pool.QueryRow(ctx, `select tidings.rotate()`).Scan(&rotated); err != nil {
		return explain(err)
	}
	if rotated {
		r.Logger.Info("the log has a new partition, and the oldest is forgotten")
	}
	var problem *string
	if err := r.DB.Pool.QueryRow(ctx, `select problem from tidings.follow_partitions()`).Scan(&problem); err != nil {
		return explain(err)
	}
	if problem != nil {
		return errors.New(*problem)
	}
	return nil
}
