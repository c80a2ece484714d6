package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// Signals have a NOTIFY channel of their own, whose name only who may read the settings knows: on one that is known, whoever is connected
// could say and hear everything.
const signalsQuery = `select signals from tidings.settings`

// signal is the payload of a notification there: a realtime.Signal.
type signal struct {
	Channel string          `json:"channel"`
	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`
	From    string          `json:"from,omitempty"`
}

// Signal tells who is there something that is kept nowhere.
func (d *DB) Signal(ctx context.Context, s realtime.Signal) error {
	payload, err := json.Marshal(signal{s.Channel.String(), s.Type, s.Data, s.From})
	if err == nil {
		_, err = d.Pool.Exec(ctx, `select pg_notify(s.signals, $1) from tidings.settings s`, string(payload))
	}
	if err != nil {
		return fmt.Errorf("signal: %w", Unavailable(err))
	}
	return nil
}

// signalsOf asks for the name of the channel.
func signalsOf(ctx context.Context, conn *pgx.Conn) (name string, err error) {
	if err := conn.QueryRow(ctx, signalsQuery).Scan(&name); err != nil {
		return "", fmt.Errorf("the channel of signals: %w", explain(err))
	}
	return name, nil
}

func decodeSignal(payload string) (realtime.Signal, error) {
	var s signal
	if err := json.Unmarshal([]byte(payload), &s); err != nil {
		return realtime.Signal{}, fmt.Errorf("decode a signal: %w", err)
	}
	channel, err := realtime.ParseChannel(s.Channel)
	switch {
	case err != nil:
		return realtime.Signal{}, fmt.Errorf("decode a signal: %w", err)
	case s.Type == "":
		return realtime.Signal{}, errors.New("decode a signal: it has no type")
	case s.Type != "typing" && reservedType(s.Type):
		return realtime.Signal{}, fmt.Errorf("a signal of type %q, which means something else", s.Type)
	}
	return realtime.Signal{Channel: channel, Type: s.Type, Data: s.Data, From: s.From}, nil
}

var (
	reservedTypes = []string{"row", "subscribed", "unsubscribed", "loaded", "reset", "cursor", "error", "pong", "ping", "goodbye", "authenticated", "token_expiring", "typing",
		"user_online", "user_offline"}
	rowTypes = regexp.MustCompile(`_(added|updated|deleted|truncated)$`)
)

// reservedType is tidings.reserved_type.
func reservedType(typ string) bool {
	return slices.Contains(reservedTypes, typ) || rowTypes.MatchString(typ)
}
