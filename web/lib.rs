//! The chat for the browser, embedded.
//!
//! The build script runs `npm ci` (when it is due) and `vite build`, so that `cargo run` alone yields the whole product.
//! The environment decides what is embedded:
//!
//! | variable | effect |
//! |---|---|
//! | `WEB_DIST=DIR` | an app built before (absolute path); Node.js is not needed |
//! | `WEB=skip` | a page that says the app was left out |
//! | `WEB=require` | a missing Node.js is an error, as it is in release builds |

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// A file of the app with everything a response needs.
#[derive(Debug)]
pub struct Asset {
    /// Where it is served, without the leading slash: `index.html`, `assets/index-Ab12.js`.
    pub path: &'static str,
    /// The value for `Content-Type`.
    pub content_type: &'static str,
    /// The value for `ETag` of the identity form, quotes included.
    pub etag: &'static str,
    /// The content as it is.
    pub identity: &'static [u8],
    /// The content in `Content-Encoding: br`, where that is shorter.
    pub brotli: Option<&'static [u8]>,
    /// The content in `Content-Encoding: gzip`, where that is shorter.
    pub gzip: Option<&'static [u8]>,
    /// The path has a hash of the content in it, so it may be cached for ever.
    pub immutable: bool,
}

/// The asset served at this path, with or without the leading slash.
pub fn asset(path: &str) -> Option<&'static Asset> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let index = ASSETS.binary_search_by_key(&path, |asset| asset.path).ok()?;
    ASSETS.get(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_there_under_both_spellings() {
        let page = asset("index.html").unwrap();
        assert_eq!(page.content_type, "text/html; charset=utf-8");
        assert!(!page.immutable);
        assert_eq!(asset("/index.html").unwrap().path, page.path);
    }

    #[test]
    fn every_asset_can_be_found() {
        for expected in ASSETS {
            assert_eq!(asset(expected.path).unwrap().etag, expected.etag);
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(asset("assets/none.js").is_none());
        assert!(asset("").is_none());
    }

    #[test]
    fn compressed_forms_belong_to_their_asset_and_are_shorter() {
        for asset in ASSETS {
            let suffix = asset.path.rsplit('.').next();
            assert!(!matches!(suffix, Some("br" | "gz")), "{}", asset.path);
            for packed in [asset.brotli, asset.gzip].into_iter().flatten() {
                assert!(packed.len() < asset.identity.len(), "{}", asset.path);
            }
        }
    }

    #[test]
    fn only_paths_with_a_hash_are_immutable() {
        for asset in ASSETS {
            assert_eq!(asset.immutable, asset.path.starts_with("assets/"), "{}", asset.path);
        }
    }
}
