package main

import "time"

// usage is what a process has used, since its start.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes of memory now
	peak     int64 // and at most so far
}

// cost is the CPU time that a measurement took of those who were in it.
type cost struct {
	process  time.Duration // the service, or the bare loop
	postgres time.Duration // PostgreSQL, with all its backends
}

func (c cost) minus(before cost) cost {
	return cost{c.process - before.process, c.postgres - before.postgres}
}

// perMillion is the time, in seconds, for a million deliveries.
func perMillion(d time.Duration, deliveries int64) float64 {
	return seconds(d) / float64(deliveries) * 1e6
}

// costOf returns what the service and PostgreSQL have used so far.
func (b *bench) costOf(s *service) (c cost, err error) {
	used, err := usageOf(s.cmd.Process.Pid)
	if err != nil {
		return c, err
	}
	c.process = used.cpu
	c.postgres, err = familyCPU(b.postgres.postmaster)
	return c, err
}
