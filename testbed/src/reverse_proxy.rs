//! A real reverse proxy in front of the instances, as an operator sets it up.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{CertificateParams, KeyPair};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::{
    process::scratch,
    wait::{PATIENCE, eventually},
};

/// The product, and with it the form of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// The configuration is a file for the `http` block, as in `conf.d`.
    Nginx,
    /// The configuration is the whole file.
    Haproxy,
    /// The configuration is a Caddyfile without global options.
    Caddy,
}

/// What nginx needs around a file of `conf.d`. One process, so that it ends with its parent.
const NGINX: &str = "daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}
";

/// No admin endpoint: its port is the same for every Caddy.
const CADDY: &str = "{\n    admin off\n    default_bind 127.0.0.1\n}\n";

/// A running proxy in a directory of its own. Dropping it ends the process.
#[derive(Debug)]
pub struct ReverseProxy {
    child: Child,
    address: String,
    directory: PathBuf,
}

impl ReverseProxy {
    /// A free address of this machine, for the place where the configuration says what to listen on. Its port is below
    /// those that the kernel gives to outgoing connections: one of these could take it before the proxy listens.
    pub async fn free_address() -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let port = u16::try_from(20_000 + number % 10_000).unwrap();
            if TcpListener::bind(("0.0.0.0", port)).await.is_ok() {
                return format!("127.0.0.1:{port}");
            }
        }
    }

    /// Starts it. The configuration makes it listen at `address`, and it accepts connections when this returns.
    ///
    /// In its directory are `key.pem`, and `cert.pem` with the certificate and the key.
    pub async fn start(product: Product, configuration: &str, address: String) -> Self {
        let directory = scratch("reverse-proxy");
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        write("key.pem", &key.serialize_pem());
        write("cert.pem", &[certificate.pem(), key.serialize_pem()].concat());
        let mut command = match product {
            Product::Nginx => {
                write("nginx.conf", NGINX);
                write("site.conf", configuration);
                program("nginx", &["-e", "stderr", "-p", ".", "-c", "nginx.conf"])
            }
            Product::Haproxy => {
                write("haproxy.cfg", configuration);
                program("haproxy", &["-db", "-f", "haproxy.cfg"])
            }
            Product::Caddy => {
                write("Caddyfile", &[CADDY, configuration].concat());
                program("caddy", &["run", "--config", "Caddyfile", "--adapter", "caddyfile"])
            }
        };
        let log = fs::File::create(directory.join("log")).unwrap();
        let started = command
            .current_dir(&directory)
            .env("HOME", &directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let child = started.unwrap_or_else(|error| panic!("{command:?}, see `make setup`: {error}"));
        let mut proxy = Self { child, address, directory };
        proxy.listens().await;
        proxy
    }

    /// `host:port` where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    async fn listens(&mut self) {
        eventually(PATIENCE, || {
            assert_eq!(self.child.try_wait().unwrap(), None, "it has ended");
            let address = self.address.clone();
            async move { TcpStream::connect(address).await.ok() }
        })
        .await;
    }
}

/// A command of a package that puts its program where only root's `PATH` may lead.
fn program(name: &str, arguments: &[&str]) -> Command {
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists());
    let mut command = Command::new(found.unwrap_or_else(|| name.into()));
    command.args(arguments);
    command
}

impl Drop for ReverseProxy {
    #[expect(clippy::print_stderr, reason = "the log of the proxy explains why a test failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the last lines of the proxy at {}", self.address);
            lines.iter().skip(lines.len().saturating_sub(25)).for_each(|line| eprintln!("{line}"));
        }
        let _gone_or_not = fs::remove_dir_all(&self.directory);
    }
}
