//! The types and constants of the protocol as TypeScript, for the browser app and the JavaScript SDK.
//!
//! `make types` writes the file. The test here fails if it differs from the Rust types.

use std::{env, fmt::Write, fs, path::Path};

use ts_rs::{Config, TS};

use super::{
    AccessToken, AccountHello, Ack, ClientFrame, CloseReason, ConnectionId, Count, ErrorCode, GuestSecret, Hello,
    HistoryPage, Limits, Message, MessageId, Publish, Refusal, RelayState, ResetReason, Resume, RoomId, SUBPROTOCOL,
    ServerFrame, User, UserId, UserName, VERSION, Welcome, is_reconnectable,
};

const HEAD: &str = "// Made by `make types` from the Rust types in `src/protocol`. Do not edit.\n\n";

/// The TypeScript declaration of a type, with the doc comments of its Rust type and fields.
fn declaration<T: TS>(config: &Config) -> String {
    let text = format!("{}export {}", T::docs().unwrap_or_default(), T::decl(config));
    let text = text.replace("/**\n * ", "/** ").replace("\n */\n", " */\n").replace(" \n", "\n").replace(" };", "\n};");
    let (prose, code) = text.split_at(text.find("export").unwrap());
    format!("{prose}{}\n", code.replace('\n', "\n  ").replace("\n  };", "\n};"))
}

fn declarations() -> String {
    let config = Config::new().with_large_int("number");
    macro_rules! all {
        ($($name:ty),*) => { [$(declaration::<$name>(&config)),*].join("\n") };
    }
    all!(
        RoomId,
        MessageId,
        UserName,
        UserId,
        GuestSecret,
        ConnectionId,
        User,
        Limits,
        Count,
        RelayState,
        ResetReason,
        ErrorCode,
        Refusal,
        Message,
        HistoryPage,
        Ack,
        Welcome,
        ServerFrame,
        Resume,
        AccountHello,
        AccessToken,
        Hello,
        Publish,
        ClientFrame
    )
}

fn constants() -> String {
    let limits = serde_json::to_string_pretty(&Limits::V1).unwrap();
    let mut text = format!("export const VERSION = {VERSION}\nexport const SUBPROTOCOL = '{SUBPROTOCOL}'\n");
    writeln!(text, "export const DEFAULT_ROOM = '{}'\nexport const LIMITS: Limits = {limits}", RoomId::lobby())
        .unwrap();
    writeln!(
        text,
        "\n/** The codes with which the server closes a connection, and whether the client should connect again. */"
    )
    .unwrap();
    writeln!(text, "export const CLOSES = [").unwrap();
    for reason in CloseReason::ALL {
        let (code, name) = reason.parts();
        writeln!(text, "  {{ code: {code}, name: '{name}', isReconnectable: {} }},", is_reconnectable(code)).unwrap();
    }
    text.push_str("] as const\n");
    text
}

#[test]
fn the_typescript_types_are_those_of_rust() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/sdk/src/protocol.gen.ts");
    let text = format!("{HEAD}{}\n{}", declarations(), constants());
    if env::var_os("WRITE_TYPES").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap_or_default() == text, "run `make types`");
}
