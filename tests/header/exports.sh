#!/bin/sh
# The library exports what the public headers declare, all of it and nothing else.
# Usage: exports.sh CC INCLUDE_DIR LIBRARY
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$1" -E -P -I "$2" "$2/clarinet.h" | tr '\n' ' ' | sed 's/[;{]/\n/g' |
    grep -F 'visibility("default")' | grep -o 'crn_[a-z0-9_]*(' | tr -d '(' | sort >"$work/declared"
nm -D --defined-only --format=posix "$3" | awk '$2 != "A" { sub("@.*", "", $1); print $1 }' |
    sort >"$work/exported"

test -s "$work/declared"
diff -U0 --label declared --label exported "$work/declared" "$work/exported"
