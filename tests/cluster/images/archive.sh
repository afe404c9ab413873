# shellcheck shell=bash
# Sourced by the image builders: builds images without an image registry and keeps each as an archive in the cache.
#
# A builder's output is the name of its archive, so whatever else prints goes to standard error: `print_value` alone reaches the caller.
exec 3>&1 1>&2
print_value() { echo "$1" >&3; }
images=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/scribe-agent
mkdir -p "$cache/images" "$cache/buildah"

# export_image IMAGE ARCHIVE KEY CONTEXT BUILD-ARGUMENTS…: builds IMAGE and writes ARCHIVE, unless the archive was made
# from the same inputs, of which KEY is a hash.
export_image() {
  local image=$1 archive=$2 key=$3 context=$4 log
  shift 4
  if [ -e "$archive" ] && [ "$(cat "$archive.key" 2>/dev/null)" = "$key" ]; then return; fi
  "$images/../packages" buildah=buildah
  log=$(mktemp)
  rm -f "$archive" "$archive.key"
  if ! {
    buildah_ build --isolation chroot "$@" --tag "$image" "$context" &&
      buildah_ push --disable-compression "$image" "oci-archive:$archive.part:$image"
  } >"$log" 2>&1; then
    echo "image $image: cannot be built:" >&2
    tail -n 15 "$log" >&2
    rm -f "$log" "$archive.part"
    return 1
  fi
  rm -f "$log"
  buildah_ rmi --force "$image" >/dev/null
  mv "$archive.part" "$archive"
  echo "$key" >"$archive.key"
}

# The vfs driver works everywhere; what it stores is removed again as soon as the archive is written.
buildah_() { buildah --storage-driver vfs --root "$cache/buildah/root" --runroot "$cache/buildah/run" "$@"; }

# key_of FILE…: a hash of their contents, wherever they are.
key_of() { sha256sum "$@" | cut -d' ' -f1 | sha256sum | cut -d' ' -f1; }
