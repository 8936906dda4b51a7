//! What Go calls the types of the graph: errors of its decoder name them.
//!
//! Most names follow from the shape. Where Go has a name of its own for text, a list or a map (`v1.RestartPolicy`,
//! `v1.ResourceList`), `api/schema/named.tsv` has it, which `api/schema/named.py` makes from Kubernetes' declarations. It is
//! searched as it stands: only who is refused waits for it.

use super::{Shape, Type};

static NAMED: &str = include_str!("../../schema/named.tsv");

/// The Go type of a shape.
pub(crate) fn name(shape: Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Float => "float64".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::Object(id) => id.get().name.split_once('.').map(|x| x.1).unwrap_or_default().to_owned(),
        Shape::List(element) => format!("[]{}", name(*element)),
        Shape::Map(entry) => format!("map[string]{}", name(*entry)),
    }
}

/// The Go type of a field, or of an element of the list or map that it is.
pub(crate) fn name_of(type_: &Type, field: &str, shape: Shape) -> String {
    let row = NAMED.lines().find_map(|line| {
        let mut columns = line.split('\t');
        let found = columns.next() == Some(type_.name) && columns.next() == Some(field);
        if found { columns.next() } else { None }
    });
    let Some(named) = row else { return name(shape) };
    let whole = type_.field(field).map(|field| field.shape);
    match whole {
        Some(Shape::List(_)) if !matches!(shape, Shape::List(_)) => named.trim_start_matches("[]").to_owned(),
        Some(Shape::Map(_)) if !matches!(shape, Shape::Map(_)) => match named.split_once(']') {
            Some((_, entry)) => entry.to_owned(),
            None => name(shape),
        },
        _ => named.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn names_are_gos_own() {
        for (type_, field, shape, expected) in [
            ("core.v1.PodSpec", "restartPolicy", Shape::String, "v1.RestartPolicy"),
            ("core.v1.PodSpec", "nodeName", Shape::String, "string"),
            ("core.v1.ResourceRequirements", "limits", Shape::Map(&Shape::Quantity), "v1.ResourceList"),
            ("core.v1.ResourceRequirements", "limits", Shape::Quantity, "resource.Quantity"),
            (
                "core.v1.PersistentVolumeClaimSpec",
                "accessModes",
                Shape::List(&Shape::String),
                "[]v1.PersistentVolumeAccessMode",
            ),
            ("core.v1.PersistentVolumeClaimSpec", "accessModes", Shape::String, "v1.PersistentVolumeAccessMode"),
            ("meta.v1.ObjectMeta", "uid", Shape::String, "types.UID"),
        ] {
            let type_ = schema::find(type_).expect("a type").get();
            assert_eq!(name_of(type_, field, shape), expected);
        }
    }

    #[test]
    fn rows_are_of_the_graph() {
        for line in NAMED.lines() {
            let [type_, field, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("three columns: {line}") };
            assert!(schema::find(type_).is_some_and(|id| id.get().field(field).is_some()), "{line}");
        }
    }
}
