package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tidings/http/graph"
)

// maxAuthBody is the size in bytes of a request below /auth: that of a password of which each byte is escaped, and some.
const maxAuthBody = 16 << 10

// authTimeout is how long such a request may take: it waits for its turn to hash, and for the database.
const authTimeout = 10 * time.Second

// The bodies of requests.
type (
	signUpBody struct {
		Username    string  `json:"username"`
		Password    string  `json:"password"`
		DisplayName *string `json:"displayName"` // nil: the username
		Cookie      bool    `json:"cookie"`
	}
	signInBody struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Cookie   bool   `json:"cookie"`
	}
	refreshBody struct {
		RefreshToken string `json:"refreshToken"` // empty: the cookie's
		Cookie       bool   `json:"cookie"`
	}
	signOutBody struct {
		RefreshToken string `json:"refreshToken"` // empty: the access token says which session, or a cookie does
		Everywhere   bool   `json:"everywhere"`
	}
	passwordBody struct {
		CurrentPassword string `json:"currentPassword"`
		NewPassword     string `json:"newPassword"`
	}
)

// handleAuth routes what is below /auth.
func (s *Server) handleAuth(mux *http.ServeMux) {
	mux.HandleFunc("/auth/sign-up", serveAuth(s, func(ctx context.Context, e authExchange, in signUpBody) error {
		if err := e.mayHaveCookies(in.Cookie); err != nil {
			return err
		}
		displayName := in.Username
		if in.DisplayName != nil {
			displayName = *in.DisplayName
		}
		signed, err := s.Accounts.SignUp(ctx, e.client, in.Username, displayName, in.Password)
		return e.signedIn(signed, err, in.Cookie)
	}))
	mux.HandleFunc("/auth/sign-in", serveAuth(s, func(ctx context.Context, e authExchange, in signInBody) error {
		if err := e.mayHaveCookies(in.Cookie); err != nil {
			return err
		}
		signed, err := s.Accounts.SignIn(ctx, e.client, in.Username, in.Password)
		return e.signedIn(signed, err, in.Cookie)
	}))
	mux.HandleFunc("/auth/refresh", serveAuth(s, func(ctx context.Context, e authExchange, in refreshBody) error {
		if err := e.mayHaveCookies(in.Cookie); err != nil {
			return err
		}
		if in.RefreshToken == "" { // what has come in a cookie does not come out where a script reads it
			in.RefreshToken, in.Cookie = cookieOf(e.r, refreshCookie), true
		}
		if in.RefreshToken == "" {
			return unauthenticated("a refresh token is needed: in the body, or in the cookie that a page of this service has")
		}
		signed, err := s.Accounts.Refresh(ctx, in.RefreshToken)
		return e.signedIn(signed, err, in.Cookie)
	}))
	mux.HandleFunc("/auth/sign-out", serveAuth(s, func(ctx context.Context, e authExchange, in signOutBody) error {
		if in.RefreshToken == "" && bearer(e.r.Header.Get("Authorization")) == "" {
			in.RefreshToken = cookieOf(e.r, refreshCookie)
		}
		if err := s.Accounts.SignOut(ctx, e.client, in.RefreshToken, in.Everywhere); err != nil {
			return err
		}
		e.forgetCookies()
		e.w.WriteHeader(http.StatusNoContent)
		return nil
	}))
	mux.HandleFunc("/auth/password", serveAuth(s, func(ctx context.Context, e authExchange, in passwordBody) error {
		if _, err := s.Accounts.ChangePassword(ctx, e.client, in.CurrentPassword, in.NewPassword); err != nil {
			return err
		}
		e.w.WriteHeader(http.StatusNoContent)
		return nil
	}))
}

// authExchange is a request below /auth, and where its answer goes.
type authExchange struct {
	w      http.ResponseWriter
	r      *http.Request
	client graph.Client
	secure bool // the client has come by TLS
}

// serveAuth answers requests whose body is an In.
func serveAuth[In any](s *Server, do func(ctx context.Context, e authExchange, in In) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			s.preflight(w, r, "POST", "Authorization, Content-Type")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		s.allowOrigin(w, r)
		var in In
		refused := s.admitAuth(r)
		if refused == nil {
			refused = readAuth(w, r, &in)
		}
		if refused != nil {
			if refused.status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", "POST, OPTIONS")
			}
			s.refused(refused.code, s.address(r), r.URL.Path)
			refused.answer(w)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), authTimeout)
		defer cancel()
		if err := do(ctx, authExchange{w, r, s.clientOf(r), s.secure(r)}, in); err != nil {
			s.answerAuthError(w, r, err)
		}
	}
}

// admitAuth says why nothing is done, whatever the body.
func (s *Server) admitAuth(r *http.Request) *refusal {
	switch {
	case s.Accounts == nil:
		return &refusal{status: http.StatusNotFound, code: "not_found",
			message: "there are no accounts here: the service has no --secret, and users are signed in by whoever issues their tokens"}
	case r.Method != http.MethodPost:
		return &refusal{status: http.StatusMethodNotAllowed, code: "bad_request", message: fmt.Sprintf("the method is POST, not %s", r.Method)}
	case !s.origins.allows(r):
		return originNotAllowed(r)
	case s.Hub.Position().IsZero():
		return notReady
	case !s.hasChannel():
		return &refusal{status: http.StatusNotFound, code: "not_found",
			message: "there are no accounts here: the application's tables (users, messages, comments) are not in this database"}
	}
	return nil
}

// readAuth reads a body.
func readAuth(w http.ResponseWriter, r *http.Request, into any) *refusal {
	bad := func(status int, format string, args ...any) *refusal {
		return &refusal{status: status, code: "bad_request", message: fmt.Sprintf(format, args...)}
	}
	if media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != mediaJSON ||
		parameters["charset"] != "" && !strings.EqualFold(parameters["charset"], "utf-8") {

		return bad(http.StatusUnsupportedMediaType, "a request's Content-Type is %s, in UTF-8, not %q", mediaJSON, r.Header.Get("Content-Type"))
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // where that cannot be, the server's own has to do
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAuthBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return bad(http.StatusRequestEntityTooLarge, "a request has at most %d bytes", maxAuthBody)
	case err != nil:
		return bad(http.StatusBadRequest, "the request was not sent to its end")
	case !utf8.Valid(body): // two passwords that are not would be one
		return bad(http.StatusBadRequest, "the request is not in UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(into)
	if err == nil {
		if _, behind := decoder.Token(); !errors.Is(behind, io.EOF) {
			return bad(http.StatusBadRequest, "there is something behind the request's JSON object")
		}
		return nil
	}
	var kind *json.UnmarshalTypeError
	field, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	switch {
	case unknown:
		return bad(http.StatusBadRequest, "the request has no field %s", field)
	case errors.As(err, &kind) && kind.Field != "":
		f := bad(http.StatusBadRequest, "%s cannot be %s", kind.Field, article(kind.Value))
		f.field = kind.Field
		return f
	case errors.As(err, &kind):
		return bad(http.StatusBadRequest, "a request is a JSON object, not %s", article(kind.Value))
	}
	return bad(http.StatusBadRequest, "the request is not JSON") // what is wrong with it may be a part of a password
}

// clientOf is who sends a request.
func (s *Server) clientOf(r *http.Request) graph.Client {
	c := graph.Client{Address: s.address(r).String(), AccessToken: bearer(r.Header.Get("Authorization"))}
	if c.AccessToken == "" && r.Method == http.MethodPost {
		c.AccessToken = cookieOf(r, accessCookie)
	}
	return c
}

// signedInBody is what is answered to who has signed in.
type signedInBody struct {
	User         userBody  `json:"user"`
	AccessToken  string    `json:"accessToken,omitempty"` // as RefreshToken, not if it is in a cookie
	ExpiresAt    time.Time `json:"expiresAt"`
	RefreshToken string    `json:"refreshToken,omitempty"`
}

type userBody struct {
	ID          string `json:"id"`
	Username    string `json:"username"`
	DisplayName string `json:"displayName"`
	Role        string `json:"role"`
}

// signedIn answers who has signed in, unless there is an error.
func (e authExchange) signedIn(signed *graph.SignedIn, err error, cookie bool) error {
	if err != nil {
		return err
	}
	u := signed.User
	body := signedInBody{User: userBody{strconv.FormatInt(u.ID, 10), u.Username, u.DisplayName, u.Role}, ExpiresAt: signed.Expires.UTC()}
	if cookie {
		e.setCookies(signed)
	} else {
		body.AccessToken, body.RefreshToken = signed.AccessToken, signed.RefreshToken
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	e.w.Header().Set("Content-Type", mediaJSON)
	_, _ = e.w.Write(append(text, '\n')) // the client may be gone
	return nil
}

// authStatuses are the statuses of an account's errors.
var authStatuses = map[string]int{
	graph.CodeBadInput:        http.StatusBadRequest,
	graph.CodeUnauthenticated: http.StatusUnauthorized,
	graph.CodeForbidden:       http.StatusForbidden,
	graph.CodeTooManyAttempts: http.StatusTooManyRequests,
	graph.CodeUnavailable:     http.StatusServiceUnavailable,
}

// answerAuthError answers that something was not done.
func (s *Server) answerAuthError(w http.ResponseWriter, r *http.Request, err error) {
	known := graph.AccountErrorOf(err)
	switch {
	case known != nil:
		f := &refusal{status: authStatuses[known.Code], code: strings.ToLower(known.Code), field: known.Field, message: known.Error(), retryAfter: known.Seconds()}
		s.refused(f.code, s.address(r), r.URL.Path)
		f.answer(w)
	case r.Context().Err() != nil: // nobody hears it
	default:
		s.Logger.Error("a request failed", "path", r.URL.Path, "error", err)
		writeError(w, http.StatusInternalServerError, "internal", "something went wrong; the service's log says what")
	}
}
