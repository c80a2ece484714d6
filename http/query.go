package http

import (
	"errors"
	"net/url"
	"slices"
	"strconv"

	"tidings/realtime"
)

// wanted is what a URL asks to be subscribed to.
type wanted struct {
	channels []realtime.Channel
	options  realtime.SubscribeOptions
	errs     []*realtime.Error // of what it asks and cannot be had
}

// parseQuery reads the parameters channel, since and snapshot.
func parseQuery(query string) wanted {
	var w wanted
	parameters, err := url.ParseQuery(query)
	if err != nil {
		w.errs = append(w.errs, realtime.Errorf(codeBadRequest, "the URL's parameters cannot be read: %s", err))
	}
	for name, values := range parameters {
		last := values[len(values)-1]
		switch name {
		case "channel":
			for _, value := range values {
				channel, err := realtime.ParseChannel(value)
				var bad *realtime.Error
				if errors.As(err, &bad) {
					w.errs = append(w.errs, bad)
				} else if !slices.Contains(w.channels, channel) {
					w.channels = append(w.channels, channel)
				}
			}
		case "token": // of whom has been asked
		case "since":
			w.options.Since = last
		case "snapshot":
			if w.options.Snapshot, err = strconv.ParseBool(last); err != nil {
				w.errs = append(w.errs, realtime.Errorf(codeBadRequest, "the parameter snapshot is true or false, not %q", last))
			}
		default:
			w.errs = append(w.errs, realtime.Errorf(codeBadRequest, "there is no parameter %q: it is channel, since or snapshot", name))
		}
	}
	return w
}
