# The browser app. It does not depend on the platform, so it is built apart from the server.
FROM node:20-bookworm-slim AS web
WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM rust:1.95-slim-bookworm AS server
WORKDIR /build
# The dependencies alone first, against empty sources: this layer is built again only when a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY client/Cargo.toml client/
COPY testbed/Cargo.toml testbed/
COPY web/Cargo.toml web/
RUN mkdir -p benches/audit benches/cluster benches/load src client/src testbed/src \
    && echo 'fn main() {}' >src/main.rs \
    && cp src/main.rs benches/codec.rs \
    && cp src/main.rs benches/fanout.rs \
    && cp src/main.rs benches/relay.rs \
    && cp src/main.rs benches/audit/main.rs \
    && cp src/main.rs benches/cluster/main.rs \
    && cp src/main.rs benches/load/main.rs \
    && cp src/main.rs web/build.rs \
    && touch src/lib.rs client/src/lib.rs testbed/src/lib.rs web/lib.rs \
    && cargo build --release --locked --bin hubbub
COPY src/ src/
COPY web/build.rs web/lib.rs web/
COPY --from=web /web/dist /dist
# COPY keeps the files' times, which may be older than those of the empty sources.
RUN find src web -name '*.rs' -exec touch {} + \
    && WEB_DIST=/dist cargo build --release --locked --bin hubbub

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=server /build/target/release/hubbub /hubbub
USER 65532:65532
ENV HUBBUB_LISTEN=0.0.0.0:8080 \
    HUBBUB_ADMIN_LISTEN=0.0.0.0:9091
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/hubbub", "health"]
ENTRYPOINT ["/hubbub"]
