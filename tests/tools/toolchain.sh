# shellcheck shell=bash
# Sourced before cargo is used. A machine that cannot fetch the compiler of rust-toolchain.toml may have another one that does.
if command -v rustup >/dev/null && ! cargo --version >/dev/null 2>&1; then
  RUSTUP_TOOLCHAIN=$(rustup default | cut -d' ' -f1)
  export RUSTUP_TOOLCHAIN
  echo "rustup cannot get the compiler of rust-toolchain.toml; $(rustc --version) is used" >&2
fi
