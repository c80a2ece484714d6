package graph

import (
	"context"
	"strings"
	"unicode/utf8"

	"tidings/db"
)

type mutations struct{}

// maxKey is the length in bytes of a clientMutationId.
const maxKey = 200

// once names what is to be done.
func onceFor(clientMutationID *string, input any) (db.Once, error) {
	switch {
	case clientMutationID == nil:
		return db.Once{}, nil
	case *clientMutationID == "" || len(*clientMutationID) > maxKey:
		return db.Once{}, badInput("clientMutationId", "has 1 to %d bytes, not %d", maxKey, len(*clientMutationID))
	}
	return db.Once{Key: *clientMutationID, Input: input}, nil
}

// actor is on whose behalf a mutation is done.
func actor(ctx context.Context) (*session, db.Actor, error) {
	s := of(ctx)
	if _, err := s.reading(); err != nil {
		return s, db.Actor{}, err
	}
	if s.viewer.UserID == 0 && s.options.OpenWrites && s.viewer.Named {
		return s, db.Actor{}, errorf(CodeUnauthenticated, "pages write without a token where they are reached by an address or as localhost, and not by another name")
	}
	if s.viewer.UserID == 0 && !s.options.OpenWrites {
		return s, db.Actor{}, errorf(CodeUnauthenticated, "only who has signed in may write: send a token")
	}
	return s, db.Actor{UserID: s.viewer.UserID, Anybody: s.viewer.UserID == 0}, nil
}

// authorOf is who writes something new.
func authorOf(who db.Actor, given *int64) (int64, error) {
	switch {
	case who.Anybody && given == nil:
		return 0, badInput("authorId", "says who writes, where no token does")
	case who.Anybody:
		return *given, nil
	case given != nil && *given != who.UserID:
		return 0, errorf(CodeForbidden, "your token is of user %d, who cannot write as user %d", who.UserID, *given)
	}
	return who.UserID, nil
}

// checkTitle says what is wrong with a title before the database does.
func checkTitle(title string) error {
	if n := utf8.RuneCountInString(title); n > 500 || strings.TrimSpace(title) == "" {
		return badInput("title", "is not empty, and has at most 500 characters")
	}
	return nil
}

func checkComment(content string) error {
	if content == "" {
		return badInput("content", "is not empty")
	}
	return nil
}

func (mutations) CreateMessage(ctx context.Context, input CreateMessageInput) (*CreateMessagePayload, error) {
	s, who, err := actor(ctx)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	m := db.Message{Title: input.Title, Content: input.Content}
	if m.AuthorID, err = authorOf(who, input.AuthorID); err != nil {
		return nil, err
	}
	if err := checkTitle(input.Title); err != nil {
		return nil, err
	}
	m, err = s.store.CreateMessage(ctx, who, m, once)
	if err != nil {
		return nil, err
	}
	return &CreateMessagePayload{Message: newMessages([]db.Message{m})[0], ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) UpdateMessage(ctx context.Context, input UpdateMessageInput) (*UpdateMessagePayload, error) {
	s, who, err := actor(ctx)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	if input.Title == nil && input.Content == nil {
		return nil, badInput("title", "or content is to be given")
	}
	if input.Title != nil {
		if err := checkTitle(*input.Title); err != nil {
			return nil, err
		}
	}
	m, err := s.store.UpdateMessage(ctx, who, input.ID, input.Title, input.Content, once)
	if err != nil {
		return nil, err
	}
	return &UpdateMessagePayload{Message: newMessages([]db.Message{m})[0], ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) DeleteMessage(ctx context.Context, input DeleteMessageInput) (*DeleteMessagePayload, error) {
	s, who, err := actor(ctx)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	if err := s.store.DeleteMessage(ctx, who, input.ID, once); err != nil {
		return nil, err
	}
	return &DeleteMessagePayload{ID: input.ID, ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) CreateComment(ctx context.Context, input CreateCommentInput) (*CreateCommentPayload, error) {
	s, who, err := actor(ctx)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	c := db.Comment{MessageID: input.MessageID, Content: input.Content}
	if c.AuthorID, err = authorOf(who, input.AuthorID); err != nil {
		return nil, err
	}
	if err := checkComment(input.Content); err != nil {
		return nil, err
	}
	c, err = s.store.CreateComment(ctx, who, c, once)
	if err != nil {
		return nil, err
	}
	return &CreateCommentPayload{Comment: newComments([]db.Comment{c})[0], ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) UpdateComment(ctx context.Context, input UpdateCommentInput) (*UpdateCommentPayload, error) {
	s, who, err := actor(ctx)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	if err := checkComment(input.Content); err != nil {
		return nil, err
	}
	c, err := s.store.UpdateComment(ctx, who, input.ID, input.Content, once)
	if err != nil {
		return nil, err
	}
	return &UpdateCommentPayload{Comment: newComments([]db.Comment{c})[0], ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) DeleteComment(ctx context.Context, input DeleteCommentInput) (*DeleteCommentPayload, error) {
	s, who, err := actor(ctx)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	if err := s.store.DeleteComment(ctx, who, input.ID, once); err != nil {
		return nil, err
	}
	return &DeleteCommentPayload{ID: input.ID, ClientMutationID: input.ClientMutationID}, nil
}
