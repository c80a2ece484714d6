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

// begin finds out on whose behalf a mutation is done, and how it is known if it is sent again.
func begin(ctx context.Context, clientMutationID *string, input any) (s *session, who db.Actor, once db.Once, err error) {
	s = of(ctx)
	if _, err = s.reading(); err != nil {
		return s, who, once, err
	}
	switch id := s.viewer.UserID(); {
	case id != 0:
		who.UserID = id
	case s.viewer.Identity != nil:
		return s, who, once, errorf(CodeForbidden, "your token is of nobody who is a user here")
	case !s.options.OpenWrites:
		return s, who, once, errorf(CodeUnauthenticated, "only who has signed in may write: send a token")
	case s.viewer.Named:
		return s, who, once, errorf(CodeUnauthenticated, "pages write without a token where they are reached by an address or as localhost, and not by another name")
	default:
		who.Anybody = true
	}
	if key := clientMutationID; key != nil {
		if *key == "" || len(*key) > maxKey {
			return s, who, once, badInput("clientMutationId", "has 1 to %d bytes, not %d", maxKey, len(*key))
		}
		once = db.Once{Key: *key, Input: input}
	}
	return s, who, once, nil
}

// actsAs is who writes something: the field says so where no token does.
func actsAs(who db.Actor, field string, given *int64) (int64, error) {
	switch {
	case who.Anybody && given == nil:
		return 0, badInput(field, "says who writes, where no token does")
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

func (mutations) UpdateUser(ctx context.Context, input UpdateUserInput) (*UpdateUserPayload, error) {
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	if input.Username == nil && input.DisplayName == nil {
		return nil, badInput("username", "or displayName is to be given")
	}
	id := who.UserID
	switch {
	case input.ID != nil:
		id = *input.ID
	case who.Anybody:
		return nil, badInput("id", "says who is to be changed, where no token does")
	}
	u, err := s.store.UpdateUser(ctx, who, id, input.Username, input.DisplayName, once)
	if err != nil {
		return nil, err
	}
	return &UpdateUserPayload{User: newUsers([]db.User{u})[0], ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) SetRole(ctx context.Context, input SetRoleInput) (*SetRolePayload, error) {
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	u, err := s.store.SetRole(ctx, who, input.UserID, strings.ToLower(input.Role.String()), once)
	if err != nil {
		return nil, err
	}
	return &SetRolePayload{User: newUsers([]db.User{u})[0], ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) CreateMessage(ctx context.Context, input CreateMessageInput) (*CreateMessagePayload, error) {
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	m := db.Message{Title: input.Title, Content: input.Content}
	if m.AuthorID, err = actsAs(who, "authorId", input.AuthorID); err != nil {
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
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
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
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	if err := s.store.DeleteMessage(ctx, who, input.ID, once); err != nil {
		return nil, err
	}
	return &DeleteMessagePayload{ID: input.ID, ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) CreateComment(ctx context.Context, input CreateCommentInput) (*CreateCommentPayload, error) {
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	c := db.Comment{MessageID: input.MessageID, Content: input.Content}
	if c.AuthorID, err = actsAs(who, "authorId", input.AuthorID); err != nil {
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
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
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
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	if err := s.store.DeleteComment(ctx, who, input.ID, once); err != nil {
		return nil, err
	}
	return &DeleteCommentPayload{ID: input.ID, ClientMutationID: input.ClientMutationID}, nil
}
