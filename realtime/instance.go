package realtime

import "time"

// Instance is how one running server is doing: what it tells the others by the database, and whoever operates them. What is counted is
// counted since it was started.
type Instance struct {
	Name    string    `json:"-"` // random, of this run
	Version string    `json:"version"`
	Schema  uint      `json:"schema"` // the version of schema tidings that it knows
	Host    string    `json:"host"`
	Address string    `json:"address"` // where it listens
	At      time.Time `json:"at"`      // of these figures, by its own clock: what two of them differ by is per that time

	Relay      string    `json:"relay,omitempty"` // its part in reading the log by Redis: leading, following or alone; empty: there is no Redis
	Live       bool      `json:"live"`            // the log is being read
	Listening  bool      `json:"listening"`       // the doorbell is heard
	Beating    bool      `json:"beating"`         // the heartbeat is heard
	Stopping   bool      `json:"stopping"`
	LastRead   time.Time `json:"last_read,omitzero"` // zero: never
	LagSeconds float64   `json:"lag_seconds"`        // of the last heartbeat that it wrote itself; 0: not known yet

	Events    uint64 `json:"events"` // read from the log, which each instance reads as a whole
	Missing   uint64 `json:"missing"`
	Delivered uint64 `json:"delivered"` // an event that is told to two counts twice
	Judged    uint64 `json:"judged"`
	Queries   uint64 `json:"queries"` // of the log and of tables, for those who are behind, load rows, or are asked about

	Connections    int            `json:"connections"`
	MaxConnections int            `json:"max_connections"`
	Users          int            `json:"users"`       // that have connections to it
	Subscribers    int            `json:"subscribers"` // connections, and GraphQL's subscriptions
	Behind         int            `json:"behind"`      // of them, those that are being fed from memory or from the log
	Waiting        int            `json:"waiting"`     // of those, the ones that wait for their turn to read the log
	RecentBytes    int            `json:"recent_bytes"`
	Topics         map[string]int `json:"topics"` // subscriptions, those to keys included
	Channels       []ChannelCount `json:"channels"`
	AllChannels    bool           `json:"all_channels"` // no other channel has subscribers

	Refused map[string]uint64 `json:"refused"` // by code

	Plans         int    `json:"plans"` // of GraphQL's subscriptions
	Subscriptions int    `json:"graphql_subscriptions"`
	Executions    uint64 `json:"executions"`
	Statements    uint64 `json:"statements"`

	StartedAt   time.Time `json:"started_at"`
	CPUSeconds  float64   `json:"cpu_seconds"`
	MemoryBytes uint64    `json:"memory_bytes"` // 0: the system doesn't tell
}

// ChannelCount is how many subscribe to just this channel.
type ChannelCount struct {
	Channel     string `json:"channel"`
	Subscribers int    `json:"subscribers"`
}
