#!/bin/sh
# Renews what http/page/lib has of others: the libraries that the pages are made with, at the versions below. They are modules as
# their packages have them, but that they import each other as files. Needs npm. Run the tests in a browser afterwards.
set -eu

preact=11.2.0
htm=3.1.1
signals=2.11.4
signals_core=1.14.5

into=$(cd "$(dirname "$0")/../http/page/lib" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpack NAME PACKAGE VERSION: fetches a package into a folder, and keeps its license.
unpack() {
	mkdir "$work/$1"
	(cd "$work/$1" && npm pack --silent "$2@$3" >/dev/null && tar -xzf ./*.tgz --strip-components=1)
	cp "$work/$1"/LICENSE* "$into/LICENSE.$1"
}

# keep FILE NAME: keeps a module under a name.
keep() {
	sed -e '/^\/\/# sourceMappingURL=/d' -e 's/\/\/# sourceMappingURL=.*$//' \
		-e 's/from *"preact"/from".\/preact.js"/g' \
		-e 's/from *"preact\/hooks"/from".\/hooks.js"/g' \
		-e 's/from *"@preact\/signals-core"/from".\/signals-core.js"/g' \
		"$work/$1" >"$into/$2"
}

unpack preact preact "$preact"
unpack htm htm "$htm"
unpack signals @preact/signals "$signals"
unpack signals-core @preact/signals-core "$signals_core"

keep preact/dist/preact.mjs preact.js
keep preact/hooks/dist/hooks.mjs hooks.js
keep htm/dist/htm.mjs htm.js
keep signals/dist/signals.mjs signals.js
keep signals-core/dist/signals-core.mjs signals-core.js

ls -l "$into"
