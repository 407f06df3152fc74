#!/bin/sh
# A program outside the tree, the quick start of README.md, word for word: installs the library, moves
# the installation, builds the program with pkg-config and with find_package, and runs both.
# Usage: run.sh ROOT BUILD_DIR WORK_DIR CC
set -eu
root=$1 build=$2 work=$3 cc=$4
here=$root/tests/consumer

rm -rf "$work"
mkdir -p "$work/source"
cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/prefix"
"$work/prefix/bin/clarinet" --version
awk '/^```c$/ { block = 1; next }
     /^```$/  { block = chosen = 0 }
     block && /^\/\* quick start \*\/$/ { chosen = 1 }
     chosen' "$root/README.md" >"$work/source/main.c"
test -s "$work/source/main.c" || { echo "README.md has no quick start"; exit 1; }
cp "$here/CMakeLists.txt" "$work/source"

pc=$(find "$work/prefix" -name clarinet.pc)
PKG_CONFIG_PATH=${pc%/*}
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # flags are words
"$cc" -std=c11 -Wall -Wextra -pedantic -Werror "$work/source/main.c" -o "$work/with-pkg-config" \
    $(pkg-config --cflags --libs clarinet)

cmake -S "$work/source" -B "$work/build" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/build" >"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }

LD_LIBRARY_PATH=${pc%/pkgconfig/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
for program in "$work/with-pkg-config" "$work/build/consumer"; do
    "$program" | tee "$work/output"
    awk -f "$here/ten_losses.awk" "$work/output"
done
