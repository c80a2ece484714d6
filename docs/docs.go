// Package docs is what the service itself has of its documentation.
package docs

import _ "embed"

// AsyncAPI describes the protocol of /ws, /ws/events and /events for programs: an AsyncAPI document, in YAML.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
