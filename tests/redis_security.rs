//! Passwords and certificates of a Redis as people have them, servers without HELLO, and servers that evict: what works,
//! and what the log says about what does not.

use hubbub_testbed::{
    Certificate, PATIENCE, Redis, Sentinel, Server, eventually,
    frames::{enter, message, publish},
    room,
};

/// What a password, or the name of a user, may contain. Each is written percent-encoded, and as it is.
const PASSWORDS: [(&str, &str); 6] = [
    ("a%20b%22c%27d", "a b\"c'd"),
    ("tab%09tab", "tab\ttab"),
    ("a%2Bb%25c", "a+b%c"),
    ("p%40ss%2Fw%23rd%3F", "p@ss/w#rd?"),
    ("%C3%A4%E2%98%83%5C%7B", "ä☃\\{"),
    ("%3A%26%3D%21%24", ":&=!$"),
];

/// Waits until a line of the log has these words.
async fn says(server: &Server, words: &str) {
    eventually(PATIENCE, || async { server.log().iter().any(|line| line.contains(words)).then_some(()) }).await;
}

/// A message of each instance reaches the other.
async fn assert_talk([a, b]: [&Server; 2]) {
    let room = room();
    let (mut ann, _) = enter(a.address(), "Ann", &[&room]).await;
    let (mut bob, _) = enter(b.address(), "Bob", &[&room]).await;
    publish(&mut ann, &room, "m1", "x").await;
    assert_eq!(message(&mut bob).await.record.id.as_str(), "m1");
    publish(&mut bob, &room, "m2", "x").await;
    message(&mut ann).await;
    assert_eq!(message(&mut ann).await.record.id.as_str(), "m2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_and_a_user_may_contain_any_character() {
    let redis = Redis::start().await;
    let mut servers = Vec::new();
    for (number, (encoded, raw)) in PASSWORDS.into_iter().enumerate() {
        // Redis allows no blank in the name of a user
        let name = raw.replace([' ', '\t'], "_");
        let rules = ["ACL", "SETUSER", &name, "on", &format!(">{raw}"), "~*", "&*", "+@all"];
        assert_eq!(redis.command(&rules).await, ["OK"]);
        let user = encoded.replace("%20", "_").replace("%09", "_");
        let password = if number % 2 == 0 { encoded } else { raw };
        servers.push(Server::spawn(&["--redis-url", &redis.url_as(&user, password)]).await);
    }
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", "the default's 100%"]).await, ["OK"]);
    for password in ["the default's 100%", "the%20default%27s%20100%25"] {
        servers.push(Server::spawn(&["--redis-url", &redis.url_as("", password)]).await);
    }
    for server in &servers {
        server.ready().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_of_a_sentinel_may_contain_any_character() {
    let sentinel = Sentinel::start().await;
    let password = "a b+c@d/e%f#g\"h";
    let sentry = ["ACL", "SETUSER", "sentry", "on", &format!(">{password}"), "+@all"];
    assert_eq!(sentinel.watcher().command(&sentry).await, ["OK"]);
    assert_eq!(sentinel.watcher().command(&["ACL", "SETUSER", "default", "off"]).await, ["OK"]);
    for password in [password, "a%20b%2Bc%40d%2Fe%25f%23g%22h"] {
        let url = format!("{}&sentinelUsername=sentry&sentinelPassword={password}", sentinel.url());
        Server::start(&["--redis-url", &url]).await;
    }
    let stranger = Server::spawn(&["--redis-url", sentinel.url()]).await;
    says(&stranger, "sentinelPassword in the Redis URL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_hello_is_spoken_to_all_the_same() {
    let old = Redis::with(&["rename-command HELLO \"\""]).await;
    let (a, b) = tokio::join!(Server::on(&old, &[]), Server::on(&old, &[]));
    assert_talk([&a, &b]).await;

    let strict = Redis::start().await;
    let rules = ["ACL", "SETUSER", "u", "on", ">p q", "~*", "&*", "+@all", "-hello"];
    assert_eq!(strict.command(&rules).await, ["OK"]);
    let url = strict.url_as("u", "p q");
    let flags = ["--redis-url", &url];
    let (a, b) = tokio::join!(Server::start(&flags), Server::start(&flags));
    assert_talk([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_wants_client_certificates_gets_one() {
    let redis = Redis::certified(Certificate::Signed, &[]).await;
    let (ca, [cert, key]) = (redis.authority(), redis.client_certificate());
    let trusting = ["--redis-ca", ca.to_str().unwrap()];
    let identified = [&trusting[..], &["--redis-cert", cert.to_str().unwrap(), "--redis-key", key.to_str().unwrap()]];
    Server::on(&redis, &identified.concat()).await;

    let nobody = Server::spawn(&[&["--redis-url", redis.url()], &trusting[..]].concat()).await;
    says(&nobody, "--redis-cert").await;
    assert_eq!(nobody.readiness().await, 503);

    let other = Redis::certified(Certificate::Signed, &[]).await;
    let [cert, key] = other.client_certificate();
    let wrong = ["--redis-cert", cert.to_str().unwrap(), "--redis-key", key.to_str().unwrap()];
    let stranger = Server::spawn(&[&["--redis-url", redis.url()], &trusting[..], &wrong].concat()).await;
    says(&stranger, "--redis-cert").await;
    assert_eq!(stranger.readiness().await, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_signed_certificate_can_be_pinned() {
    let redis = Redis::certified(Certificate::SelfSigned, &["tls-auth-clients no"]).await;
    let pinned = redis.certificate();
    Server::on(&redis, &["--redis-ca", pinned.to_str().unwrap()]).await;

    let other = Redis::certified(Certificate::SelfSigned, &["tls-auth-clients no"]).await;
    let server = Server::spawn(&["--redis-url", other.url(), "--redis-ca", pinned.to_str().unwrap()]).await;
    says(&server, "--redis-ca").await;
    assert_eq!(server.readiness().await, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_fit_is_refused_and_the_log_says_why() {
    for (certificate, words) in [
        (Certificate::Expired, "the server's certificate has expired"),
        (Certificate::Elsewhere, "is for another host name"),
    ] {
        let redis = Redis::certified(certificate, &["tls-auth-clients no"]).await;
        let ca = redis.authority();
        let server = Server::spawn(&["--redis-url", redis.url(), "--redis-ca", ca.to_str().unwrap()]).await;
        says(&server, words).await;
        assert_eq!(server.readiness().await, 503);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_certificate_that_has_expired_is_refused() {
    let redis = Redis::certified(Certificate::Expired, &["tls-auth-clients no"]).await;
    let pinned = redis.certificate();
    let server = Server::spawn(&["--redis-url", redis.url(), "--redis-ca", pinned.to_str().unwrap()]).await;
    says(&server, "the server's certificate has expired").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheme_that_does_not_fit_the_port_is_named() {
    let plain = Redis::start().await;
    let encrypted = Redis::certified(Certificate::Signed, &["tls-auth-clients no"]).await;
    let ca = encrypted.authority();
    let url = plain.url().replace("redis://", "rediss://");
    let server = Server::spawn(&["--redis-url", &url, "--redis-ca", ca.to_str().unwrap()]).await;
    says(&server, "try redis:// instead of rediss://").await;

    let url = encrypted.url().replace("rediss://", "redis://");
    let server = Server::spawn(&["--redis-url", &url]).await;
    says(&server, "try rediss:// instead of redis://").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_may_evict_the_log_is_warned_of() {
    let roomy = Redis::with(&["maxmemory-policy allkeys-lru"]).await;
    let calm = Server::on(&roomy, &[]).await;
    let redis = Redis::with(&["maxmemory 64mb", "maxmemory-policy volatile-ttl"]).await;
    let server = Server::on(&redis, &[]).await;
    let warning = server.logged("a full Redis will evict").await;
    assert_eq!(warning["policy"], "volatile-ttl", "{warning}");
    assert!((server.metric("hubbub_redis_evicts", "").await - 1.0).abs() < 0.1);
    assert!(calm.log().iter().all(|line| !line.contains("will evict")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_evicts_is_warned_of() {
    let redis = Redis::with(&["maxmemory-policy allkeys-random"]).await;
    let server = Server::on(&redis, &[]).await;
    // whatever is there goes, again and again
    eventually(PATIENCE, || async {
        redis.command(&["CONFIG", "SET", "maxmemory", "100000"]).await;
        redis.command(&["SET", "another", "one"]).await;
        redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
        let warned = |words: &str| server.log().iter().any(|line| line.contains(words));
        (warned("Redis evicts keys") && warned("Redis lost the log and has not restarted")).then_some(())
    })
    .await;
    assert!(server.metric("hubbub_redis_evicted_keys_total", "").await > 0.0);
    assert!(server.metric("hubbub_redis_log_gone_total", "").await > 0.0);
}
