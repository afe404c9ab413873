# shellcheck shell=bash
# Sourced by the tools that are Go programs of others: builds one from its module, once, and says where it is.

# go_program MODULE VERSION PACKAGE [REPLACEMENT]: builds the program, unless it is there, and prints its path to descriptor 3.
# A replacement is one of the module's own, which count for its own main module alone. A program in a folder `cmd` is called by its
# module's name. Takes minutes, and one processor of all
# but the last step; what the compiler keeps goes at the end, because nothing else ever has a use for its gigabytes.
go_program() {
  local module=$1 version=$2 package=$3 name=${3##*/}
  if [ "$name" = cmd ]; then name=${module##*/}; fi
  local dir=${XDG_CACHE_HOME:-$HOME/.cache}/scribe-agent/tools/$name-$version
  if [ ! -x "$dir/$name" ]; then
    if ! command -v go; then
      echo "missing on this machine, please install: go 1.26 or newer"
      return 1
    fi
    mkdir -p "$dir"
    build=$dir/build.$$
    trap 'rm -rf "$build"' EXIT
    mkdir "$build"
    printf '%s\n' "module tool" "go 1.26" "require $module $version" ${4:+"replace $4"} >"$build/go.mod"
    echo "building $name $version from its Go module, which takes some minutes"
    (
      cd "$build" || exit
      export CGO_ENABLED=0 GOCACHE=$build/cache GOFLAGS=-mod=mod GOTMPDIR=$build GOWORK=off
      nice go build -p 1 -trimpath -ldflags "-s -w" -o "$build/$name" "$package"
    )
    mv "$build/$name" "$dir/$name"
  fi
  echo "$dir/$name" >&3
}
