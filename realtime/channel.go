package realtime

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Channel is what a client subscribes to: a topic, or one key of it.
type Channel struct {
	Topic string
	Key   string // "" for the whole topic
}

// MaxChannelName is the length in bytes over which a channel's name is refused.
const MaxChannelName = 512

// ParseChannel reads "topic" or "topic:key". All behind the first colon is the key.
func ParseChannel(name string) (Channel, error) {
	var c Channel
	var keyed bool
	c.Topic, c.Key, keyed = strings.Cut(name, ":")
	switch {
	case len(name) > MaxChannelName:
		return Channel{}, Errorf(CodeBadChannel, "a channel's name has at most %d bytes, not %d", MaxChannelName, len(name))
	case name == "":
		return Channel{}, Errorf(CodeBadChannel, "the channel's name is missing")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return Channel{}, Errorf(CodeBadChannel, "channel %q has characters that a name cannot have", name)
	case c.Topic == "":
		return Channel{}, Errorf(CodeBadChannel, "channel %q has no topic before the colon", name)
	case keyed && c.Key == "":
		return Channel{}, Errorf(CodeBadChannel, "channel %q has no key after the colon", name)
	}
	return c, nil
}

// String returns "topic" or "topic:key".
func (c Channel) String() string {
	if c.Key == "" {
		return c.Topic
	}
	return c.Topic + ":" + c.Key
}

// Topic is a watched table as clients know it, or what is told without one.
type Topic struct {
	Name   string
	Keyed  bool      // whether rows have a key, and keys are channels of their own
	Read   string    // who may subscribe, as tidings.watch was told
	Guard  GuardKind // who may have which of its rows
	Claims []string  // that its row security may look at; nil: all
	// Columns are those that go out; nil: all.
	Columns []string
	// OwnKeys says that its keys are the users whose the rows are: of another one's channel nothing could be told.
	OwnKeys bool
	Typing  bool // whether clients may say that they are writing something
	Listed  bool // whether a subscription begins with what there is, unless it has a cursor
}

// Public reports whether anybody may subscribe.
func (t Topic) Public() bool { return t.Read == "public" }

// policed reports whether a policy is to be asked who may subscribe.
func (t Topic) policed() bool { return strings.HasPrefix(t.Read, "policy:") }

// owned reports whether the rows are whose they say.
func (t Topic) owned() bool { return strings.HasPrefix(t.Read, "owner:") }
