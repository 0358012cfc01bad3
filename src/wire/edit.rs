//! `edit`: what a person changes of one failure (`spec/02`).

use super::fields::{Fields, Rejection, missing, string};
use super::operation::{Signature, signature};
use super::request::{key, name, payload};
use crate::ids::FailureName;
use crate::record::PayloadKind;
use std::borrow::Cow;

/// An edit; what is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of spec/02")]
pub struct Edit<'a> {
    pub name: FailureName,
    pub entity_type: Option<Cow<'a, str>>,
    pub entity_id: Option<Cow<'a, str>>,
    pub action: Option<Cow<'a, str>>,
    pub payload: Option<(Cow<'a, str>, PayloadKind)>,
    pub new_key: bool,
    pub by: Signature,
}

pub(super) fn edit(mut fields: Fields<'_>, max_payload: usize) -> Result<Edit<'_>, Rejection> {
    const KNOWN: [&str; 8] = ["id", "entity_type", "entity_id", "action", "payload", "new_key", "reason", "by"];
    let Some(id) = fields.raw("id") else { return Err(missing("id")) };
    let id = string(id).unwrap_or(Cow::Borrowed(id.get()));
    let edit = Edit {
        name: FailureName::parse(&id),
        entity_type: name(&mut fields, "entity_type")?,
        entity_id: key(&mut fields, "entity_id")?,
        action: name(&mut fields, "action")?,
        payload: payload(&mut fields, max_payload)?,
        new_key: fields.flag("new_key")?,
        by: signature(&mut fields)?,
    };
    fields.finish(&KNOWN)?;
    let changes = [edit.entity_type.is_some(), edit.entity_id.is_some(), edit.action.is_some(), edit.payload.is_some()];
    if !changes.contains(&true) && !edit.new_key {
        let message = "say what to change: payload, entity_type, entity_id, action, or new_key";
        return Err(Rejection::field("payload", message));
    }
    Ok(edit)
}
