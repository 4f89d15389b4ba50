//! Builds the browser app into `OUT_DIR` and lists its files as `ASSETS`. See `lib.rs` for what steers it.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// What decides over the content of the app. Whatever else lies in this directory may change without a rebuild.
const SOURCES: [&str; 11] = [
    "build.rs",
    "emoji.ts",
    "index.html",
    "package-lock.json",
    "package.json",
    "precompress.ts",
    "public",
    "sdk/src",
    "src",
    "tsconfig.json",
    "vite.config.ts",
];

/// The oldest releases of Node.js that vite runs on.
const NODE: &str = "Node.js 20.19+ or 22.12+";

fn main() {
    if let Err(error) = embed() {
        println!("cargo::error={error}");
    }
}

fn embed() -> Result<()> {
    println!("cargo::rerun-if-env-changed=WEB");
    println!("cargo::rerun-if-env-changed=WEB_DIST");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let table = table(&app(&out)?)?;
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// The directory with what is to be embedded.
fn app(out: &Path) -> Result<PathBuf> {
    let mode = env::var("WEB").unwrap_or_default();
    if let Some(dist) = env::var_os("WEB_DIST").map(PathBuf::from) {
        println!("cargo::rerun-if-changed={}", dist.display());
        let is_app = dist.is_absolute() && dist.join("index.html").is_file();
        return if is_app { Ok(dist) } else { Err("WEB_DIST is not the absolute path of a built app".into()) };
    }
    if mode == "skip" {
        return placeholder(out, "it was built with WEB=skip");
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let dist = out.join("dist");
    let required =
        mode == "require" || (mode.is_empty() && env::var("PROFILE").is_ok_and(|profile| profile == "release"));
    match find_node() {
        Ok(()) => build(&dist).map(|()| dist),
        Err(why) if required => Err(format!(
            "the browser app cannot be built: {why}. Install {NODE}, or set WEB=skip (server only) or WEB_DIST=DIR (an app built before)"
        )
        .into()),
        Err(why) => {
            println!("cargo::warning=the browser app is not in this build: {why}. Install {NODE} and build again; all else works");
            println!("cargo::rerun-if-changed={}", out.join("never").display());
            placeholder(out, &format!("{why} when it was built"))
        }
    }
}

fn find_node() -> Result<(), String> {
    let output = Command::new("node").arg("--version").output().map_err(|_| "Node.js was not found".to_owned())?;
    let version = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').to_owned();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    match (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) {
        (20, 19..) | (22, 12..) | (23.., _) => Ok(()),
        _ => Err(format!("Node.js {version} was found, which is too old")),
    }
}

fn build(dist: &Path) -> Result<()> {
    install()?;
    run(Command::new("node")
        .arg("node_modules/vite/bin/vite.js")
        .arg("build")
        .arg("--emptyOutDir")
        .arg("--outDir")
        .arg(dist))
}

/// Installs what the lock file names, unless that was done since it last changed.
fn install() -> Result<()> {
    // builds into other target directories use the same node_modules
    let lock = File::create(".cargo-npm.lock")?;
    lock.lock()?;
    let changed = |path: &str| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if changed("node_modules/.package-lock.json") >= changed("package-lock.json") {
        return Ok(());
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    run(Command::new(npm).args(["ci", "--include=dev", "--no-audit", "--no-fund"]))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("NO_COLOR", "1")
        .env_remove("NODE_ENV")
        .env_remove("NODE_OPTIONS")
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    for line in String::from_utf8_lossy(&said).lines().filter(|line| !line.trim().is_empty()).take(20) {
        println!("cargo::warning={program}: {line}");
    }
    Err(format!("the browser app cannot be built: {program} ended with {}", output.status).into())
}

/// A page in place of the app.
fn placeholder(out: &Path, why: &str) -> Result<PathBuf> {
    let dir = out.join("placeholder");
    fs::create_dir_all(&dir)?;
    fs::write(
        dir.join("index.html"),
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>Hubbub</title>\
             <body>\
             <h1>Hubbub is running</h1><p>The chat is not in this build: {why}. Install {NODE} and build again.</p>\
             <p>WebSocket clients are served as ever at <code>/ws</code>.</p></body></html>\n"
        ),
    )?;
    Ok(dir)
}

/// The Rust source of `ASSETS`, sorted by path.
fn table(dist: &Path) -> Result<String> {
    let mut files = vec![];
    list(dist, &mut files)?;
    let mut assets = files
        .iter()
        .filter(|file| !matches!(extension(file), "br" | "gz" | "map"))
        .map(|file| Ok((url_path(dist, file)?, file)))
        .collect::<Result<Vec<_>>>()?;
    assets.sort();

    let mut source = String::from("/// Every file of the app, sorted by path.\npub static ASSETS: &[Asset] = &[\n");
    for (path, file) in assets {
        writeln!(
            source,
            "Asset {{ path: {path:?}, content_type: {:?}, etag: {:?}, identity: {}, brotli: {}, gzip: {}, immutable: {} }},",
            content_type(file),
            etag(&fs::read(file)?),
            include(file)?,
            include_sibling(file, "br")?,
            include_sibling(file, "gz")?,
            path.starts_with("assets/"),
        )?;
    }
    source.push_str("];\n");
    Ok(source)
}

fn include(file: &Path) -> Result<String> {
    let path = file.to_str().ok_or("a path is not UTF-8")?;
    Ok(format!("include_bytes!({path:?})"))
}

fn include_sibling(file: &Path, suffix: &str) -> Result<String> {
    let sibling = file.with_extension(format!("{}.{suffix}", extension(file)));
    if sibling.is_file() { Ok(format!("Some({})", include(&sibling)?)) } else { Ok("None".to_owned()) }
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn url_path(dist: &Path, file: &Path) -> Result<String> {
    let path = file.strip_prefix(dist)?.to_str().ok_or("a path is not UTF-8")?;
    Ok(path.replace('\\', "/"))
}

fn extension(file: &Path) -> &str {
    file.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

fn content_type(file: &Path) -> &'static str {
    match extension(file) {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

fn etag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    format!("\"{:016x}\"", hasher.finish())
}
