//! People with accounts, over the HTTP API.

use hyper::{Method, Request, header};
use serde_json::{Value, json};

use crate::http::{self, Reply};

/// A person that is signed in, as a program: it keeps its tokens itself. Its password is its username and `-password`.
#[derive(Clone, Debug)]
pub struct Person {
    /// The id.
    pub id: String,
    /// What it signs in with.
    pub username: String,
    /// The access token.
    pub token: String,
    /// The refresh token.
    pub refresh: String,
}

/// The password of the account of this name.
pub fn password(username: &str) -> String {
    format!("{username}-password")
}

impl Person {
    /// Makes an account on the instance at this address. Its name is its username with a capital.
    pub async fn register(address: &str, username: &str) -> Self {
        let reply = register(address, username).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        Self::of(&reply)
    }

    /// Signs in.
    pub async fn sign_in(address: &str, username: &str) -> Self {
        let reply = sign_in(address, username, &password(username)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        Self::of(&reply)
    }

    /// The person that an answer names, with its tokens.
    pub fn of(reply: &Reply) -> Self {
        let body = reply.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            id: text(&body["user"]["id"]),
            username: text(&body["user"]["username"]),
            token: text(&body["access_token"]),
            refresh: text(&body["refresh_token"]),
        }
    }

    /// Makes a call of the HTTP API.
    pub async fn call(&self, address: &str, method: &str, path: &str, body: &Value) -> Reply {
        call(address, method, path, Some(&self.token), body).await
    }

    /// The `hello` of this person.
    pub fn hello(&self) -> Value {
        json!({"type": "hello", "token": self.token, "rooms": ["lobby"]})
    }
}

/// Makes a call of the HTTP API, with this token. `null` is no body.
pub async fn call(address: &str, method: &str, path: &str, token: Option<&str>, body: &Value) -> Reply {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    if !text.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    http::send(address, request.body(text).unwrap()).await
}

/// Asks for an account.
pub async fn register(address: &str, username: &str) -> Reply {
    let name = username.split_at(1);
    let name = format!("{}{}", name.0.to_uppercase(), name.1);
    let body = json!({"username": username, "name": name, "password": password(username), "cookie": false});
    call(address, "POST", "/v1/auth/register", None, &body).await
}

/// Asks to be signed in.
pub async fn sign_in(address: &str, username: &str, password: &str) -> Reply {
    let body = json!({"username": username, "password": password, "cookie": false});
    call(address, "POST", "/v1/auth/login", None, &body).await
}

/// Asks for other tokens.
pub async fn refresh(address: &str, token: &str) -> Reply {
    call(address, "POST", "/v1/auth/refresh", None, &json!({"refresh_token": token})).await
}
