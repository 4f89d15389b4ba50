//! Passwords and mail addresses: changed, reset and verified, with a real mail server; the end of an account.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use hubbub_testbed::{
    MailServer, PATIENCE, Server,
    account::{Person, call, password, refresh, register, sign_in},
    eventually,
    frames::{assert_pongs, closed, enter_with},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const PUBLIC: &str = "https://chat.example.com/talk";

/// An instance that sends mails.
async fn with_mail(server: &MailServer, more: &[&str]) -> (TempDir, Server) {
    let folder = TempDir::new().unwrap();
    let url = format!("smtp://{}", server.address());
    let flags = ["--data", folder.path().to_str().unwrap(), "--smtp-url", &url, "--public-url", PUBLIC];
    let server = Server::start(&[&flags, more].concat()).await;
    (folder, server)
}

async fn post(server: &Server, path: &str, body: Value) -> u16 {
    call(server.address(), "POST", path, None, &body).await.status
}

/// Ann, whose address is verified.
async fn ann_with_mail(server: &Server, mails: &mut MailServer) -> Person {
    let ann = Person::register(server.address(), "ann").await;
    let body = json!({"email": "Ann@Example.com", "password": password("ann")});
    assert_eq!(ann.call(server.address(), "PUT", "/v1/me/email", &body).await.status, 202);
    let mail = mails.next().await;
    assert_eq!((mail.to.as_str(), mail.text.contains("@ann")), ("ann@example.com", true));
    assert_eq!(post(server, "/v1/auth/email/verify", json!({"token": mail.secret()})).await, 204);
    ann
}

#[tokio::test]
async fn a_forgotten_password_is_set_by_the_link_of_a_mail() {
    let mut mails = MailServer::start().await;
    let (_folder, server) = with_mail(&mails, &[]).await;
    let at = server.address();
    let ann = ann_with_mail(&server, &mut mails).await;
    assert_eq!(ann.call(at, "GET", "/v1/me", &Value::Null).await.json()["email"], "ann@example.com");
    let (mut connection, _) = enter_with(at, &ann.hello()).await;

    assert_eq!(post(&server, "/v1/auth/password/forgot", json!({"email": "ann@EXAMPLE.com"})).await, 202);
    let mail = mails.next().await;
    assert!(mail.text.contains(&format!("{PUBLIC}/#reset=")), "{mail:?}");
    let reset = async |token: &str, password: &str| {
        post(&server, "/v1/auth/password/reset", json!({"token": token, "password": password})).await
    };
    assert_eq!(reset("sesame", "another password").await, 404);
    assert_eq!(reset(&mail.secret(), "short").await, 422);
    assert_eq!(reset(&mail.secret(), "another password").await, 204);
    assert_eq!(reset(&mail.secret(), "a third password").await, 404, "a link counts once");

    assert_eq!(closed(&mut connection).await.code, 4503);
    refresh(at, &ann.refresh).await.assert_problem(401, "session_ended");
    assert_eq!(sign_in(at, "ann", &password("ann")).await.status, 401);
    assert_eq!(sign_in(at, "ann@example.com", "another password").await.status, 200);
}

#[tokio::test]
async fn nobody_learns_whether_an_address_has_an_account() {
    let mut mails = MailServer::start().await;
    let (_folder, server) = with_mail(&mails, &[]).await;
    let _ann = ann_with_mail(&server, &mut mails).await;
    let ask = async |email: &str| {
        call(server.address(), "POST", "/v1/auth/password/forgot", None, &json!({"email": email})).await
    };
    let (known, unknown) = (ask("ann@example.com").await, ask("nobody@example.com").await);
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    assert_eq!(known.status, 202);
    assert_eq!(mails.next().await.to, "ann@example.com");
    // one account is mailed five times an hour, and the answer stays the same
    for _ in 0..8 {
        assert_eq!(ask("ann@example.com").await.status, 202);
    }
    for _ in 0..4 {
        let _mail = mails.next().await;
    }
    let _ben = Person::register(server.address(), "ben").await;
    let sent = async || (server.metric("hubbub_mails_total", "sent").await >= 6.0).then_some(());
    eventually(PATIENCE, sent).await;
    assert!(server.metric("hubbub_mails_total", "").await < 7.0, "the verification and five for the password");
}

#[tokio::test]
async fn an_address_counts_for_nothing_until_it_is_verified_and_belongs_to_one_account() {
    let mut mails = MailServer::start().await;
    let (_folder, server) = with_mail(&mails, &[]).await;
    let at = server.address();
    let (ann, ben) = (Person::register(at, "ann").await, Person::register(at, "ben").await);
    let claim = async |person: &Person, secret: &str| {
        let body = json!({"email": "shared@example.com", "password": secret});
        person.call(at, "PUT", "/v1/me/email", &body).await.status
    };
    assert_eq!(claim(&ann, "wrong password").await, 403, "a stolen session takes no account over");
    assert_eq!(claim(&ann, &password("ann")).await, 202);
    let to_ann = mails.next().await;
    assert_eq!(claim(&ben, &password("ben")).await, 202);
    let to_ben = mails.next().await;
    assert_eq!(sign_in(at, "shared@example.com", &password("ann")).await.status, 401);
    assert_eq!(post(&server, "/v1/auth/email/verify", json!({"token": to_ben.secret()})).await, 204);
    assert_eq!(post(&server, "/v1/auth/email/verify", json!({"token": to_ann.secret()})).await, 404);
    assert_eq!(Person::of(&sign_in(at, "shared@example.com", &password("ben")).await).id, ben.id);
    let forget = json!({"email": null, "password": password("ben")});
    assert_eq!(ben.call(at, "PUT", "/v1/me/email", &forget).await.status, 202);
    assert_eq!(sign_in(at, "shared@example.com", &password("ben")).await.status, 401);
}

#[tokio::test]
async fn a_mail_server_that_wants_a_password_gets_it_and_the_log_does_not() {
    let mut mails = MailServer::guarded("hubbub", "mail-sesame").await;
    let folder = TempDir::new().unwrap();
    let url = format!("smtp://hubbub:mail-sesame@{}", mails.address());
    let flags = ["--data", folder.path().to_str().unwrap(), "--smtp-url", &url, "--public-url", PUBLIC];
    let server = Server::start(&[&flags[..], &["--log", "debug"]].concat()).await;
    let _ann = ann_with_mail(&server, &mut mails).await;
    assert!(!server.log().join("\n").contains("mail-sesame"));
}

#[tokio::test]
async fn a_server_without_mail_offers_none() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&["--data", folder.path().to_str().unwrap()]).await;
    let at = server.address();
    let ann = Person::register(at, "ann").await;
    assert_eq!(call(at, "GET", "/v1/auth/methods", None, &Value::Null).await.json()["mail"], false);
    assert_eq!(post(&server, "/v1/auth/password/forgot", json!({"email": "ann@example.com"})).await, 404);
    let body = json!({"email": "ann@example.com", "password": password("ann")});
    assert_eq!(ann.call(at, "PUT", "/v1/me/email", &body).await.status, 404);
}

#[tokio::test]
async fn another_password_ends_the_other_sessions() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&["--data", folder.path().to_str().unwrap()]).await;
    let at = server.address();
    let ann = Person::register(at, "ann").await;
    let other = Person::sign_in(at, "ann").await;
    let (mut mine, _) = enter_with(at, &ann.hello()).await;
    let (mut theirs, _) = enter_with(at, &other.hello()).await;
    let change = async |current: &str, new: &str| {
        ann.call(at, "PUT", "/v1/me/password", &json!({"current": current, "new": new})).await
    };
    change("wrong password", "another password").await.assert_problem(403, "wrong_password");
    change(&password("ann"), "ann").await.assert_problem(422, "invalid");
    assert_eq!(change(&password("ann"), "another password").await.status, 204);
    assert_eq!(closed(&mut theirs).await.code, 4503);
    assert_pongs(&mut mine).await;
    assert_eq!(sign_in(at, "ann", &password("ann")).await.status, 401);
    assert_eq!(sign_in(at, "ann", "another password").await.status, 200);
}

#[tokio::test]
async fn a_deleted_account_is_gone_and_its_username_stays_reserved() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&["--data", folder.path().to_str().unwrap()]).await;
    let at = server.address();
    let ann = Person::register(at, "ann").await;
    let (mut connection, _) = enter_with(at, &ann.hello()).await;
    let delete = async |password: &str| ann.call(at, "DELETE", "/v1/me", &json!({"password": password})).await;
    delete("wrong password").await.assert_problem(403, "wrong_password");
    assert_eq!(delete(&password("ann")).await.status, 204);
    assert_eq!(closed(&mut connection).await.code, 4503);
    ann.call(at, "GET", "/v1/me", &Value::Null).await.assert_problem(401, "session_ended");
    assert_eq!(sign_in(at, "ann", &password("ann")).await.status, 401);
    register(at, "ann").await.assert_problem(409, "username_taken");
}
