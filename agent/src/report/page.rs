//! The page around everything: head, policy, style, header, footer.
//!
//! Input: a title and the body. Output: the whole document. Failure: none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::count;
use crate::profile::document::ProfileDocument;
use crate::profile::model::Profile;
use crate::text::escape;

/// The page's style, which is part of it.
const STYLE: &str = include_str!("style.css");

/// The page. The policy lets a browser apply this style, by its hash, and do nothing else.
pub(super) fn page(title: &str, body: &Markup) -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) " \u{b7} Driftlock" }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// What the page is about.
pub(super) fn header(document: &ProfileDocument, roles: usize) -> Markup {
    let mut references = document.image.references.iter();
    let first = references.next();
    html! {
        header {
            p.brand { "Driftlock" span { "image profile" } }
            @match first {
                Some(reference) => h1 { (escape(reference.as_bytes())) },
                None => h1.mono { (document.digest.short()) },
            }
            dl.facts {
                dt { "config digest" } dd.mono { (document.digest) }
                @for reference in references { dt { "also" } dd { (escape(reference.as_bytes())) } }
                @if let Some(previous) = &document.image.descends_from {
                    dt { "descends from" } dd.mono { (previous) }
                }
                @if let Some(container) = &document.image.provisional_of {
                    dt { "provisional" } dd { "of container " (escape(container.as_bytes())) ", whose image is not known" }
                }
                @if roles > 1 { dt { "roles" } dd { (roles) } }
            }
        }
    }
}

/// One role: what it is started as, and whether somebody vouches for it.
pub(super) fn role_head(profile: &Profile, is_one_of_several: bool) -> Markup {
    html! {
        div.role {
            @if is_one_of_several { h2 { "Role " code { (profile.key.role) } } }
            @else { p { "started as " code { (profile.key.role) } } }
            p.badges {
                @if profile.approved { span.badge.good { "approved" } }
                @else { span.badge.notable { "not approved yet" } }
                @if profile.scripts { span.badge { "scripts are compared" } }
                @else { span.badge { "scripts are judged by their layer" } }
                span.badge { (count(profile.counts.exec.instances, "container")) " observed" }
            }
        }
    }
}

/// How to read the page.
pub(super) fn footer() -> Markup {
    html! {
        footer {
            p {
                "A window is one container for one minute of which no record was lost. Coverage is the estimated share of future "
                "behaviour that the profile already holds. Names are shown as alerts show them: what cannot be printed is " code { "\\xNN" } "."
            }
            p { "Written by driftlock " (env!("CARGO_PKG_VERSION")) "." }
        }
    }
}
