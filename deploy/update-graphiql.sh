#!/bin/sh
# Renews what http/graphiql has of others: GraphiQL, the React that it needs, and a WebSocket client, at the versions below.
# They are kept compressed, as browsers get them. Needs npm. Run the tests named GraphiQL afterwards, and look at the page.
set -eu

graphiql=3.9.0 # later ones are no single script, and bring a far larger editor
react=18.3.1   # later ones have no build that is a plain script
graphql_ws=6.4.2

into=$(cd "$(dirname "$0")/../http/graphiql" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpack PACKAGE VERSION: fetches a package into a folder of its name, and keeps its license.
unpack() {
	mkdir "$work/$1"
	(cd "$work" && npm pack --silent "$1@$2" >/dev/null && tar -xzf "$1-$2.tgz" -C "$1" --strip-components=1)
	cp "$work/$1"/LICENSE* "$into/LICENSE.$1"
}

# keep NAME: compresses what is read, the same bytes each time.
keep() {
	gzip -9n >"$into/$1.gz"
}

unpack graphiql "$graphiql"
unpack react "$react"
unpack react-dom "$react"
unpack graphql-ws "$graphql_ws"

keep react.js <"$work/react/umd/react.production.min.js"
keep react-dom.js <"$work/react-dom/umd/react-dom.production.min.js"
keep graphql-ws.js <"$work/graphql-ws/umd/graphql-ws.min.js"
# Its source map is not kept. Fonts are seven eighths of the style sheet; the page does with those of the system.
sed '/^\/\/# sourceMappingURL=/d' "$work/graphiql/graphiql.min.js" | keep graphiql.js
sed 's/@font-face{[^}]*}//g' "$work/graphiql/graphiql.min.css" | keep graphiql.css

ls -l "$into"
