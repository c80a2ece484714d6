package http

import (
	"context"
	"embed"
	"html/template"
	"net/http"
	"strings"

	"tidings/realtime"
)

//go:embed page
var pageFS embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFS, "page/index.html"))

// pageData is what the page has to know before it asks for anything.
type pageData struct {
	Channel  bool     `json:"channel"`  // the application's tables are in the database, and GraphQL tells of them
	Public   bool     `json:"public"`   // anybody may read the messages
	Accounts bool     `json:"accounts"` // users sign in here
	SignUp   bool     `json:"signUp"`   // and whoever likes may become one
	Topics   []string `json:"topics"`   // that anybody can follow
}

// servePage answers with the page. What there is to read it asks for itself, as whom its cookies say.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	channel := s.hasChannel() && s.Graph != nil
	accounts := channel && s.Accounts != nil
	data := pageData{
		Channel: channel, Public: channel && s.showsAll(r.Context(), "messages"),
		Accounts: accounts, SignUp: accounts && !s.Accounts.Options.SignUpClosed, Topics: s.Hub.PublicTopics(),
	}
	s.beginPage(w, r, "'self'")
	err := pageTemplate.Execute(w, struct {
		Data    pageData
		Modules []string
	}{data, pageModules()})
	if err != nil {
		s.Logger.Debug("the page was not sent", "error", err)
	}
}

// showsAll reports whether anybody may read all of the topic's rows.
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
