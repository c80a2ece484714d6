package main

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	tidings "tidings/clients/go"
)

// tailFilter is what of the events and rows is wanted.
type tailFilter struct {
	types []string
	where []condition
	noted map[string]bool // columns that were missing
}

// condition is one of --where.
type condition struct {
	column, operator, value string
	pattern                 *regexp.Regexp // of ~
}

var conditionForm = regexp.MustCompile(`(?s)^([^=!~]+)(!=|=|~)(.*)$`)

func newTailFilter(types, where []string) (tailFilter, error) {
	f := tailFilter{types: types, noted: make(map[string]bool)}
	for _, text := range where {
		parts := conditionForm.FindStringSubmatch(text)
		if parts == nil {
			return f, fmt.Errorf("--where: %q is no condition: it is column=value, column!=value, or column~regexp", text)
		}
		c := condition{column: parts[1], operator: parts[2], value: parts[3]}
		if c.operator == "~" {
			var err error
			if c.pattern, err = regexp.Compile(c.value); err != nil {
				return f, fmt.Errorf("--where: in %q: %w", text, err)
			}
		}
		f.where = append(f.where, c)
	}
	return f, nil
}

func (f *tailFilter) wants(m tidings.Message) bool {
	ofType := len(f.types) == 0 || slices.ContainsFunc(f.types, func(pattern string) bool {
		matches, _ := path.Match(pattern, m.Type) // it is a pattern, as was seen before
		return matches
	})
	return ofType && f.wantsRow(m.Type, m.Data)
}

// wantsRow reports whether the conditions hold of a row. Where there is no row, as of a truncation, nobody can say that they don't.
func (f *tailFilter) wantsRow(what string, row json.RawMessage) bool {
	if len(f.where) == 0 || len(row) == 0 {
		return true
	}
	var columns map[string]json.RawMessage
	if json.Unmarshal(row, &columns) != nil || columns == nil {
		return string(row) == "null"
	}
	for _, c := range f.where {
		value, there := columns[c.column]
		if !there {
			f.noteMissing(what, c.column, columns)
		}
		if there && !c.holds(value) || !there && c.operator != "!=" {
			return false
		}
	}
	return true
}

// noteMissing says once that a row has no such column.
func (f *tailFilter) noteMissing(what, column string, columns map[string]json.RawMessage) {
	if f.noted[what+" "+column] {
		return
	}
	f.noted[what+" "+column] = true
	names := make([]string, 0, len(columns))
	for name := range columns {
		names = append(names, name)
	}
	slices.Sort(names)
	note("--where: %s has no column %q; it has %s", what, column, strings.Join(names, ", "))
}

// holds reports whether the condition holds of a value.
func (c *condition) holds(value json.RawMessage) bool {
	text := string(value)
	var s string
	if json.Unmarshal(value, &s) == nil && text != "null" {
		text = s
	}
	switch c.operator {
	case "~":
		return c.pattern.MatchString(text)
	case "!=":
		return !c.equals(text, value)
	}
	return c.equals(text, value)
}

// equals takes numbers for equal that are the same and written otherwise, as 12.5 and 12.50.
func (c *condition) equals(text string, value json.RawMessage) bool {
	if text == c.value {
		return true
	}
	if len(value) == 0 || value[0] == '"' || !strings.ContainsAny(text+c.value, ".eE") {
		return false
	}
	a, errA := strconv.ParseFloat(text, 64)
	b, errB := strconv.ParseFloat(c.value, 64)
	return errA == nil && errB == nil && a == b
}
