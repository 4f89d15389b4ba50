//! Contacts, and people who are looked for.

use hubbub_messenger::{
    contact::{Contact, ContactState},
    person::Person,
    sight::{Listing, Span},
};

use super::parts::listing;
use crate::{
    engine::Engine,
    fault::Fault,
    shapes::{PersonRow, person, word},
    statements::Value,
};

/// What the viewer says of others; and those who ask, and of whom it says nothing.
pub(crate) const CONTACTS: &str = "SELECT p.id, p.name, p.username, p.about, s.state FROM ( \
       SELECT other_id, state FROM contacts WHERE user_id = $1 AND other_id > $2 \
       UNION ALL SELECT c.user_id, 'asks' FROM contacts AS c \
       WHERE c.other_id = $1 AND c.user_id > $2 AND c.state = 'asked' \
       AND NOT EXISTS (SELECT 1 FROM contacts AS m WHERE m.user_id = $1 AND m.other_id = c.user_id) \
     ) AS s JOIN accounts AS p ON p.id = s.other_id AND p.state <> 'deleted' ORDER BY s.other_id LIMIT $3";

pub(crate) const CONTACT: &str = "SELECT p.id, p.name, p.username, p.about, \
     coalesce((SELECT state FROM contacts WHERE user_id = $1 AND other_id = $2), \
       (SELECT 'asks' FROM contacts WHERE user_id = $2 AND other_id = $1 AND state = 'asked'), 'none') \
     FROM accounts AS p WHERE p.id = $2 AND p.state <> 'deleted'";

/// Whether the viewer `$1` knows the person `p`: by a common group, as a contact, or from a direct room.
macro_rules! knows {
    () => {
        "(EXISTS (SELECT 1 FROM group_members AS x JOIN group_members AS y ON y.group_id = x.group_id AND y.user_id = p.id \
           WHERE x.user_id = $1) \
         OR EXISTS (SELECT 1 FROM contacts WHERE user_id = p.id AND other_id = $1 AND state <> 'blocked'))"
    };
}

/// By name and by username, each by an index of its own.
pub(crate) const FIND: &str = concat!(
    "SELECT p.id, p.name, p.username, p.about FROM ( \
       SELECT id FROM accounts WHERE username >= lower($2) AND username < (lower($2) || $3) \
       UNION SELECT id FROM accounts WHERE found_by >= lower($2) AND found_by < (lower($2) || $3) \
     ) AS s JOIN accounts AS p ON p.id = s.id \
     WHERE p.state = 'active' AND p.id <> $1 AND p.id > $4 AND ($5 = 1 OR p.username = lower($2) OR ",
    knows!(),
    ") ORDER BY p.id LIMIT $6"
);

pub(crate) const PERSON: &str = concat!(
    "SELECT p.id, p.name, p.username, p.about FROM accounts AS p \
     WHERE p.id = $2 AND p.state <> 'deleted' AND ($3 = 1 OR p.id = $1 OR ",
    knows!(),
    ")"
);

type ContactRow = (String, String, String, String, String);

fn contact_of((id, name, username, about, state): ContactRow) -> Result<Contact, Fault> {
    Ok(Contact { person: person((id, name, username, about))?, state: word(ContactState::stored, &state)? })
}

pub(super) async fn contacts(engine: &Engine, values: Vec<Value>, span: &Span) -> Result<Listing<Contact>, Fault> {
    let rows: Vec<ContactRow> = engine.rows(CONTACTS, values).await?;
    let contacts = rows.into_iter().map(contact_of).collect::<Result<Vec<_>, _>>()?;
    Ok(listing(contacts, span, |contact| contact.person.id.as_str().to_owned()))
}

pub(super) async fn contact(engine: &Engine, values: Vec<Value>) -> Result<Option<Contact>, Fault> {
    let rows: Vec<ContactRow> = engine.rows(CONTACT, values).await?;
    rows.into_iter().next().map(contact_of).transpose()
}

pub(super) async fn find(engine: &Engine, values: Vec<Value>, span: &Span) -> Result<Listing<Person>, Fault> {
    let rows: Vec<PersonRow> = engine.rows(FIND, values).await?;
    let people = rows.into_iter().map(person).collect::<Result<Vec<_>, _>>()?;
    Ok(listing(people, span, |person| person.id.as_str().to_owned()))
}

pub(super) async fn person_of(engine: &Engine, values: Vec<Value>) -> Result<Option<Person>, Fault> {
    let rows: Vec<PersonRow> = engine.rows(PERSON, values).await?;
    rows.into_iter().next().map(person).transpose()
}
