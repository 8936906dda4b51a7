//! The defaults of `flowcontrol.apiserver.k8s.io`.

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};

use super::{Defaults, set, set_number};

const PRECEDENCE: i32 = 1000;
const SHARES: i32 = 30;
const QUEUES: i32 = 64;
const HAND_SIZE: i32 = 8;
const QUEUE_LENGTH: i32 = 50;

impl Defaults for FlowSchema {
    fn set_defaults(&mut self) {
        set_number(&mut self.spec.get_or_insert_default().matching_precedence, PRECEDENCE);
    }
}

impl Defaults for PriorityLevelConfiguration {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if let Some(exempt) = &mut spec.exempt {
            set(&mut exempt.nominal_concurrency_shares, 0);
            set(&mut exempt.lendable_percent, 0);
        }
        let Some(limited) = &mut spec.limited else { return };
        set(&mut limited.nominal_concurrency_shares, SHARES);
        set(&mut limited.lendable_percent, 0);
        if let Some(queuing) = limited.limit_response.as_mut().and_then(|r| r.queuing.as_mut()) {
            set_number(&mut queuing.queues, QUEUES);
            set_number(&mut queuing.hand_size, HAND_SIZE);
            set_number(&mut queuing.queue_length_limit, QUEUE_LENGTH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::tests::completed;

    #[test]
    fn levels_have_shares_and_queues() {
        let level = completed::<PriorityLevelConfiguration>(
            r#"{"spec":{"type":"Limited","limited":{"limitResponse":{"type":"Queue","queuing":{}}}}}"#,
        );
        assert!(level.contains(
            r#""limited":{"lendablePercent":0,"limitResponse":{"queuing":{"handSize":8,"queueLengthLimit":50,"queues":64},"type":"Queue"},"nominalConcurrencyShares":30}"#
        ), "{level}");
        assert!(completed::<FlowSchema>("{}").contains(r#""matchingPrecedence":1000"#));
    }
}
