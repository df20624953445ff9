# moss as one static file in an otherwise empty image:
#
#     docker build -t moss .
#
# Nothing here names an architecture; what the builder runs on is what comes out.
# rust:1-slim and not rust:1-alpine, because Debian's is there for more
# architectures, and glibc's malloc and memcpy are the ones moss was measured
# with. Both have the C compiler that TLS needs (rust:1-alpine has musl-dev too):
# `--build-arg BUILDER=rust:1-alpine` should work as well.
ARG BUILDER=rust:1-slim

FROM ${BUILDER} AS builder
WORKDIR /moss

# The dependencies, with an empty program in moss's place: built anew only when
# one of these files changes. The benchmarks because cargo wants to see every
# file that the manifest names.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY benches benches
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs && cargo static

# COPY keeps the files' own times. Without the touch cargo would find them older
# than the empty program, and ship that.
COPY build.rs ./
COPY src src
# For `moss --version`: --build-arg MOSS_COMMIT=$(git rev-parse --short=12 HEAD)
ARG MOSS_COMMIT
RUN touch src/lib.rs src/main.rs && cargo static && cp target/*/release/moss /moss/moss

FROM scratch
LABEL org.opencontainers.image.title="moss" \
      org.opencontainers.image.description="Many-to-One Signaling Server: lets many WebRTC clients find one master over WebSocket" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=builder /moss/moss /moss

# Buffers go back to the kernel one by one, or moss may take twice as much for the holes.
ENV GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072
# By number: the image has no /etc/passwd to look a name up in.
USER 65532:65532
# ws:// and http://; wss:// and https://, for which certificate and key are mounted.
EXPOSE 8080 8443
STOPSIGNAL SIGTERM
# Of the settings it reads MOSS_HOSTNAME and MOSS_PORT alone. A moss without a master, or with a
# full house, is well: whoever has to know of a master asks `/moss health --master`.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["/moss", "health"]
ENTRYPOINT ["/moss"]
