package http

import (
	"context"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidings/realtime"
)

// ChannelStore reads the application's tables for the page.
type ChannelStore interface {
	// Latest returns {"cursor", "messages", "comments", "users"}: the rows as events have them, and where to follow them from. Of comments
	// there are none, unless they are asked for.
	Latest(ctx context.Context, limit int, comments bool) (json.RawMessage, error)
	// Users returns an array of users.
	Users(ctx context.Context, ids []int64) (json.RawMessage, error)
}

//go:embed page
var pageFS embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFS, "page/index.html"))

// pageMessages is how many messages the page begins with.
const pageMessages = 50

func pageFiles() http.Handler {
	files := http.FileServerFS(pageFS)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") || strings.HasSuffix(r.URL.Path, ".html") {
			writeError(w, http.StatusNotFound, "not_found", "there is no such file")
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	})
}

// pageData is what the page begins with.
type pageData struct {
	Latest json.RawMessage `json:"latest"` // null without the application's tables, and where they are not for everybody
	Topics []string        `json:"topics"` // that can be followed
}

// servePage answers with the page and, in it, the newest messages and their cursor, so that it follows without a gap.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	data := pageData{Topics: s.Hub.PublicTopics()}
	store := s.channelStore()
	if store != nil && s.showsAll(r.Context(), "messages") {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		latest, err := store.Latest(ctx, pageMessages, s.showsAll(ctx, "comments"))
		if err != nil {
			s.Logger.Warn("the page has no messages", "error", err)
			w.Header().Set("Retry-After", "2")
			http.Error(w, "The database does not answer now. Please try again in a moment.", http.StatusServiceUnavailable)
			return
		}
		data.Latest = latest
	}
	s.beginPage(w, r, "'self'")
	if err := pageTemplate.Execute(w, data); err != nil {
		s.Logger.Debug("the page was not sent", "error", err)
	}
}

// showsAll reports whether anybody may read all of the topic's rows: the page is the same for all.
func (s *Server) showsAll(ctx context.Context, topic string) bool {
	t := s.Hub.Topic(topic)
	return t.Guard == realtime.GuardNone && t.Columns == nil && s.Hub.Authorize(ctx, nil, realtime.Channel{Topic: topic}) == nil
}

// webSocketOrigin is the server's own, which some browsers do not count as 'self'.
func (s *Server) webSocketOrigin(r *http.Request) string {
	if strings.ContainsAny(r.Host, " ;,'\"") {
		return ""
	}
	if s.secure(r) {
		return "wss://" + r.Host
	}
	return "ws://" + r.Host
}

// serveUsers names the authors of rows that came in live: /page/users?id=1&id=2.
func (s *Server) serveUsers(w http.ResponseWriter, r *http.Request) {
	store := s.channelStore()
	if store == nil {
		writeError(w, http.StatusNotFound, "not_found", "the application's tables are not in this database")
		return
	}
	if !s.showsAll(r.Context(), "messages") {
		writeError(w, http.StatusForbidden, "forbidden", "not everybody may read messages, and who wrote them")
		return
	}
	var ids []int64
	for _, text := range r.URL.Query()["id"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || len(ids) == 100 {
			writeError(w, http.StatusBadRequest, "bad_request", "id is a number, given at most 100 times: "+strconv.Quote(text))
			return
		}
		ids = append(ids, id)
	}
	users, err := store.Users(r.Context(), ids)
	if err != nil {
		s.Logger.Warn("users cannot be read", "error", err)
		writeError(w, http.StatusServiceUnavailable, "unavailable", "the database does not answer now: try again")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(users) // the client may be gone
}
