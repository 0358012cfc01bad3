//! Names that lead to no failure, or to several.

use crate::ids::{FailureId, FailureName};
use crate::limits::quote;
use crate::store::StoreError;
use crate::store::rows::Found;
use crate::wire::fields::{Code, Rejection};

/// The failure that a name identifies, or why it identifies none.
pub(super) fn found_one<T>(name: &FailureName, found: Result<Found<T>, StoreError>) -> Result<T, Rejection> {
    match found {
        Ok(Found::One(one)) => Ok(one),
        Ok(Found::Nothing) => {
            let message = format!("no live failure {}", quote(&name.to_string()));
            Err(Rejection::new(Code::NotFound, message).about("id"))
        }
        Ok(Found::Several(ids)) => Err(several(name, &ids)),
        Err(error) => Err(super::rejection_of(&error)),
    }
}

/// The rejection of a name that several ids begin with.
pub(super) fn several(name: &FailureName, ids: &[FailureId]) -> Rejection {
    let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    Rejection::field("id", format!("{} is the beginning of several ids: {list}", quote(&name.to_string())))
}
