//! The embedded browser app.

use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use hubbub_web::Asset;

use super::problem::Problem;

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// Serves a file of the app. `/` is its page: the routes of the app are in the fragment, which no server sees.
pub(super) async fn app(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return Problem::method_not_allowed().into_response();
    }
    let file = if uri.path() == "/" { "index.html" } else { uri.path() };
    hubbub_web::asset(file).map_or_else(
        || Problem::new(StatusCode::NOT_FOUND, "nothing is served at this path").into_response(),
        |asset| respond(asset, &headers),
    )
}

fn respond(asset: &'static Asset, request: &HeaderMap) -> Response {
    let (encoding, body) = smallest(asset, request);
    let etag = encoding
        .map_or_else(|| asset.etag.to_owned(), |encoding| format!("{}-{encoding}\"", asset.etag.trim_end_matches('"')));
    let unchanged = request.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let mut response = if unchanged.is_some_and(|known| known.split(',').any(|known| is_same(known.trim(), &etag))) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.content_type)], body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, if asset.immutable { IMMUTABLE } else { REVALIDATE });
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether a tag from `If-None-Match` is this one. A proxy may have made it a weak one (RFC 9110, 13.1.2).
fn is_same(known: &str, etag: &str) -> bool {
    known == "*" || known.trim_start_matches("W/") == etag
}

/// The smallest encoding of the file that the client accepts.
fn smallest(asset: &'static Asset, request: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let accepted = request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let takes = |name: &str| {
        accepted.split(',').any(|part| {
            let (coding, quality) = part.split_once(';').unwrap_or((part, ""));
            coding.trim() == name && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    };
    match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if takes("br") => (Some("br"), brotli),
        (_, Some(gzip)) if takes("gzip") => (Some("gzip"), gzip),
        _ => (None, asset.identity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_files_of_the_app_are_served() {
        let status =
            async |path: &'static str| app(Method::GET, Uri::from_static(path), HeaderMap::new()).await.status();
        assert_eq!(status("/").await, StatusCode::OK);
        assert_eq!(status("/index.html").await, StatusCode::OK);
        for path in ["/rooms/lobby", "/assets/none.js", "/v1/nothing", "/healthz", "/ws/", "//", "//index.html"] {
            assert_eq!(status(path).await, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn a_file_that_the_client_has_is_not_sent_again() {
        let first = app(Method::GET, Uri::from_static("/"), HeaderMap::new()).await;
        let etag = first.headers().get(header::ETAG).unwrap().clone();
        let again =
            app(Method::GET, Uri::from_static("/"), HeaderMap::from_iter([(header::IF_NONE_MATCH, etag)])).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}
