//! `hubbub health` finds the instance that runs, whatever address it was given.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use std::{fs, path::PathBuf};

use hubbub_testbed::{Server, command, scratch, within};

/// A directory for the files of one test's instances, and what `HUBBUB_LISTEN` is; empty if it is not set.
struct Environment {
    directory: PathBuf,
    listen: &'static str,
}

impl Environment {
    fn new(listen: &'static str) -> Self {
        Self { directory: scratch("run"), listen }
    }

    /// Another value of `HUBBUB_LISTEN`, for the same user.
    fn beside(&self, listen: &'static str) -> Self {
        Self { directory: self.directory.clone(), listen }
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        let directory = ("XDG_RUNTIME_DIR", self.directory.to_str().unwrap());
        let listen = (!self.listen.is_empty()).then_some(("HUBBUB_LISTEN", self.listen));
        [directory].into_iter().chain(listen).collect()
    }

    /// An instance that an option makes listen on a free port.
    async fn instance(&self) -> Server {
        let server = Server::spawn_in(&self.variables(), &["--listen", "127.0.0.1:0", "--admin-listen", "off"]).await;
        server.ready().await;
        server
    }

    /// What `hubbub health` says; nothing is good.
    async fn health(&self, flags: &[&str]) -> String {
        let mut command = command(&[&["health"], flags].concat());
        let output = within(command.envs(self.variables()).output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), said.is_empty(), "{said}");
        said
    }

    /// How many files there are.
    fn files(&self) -> usize {
        let directories = fs::read_dir(&self.directory).unwrap();
        directories.map(|directory| fs::read_dir(directory.unwrap().path()).unwrap().count()).sum()
    }
}

#[tokio::test]
async fn an_option_that_overrides_the_variable_is_found() {
    for listen in ["", "127.0.0.1:1"] {
        let environment = Environment::new(listen);
        let mut server = environment.instance().await;
        assert_eq!(environment.health(&[]).await, "");
        server.terminate().await;
        server.ended().await;
        assert_eq!(environment.files(), 0);
    }
}

#[tokio::test]
async fn an_instance_that_was_killed_is_not_taken_for_a_running_one() {
    let environment = Environment::new("127.0.0.1:1");
    let mut server = environment.instance().await;
    server.kill().await;
    assert!(environment.health(&[]).await.contains("cannot connect to 127.0.0.1:1"));
    assert_eq!(environment.files(), 0);
}

#[tokio::test]
async fn instances_with_other_variables_do_not_answer_for_each_other() {
    let first = Environment::new("127.0.0.1:1");
    let second = first.beside("127.0.0.1:2");
    let (mut a, _b) = (first.instance().await, second.instance().await);
    assert_eq!((first.health(&[]).await, second.health(&[]).await), (String::new(), String::new()));
    a.kill().await;
    assert!(first.health(&[]).await.contains("127.0.0.1:1"));
    assert_eq!(second.health(&[]).await, "");
}

#[tokio::test]
async fn of_several_instances_one_must_be_chosen() {
    let environment = Environment::new("127.0.0.1:1");
    let (a, b) = (environment.instance().await, environment.instance().await);
    let said = environment.health(&[]).await;
    assert!(said.contains("--listen") && said.contains(a.address()) && said.contains(b.address()), "{said}");
    assert_eq!(environment.health(&["--listen", b.address()]).await, "");
}
