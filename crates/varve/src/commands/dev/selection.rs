//! The context `dev`, which is there while its cluster runs.

use super::node::Node;
use super::ready;
use crate::context::{Context, ContextFile, ContextName, SERVER_VARIABLE};
use crate::failure::Failure;
use crate::tls::{self, TlsSettings};

/// How the next commands find the cluster.
pub(super) struct Selection {
    /// `varve://127.0.0.1:8400,...`.
    pub(super) address: String,
    /// How they name it, where they have to.
    named: Vec<String>,
    /// Whether a context of this user has its certificates.
    in_context: bool,
    /// How it is spoken to, where that is not in the clear.
    tls: Option<TlsSettings>,
    /// What is said of it.
    pub(super) note: String,
    file: Option<ContextFile>,
}

impl Selection {
    /// Makes the context, and selects it. What the user has made or selected is left alone. Where contexts cannot be kept
    /// commands have to name the cluster, which is no reason not to run it.
    pub(super) fn make(nodes: &[Node], tls: Option<TlsSettings>) -> Self {
        let address = ready::address(nodes);
        Self::in_contexts(&address, tls.as_ref()).unwrap_or_else(|failure| {
            Self::by_server(
                &address,
                tls.as_ref(),
                &format!("There is no context for it: {}.", failure.message),
            )
        })
    }

    fn by_server(address: &str, tls: Option<&TlsSettings>, note: &str) -> Self {
        let named = vec!["--server".into(), address.to_owned()];
        let (address, note) = (address.to_owned(), note.to_owned());
        Self { address, named, in_context: false, tls: tls.cloned(), note, file: None }
    }

    /// The flags that a command needs: none if all is as it should be.
    pub(super) fn flags(&self) -> Vec<String> {
        match &self.tls {
            Some(tls) if !self.in_context => {
                [self.named.clone(), ca_flag(tls), certificate_flags(tls)].concat()
            }
            _ => self.named.clone(),
        }
    }

    /// The flags of a command that shows this certificate instead.
    pub(super) fn flags_as(&self, other: &TlsSettings) -> Vec<String> {
        let ca = if self.in_context { Vec::new() } else { ca_flag(other) };
        [self.named.clone(), ca, certificate_flags(other)].concat()
    }

    fn in_contexts(address: &str, tls: Option<&TlsSettings>) -> Result<Self, Failure> {
        let name = ContextName::dev();
        let file = ContextFile::required()?;
        let selected = file.change(|contexts| {
            if contexts.find(&name).is_some_and(|context| !context.made_by_dev) {
                return Ok(None);
            }
            contexts.put(name.clone(), Context::of_dev(address.to_owned(), tls.cloned()));
            if contexts.selected().is_none() {
                contexts.select(Some(name.clone()))?;
            }
            Ok(contexts.selected().map(|(selected, _)| selected.clone()))
        })?;
        let by_context = |note: String| Self {
            named: vec!["--context".into(), name.to_string()],
            in_context: true,
            tls: tls.cloned(),
            address: address.to_owned(),
            note,
            file: Some(file.clone()),
        };
        Ok(match selected {
            None => Self::by_server(address, tls, "The context dev is yours, and is left as it is."),
            Some(other) if other != name => by_context(format!(
                "The context {other} stays selected; `varve context use dev` changes that."
            )),
            Some(_) => match variable_that_wins() {
                Some(variable) => {
                    by_context(format!("The context dev is selected, but {variable} is set here, and wins."))
                }
                None => Self {
                    named: Vec::new(),
                    ..by_context(
                        "The context dev is selected: commands find the cluster by themselves.".into(),
                    )
                },
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

/// A variable of this shell that commands heed more than the selected context.
fn variable_that_wins() -> Option<&'static str> {
    let names =
        [SERVER_VARIABLE, tls::CA_VARIABLE, tls::CERT_VARIABLE, tls::KEY_VARIABLE, tls::NAME_VARIABLE];
    names.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn ca_flag(tls: &TlsSettings) -> Vec<String> {
    vec!["--tls-ca-file".into(), tls.ca_file.display().to_string()]
}

fn certificate_flags(tls: &TlsSettings) -> Vec<String> {
    let (cert, key) = (tls.cert_file.display().to_string(), tls.key_file.display().to_string());
    vec!["--tls-cert-file".into(), cert, "--tls-key-file".into(), key]
}
