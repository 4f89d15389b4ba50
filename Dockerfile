# The browser app. It does not depend on the platform, so it is built apart from the server.
FROM node:20-bookworm-slim AS web
WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

# The manifests of the workspace, each with an empty library. The declared targets (benches and so on) have no sources
# here and are cut out, as far as the next blank line. The result only changes when a manifest does.
FROM rust:1.95-slim-bookworm AS manifests
WORKDIR /build
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock -delete \
    && find . -name Cargo.toml -exec sed -i -E '/^\[\[(bench|bin|example|test)\]\]/,/^$/d' {} + \
    && find . -name Cargo.toml -execdir sh -c 'mkdir -p src && touch lib.rs src/lib.rs' \; \
    && rm lib.rs src/lib.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cp src/main.rs web/build.rs \
    && find . -type d -empty -delete

FROM rust:1.95-slim-bookworm AS server
WORKDIR /build
# The dependencies alone, in a layer of their own.
COPY --from=manifests /build ./
RUN cargo build --release --locked --bin hubbub
COPY src/ src/
COPY web/build.rs web/lib.rs web/
COPY --from=web /web/dist /dist
# COPY keeps the files' times, which may be older than those of the empty sources.
RUN find src web -name '*.rs' -exec touch {} + \
    && WEB_DIST=/dist cargo build --release --locked --bin hubbub \
    && mkdir /data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=server /build/target/release/hubbub /hubbub
# The data folder of an instance without Redis.
COPY --from=server --chown=65532:65532 --chmod=0700 /data /data
USER 65532:65532
VOLUME /data
ENV HUBBUB_LISTEN=0.0.0.0:8080 \
    HUBBUB_ADMIN_LISTEN=0.0.0.0:9091 \
    HUBBUB_DATA=/data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/hubbub", "health"]
ENTRYPOINT ["/hubbub"]
