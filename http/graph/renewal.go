package graph

import (
	"context"

	"tidings/realtime"
)

// Renewal takes another token for the connection that a mutation came by.
type Renewal func(ctx context.Context, token string) (*realtime.Identity, error)

type renewalKey struct{}

// WithRenewal returns a context for the operations of a connection whose token can be renewed.
func WithRenewal(ctx context.Context, renew Renewal) context.Context {
	return context.WithValue(ctx, renewalKey{}, renew)
}

func (mutations) RenewToken(ctx context.Context, input RenewTokenInput) (*RenewTokenPayload, error) {
	renew, there := ctx.Value(renewalKey{}).(Renewal)
	if !there {
		return nil, errorf(CodeBadInput, "a token is renewed on the WebSocket that it is of; elsewhere it comes with each request")
	}
	id, err := renew(ctx, input.Token)
	if err != nil {
		return nil, err
	}
	payload := &RenewTokenPayload{ClientMutationID: input.ClientMutationID}
	if !id.Expires.IsZero() {
		payload.ExpiresAt = &id.Expires
	}
	return payload, nil
}
