use serde_json::{Value, json};

use super::*;

fn key() -> SigningKey {
    SigningKey::stored(&SigningKey::generate().unwrap()).unwrap()
}

fn keys(signing: &[SigningKey]) -> Keys {
    Keys::new(signing, b"shared").unwrap()
}

fn claims() -> AccessClaims {
    AccessClaims { account: UserId::of(7), session: "s1".parse().unwrap(), name: "Ann".parse().unwrap() }
}

/// A token with these claims in place of ours, signed with this key.
fn forged(key: &SigningKey, header: &Header, change: impl FnOnce(&mut Value)) -> String {
    let now = unix_seconds();
    let mut claims = json!({
        "iss": "hubbub", "sub": UserId::of(7).as_str(), "sid": "s1", "name": "Ann", "iat": now, "exp": now + 60,
    });
    change(&mut claims);
    encode(header, &claims, &key.signs).unwrap()
}

fn header(key: &SigningKey) -> Header {
    Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) }
}

/// Replaces the header of a token.
fn with_header(token: &str, header: &Value) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[test]
fn a_token_says_whose_it_is() {
    let keys = keys(&[key()]);
    let (token, expires) = keys.issue(&claims()).unwrap();
    assert_eq!(keys.verify(&token), Ok(claims()));
    assert!(expires.abs_diff(unix_seconds() + 900) <= 1);
}

#[test]
fn a_token_that_was_changed_or_is_none_is_refused() {
    let keys = keys(&[key()]);
    let (token, _) = keys.issue(&claims()).unwrap();
    let mut other: Vec<&str> = token.split('.').collect();
    let payload = URL_SAFE_NO_PAD.encode(json!({"sub": UserId::of(8).as_str()}).to_string());
    other[1] = &payload;
    let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
    for text in ["", "a.b.c", "x", &token[..token.len() - 2], &unsigned, &other.join("."), &format!("{token}.x")] {
        assert_eq!(keys.verify(text), Err(TokenRefusal::Invalid), "{text}");
    }
}

#[test]
fn the_algorithm_is_not_the_senders_choice() {
    let signing = key();
    let keys = keys(std::slice::from_ref(&signing));
    let (token, _) = keys.issue(&claims()).unwrap();
    for algorithm in ["none", "None", "HS256", "RS256", "ES256"] {
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": signing.id});
        assert_eq!(keys.verify(&with_header(&token, &header)), Err(TokenRefusal::Invalid), "{algorithm}");
    }
    // the public key as a shared secret
    let public = signing.verifies.try_get_as_bytes().unwrap();
    let message = {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": signing.id}).to_string());
        format!("{header}.{}", token.split('.').nth(1).unwrap())
    };
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public), message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
    assert_eq!(keys.verify(&token), Err(TokenRefusal::Invalid));
}

#[test]
fn a_token_of_another_key_is_refused() {
    let (ours, theirs) = (key(), key());
    let keys = keys(std::slice::from_ref(&ours));
    assert_eq!(keys.verify(&forged(&theirs, &header(&theirs), |_| {})), Err(TokenRefusal::UnknownKey));
    assert_eq!(keys.verify(&forged(&theirs, &header(&ours), |_| {})), Err(TokenRefusal::Invalid));
    let nameless = Header::new(Algorithm::EdDSA);
    assert_eq!(keys.verify(&forged(&ours, &nameless, |_| {})), Err(TokenRefusal::UnknownKey));
}

#[test]
fn a_token_counts_in_its_time_only() {
    let signing = key();
    let keys = keys(std::slice::from_ref(&signing));
    let now = unix_seconds();
    let verify =
        |change: &dyn Fn(&mut Value)| keys.verify(&forged(&signing, &header(&signing), |claims| change(claims)));
    assert!(verify(&|_| {}).is_ok());
    assert_eq!(verify(&|claims| claims["exp"] = json!(now - 61)), Err(TokenRefusal::Expired));
    for (field, value) in [
        ("iat", json!(now + 3600)),
        ("nbf", json!(now + 3600)),
        ("nbf", json!("soon")),
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("iat", Value::Null),
        ("iss", json!("another")),
        ("iss", Value::Null),
        ("sub", json!("ann")),
        ("sid", json!("")),
    ] {
        assert_eq!(verify(&|claims| claims[field] = value.clone()), Err(TokenRefusal::Invalid), "{field} {value}");
    }
}

#[test]
fn two_keys_count_while_one_is_rotated() {
    let (old, new) = (key(), key());
    let before = keys(std::slice::from_ref(&old));
    let during = keys(&[new.clone(), old]);
    let after = keys(&[new]);
    let (old_token, _) = before.issue(&claims()).unwrap();
    let (new_token, _) = during.issue(&claims()).unwrap();
    assert_eq!(during.verify(&old_token), Ok(claims()));
    assert_eq!(after.verify(&new_token), Ok(claims()));
    assert_eq!(after.verify(&old_token), Err(TokenRefusal::UnknownKey));
    assert_eq!(before.verify(&new_token), Err(TokenRefusal::UnknownKey));
}

#[test]
fn keys_are_not_shown() {
    let signing = key();
    let secret = URL_SAFE_NO_PAD.encode(signing.signs.as_bytes());
    let shown = format!("{signing:?} {:?}", keys(std::slice::from_ref(&signing)));
    assert!(shown.contains(signing.id()) && !shown.contains(&secret));
}

#[test]
fn a_file_may_have_several_keys() {
    let pem = |key: &SigningKey| {
        let text = base64::engine::general_purpose::STANDARD.encode(key.signs.as_bytes());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    };
    let (one, two) = (key(), key());
    let read = SigningKey::from_pem(&format!("{}\n{}", pem(&one), pem(&two))).unwrap();
    assert_eq!(read.iter().map(SigningKey::id).collect::<Vec<_>>(), [one.id(), two.id()]);
    for text in ["", "sesame", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(SigningKey::from_pem(text).is_err(), "{text}");
    }
}
