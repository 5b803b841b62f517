# syntax=docker/dockerfile:1
# One static program in an empty image.
#
#   docker build -t varve --build-arg REVISION=$(git rev-parse --short=12 HEAD) .
#   docker run --rm varve version

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The C parts (zstd, ring) need a compiler, which the image for Rust brings.
COPY . .
ARG REVISION=
# The C library is linked in, and with it its resolver: that of 2.34 and later reads /etc/hosts and asks DNS by itself. The target
# is named so that the compiler's own helpers, which run here, are not built like that.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    target="$(rustc --print host-tuple)" \
    && BUILT_FROM_COMMIT="$REVISION" RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" \
       cargo build --release --locked --package varve --target "$target" \
    && install -D "target/$target/release/varve" /image/usr/local/bin/varve \
    && install -d /image/etc/varve /image/var/lib/varve

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="varve" \
      org.opencontainers.image.description="A distributed commit log, replicated over nodes and served over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# Volumes that are made for these directories belong to who runs here.
COPY --from=build --chown=65532:65532 /image /
ENV PATH=/usr/local/bin \
    VARVE_DATA_DIR=/var/lib/varve/data
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# Nothing is written but below /var/lib/varve: the root may be read-only.
VOLUME ["/var/lib/varve"]
# gRPC, gossip (both protocols), operations.
EXPOSE 8400/tcp 8401/tcp 8401/udp 8402/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["varve"]
CMD ["server"]
