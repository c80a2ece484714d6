package http

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"tidings/realtime"
)

const defaultPageRows = 100

// serveChannel answers with the current rows of a channel, and the cursor from which to follow them.
func (s *Server) serveChannel(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w, r)
	w.Header().Set("Cache-Control", "no-store")
	fail := func(err *realtime.Error) {
		s.refused(string(err.Code), s.address(r), "/channels/")
		refusalOf(err).answer(w)
	}
	if !s.origins.allows(r) {
		s.refused("origin_not_allowed", s.address(r), "/channels/")
		writeError(w, http.StatusForbidden, "origin_not_allowed",
			fmt.Sprintf("pages of %q may not load: allow them with --allow-origin", r.Header.Get("Origin")))
		return
	}
	channel, err := realtime.ParseChannel(r.PathValue("channel"))
	var bad *realtime.Error
	if errors.As(err, &bad) {
		fail(bad)
		return
	}
	query, bad := s.parsePage(r.URL.RawQuery)
	if bad != nil {
		fail(bad)
		return
	}
	query.Channel = channel
	id, refused := s.identify(r)
	if refused != nil {
		refused.answer(w)
		return
	}
	page, err := s.Hub.Load(r.Context(), id, query)
	switch {
	case errors.As(err, &bad):
		fail(bad)
		return
	case errors.Is(err, realtime.ErrPlace):
		fail(realtime.Errorf(codeBadRequest, "the parameter after is not from a page of channel %q", channel))
		return
	case err != nil:
		s.Logger.Warn("a channel cannot be loaded", "channel", channel.String(), "error", err)
		fail(realtime.Errorf(realtime.CodeUnavailable, "channel %q cannot be loaded now: the database does not answer; try again", channel))
		return
	case page.More && page.Next == nil:
		fail(realtime.Errorf(realtime.CodeSnapshotTooLarge,
			"channel %q has more rows than one page, and its table has no primary key to go on by: ask for a larger limit", channel))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	s.writeAnswer(w, appendPage(nil, channel, &page))
}

func appendPage(b []byte, channel realtime.Channel, page *realtime.Loaded) []byte {
	b = append(b, `{"channel":`...)
	b = appendString(b, channel.String())
	b = append(b, `,"cursor":"`...)
	b = append(b, page.At.String()...)
	b = append(b, `","rows":[`...)
	for i, row := range page.Rows {
		if i > 0 {
			b = append(b, ',', '\n')
		}
		if row.Omitted {
			b = append(b, "null"...)
		} else {
			b = append(b, row.Data...)
		}
	}
	b = append(b, `],"next":`...)
	if page.More {
		place, _ := json.Marshal(page.Next) // strings can always be
		b = appendString(b, base64.RawURLEncoding.EncodeToString(place))
	} else {
		b = append(b, "null"...)
	}
	return append(b, '}', '\n')
}

// parsePage reads the parameters limit, after and order.
func (s *Server) parsePage(query string) (realtime.Page, *realtime.Error) {
	q := realtime.Page{MaxRows: min(defaultPageRows, s.options.PageRows), MaxBytes: s.options.PageBytes}
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return q, realtime.Errorf(codeBadRequest, "the URL's parameters cannot be read: %s", err)
	}
	for name, values := range parameters {
		value := values[len(values)-1]
		switch name {
		case "limit":
			if q.MaxRows, err = strconv.Atoi(value); err != nil || q.MaxRows < 1 || q.MaxRows > s.options.PageRows {
				return q, realtime.Errorf(codeBadRequest, "the parameter limit is a number from 1 to %d, not %q", s.options.PageRows, value)
			}
		case "order":
			switch value {
			case "asc":
			case "desc":
				q.Backward = true
			default:
				return q, realtime.Errorf(codeBadRequest, "the parameter order is asc or desc, not %q", value)
			}
		case "after":
			place, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil || json.Unmarshal(place, &q.After) != nil || len(q.After) == 0 {
				return q, realtime.Errorf(codeBadRequest, "the parameter after is what the page before said as next, not %q", value)
			}
		case "token": // of whom has been asked
		default:
			return q, realtime.Errorf(codeBadRequest, "there is no parameter %q: it is limit, after or order", name)
		}
	}
	return q, nil
}
