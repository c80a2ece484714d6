package realtime

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Where not everybody who may subscribe to a topic may have all of its rows, each event is held up to what its subscriber may read: the row
// and, of an update, the row before. Who could read the one and not the other is told that the row is gone, or has come.

// GuardKind is how is told who may have a topic's rows.
type GuardKind string

// The kinds.
const (
	GuardNone  GuardKind = ""      // whoever may subscribe
	GuardOwner GuardKind = "owner" // the user that the row names
	GuardRows  GuardKind = "rows"  // whom the table's row security lets read it
)

// view is a channel as one subscriber has it.
type view struct {
	channel Channel
	kind    GuardKind
	rights  *Rights  // of GuardOwner and GuardRows
	read    string   // by what rule it was had
	key     judgeKey // of GuardRows: what is asked about once
}

// name tells the view from others: who has the same views takes the same runs.
func (v view) name() string {
	switch v.kind {
	case GuardNone:
		return v.channel.String()
	case GuardOwner:
		return v.channel.String() + "\x00" + v.rights.User
	}
	return v.channel.String() + "\x00" + strconv.FormatUint(v.key.changes, 10) + "\x00" + v.key.rights
}

// viewOf is how somebody sees a channel of the topic.
func viewOf(id *Identity, c Channel, t Topic) view {
	v := view{channel: c, kind: t.Guard, read: t.Read}
	if v.kind != GuardNone {
		v.rights = id.rightsFor(t)
		v.key = judgeKey{channel: c, rights: v.rights.key()}
	}
	return v
}

// verdict is what of an event somebody may have.
type verdict byte

const (
	hidden  verdict = iota
	shown           // as it is
	entered         // the row has come to be readable
	left            // the row is readable no more
)

// update reports whether the event has a row before it.
func (e *Event) update() bool { return strings.HasSuffix(e.Type, "_updated") }

// verdictOf is what comes of whether the row may be read, and whether the row before might.
func (e *Event) verdictOf(now, was bool) verdict {
	switch {
	case !e.update() && now, now && was:
		return shown
	case !e.update():
		return hidden
	case now:
		return entered
	case was:
		return left
	}
	return hidden
}

// free reports whether the event is told to all who may subscribe, whatever they may read.
func (e *Event) free() bool { return e.Everywhere || e.Open }

// owner is the verdict by whose the row is.
func (e *Event) owner(user string) verdict {
	if e.Guard == nil || user == "" {
		return hidden
	}
	is := func(owner []byte) bool { return owner != nil && string(owner) == user }
	return e.verdictOf(is(e.Guard.Now), is(e.Guard.Was))
}

// as is the event as somebody sees it; nil: not at all.
func (e *Event) as(v verdict, kind GuardKind) *Event {
	switch v {
	case shown:
		return e
	case entered:
		seen := *e
		seen.Type = strings.TrimSuffix(e.Type, "_updated") + "_added"
		seen.Moved, seen.OldKey = false, ""
		return &seen
	case left:
		seen := *e
		seen.Type = strings.TrimSuffix(e.Type, "_updated") + "_deleted"
		if e.Moved {
			seen.Key, seen.Keyed = e.OldKey, e.OldKey != ""
			seen.Moved, seen.OldKey = false, ""
		}
		seen.Data = e.Guard.Left
		if seen.Data == nil && kind == GuardRows {
			seen.Data = e.Guard.Was
		}
		seen.Omitted = seen.Data == nil || bytes.Equal(seen.Data, []byte("null"))
		return &seen
	}
	return nil
}

// seen is what a subscriber with the views is told of the event; nil: nothing. Of what row security is to be asked, the answers are given.
func (e *Event) seen(views []view, answers map[judgeKey]*judgement) *Event {
	var changed *Event
	for _, v := range views {
		if !e.in(v.channel) {
			continue
		}
		said := shown
		switch {
		case v.kind == GuardNone || e.free():
		case v.kind == GuardOwner:
			said = e.owner(v.rights.User)
		default:
			said = hidden
			if j := answers[v.key]; j != nil {
				said = j.verdicts[e.ID]
			}
		}
		if said == shown {
			return e
		}
		if as := e.as(said, v.kind); as != nil && as.in(v.channel) {
			changed = as
		}
	}
	return changed
}

// guarded reports whether there is a view that does not show everything.
func guarded(views []view) bool {
	return slices.ContainsFunc(views, func(v view) bool { return v.kind != GuardNone })
}
