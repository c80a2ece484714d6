package graph

import (
	"context"
	"encoding/json"

	"tidings/db"
	"tidings/realtime"
)

// mayAdminister says why the viewer may not do what administrators may, nil if he may.
func (s *session) mayAdminister(ctx context.Context) error {
	r, err := s.reading()
	if err != nil {
		return err
	}
	id := s.viewer.UserID()
	if id == 0 {
		return errorf(CodeUnauthenticated, "only administrators may do that: send a token")
	}
	users, err := r.Users(ctx, []int64{id})
	if err != nil {
		return err
	}
	admin := users[id].Role == db.RoleAdmin
	s.admins.found(id, admin)
	if !admin {
		return errorf(CodeForbidden, "only administrators may do that")
	}
	return nil
}

func (mutations) Broadcast(ctx context.Context, input BroadcastInput) (*BroadcastPayload, error) {
	s := of(ctx)
	if err := s.mayAdminister(ctx); err != nil {
		return nil, err
	}
	if _, err := realtime.ParseChannel(input.Channel); err != nil {
		return nil, badInput("channel", "cannot be read: %s", err)
	}
	data := json.RawMessage("{}")
	if input.Data != nil {
		data = json.RawMessage(input.Data)
	}
	if err := s.store.DB.Broadcast(ctx, input.Channel, input.Type, data, input.Kept); err != nil {
		return nil, err
	}
	return &BroadcastPayload{Channel: input.Channel, Type: input.Type, ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) DisconnectUser(ctx context.Context, input DisconnectUserInput) (*DisconnectUserPayload, error) {
	s := of(ctx)
	if err := s.mayAdminister(ctx); err != nil {
		return nil, err
	}
	if err := s.store.DB.Disconnect(ctx, input.User, input.Revoke); err != nil {
		return nil, err
	}
	return &DisconnectUserPayload{User: input.User, ClientMutationID: input.ClientMutationID}, nil
}
