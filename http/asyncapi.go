package http

import (
	"net/http"

	"tidings/docs"
)

// serveAsyncAPI answers with the description of the protocol for programs.
func serveAsyncAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8") // which browsers show
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(docs.AsyncAPI) // the client may be gone
}
