//! A mail server of the test's own: aiosmtpd, which speaks SMTP and delivers to nobody.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::wait::within;

/// Prints its port, then each mail as a line of JSON. With a name and a password in its arguments it takes mails only from
/// who has signed in with them.
const PROGRAM: &str = r#"
import asyncio, email, email.policy, json, sys
from aiosmtpd.smtp import SMTP, AuthResult

class Handler:
    async def handle_DATA(self, server, session, envelope):
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "subject": parsed["subject"],
                          "text": parsed.get_content()}), flush=True)
        return "250 taken"

def authenticate(server, session, envelope, mechanism, data):
    is_right = [data.login.decode(), data.password.decode()] == sys.argv[1:3]
    return AuthResult(success=is_right)

async def main():
    needs = len(sys.argv) > 2
    factory = lambda: SMTP(Handler(), auth_require_tls=False, auth_required=needs,
                           authenticator=authenticate if needs else None)
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"#;

/// A mail server. Dropping it kills the process.
#[derive(Debug)]
pub struct MailServer {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
}

/// A mail that was delivered.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// To whom.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
}

impl MailServer {
    /// A server that takes mails from everybody.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A server that takes mails only with this name and password.
    pub async fn guarded(name: &str, password: &str) -> Self {
        Self::with(&[name, password]).await
    }

    async fn with(credentials: &[&str]) -> Self {
        // Debian's own Python, which has Debian's modules
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", PROGRAM]).args(credentials).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = within(lines.next_line())
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("python3-aiosmtpd is missing"))
            .parse()
            .unwrap();
        Self { _child: child, lines, port }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The next mail.
    pub async fn next(&mut self) -> Delivered {
        let line = within(self.lines.next_line()).await.unwrap().unwrap();
        let mail: Value = serde_json::from_str(&line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Delivered { to: text(&mail["to"][0]), subject: text(&mail["subject"]), text: text(&mail["text"]) }
    }
}

impl Delivered {
    /// The secret of its link: what stands after `#reset=` or `#verify=`.
    pub fn secret(&self) -> String {
        let link = self.text.split_whitespace().find(|word| word.contains('#')).unwrap();
        link.rsplit('=').next().unwrap().to_owned()
    }
}
