//! The binary: a command line around the crates of the server.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
