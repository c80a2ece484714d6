package metrics

import "time"

var (
	poolConnections = gauge("database_pool_connections", "Connections of the pool, by state: in_use, idle, or opening.", "state")
	poolMax         = gauge("database_pool_connections_max", "How many connections the pool may have.")
	poolAcquired    = counter("database_pool_acquired", "Times that a connection of the pool was taken.")
	poolWaits       = counter("database_pool_waits", "Times that no connection of the pool was free, and one had to be waited for.")
	poolWaiting     = counter("database_pool_wait_seconds", "How long was waited for connections of the pool.")
	poolGivenUp     = counter("database_pool_given_up", "Times that a connection of the pool was not waited for to the end.")
	poolOpened      = counter("database_pool_opened", "Connections of the pool that were opened.")

	clock     = gauge("database_clock_ahead_seconds", "By how much the database's clock is ahead of the service's.")
	roundTrip = gauge("database_round_trip_seconds", "What a query took that does nothing.")

	logBytes     = gauge("log_bytes", "Size of the event log.")
	logMaxBytes  = gauge("log_max_bytes", "Size beyond which the oldest events are forgotten before their time.")
	logRetention = gauge("log_retention_seconds", "How long events are kept, at least.")
	logOldest    = gauge("log_oldest_timestamp_seconds", "When the oldest event in the log was written.")
	logRead      = gauge("log_state_timestamp_seconds", "When it was looked how the log stands, which all of this is from.")
	logPartition = gauge("log_partition_bytes", "Size of the log's partitions.", "partition")
	logStarted   = gauge("log_partition_started_timestamp_seconds", "When the first event may have been written into a partition of the log.", "partition")

	problems  = gauge("watch_problems", "Watched tables with which something is wrong, so that some of their events may not be told.")
	instances = gauge("instances", "Instances that run on this database.")
)

// database is of the database, as it is known here: it is not asked for a scrape. What was not to be read for three times is not told.
func (s Service) database(to sink) {
	pool := s.DB.PoolStats()
	to.put(poolConnections, float64(pool.InUse), "in_use")
	to.put(poolConnections, float64(pool.Idle), "idle")
	to.put(poolConnections, float64(pool.Opening), "opening")
	to.put(poolMax, float64(pool.Max))
	to.put(poolAcquired, float64(pool.Acquired))
	to.put(poolWaits, float64(pool.Waited))
	to.put(poolWaiting, pool.Waiting.Seconds())
	to.put(poolGivenUp, float64(pool.Given))
	to.put(poolOpened, float64(pool.Opened))

	log := s.Log.Last()
	if log.At.IsZero() || time.Since(log.At) > 3*s.Log.Every() {
		return
	}
	to.put(clock, log.Ahead.Seconds())
	to.put(roundTrip, log.Trip.Seconds())
	to.put(logBytes, float64(log.Bytes))
	to.put(logMaxBytes, float64(log.MaxBytes))
	to.put(logRetention, log.Retention.Seconds())
	if log.Oldest != nil {
		to.when(logOldest, *log.Oldest)
	}
	to.when(logRead, log.At)
	for _, p := range log.Partitions {
		to.put(logPartition, float64(p.Bytes), p.Name)
		if p.StartedAt != nil {
			to.when(logStarted, *p.StartedAt, p.Name)
		}
	}
	to.put(problems, float64(log.Problems))
	to.put(instances, float64(log.Instances))
}
