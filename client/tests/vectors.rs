//! The vectors that every client of the protocol keeps. `tests/vectors/README.md` says what they mean.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a step of a vector that fails should fail the test"
)]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use hubbub_client::{Backoff, Closed, Config, Core, Event, FailReason};
use hubbub_protocol::{RoomId, Seq};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    #[serde(default)]
    clients: Vec<String>,
    start: Start,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    rooms: Option<Vec<RoomId>>,
    live: Option<Seq>,
}

/// One action, and its effects.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Step {
    connect: bool,
    server: Vec<Value>,
    cut: Option<u16>,
    publish: Vec<String>,
    join: Option<RoomId>,
    leave: Option<RoomId>,
    advance_ms: u64,
    cursor: Option<Seq>,
    sent: Vec<Value>,
    shown: Vec<String>,
    acked: Vec<Value>,
    failed: Vec<Value>,
    reset: Vec<Value>,
    opens: u32,
}

/// What the client has done in one step, as the vectors write it.
#[derive(Debug, Default, PartialEq)]
struct Effects {
    sent: Vec<Value>,
    shown: Vec<String>,
    acked: Vec<Value>,
    failed: Vec<Value>,
    reset: Vec<Value>,
    opens: u32,
}

#[derive(Deserialize)]
struct Defaults {
    people: HashMap<String, Value>,
    client: HashMap<String, Map<String, Value>>,
    server: HashMap<String, Map<String, Value>>,
}

impl Defaults {
    /// A frame with the fields that it leaves out.
    fn complete(fields: &HashMap<String, Map<String, Value>>, frame: &Value) -> Map<String, Value> {
        let mut full = fields.get(frame["type"].as_str().unwrap()).cloned().unwrap_or_default();
        full.extend(frame.as_object().unwrap().clone());
        full
    }
}

/// A client whose server, network and clock are the vector's.
struct Rig<'a> {
    defaults: &'a Defaults,
    core: Core,
    now: Instant,
    /// The real id of each name, and the reverse.
    ids: HashMap<String, String>,
    names: HashMap<String, String>,
    effects: Effects,
}

impl<'a> Rig<'a> {
    fn start(defaults: &'a Defaults, start: Start) -> Self {
        let hello = &defaults.client["hello"];
        let text = |key: &str| hello[key].as_str().unwrap();
        let rooms = start.rooms.unwrap_or_else(|| serde_json::from_value(hello["rooms"].clone()).unwrap());
        let mut config = Config::new(vec!["server".to_owned()], text("name").parse().unwrap(), rooms);
        config.session = text("session").parse().unwrap();
        config.backoff = Backoff { base: Duration::ZERO, cap: Duration::ZERO };
        let now = Instant::now();
        let core = Core::new(config, now);
        let (ids, names, effects) = (HashMap::new(), HashMap::new(), Effects::default());
        let mut rig = Self { defaults, core, now, ids, names, effects };
        rig.act(Step::default());
        if let Some(seq) = start.live {
            rig.act(Step { connect: true, ..Step::default() });
            let frames = [json!({"type": "welcome", "seq": seq}), json!({"type": "live", "seq": seq})];
            rig.act(Step { server: frames.into(), ..Step::default() });
        }
        rig.effects = Effects::default();
        rig
    }

    /// Does the action, and whatever is due then. Returns what the client has done.
    fn act(&mut self, step: Step) -> Effects {
        if step.connect {
            self.core.on_open(self.now);
        }
        for frame in step.server {
            assert!(self.core.has_connection(), "the vector sends on no connection");
            let frame = self.complete(&frame);
            self.core.on_frame(serde_json::from_value(frame).unwrap(), self.now);
        }
        if let Some(code) = step.cut {
            self.core.on_closed(Closed { code, reason: String::new() }, self.now);
        }
        for name in step.publish {
            let body = self.defaults.client["publish"]["body"].as_str().unwrap();
            let id = self.core.publish(&RoomId::lobby(), body).unwrap().to_string();
            self.ids.insert(name.clone(), id.clone());
            self.names.insert(id, name);
        }
        step.join.into_iter().for_each(|room| self.core.join(room));
        step.leave.into_iter().for_each(|room| self.core.leave(room));
        self.advance(Duration::from_millis(step.advance_ms));
        std::mem::take(&mut self.effects)
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(due) = self.core.deadline().filter(|due| *due > self.now && *due <= end) {
            self.now = due;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Lets the client do what it can do now.
    fn settle(&mut self) {
        loop {
            let opens = self.core.on_deadline(self.now).is_some();
            self.effects.opens += u32::from(opens);
            let frame = self.core.next_frame(self.now);
            let is_idle = !opens && frame.is_none();
            if let Some(frame) = frame {
                let mut frame = serde_json::to_value(frame).unwrap();
                if let Some(id) = frame.get_mut("id") {
                    *id = self.name_of(id.as_str().unwrap()).into();
                }
                self.effects.sent.push(frame);
            }
            while let Some(event) = self.core.next_event() {
                self.record(event);
            }
            if is_idle {
                return;
            }
        }
    }

    fn record(&mut self, event: Event) {
        match event {
            Event::Message(message) => {
                let name = self.name_of(message.record.id.as_str());
                self.effects.shown.push(name);
            }
            Event::Acked { id, seq, .. } => {
                let id = self.name_of(id.as_str());
                self.effects.acked.push(json!({"id": id, "seq": seq}));
            }
            Event::Failed { id, reason } => {
                let id = self.name_of(id.as_str());
                let code = match reason {
                    FailReason::Refused(code) => code.name(),
                    FailReason::Expired => "uncertain",
                };
                self.effects.failed.push(json!({"id": id, "code": code}));
            }
            Event::Reset { seq, reason } => self.effects.reset.push(json!({"seq": seq, "reason": reason})),
            _ => {}
        }
    }

    fn complete(&self, frame: &Value) -> Value {
        let mut frame = Defaults::complete(&self.defaults.server, frame);
        if let Some(id) = frame.get("id").and_then(Value::as_str).and_then(|name| self.ids.get(name)).cloned() {
            frame.insert("id".to_owned(), id.into());
        }
        if let Some(from) = frame.get("from").and_then(Value::as_str) {
            let person = self.defaults.people[from].clone();
            frame.insert("from".to_owned(), person);
        }
        frame.into()
    }

    fn name_of(&self, id: &str) -> String {
        self.names.get(id).map_or(id, String::as_str).to_owned()
    }

    fn expected(&self, step: &Step) -> Effects {
        let complete = |frame| Value::from(Defaults::complete(&self.defaults.client, frame));
        let sent = step.sent.iter().map(complete).collect();
        let Step { shown, acked, failed, reset, opens, .. } = step;
        let (acked, failed, reset) = (acked.clone(), failed.clone(), reset.clone());
        Effects { sent, shown: shown.clone(), acked, failed, reset, opens: *opens }
    }
}

fn directory() -> PathBuf {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|path| path.join("tests/vectors"));
    above.find(|path| path.is_dir()).unwrap_or_else(|| panic!("no tests/vectors above this crate"))
}

/// The content of each file by its name.
fn files() -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let json = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    })
    .collect()
}

/// The first step that is not as the vector says.
fn run(defaults: &Defaults, vector: Vector) -> Result<(), String> {
    let mut rig = Rig::start(defaults, vector.start);
    for (index, step) in vector.steps.into_iter().enumerate() {
        let (expected, cursor) = (rig.expected(&step), step.cursor);
        let done = rig.act(step);
        let step = index + 1;
        if done != expected {
            return Err(format!("step {step}:\n  expected {expected:?}\n  done     {done:?}"));
        }
        if cursor.is_some() && cursor != rig.core.cursor() {
            return Err(format!("step {step}: the cursor is {:?}, not {cursor:?}", rig.core.cursor()));
        }
    }
    Ok(())
}

#[test]
fn the_client_keeps_every_vector() {
    let mut files = files();
    let defaults: Defaults = serde_json::from_str(&files.remove("defaults.json").unwrap()).unwrap();
    let (mut kept, mut failures) = (0, Vec::new());
    for (file, text) in files {
        let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        for vector in vectors {
            if !vector.clients.is_empty() && !vector.clients.iter().any(|client| client == "rust") {
                continue;
            }
            let name = vector.name.clone();
            match run(&defaults, vector) {
                Ok(()) => kept += 1,
                Err(failure) => failures.push(format!("{file}: {name}\n{failure}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(kept >= 15, "only {kept} vectors");
}
