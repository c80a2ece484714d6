package realtime

// Lineage is the origins of earlier timelines whose cursors still mean something, each up to a snapshot. A standby that
// was promoted has all that its primary's snapshot saw, and hands out again the transaction ids that came later.
type Lineage map[string]Snapshot

// Adopt returns the cursor as one of the origin given, if it is one or descends from one; otherwise why it is not.
func (l Lineage) Adopt(c Cursor, origin string) (Cursor, Reset) {
	if c.Origin == origin {
		return c, ""
	}
	seen, known := l[c.Origin]
	switch {
	case !known:
		return c, ResetForeign
	case !seen.Includes(c.End()):
		return c, ResetFuture
	}
	c.Origin = origin
	return c, ""
}
