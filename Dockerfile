FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
    gcc libc6-dev libssl-dev libyaml-dev make pkg-config
WORKDIR /src
COPY Makefile config.yml ./
COPY include include
COPY src src
RUN make install DESTDIR=/out

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
    ca-certificates libssl3 libyaml-0-2 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/usr/local/bin/dot-proxy /usr/local/bin/
WORKDIR /app
COPY config.yml ./
EXPOSE 53/tcp 53/udp
ENTRYPOINT ["dot-proxy"]
