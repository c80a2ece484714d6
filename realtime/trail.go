package realtime

// Trail is told how one batch comes to its clients. Its methods may be called with locks held: they do not block, and do not
// call back.
type Trail interface {
	// Routed is called once, when the batch has been queued for all who are live and may have some of it: for so many subscribers.
	Routed(subscribers int)
	// Written is called each time that one of them has been written what is his, with how many events that was; 0: he may read
	// none of them. Some may be written to before Routed is called, and some never: who goes, or falls behind meanwhile.
	Written(events int)
}

// Wrote tells who follows the run's batch that the run was written to a client.
func (r *Run) Wrote() { r.trail.Written(len(r.Events)) }

// Followed reports whether somebody wants to be told when the item's run is written.
func (i *Item) Followed() bool { return i.live && i.Run.trail != nil }

// ending is the run of events behind which there is nothing else of the batch.
func (b *batch) ending(events []*Event) *Run {
	run := ending(events, b.To)
	if run != nil {
		run.trail = b.trail
	}
	return run
}
