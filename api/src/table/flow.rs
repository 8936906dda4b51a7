//! The rows of `flowcontrol.apiserver.k8s.io`.

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for FlowSchema {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.as_ref();
        let conditions = self.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let dangling = conditions.filter(|c| c.type_.as_deref() == Some("Dangling")).find_map(|c| c.status.as_deref());
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            spec.map_or("", |s| &s.priority_level_configuration.name).into(),
            spec.and_then(|s| s.matching_precedence).unwrap_or_default().into(),
            spec.and_then(|s| s.distinguisher_method.as_ref()).map_or(cells::NONE, |m| &m.type_).into(),
            age(&self.metadata, now).into(),
            dangling.unwrap_or("?").into(),
        ]
    }
}

impl Cells for PriorityLevelConfiguration {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let limited = self.spec.as_ref().and_then(|s| s.limited.as_ref());
        let queuing = limited.and_then(|l| l.limit_response.as_ref()).and_then(|r| r.queuing.as_ref());
        let number = |is_there: bool, value: Option<i32>| -> Value {
            if is_there { value.unwrap_or_default().into() } else { cells::NONE.into() }
        };
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            self.spec.as_ref().map_or("", |s| &s.type_).into(),
            number(limited.is_some(), limited.and_then(|l| l.nominal_concurrency_shares)),
            number(queuing.is_some(), queuing.and_then(|q| q.queues)),
            number(queuing.is_some(), queuing.and_then(|q| q.hand_size)),
            number(queuing.is_some(), queuing.and_then(|q| q.queue_length_limit)),
            age(&self.metadata, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow;
    use crate::object::Object as _;
    use crate::table::tests::line;

    #[test]
    fn what_kubectl_shows() {
        let text = |json: &[u8]| String::from_utf8_lossy(json).into_owned();
        let [schema, ..] = flow::flow_schemas() else { panic!("there are some") };
        assert_eq!(line::<FlowSchema>(&text(&schema.encode())), "exempt | exempt | 1 | <none> | <unknown> | ?");
        let levels: Vec<String> = flow::priority_levels()[..3]
            .iter()
            .map(|level| line::<PriorityLevelConfiguration>(&text(&level.encode())))
            .collect();
        assert_eq!(
            levels,
            [
                "exempt | Exempt | <none> | <none> | <none> | <none> | <unknown>",
                "catch-all | Limited | 5 | <none> | <none> | <none> | <unknown>",
                "system | Limited | 30 | 64 | 6 | 50 | <unknown>",
            ]
        );
    }
}
