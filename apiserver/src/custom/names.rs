//! Which names a definition gets: those that it wants, unless another of its group has them. Pure.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/controller/status/naming_controller.go`.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};

use super::status::{self, Condition};

/// The names that others have.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// Plurals, singulars and short names.
    resources: BTreeSet<String>,
    /// Kinds and kinds of lists.
    kinds: BTreeSet<String>,
}

impl Taken {
    /// What these definitions were given.
    pub(super) fn of<'d>(definitions: impl Iterator<Item = &'d CustomResourceDefinition>) -> Self {
        let mut taken = Self::default();
        for names in definitions.filter_map(|definition| definition.status.as_ref()?.accepted_names.as_ref()) {
            let short = names.short_names.iter().flatten();
            taken.resources.extend(short.chain([&names.plural]).chain(&names.singular).cloned());
            taken.kinds.extend(std::iter::once(&names.kind).chain(&names.list_kind).cloned());
        }
        taken
    }
}

/// Gives a definition what it wants and may have, and says in its conditions how that went.
pub(super) fn decide(definition: &mut CustomResourceDefinition, taken: &Taken) {
    let wanted = definition.spec.names.clone();
    let mut accepted: CustomResourceDefinitionNames =
        definition.status.as_ref().and_then(|status| status.accepted_names.clone()).unwrap_or_default();
    let mut conflict: Option<(&'static str, String)> = None;
    let mut refuse = |reason: &'static str, message: String| conflict = Some((reason, message));
    match check(&wanted.plural, &accepted.plural, &taken.resources) {
        None => accepted.plural = wanted.plural,
        Some(why) => refuse("PluralConflict", why),
    }
    match check(text(&wanted.singular), text(&accepted.singular), &taken.resources) {
        None => accepted.singular = wanted.singular,
        Some(why) => refuse("SingularConflict", why),
    }
    let own = accepted.short_names.clone().unwrap_or_default();
    let fresh = wanted.short_names.iter().flatten().filter(|name| !own.contains(name));
    let errors: Vec<String> = fresh.filter_map(|name| check(name, "", &taken.resources)).collect();
    match errors.as_slice() {
        [] => accepted.short_names = wanted.short_names,
        [one] => refuse("ShortNamesConflict", one.clone()),
        many => refuse("ShortNamesConflict", format!("[{}]", many.join(", "))),
    }
    match check(&wanted.kind, &accepted.kind, &taken.kinds) {
        None => accepted.kind = wanted.kind,
        Some(why) => refuse("KindConflict", why),
    }
    match check(text(&wanted.list_kind), text(&accepted.list_kind), &taken.kinds) {
        None => accepted.list_kind = wanted.list_kind,
        Some(why) => refuse("ListKindConflict", why),
    }
    accepted.categories = wanted.categories;
    definition.status.get_or_insert_default().accepted_names = Some(accepted);
    let is_accepted = conflict.is_none();
    let (reason, message) = conflict.unwrap_or(("NoConflicts", "no conflicts found".to_owned()));
    let (type_, is_true) = (status::NAMES_ACCEPTED, is_accepted);
    status::set(definition, &Condition { type_, is_true, reason, message: message.into() });
    if !is_accepted && !status::has(definition, status::ESTABLISHED) {
        status::set(definition, &status::NOT_ACCEPTED);
    }
}

/// Why a name cannot be had.
fn check(wanted: &str, accepted: &str, taken: &BTreeSet<String>) -> Option<String> {
    (wanted != accepted && taken.contains(wanted)).then(|| format!("{wanted:?} is already in use"))
}

fn text(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(kind: &str, plural: &str, short: &[&str]) -> CustomResourceDefinition {
        let mut definition = CustomResourceDefinition::default();
        definition.spec.names = CustomResourceDefinitionNames {
            kind: kind.to_owned(),
            list_kind: Some(format!("{kind}List")),
            plural: plural.to_owned(),
            singular: Some(kind.to_lowercase()),
            short_names: Some(short.iter().map(|name| (*name).to_owned()).collect()),
            categories: None,
        };
        definition
    }

    fn told(definition: &CustomResourceDefinition) -> Vec<String> {
        let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .map(|one| {
                let [reason, message] = [&one.reason, &one.message].map(|text| text.as_deref().unwrap_or_default());
                format!("{}={} {reason}: {message}", one.type_, one.status)
            })
            .collect()
    }

    #[test]
    fn who_comes_first_gets_the_names() {
        let mut first = definition("Widget", "widgets", &["w"]);
        decide(&mut first, &Taken::default());
        assert_eq!(told(&first), ["NamesAccepted=True NoConflicts: no conflicts found"]);
        let taken = Taken::of([&first].into_iter());
        for (mut other, expected) in [
            (definition("Widget", "others", &[]), "ListKindConflict: \"WidgetList\" is already in use"),
            (definition("Other", "widgets", &[]), "PluralConflict: \"widgets\" is already in use"),
            (definition("Other", "w", &["o", "w"]), "ShortNamesConflict: \"w\" is already in use"),
        ] {
            decide(&mut other, &taken);
            let refused = format!("NamesAccepted=False {expected}");
            assert_eq!(told(&other), [&*refused, "Established=False NotAccepted: not all names are accepted"]);
        }
        let mut fresh = definition("Other", "others", &["o"]);
        decide(&mut fresh, &taken);
        assert!(status::is_true(&fresh, status::NAMES_ACCEPTED));
        assert!(status::establish(&mut fresh) && !status::establish(&mut fresh));
        assert_eq!(told(&fresh)[1], "Established=True InitialNamesAccepted: the initial names have been accepted");
    }
}
