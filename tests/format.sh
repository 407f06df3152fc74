#!/bin/sh
# Every C and OpenCL C file is laid out as .clang-format says. Usage: format.sh ROOT
set -eu
cd "$1"
if ! command -v clang-format-14 >/dev/null; then
    echo "clang-format-14 is not installed"
    exit 77
fi
find host include tests bench cl \( -name '*.[ch]' -o -name '*.cl' -o -name '*.clh' -o -name '*.def' \) \
    -exec clang-format-14 --dry-run -Werror {} +
