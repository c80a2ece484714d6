package main

import (
	"time"

	tidingshttp "tidings/http"
	"tidings/http/graph"
)

// graphOptions are those of GraphQL, for the embedded database or for another.
func (c *serveCmd) graphOptions(embedded bool) graph.Options {
	development := embedded
	if c.Development != nil {
		development = *c.Development
	}
	watch := development
	if c.AdminWatch != nil {
		watch = *c.AdminWatch
	}
	return graph.Options{
		Introspection: development, OpenWrites: development, AdminWatch: watch,
		MaxQueryBytes: c.GraphQL.MaxQueryBytes, MaxTokens: c.GraphQL.MaxTokens, MaxDepth: c.GraphQL.MaxDepth,
		MaxFields: c.GraphQL.MaxFields, MaxAliases: c.GraphQL.MaxAliases, MaxComplexity: c.GraphQL.MaxComplexity,
		MaxEventComplexity: c.GraphQL.MaxEventComplexity, MaxBytes: c.GraphQL.MaxBytes,
		DefaultPageSize: c.GraphQL.PageSize, MaxPageSize: c.GraphQL.MaxPageSize, Timeout: c.GraphQL.Timeout,
	}
}

// serverOptions are those of the server.
func (c *serveCmd) serverOptions() tidingshttp.Options {
	return tidingshttp.Options{
		AllowedOrigins: c.AllowOrigin, MaxConnections: c.MaxConnections, MaxConnectionsPerAddress: c.MaxConnectionsPerAddress,
		MaxCommandsPerSecond: c.MaxCommandsPerSecond, CommandBurst: c.CommandBurst, TrustedProxies: c.trustedProxies(), MaxFrame: c.MaxFrame, CompressMinBytes: c.CompressMinBytes,
		PageRows: c.PageRows, PageBytes: c.PageBytes,
		MaxBody: c.GraphQL.MaxBody, MaxBatch: c.GraphQL.MaxBatch, MaxOperations: c.GraphQL.MaxOperations, InitTimeout: c.GraphQL.InitTimeout,
		PingInterval: c.PingInterval, PongTimeout: c.PongTimeout, StallTimeout: c.StallTimeout,
		DrainDelay: c.DrainDelay, DrainTime: orNever(c.DrainTime), ShutdownTimeout: c.ShutdownTimeout,
		TokenWarning: c.TokenWarning, MaxConnectionsPerUser: c.MaxConnectionsPerUser,
	}
}

// orNever is a duration as options have it, of which the zero value is a default: none at all is negative there.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}
