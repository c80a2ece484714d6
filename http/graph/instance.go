package graph

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings/realtime"
)

// Instance is a running server, as it says itself. Its counters are numbers that may be larger than GraphQL's Int.
type Instance struct {
	realtime.Instance
	SilentSeconds float64 // 0: it answers itself
}

// Redis is nil where there is none.
func (i *Instance) Redis() *RedisRole {
	role := RedisRole(strings.ToUpper(i.Relay))
	if !role.IsValid() {
		return nil // or a newer version's
	}
	return &role
}

// LagSeconds is nil where it is not known.
func (i *Instance) LagSeconds() *float64 {
	if i.Instance.LagSeconds == 0 {
		return nil
	}
	return &i.Instance.LagSeconds
}

// LastRead is nil where it never was.
func (i *Instance) LastRead() *time.Time {
	if i.Instance.LastRead.IsZero() {
		return nil
	}
	return &i.Instance.LastRead
}

// Events are those that it has read.
func (i *Instance) Events() float64 { return float64(i.Instance.Events) }

// Missing are those that it has not.
func (i *Instance) Missing() float64 { return float64(i.Instance.Missing) }

// Delivered are those that were written to clients.
func (i *Instance) Delivered() float64 { return float64(i.Instance.Delivered) }

// Judged are those of which row security was asked.
func (i *Instance) Judged() float64 { return float64(i.Instance.Judged) }

// Queries are those of the log and of tables.
func (i *Instance) Queries() float64 { return float64(i.Instance.Queries) }

// RecentBytes are of the newest events.
func (i *Instance) RecentBytes() float64 { return float64(i.Instance.RecentBytes) }

// Topics are the subscriptions by topic, the most first.
func (i *Instance) Topics() []*ChannelSubscribers {
	topics := []*ChannelSubscribers{}
	for name, n := range i.Instance.Topics {
		topics = append(topics, &ChannelSubscribers{Channel: name, Subscribers: n, Exact: true})
	}
	slices.SortFunc(topics, func(a, b *ChannelSubscribers) int {
		return cmp.Or(b.Subscribers-a.Subscribers, strings.Compare(a.Channel, b.Channel))
	})
	return topics
}

// Refused is what clients were refused.
func (i *Instance) Refused() []*RefusedCount {
	counts := []*RefusedCount{}
	for _, code := range slices.Sorted(maps.Keys(i.Instance.Refused)) {
		counts = append(counts, &RefusedCount{Code: code, Count: float64(i.Instance.Refused[code])})
	}
	return counts
}

// GraphqlSubscriptions are those by GraphQL.
func (i *Instance) GraphqlSubscriptions() int { return i.Subscriptions }

// GraphqlPlans are the different ones of them.
func (i *Instance) GraphqlPlans() int { return i.Plans }

// MemoryBytes is nil where the system does not tell.
func (i *Instance) MemoryBytes() *float64 {
	if i.Instance.MemoryBytes == 0 {
		return nil
	}
	bytes := float64(i.Instance.MemoryBytes)
	return &bytes
}
