//! What was found about paths, as tables.
//!
//! Input: forms of families, trees and shipped files. Output: a [`Report`], whose section is in docs/normal-form.md. Failure: a
//! kernel that does not say its release.

use serde_json::{Map, json};

use super::families::Family;
use super::{Forms, Shared};
use crate::bench::report::{Grid, Machine, Report};

/// Forms that different files share, of which the page names that many.
const SHOWN: usize = 15;

/// The report of these.
pub fn report(
    families: &[Family],
    trees: &[(String, Forms)],
    shipped: Option<&Forms>,
) -> anyhow::Result<Report> {
    let mut of_families = Grid::new(&["names", "samples", "forms", "in the most common form", "which is"]);
    of_families.lines = families.iter().map(family_cells).collect();
    let mut of_trees = Grid::new(&["tree", "paths", "forms", "paths that share a form"]);
    let named = trees.iter().map(|(name, forms)| (name.as_str(), forms));
    let shipped_row = shipped.map(|forms| ("what Debian packages ship here", forms));
    of_trees.lines = named
        .clone()
        .chain(shipped_row)
        .map(|(name, forms)| tree_cells(name, forms))
        .collect();
    let mut of_shared = Grid::new(&["form that shipped paths share", "paths", "two of them"]);
    of_shared.lines = shipped
        .map(|forms| forms.most_shared(SHOWN).iter().map(shared_cells).collect())
        .unwrap_or_default();
    let counts =
        |forms: &Forms| json!({"paths": forms.paths(), "forms": forms.forms(), "sharing": forms.sharing()});
    let mut numbers = Map::new();
    let by_name = named
        .chain(shipped_row)
        .map(|(name, forms)| (name.to_owned(), counts(forms)));
    numbers.insert("trees".to_owned(), by_name.collect::<Map<_, _>>().into());
    let by_name = families.iter().filter_map(|family| {
        let forms = family.forms.as_ref()?;
        let mut counts = counts(forms);
        counts["in_most_common"] = forms.most_common()?.1.into();
        Some((family.name.to_owned(), counts))
    });
    numbers.insert("families".to_owned(), by_name.collect::<Map<_, _>>().into());
    Ok(Report {
        part: "paths",
        machine: Machine::this()?,
        conditions: "names drawn by the tools of this machine, and its trees".to_owned(),
        tables: vec![of_families, of_trees, of_shared],
        numbers,
    })
}

fn family_cells(family: &Family) -> Vec<String> {
    let known = family.forms.as_ref();
    match known.and_then(|forms| Some((forms, forms.most_common()?))) {
        None => [family.name, "the tool is not here", "", "", ""]
            .map(str::to_owned)
            .to_vec(),
        Some((forms, (text, common))) => vec![
            family.name.to_owned(),
            forms.paths().to_string(),
            forms.forms().to_string(),
            percent(common, forms.paths()),
            format!("`{text}`"),
        ],
    }
}

fn tree_cells(name: &str, forms: &Forms) -> Vec<String> {
    vec![
        name.to_owned(),
        forms.paths().to_string(),
        forms.forms().to_string(),
        format!(
            "{} ({})",
            forms.sharing(),
            percent(forms.sharing(), forms.paths())
        ),
    ]
}

fn shared_cells(shared: &Shared) -> Vec<String> {
    let examples: Vec<_> = shared.examples.iter().map(|path| format!("`{path}`")).collect();
    vec![
        format!("`{}`", shared.text),
        shared.paths.to_string(),
        examples.join(", "),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}
