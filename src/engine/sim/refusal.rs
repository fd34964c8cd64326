//! The engine's refusals, in its own words (20.10), so that what translates a real engine's answers
//! translates these.

use crate::resource::container::ContainerId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub message: String,
}

pub(super) fn refusal(status: u16, message: impl Into<String>) -> Refusal {
    Refusal { status, message: message.into() }
}

pub(super) fn no_such_container(id: &str) -> Refusal {
    refusal(404, format!("No such container: {id}"))
}

pub(super) fn no_such_network(id_or_name: &str) -> Refusal {
    refusal(404, format!("network {id_or_name} not found"))
}

pub(super) fn name_taken(name: &str, holder: &ContainerId) -> Refusal {
    let text = format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{}\". You have to remove (or \
         rename) that container to be able to reuse that name.",
        holder.0
    );
    refusal(409, text)
}

pub(super) fn marked_for_removal(id: &ContainerId, what: &str) -> Refusal {
    refusal(409, format!("Container {} is marked for removal and cannot be {what}", id.0))
}
