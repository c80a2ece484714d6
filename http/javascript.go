package http

import (
	"net/http"
	"sync"

	"tidings/clients/js"
)

// clientFiles are the files of the JavaScript client, by their paths. They are public, and pages of any origin may import them: what these
// may connect to is another question.
var clientFiles = sync.OnceValue(func() map[string]*pageFile {
	return map[string]*pageFile{
		"/tidings.js":   newPageFile("text/javascript; charset=utf-8", js.Module),
		"/tidings.d.ts": newPageFile("text/plain; charset=utf-8", js.Types),
	}
})

func serveClient(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	clientFiles()[r.URL.Path].serve(w, r)
}
