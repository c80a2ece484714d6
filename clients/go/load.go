package tidings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// Page is a part of a channel's rows, and the cursor from which to follow them.
type Page struct {
	Channel string
	// Cursor is the place of exactly these rows. Of several pages, follow from that of the first: some events then tell of what later
	// pages contain already, and applied by primary key they come to the same.
	Cursor string
	// Rows are as events tell of them. One that is too large to be sent is null.
	Rows []json.RawMessage
	// Next is LoadOptions.After of the next page; "": this is the last.
	Next string
}

// Decode reads the rows into the slice that is pointed to.
func (p Page) Decode(into any) error { return decodeRows(p.Channel, p.Rows, into) }

// LoadOptions say which page is meant.
type LoadOptions struct {
	// Limit is how many rows a page has at most; 0: as many as the service gives unasked, 100. A page also ends at some megabytes.
	Limit int
	// Descending begins with the last row by primary key.
	Descending bool
	// After is the Next of the page before, in the same order. "": the first.
	After string
}

// Load loads a page of a channel's rows. It does not try again, but with another token. The error is an *Error if the service has
// answered.
func (c *Client) Load(ctx context.Context, channel string, o LoadOptions) (Page, error) {
	page, err := c.load(ctx, channel, o, Connect)
	if wantsToken(err) && c.Token != nil {
		page, err = c.load(ctx, channel, o, Rejected)
	}
	return page, err
}

// Pages loads a channel's rows page by page, beginning with that of the options. An error is the last thing it yields.
func (c *Client) Pages(ctx context.Context, channel string, o LoadOptions) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		for {
			page, err := c.Load(ctx, channel, o)
			if !yield(page, err) || err != nil || page.Next == "" {
				return
			}
			o.After = page.Next
		}
	}
}

func (c *Client) load(ctx context.Context, channel string, o LoadOptions, why Why) (Page, error) {
	u, err := c.address(false, "channels", url.PathEscape(channel))
	if err != nil {
		return Page{}, err
	}
	query := url.Values{}
	if o.Limit != 0 {
		query.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Descending {
		query.Set("order", "desc")
	}
	if o.After != "" {
		query.Set("after", o.After)
	}
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Page{}, err
	}
	if request.Header, err = c.header(ctx, why); err != nil {
		return Page{}, err
	}
	client := c.HTTP
	if client == nil {
		client = defaultHTTP
	}
	response, err := client.Do(request)
	if err != nil {
		return Page{}, fmt.Errorf("load channel %s: %w", channel, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		refused := answered(c.URL, response)
		refused.Channel = channel
		return Page{}, refused
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return Page{}, fmt.Errorf("load channel %s: %w", channel, err)
	}
	var page struct {
		Page
		Next *string
	}
	if err := json.Unmarshal(text, &page); err != nil || page.Cursor == "" {
		return Page{}, &Error{Code: CodeNotTidings, Channel: channel, Status: response.StatusCode,
			Message: fmt.Sprintf("%s answers with what is no page of a channel: is it tidings?", c.URL)}
	}
	if page.Next != nil {
		page.Page.Next = *page.Next
	}
	return page.Page, nil
}

// maxPage is how many rows a page may have unless the service says otherwise.
const maxPage = 1000

// loadPages tells of the rows of all channels, loaded page by page. What follows begins at the first page, so nothing is missed.
func (f *follower) loadPages(ctx context.Context) error {
	f.since, f.unsure = "", true
	first := ""
	for _, channel := range slices.Clone(f.channels) {
		rows, cursor, err := f.loadAll(ctx, channel)
		var refused *Error
		if errors.As(err, &refused) && refused.Status < 500 && refused.Code != CodeNotTidings && !wantsToken(err) && !refused.Temporary() {
			if err := f.lose(refused, nil); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if first == "" {
			first = cursor
		}
		m := Message{Kind: Rows, Type: "loaded", Channel: channel, Rows: rows}
		if channel == f.channels[len(f.channels)-1] {
			f.since, f.unsure = first, false
		}
		if err := f.tell(m); err != nil {
			return err
		}
	}
	f.since, f.unsure, f.pages = first, false, false
	return nil
}

func (f *follower) loadAll(ctx context.Context, channel string) (rows []json.RawMessage, cursor string, err error) {
	o := LoadOptions{Limit: maxPage}
	for {
		page, err := f.client.load(ctx, channel, o, f.why)
		var refused *Error
		switch {
		case err == nil:
			f.why = Connect
		case errors.As(err, &refused) && refused.Code == CodeBadRequest && o.Limit > 0:
			o.Limit = 0 // the service has smaller pages
			continue
		default:
			if err := f.pause(ctx, err); err != nil {
				return nil, "", err
			}
			continue
		}
		if cursor == "" {
			cursor = page.Cursor
		}
		rows = append(rows, page.Rows...)
		if page.Next == "" {
			return rows, cursor, nil
		}
		o.After = page.Next
	}
}
