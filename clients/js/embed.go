// Package js is the JavaScript client, as the service has it at /tidings.js.
package js

import _ "embed" // for what follows

// Module is the client, an ES module.
//
//go:embed tidings.js
var Module []byte

// Types are its types, for TypeScript.
//
//go:embed tidings.d.ts
var Types []byte
