//! `edit`: changes of one failure by an operator.

use super::content::{key, name, payload};
use super::fields::{Fields, Rejection, missing};
use super::operation::{RequestedBy, failure_name, signature};
use crate::ids::FailureName;
use crate::record::PayloadKind;
use std::borrow::Cow;

/// An edit; absent fields are unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit<'a> {
    pub name: FailureName,
    pub entity_type: Option<Cow<'a, str>>,
    pub entity_id: Option<Cow<'a, str>>,
    pub action: Option<Cow<'a, str>>,
    pub payload: Option<(Cow<'a, str>, PayloadKind)>,
    pub new_key: bool,
    pub by: RequestedBy,
}

pub(super) fn edit(mut fields: Fields<'_>, max_payload: usize) -> Result<Edit<'_>, Rejection> {
    const KNOWN: [&str; 10] = [
        "id",
        "entity_type",
        "entity_id",
        "action",
        "payload",
        "payload_base64",
        "payload_kind",
        "new_key",
        "reason",
        "by",
    ];
    let edit = Edit {
        name: failure_name("id", fields.raw("id").ok_or_else(|| missing("id"))?)?,
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
