# syntax=docker/dockerfile:1
# One static program in an empty image.
#
#   docker build -t varve --build-arg REVISION=$(git rev-parse --short=12 HEAD) .
#   docker run --rm varve version
#
# With programs that are built already, in DIR/image/amd64/usr/local/bin/varve and so on for each platform (.ci/package lays them so),
# nothing is compiled:
#
#   docker buildx build --build-context build=DIR --platform linux/amd64,linux/arm64 .

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# Linked with musl, which loads nothing on the machine (docs/adr/0010-static-by-musl.md). The C parts (zstd, ring, mimalloc) need its compiler.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends musl-tools \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$(uname -m)-unknown-linux-musl"
COPY . .
ARG REVISION=
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    target="$(uname -m)-unknown-linux-musl" \
    && BUILT_FROM_COMMIT="$REVISION" cargo build --release --locked --package varve --target "$target" \
    && install -D "target/$target/release/varve" "/image/$TARGETARCH/usr/local/bin/varve" \
    && install -d "/image/$TARGETARCH/etc/varve" "/image/$TARGETARCH/var/lib/varve"

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=
ARG TARGETARCH
LABEL org.opencontainers.image.title="varve" \
      org.opencontainers.image.description="A distributed commit log, replicated over nodes and served over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# Volumes that are made for these directories belong to who runs here.
COPY --from=build --chown=65532:65532 /image/$TARGETARCH /
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
