// Package graph is the GraphQL API: queries, mutations and subscriptions of the information channel, and events of any watched
// table. It knows nothing of how requests come in: package http brings them, and takes away what is to be sent.
//
// What it promises: all that a query reads is of one moment, and its liveCursor is of exactly that; a query takes the same number
// of statements however many rows it returns; a subscription's results are made once for all who have the same document,
// variables and rights; a mutation that is sent twice with the same clientMutationId is done once. A request that is too large to be
// answered is refused before it is executed. Every error has a code in its extensions.
package graph

//go:generate go tool gqlgen generate
//go:generate go run ./internal/docs schema.graphql ../../docs/graphql-reference.md
