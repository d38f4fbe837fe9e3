FROM debian:bookworm-slim AS build
# The versions are those of Debian 12, with its security updates.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates gcc libc6-dev libcap2-bin libssl-dev libyaml-dev make pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile ./
COPY include include
COPY src src
# Packed relocations (glibc 2.36 or later) make the program a tenth smaller. The file capability for
# port 53 is permitted and not effective, so that the program also starts under --cap-drop ALL. The
# program raises it where the engine permits it.
RUN make -s program VARIANT=static LDFLAGS=-Wl,-z,pack-relative-relocs \
    && strip -o dot-proxy build/gcc-static/dot-proxy \
    && setcap cap_net_bind_service=p dot-proxy

FROM scratch
LABEL org.opencontainers.image.title="dot-proxy" \
      org.opencontainers.image.description="Plain DNS in, verified DNS over TLS out" \
      org.opencontainers.image.version="1.0.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/dot-proxy /
WORKDIR /app
COPY config.yml ./
USER 65532:65532
EXPOSE 53/tcp 53/udp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/dot-proxy"]
# podman keeps it only with `podman build --format docker'.
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ["/dot-proxy", "healthcheck"]
