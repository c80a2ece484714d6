package http

import (
	"html/template"
	"net/http"
	"path"
	"slices"
	"sync"
)

var adminTemplate = template.Must(template.ParseFS(pageFS, "page/admin/index.html"))

// adminData is what the operator's page knows before it has asked anything.
type adminData struct {
	Accounts bool // users sign in here with a password
	Modules  []string
}

// adminModules are the paths of its modules and of what they are made with.
var adminModules = sync.OnceValue(func() []string {
	var modules []string
	for name := range readPageFiles() {
		if dir := path.Dir(name); path.Ext(name) == ".js" && (dir == "/page/admin" || dir == "/page/lib") {
			modules = append(modules, name)
		}
	}
	slices.Sort(modules)
	return modules
})

// serveAdmin answers with the operator's page, which has nothing in it that is not for everybody: it asks by GraphQL, as who has signed in.
func (s *Server) serveAdmin(w http.ResponseWriter, r *http.Request) {
	s.beginPage(w, r, "'self'")
	data := adminData{Accounts: s.Accounts != nil && s.hasChannel(), Modules: adminModules()}
	if err := adminTemplate.Execute(w, data); err != nil {
		s.Logger.Debug("the page was not sent", "error", err)
	}
}
