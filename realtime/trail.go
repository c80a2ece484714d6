package realtime

// Trail is told how one batch comes to its clients. Its methods may be called with locks held: they do not block, and do not
// call back.
type Trail interface {
	// Routed is called once, when the batch has been queued for all who are live and may have some of it: for so many subscribers.
	Routed(subscribers int)
	// Written is called each time that one of them has been written what is his, with how many events that was; 0: he may read
	// none of them. Some may be written to before Routed is called, some never, and who was behind is written to later, and not
	// among those that were counted.
	Written(events int)
}

// Wrote tells whoever follows the run's batch that the run was written to a client. It costs nothing where nobody does.
func (r *Run) Wrote() {
	if r.trail != nil {
		r.trail.Written(len(r.Events))
	}
}

// Followed reports whether somebody wants to be told when the run is written.
func (r *Run) Followed() bool { return r.trail != nil }

// ending is the run of events behind which there is nothing else of the batch.
func (b *batch) ending(events []*Event) *Run {
	run := ending(events, b.To)
	if run != nil {
		run.trail = b.trail
	}
	return run
}
