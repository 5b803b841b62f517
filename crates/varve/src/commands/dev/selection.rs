//! The context `dev`, which is there while its cluster runs.

use super::node::Node;
use super::ready;
use crate::context::{Context, ContextFile, ContextName, SERVER_VARIABLE};
use crate::failure::Failure;

/// How the next commands find the cluster.
pub(super) struct Selection {
    /// `varve://127.0.0.1:8400,...`.
    pub(super) address: String,
    /// Flags that they need: none if all is as it should be.
    pub(super) flags: Vec<String>,
    /// What is said of it.
    pub(super) note: String,
    file: Option<ContextFile>,
}

impl Selection {
    /// Makes the context, and selects it. What the user has made or selected is left alone. Where contexts cannot be kept
    /// commands have to name the cluster, which is no reason not to run it.
    pub(super) fn make(nodes: &[Node]) -> Self {
        let address = ready::address(nodes);
        Self::in_contexts(&address).unwrap_or_else(|failure| {
            Self::by_server(&address, &format!("There is no context for it: {}.", failure.message))
        })
    }

    fn by_server(address: &str, note: &str) -> Self {
        let flags = vec!["--server".into(), address.to_owned()];
        Self { address: address.to_owned(), flags, note: note.to_owned(), file: None }
    }

    fn in_contexts(address: &str) -> Result<Self, Failure> {
        let name = ContextName::dev();
        let file = ContextFile::required()?;
        let selected = file.change(|contexts| {
            if contexts.find(&name).is_some_and(|context| !context.made_by_dev) {
                return Ok(None);
            }
            contexts.put(name.clone(), Context::of_dev(address.to_owned(), None));
            if contexts.selected().is_none() {
                contexts.select(Some(name.clone()))?;
            }
            Ok(contexts.selected().map(|(selected, _)| selected.clone()))
        })?;
        let by_context = |note: String| Self {
            flags: vec!["--context".into(), name.to_string()],
            address: address.to_owned(),
            note,
            file: Some(file.clone()),
        };
        Ok(match selected {
            None => Self::by_server(address, "The context dev is yours, and is left as it is."),
            Some(other) if other != name => by_context(format!(
                "The context {other} stays selected; `varve context use dev` changes that."
            )),
            Some(_) if std::env::var_os(SERVER_VARIABLE).is_some_and(|server| !server.is_empty()) => {
                by_context(format!(
                    "The context dev is selected, but {SERVER_VARIABLE} is set here, and wins."
                ))
            }
            Some(_) => Self {
                flags: Vec::new(),
                ..by_context("The context dev is selected: commands find the cluster by themselves.".into())
            },
        })
    }

    /// Takes the context away again, if it is still this cluster's.
    pub(super) fn take_back(&self) {
        let Some(file) = &self.file else { return };
        let name = ContextName::dev();
        let taken = file.change(|contexts| {
            let is_ours = |context: &Context| context.made_by_dev && context.server == self.address;
            if contexts.find(&name).is_some_and(is_ours) { contexts.remove(&name).map(drop) } else { Ok(()) }
        });
        if let Err(failure) = taken {
            tracing::warn!(problem = failure.message, "the context dev was not taken away");
        }
    }
}
