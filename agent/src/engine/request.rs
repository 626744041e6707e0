//! Requests of the control socket: what an operator asks, and what is done about it.
//!
//! Every change is in the store before it is in the kernel. Failure: a [`Refusal`] that says what to do instead; then
//! nothing was changed.

use std::collections::BTreeSet;

use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::Layer;
use agent_common::syscall::SyscallPhase;

use super::Engine;
use super::container::Tracked;
use super::status::behaviour_view;
use crate::behaviour::{
    Behaviour, BehaviourParts, CapBehaviour, ExecBehaviour, FileBehaviour, SyscallBehaviour, is_multi_call,
};
use crate::control::protocol::{Accept, ModeTarget, Refusal, Request, Response};
use crate::control::view::{AcceptView, BehaviourState, BehaviourView, DocumentView};
use crate::image::ImageDigest;
use crate::profile::document::ProfileDocument;
use crate::profile::mode::Scope;
use crate::profile::model::{ContentHash, ProfileKey, Role};
use crate::profile::selector::{SelectError, Selector};
use crate::profile::signed::SignedDocument;
use crate::profile::store::StoreError;
use crate::signature::{Signature, SignatureError};
use crate::text::ByteText;

type Result<T> = std::result::Result<T, Refusal>;

impl Engine {
    /// Answers one request.
    pub(super) fn answer(&mut self, request: Request) -> Response {
        let answer = match request {
            Request::Status => {
                self.tell_losses();
                Ok(Response::ok(&self.status()))
            }
            Request::Containers => Ok(Response::ok(&self.container_views())),
            Request::ModeGet => Ok(Response::ok(&self.modes())),
            Request::ModeSet { mode, target, domain } => self.set_mode(mode, &target, domain),
            Request::ProfileList => Ok(Response::ok(&self.profile_summaries())),
            Request::ProfileShow { image, role } => self.show(&image, role.as_deref()),
            Request::ProfileExport { image } => self.export(&image),
            Request::ProfileImport {
                document,
                source,
                signature,
            } => self.import(&document, &source, signature.as_deref()),
            Request::ProfileApprove { image, role } => self.approve(&image, role.as_deref()),
            Request::ProfileAccept { image, role, accept } => self.accept(&image, role.as_deref(), accept),
            Request::Doctor => Ok(Response::ok(&self.doctor())),
            // The server has the alerts itself.
            Request::Alerts { .. } => Err(Refusal::invalid(
                "alerts are read from the server, not from the engine",
            )),
        };
        answer.unwrap_or_else(Response::from)
    }

    fn set_mode(&mut self, mode: Mode, target: &ModeTarget, domain: Option<Domain>) -> Result<Response> {
        let scope = match target {
            ModeTarget::Default => Scope::Default,
            ModeTarget::Image(image) => match Self::selector(image, None)?.image(&self.store) {
                Ok(digest) => {
                    self.refuse_provisional(digest)?;
                    Scope::Image(digest.clone())
                }
                Err(error) => match image.parse::<ImageDigest>() {
                    Ok(digest) => Scope::Image(digest),
                    // An image that has not run here yet can be named by its reference; a digit string cannot.
                    Err(_) if is_reference(image) => Scope::Reference(image.clone()),
                    Err(_) => return Err(Refusal::not_found(error.to_string())),
                },
            },
            ModeTarget::Container(name) => Scope::Container(self.container_id(name)?),
        };
        self.store
            .set_mode(scope, domain, Some(mode))
            .map_err(|error| refuse(&error))?;
        self.apply_policies();
        self.observe_what_is_wanted();
        self.stop_observing_what_is_not_wanted();
        Ok(Response::ok(&self.modes()))
    }

    /// The full id of a container given by its name, its id, or the beginning of that.
    fn container_id(&self, text: &str) -> Result<String> {
        let mut ids: Vec<String> = self
            .containers
            .values()
            .filter(|tracked| !tracked.is_removed())
            .filter_map(Tracked::known)
            .filter(|known| {
                known.info.name.to_string() == text
                    || (text.len() >= 4 && known.info.id.as_str().starts_with(text))
            })
            .map(|known| known.info.id.as_str().to_owned())
            .collect();
        ids.sort();
        match ids.as_slice() {
            [id] => Ok(id.clone()),
            [] => Err(
                Refusal::not_found(format!("no running container fits `{}`", text.escape_debug()))
                    .hint("`driftlock containers` lists them"),
            ),
            _ => Err(Refusal::ambiguous(format!(
                "`{}` fits several containers: {}",
                text.escape_debug(),
                ids.join(", ")
            ))),
        }
    }

    /// What belongs to one container alone is not for others, nor for longer than that container.
    fn refuse_provisional(&self, digest: &ImageDigest) -> Result<()> {
        let Some(container) = self.store.provisional_of(digest) else {
            return Ok(());
        };
        let short: String = container.chars().take(12).collect();
        Err(Refusal::invalid(format!(
            "{} is no image: it is the provisional profile of container {short}, whose image is not known",
            digest.short()
        ))
        .hint("`driftlock containers` says why; a mode can be set with `--container`"))
    }

    fn selector(image: &str, role: Option<&str>) -> Result<Selector> {
        let role = match role {
            None => None,
            Some(role) => {
                let text: ByteText = role
                    .parse()
                    .map_err(|error: crate::text::UnescapeError| Refusal::invalid(error.to_string()))?;
                Some(Role::new(text).map_err(|error| Refusal::invalid(error.to_string()))?)
            }
        };
        Ok(Selector {
            image: image.to_owned(),
            role,
        })
    }

    /// The profiles that a request is about: the one of the role, or all of the image.
    fn select(&self, image: &str, role: Option<&str>) -> Result<Vec<ProfileKey>> {
        let selector = Self::selector(image, role)?;
        let profiles = selector
            .profiles(&self.store)
            .map_err(|error| unselected(&error))?;
        Ok(profiles.into_iter().map(|profile| profile.key.clone()).collect())
    }

    fn show(&self, image: &str, role: Option<&str>) -> Result<Response> {
        let key = Self::selector(image, role)?
            .profile(&self.store)
            .map_err(|error| unselected(&error))?;
        let profile = self
            .store
            .profile(&key)
            .ok_or_else(|| Refusal::not_found(format!("no profile of {key}")))?;
        Ok(Response::ok(&self.profile_view(profile)))
    }

    fn export(&self, image: &str) -> Result<Response> {
        let selector = Self::selector(image, None)?;
        let digest = selector.image(&self.store).map_err(|error| unselected(&error))?;
        self.refuse_provisional(digest)?;
        let document = self
            .store
            .export(digest)
            .ok_or_else(|| Refusal::not_found(format!("no profile of {digest}")))?;
        let document = document
            .render()
            .map_err(|error| Refusal::failed(error.to_string()))?;
        Ok(Response::ok(&DocumentView {
            digest: digest.clone(),
            document,
        }))
    }

    fn import(&mut self, text: &str, source: &str, signature: Option<&str>) -> Result<Response> {
        let document = ProfileDocument::parse(text.as_bytes(), source)
            .map_err(|error| Refusal::invalid(error.to_string()))?;
        let imported = match signature {
            None => self.store.import(&document),
            Some(signature) => {
                let signed = self.signed_document(&document, text, source, signature)?;
                self.store.import_signed(&document, text.as_bytes(), signed)
            }
        };
        let summary = imported.map_err(|error| refuse(&error))?;
        for (_, profile) in &summary.removed {
            self.unpublish(*profile);
        }
        let profiles: Vec<u32> = self
            .store
            .profiles_of(&document.digest)
            .map(|profile| profile.id)
            .collect();
        for profile in profiles {
            self.republish(profile);
        }
        let summaries: Vec<_> = self
            .store
            .profiles_of(&summary.digest)
            .map(|profile| self.profile_summary(profile))
            .collect();
        Ok(Response::ok(&summaries))
    }

    /// A document with its signature. Where keys are trusted, one of them must have made it.
    fn signed_document(
        &self,
        document: &ProfileDocument,
        text: &str,
        source: &str,
        signature: &str,
    ) -> Result<SignedDocument> {
        let invalid =
            |error: &SignatureError| Refusal::invalid(format!("{}: {error}", source.escape_debug()));
        let signature = Signature::parse(signature.as_bytes()).map_err(|error| invalid(&error))?;
        let signed = SignedDocument::new(document, text.as_bytes(), signature);
        let keys = &self.config.trust.keys;
        if !keys.is_empty() {
            signed.verify(keys).map_err(|error| {
                let hint = match error {
                    SignatureError::Untrusted { .. } => {
                        "nothing was changed; trust its key (`profiles.trusted_keys`), or import without the signature \
                         (`--unsigned`)"
                    }
                    _ => "nothing was changed",
                };
                invalid(&error).hint(hint)
            })?;
        }
        Ok(signed)
    }

    fn approve(&mut self, image: &str, role: Option<&str>) -> Result<Response> {
        let key = Self::selector(image, role)?
            .profile(&self.store)
            .map_err(|error| unselected(&error))?;
        self.refuse_provisional(&key.digest)?;
        self.store.approve(&key, true).map_err(|error| refuse(&error))?;
        // What waited for this word is enforced from now on.
        self.apply_policies();
        self.show(image, role)
    }

    fn accept(&mut self, image: &str, role: Option<&str>, accept: Accept) -> Result<Response> {
        let keys = self.select(image, role)?;
        let (behaviours, already) = match accept {
            Accept::Proposed { domain } => self.accept_proposed(&keys, domain)?,
            Accept::Exec {
                section,
                layer,
                path,
                applet,
            } => {
                let program = ExecBehaviour { layer, path, applet };
                self.accept_behaviour(&keys, section, &program.into())?
            }
            Accept::File {
                section,
                layer,
                files: pattern,
                operation,
            } => {
                let file = FileBehaviour {
                    layer,
                    pattern,
                    operation,
                };
                self.accept_behaviour(&keys, section, &file.into())?
            }
            Accept::Cap {
                section,
                capability,
                namespace,
                outcome,
            } => {
                let cap = CapBehaviour {
                    capability,
                    namespace,
                    outcome,
                };
                self.accept_behaviour(&keys, section, &cap.into())?
            }
            Accept::Syscall { section, abi, number } => {
                let call = SyscallBehaviour {
                    abi,
                    number,
                    phase: SyscallPhase::Program,
                };
                self.accept_behaviour(&keys, section, &call.into())?
            }
            Accept::Drift {
                layer,
                path,
                sha256,
                note,
            } => self.accept_drift(
                &keys,
                layer,
                path,
                sha256.as_deref(),
                note.as_deref().unwrap_or_default(),
            )?,
        };
        let profiles: Vec<u32> = keys
            .iter()
            .filter_map(|key| self.store.profile(key))
            .map(|profile| profile.id)
            .collect();
        for profile in profiles {
            self.republish(profile);
        }
        let Some(first) = keys.first() else {
            return Err(Refusal::not_found("no profile fits"));
        };
        Ok(Response::ok(&AcceptView {
            digest: first.digest.clone(),
            roles: keys.iter().map(|key| key.role.as_text().clone()).collect(),
            behaviours,
            already,
        }))
    }

    fn accept_behaviour(
        &mut self,
        keys: &[ProfileKey],
        section: Section,
        behaviour: &Behaviour,
    ) -> Result<(Vec<BehaviourView>, bool)> {
        if let Behaviour::Exec(ExecBehaviour {
            path, applet: None, ..
        }) = behaviour
            && is_multi_call(path.as_bytes())
        {
            return Err(Refusal::invalid(format!(
                "`{path}` is a multi-call binary: its applet must be given"
            ))
            .hint("add `--applet NAME`"));
        }
        let mut already = true;
        for key in keys {
            let is_new = match section {
                Section::Main => self.store.accept_main(key, behaviour),
                Section::ExecIn => self
                    .store
                    .accept_exec_in(key, std::slice::from_ref(behaviour))
                    .map(|accepted| accepted > 0),
            };
            already &= !is_new.map_err(|error| refuse(&error))?;
        }
        let view = behaviour_view(section, behaviour, BehaviourState::Accepted, 0);
        Ok((vec![view], already))
    }

    /// Accepts what processes from outside were seen to do.
    fn accept_proposed(
        &mut self,
        keys: &[ProfileKey],
        domain: Option<Domain>,
    ) -> Result<(Vec<BehaviourView>, bool)> {
        let mut accepted = BTreeSet::new();
        for key in keys {
            let proposals: Vec<Behaviour> = self
                .store
                .profile(key)
                .into_iter()
                .flat_map(|profile| profile.exec_in.iter())
                .filter(|(behaviour, entry)| {
                    !entry.accepted && domain.is_none_or(|domain| behaviour.domain() == domain)
                })
                .map(|(behaviour, _)| behaviour)
                .collect();
            self.store
                .accept_exec_in(key, &proposals)
                .map_err(|error| refuse(&error))?;
            accepted.extend(proposals);
        }
        let views = accepted
            .iter()
            .map(|behaviour| behaviour_view(Section::ExecIn, behaviour, BehaviourState::Accepted, 0));
        Ok((views.collect(), accepted.is_empty()))
    }

    fn accept_drift(
        &mut self,
        keys: &[ProfileKey],
        layer: Layer,
        path: ByteText,
        sha256: Option<&str>,
        note: &str,
    ) -> Result<(Vec<BehaviourView>, bool)> {
        let mut already = true;
        let mut accepted = Vec::new();
        for key in keys {
            let content: ContentHash = match sha256 {
                Some(text) => text
                    .parse()
                    .map_err(|error: crate::profile::model::ContentHashError| {
                        Refusal::invalid(error.to_string())
                    })?,
                None => match self.last_content(key, layer, &path) {
                    Some(content) => content,
                    // It ran in another role.
                    None if keys.len() > 1 => continue,
                    None => {
                        return Err(Refusal::not_found(format!(
                            "no content of {layer} file `{path}` was seen"
                        ))
                        .hint("give it: `--sha256 HEX`, or `--file FILE` for a copy on this host"));
                    }
                },
            };
            already &= !self
                .store
                .accept_drift(key, layer, &path, content, note)
                .map_err(|error| refuse(&error))?;
            accepted.push(content.to_string());
        }
        if accepted.is_empty() {
            return Err(
                Refusal::not_found(format!("no content of {layer} file `{path}` was seen"))
                    .hint("give it: `--sha256 HEX`, or `--file FILE` for a copy on this host"),
            );
        }
        accepted.sort();
        accepted.dedup();
        let view = BehaviourView {
            section: None,
            parts: BehaviourParts::of_program(layer, path),
            sha256: accepted,
            state: BehaviourState::Accepted,
            windows: 0,
            note: (!note.is_empty()).then(|| note.to_owned()),
            support: None,
        };
        Ok((vec![view], already))
    }
}

/// Whether a text that fits no known image can be a reference, and not the beginning of a digest.
fn is_reference(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with("sha256:")
        && text.len() <= 512
        && !text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn unselected(error: &SelectError) -> Refusal {
    match error {
        SelectError::AmbiguousImage { .. } => Refusal::ambiguous(error.to_string()),
        SelectError::AmbiguousRole { .. } => Refusal::ambiguous(error.to_string()).hint("add `--role ROLE`"),
        _ => Refusal::not_found(error.to_string()).hint("`driftlock profile list` lists what there is"),
    }
}

fn refuse(error: &StoreError) -> Refusal {
    let refusal = match error {
        StoreError::Behaviour { .. } | StoreError::PendingMode | StoreError::AlwaysOn => {
            Refusal::invalid(error.to_string())
        }
        _ => Refusal::failed(error.to_string()),
    };
    refusal.hint("nothing was changed")
}
