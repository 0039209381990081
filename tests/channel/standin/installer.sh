#!/bin/sh
# Stands in for the installers of Anaconda, Miniconda and Miniforge: the same options, the same manners. What it installs comes after its last line.
set -eu

usage() {
  echo "usage: $0 [options]

Installs Toyforge @VERSION@

-b           run install in batch mode (without manual intervention)
-f           no error if install prefix already exists
-h           print this help message and exit
-p PREFIX    install prefix, defaults to $PREFIX, must not contain spaces."
}

PREFIX=${HOME:-/opt}/toyforge
BATCH=0 FORCE=0
while getopts bfhp:su option; do
  case $option in
    b) BATCH=1 ;;
    f) FORCE=1 ;;
    h) usage; exit 0 ;;
    p) PREFIX=$OPTARG ;;
    s | u) ;;
    *) echo "ERROR: did not recognize option, please try -h" >&2; exit 1 ;;
  esac
done

if [ "$BATCH" = 0 ]; then
  printf 'Welcome to Toyforge @VERSION@\n\nDo you accept the license terms? [yes|no]\n>>> '
  read -r answer || { echo "The license agreement wasn't approved, aborting installation." >&2; exit 2; }
  [ "$answer" = yes ] || { echo "The license agreement wasn't approved, aborting installation." >&2; exit 2; }
fi
case $PREFIX in
  *\ *) echo "ERROR: Cannot install into directories with spaces" >&2; exit 1 ;;
esac
if [ -e "$PREFIX" ] && [ "$FORCE" = 0 ]; then
  echo "ERROR: File or directory already exists: '$PREFIX'
If you want to update an existing installation, use the -u option." >&2
  exit 1
fi
mkdir -p "$PREFIX" || { echo "ERROR: Could not create directory: '$PREFIX'" >&2; exit 1; }
PREFIX=$(cd "$PREFIX" && pwd)
echo "PREFIX=$PREFIX"
echo "Unpacking payload ..."
sed '1,/^@@END_HEADER@@$/d' "$0" | tar -xf - -C "$PREFIX"
sed -i "s|@PREFIX@|$PREFIX|g" "$PREFIX/bin/conda"
@STEP@
echo "installation finished."
exit 0
# shellcheck disable=SC2317  # where what is unpacked begins
@@END_HEADER@@
