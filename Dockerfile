# The agent, the mover (the same binary) and rclone: nothing else, not even a shell.
#
# `docker build .` uses the stages as they stand. A builder without an image registry gives the first two as directories
# instead, which then replace the stages of these names: --build-context build=DIR --build-context rclone=DIR.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# With the compiler of this image: rust-toolchain.toml would have rustup fetch another one, or what the image lacks of it.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION}
# Static against glibc, which needs the target named: flags given for it do not reach build scripts and macros.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$target" \
 && install -D "target/$target/release/scribe-agent" /usr/local/bin/scribe-agent

FROM rclone/rclone:1.75.2 AS rclone

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=rclone /usr/local/bin/rclone /usr/local/bin/rclone
COPY --from=build /usr/local/bin/scribe-agent /usr/local/bin/scribe-agent
LABEL org.opencontainers.image.title="scribe-agent" \
      org.opencontainers.image.description="rclone-based volume replication for Kubernetes: one small agent per namespace" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/bin
# By number: there is no /etc/passwd. The mover's Job asks for another user where it needs one.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/scribe-agent"]
