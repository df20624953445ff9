# moss as one static file in an otherwise empty image:
#
#     docker build -t moss .
#
# The image is for the architecture of the builder.
# rust:1-slim and not rust:1-alpine, because Debian's image exists for more
# architectures, and moss was measured with glibc's malloc and memcpy. Both have
# the C compiler that TLS needs (rust:1-alpine has musl-dev, too), so
# `--build-arg BUILDER=rust:1-alpine` should work as well.
ARG BUILDER=rust:1-slim

FROM ${BUILDER} AS builder
WORKDIR /moss

# Only the dependencies, with an empty program in place of moss: this layer is
# built again only when one of these files changes. The benchmarks are needed
# because cargo checks every file that the manifest names.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY benches benches
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs && cargo static

# COPY keeps the files' modification times. Without the touch cargo would take them
# for older than the empty program, and not build moss.
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

# Large buffers are returned to the kernel at once. Otherwise fragmentation may double moss's memory.
ENV GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072
# A number, because the image has no /etc/passwd.
USER 65532:65532
# 8080: ws:// and http://. 8443: wss:// and https://, with a mounted certificate and key.
EXPOSE 8080 8443
STOPSIGNAL SIGTERM
# It reads only the settings MOSS_HOSTNAME and MOSS_PORT. A moss without a master, or one that is
# full, counts as healthy. To check for a master, use `/moss health --master`.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["/moss", "health"]
ENTRYPOINT ["/moss"]
