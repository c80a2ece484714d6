package graph

import (
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// MarshalRowID writes the id of a row.
func MarshalRowID(id int64) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = io.WriteString(w, `"`+strconv.FormatInt(id, 10)+`"`) // to memory
	})
}

// UnmarshalRowID reads the id of a row, a whole number as text or as it is.
func UnmarshalRowID(v any) (int64, error) {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case int64:
		return v, nil
	case int:
		return int64(v), nil
	default:
		return 0, inputErrorf("an ID is a text or a whole number, not %T", v)
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, inputErrorf("%q is not an ID: it is a whole number", text)
	}
	return id, nil
}

const dateTimeFormat = "2006-01-02T15:04:05.000000Z07:00"

// MarshalDateTime writes a moment in UTC and with microseconds.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = io.WriteString(w, t.UTC().Format(`"`+dateTimeFormat+`"`)) // to memory
	})
}

// UnmarshalDateTime reads a moment.
func UnmarshalDateTime(v any) (time.Time, error) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, inputErrorf("a DateTime is a text such as %q, not %T", "2026-03-01T10:20:30Z", v)
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, inputErrorf("%q is not a DateTime such as %q", text, "2026-03-01T10:20:30Z")
	}
	return t, nil
}

// JSON is a value as PostgreSQL printed it.
type JSON []byte

// MarshalGQL writes the value as it is; none is null.
func (j JSON) MarshalGQL(w io.Writer) {
	if len(j) == 0 {
		j = JSON("null")
	}
	_, _ = w.Write(j) // to memory
}

// UnmarshalGQL reads any value.
func (j *JSON) UnmarshalGQL(v any) (err error) {
	*j, err = json.Marshal(v)
	return err
}
