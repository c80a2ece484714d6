package http

import (
	"html/template"
	"net/http"
)

var adminTemplate = template.Must(template.ParseFS(pageFS, "page/admin/index.html"))

// adminData is what the operator's page says of itself before anybody has signed in.
type adminData struct {
	Accounts bool // users sign in here with a password
	Users    bool // the application's tables are there, and so there are roles
}

// serveAdmin answers with the operator's page, which has nothing in it that is not for everybody: it asks by GraphQL, as who has signed in.
func (s *Server) serveAdmin(w http.ResponseWriter, r *http.Request) {
	users := s.channelStore() != nil
	s.beginPage(w, r, "'self'")
	if err := adminTemplate.Execute(w, adminData{Accounts: s.Accounts != nil && users, Users: users}); err != nil {
		s.Logger.Debug("the page was not sent", "error", err)
	}
}
