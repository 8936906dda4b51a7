//! Whether a node that is short of something takes a pod at all. Pure. Source: kubelet, the eviction manager's `Admit`.

use coracle_api::pods::qos_class;
use k8s_openapi::api::core::v1 as core;

use super::signal::Pressures;
use crate::pod::critical::is_critical;
use crate::pod::state::Outcome;

const MEMORY_TAINT: &str = "node.kubernetes.io/memory-pressure";

/// How a pod fails that does not fit a node with these conditions; `None`: it fits. One that matters to the cluster always
/// does; and while memory alone is short, so does whoever asks for some, or says that it puts up with that.
pub fn refusal(pressures: Pressures, pod: &core::Pod, is_static: bool) -> Option<Outcome> {
    if !pressures.is_any() || is_critical(pod, is_static) {
        return None;
    }
    let is_memory_alone = pressures == Pressures { memory: true, ..Pressures::default() };
    let asks = || pod.spec.as_ref().is_some_and(|spec| qos_class(spec) != "BestEffort");
    if is_memory_alone && (asks() || tolerates_memory_pressure(pod)) {
        return None;
    }
    let kinds: Vec<&str> = pressures.kinds().collect();
    let message = format!("Pod was rejected: The node had condition: [{}]. ", kinds.join(" "));
    Some(Outcome::failed("Evicted", message))
}

fn tolerates_memory_pressure(pod: &core::Pod) -> bool {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.into_iter().any(|it| {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let is_equal = match it.operator.as_deref() {
            Some("Exists") => true,
            None | Some("" | "Equal") => given(&it.value).is_none(),
            Some(_) => false,
        };
        given(&it.key).is_none_or(|key| key == MEMORY_TAINT)
            && given(&it.effect).is_none_or(|effect| effect == "NoSchedule")
            && is_equal
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;

    #[test]
    fn who_is_refused_depends_on_what_is_short() {
        let pod = |spec: &str| {
            let json = format!(r#"{{"metadata":{{"name":"p"}},"spec":{{{spec}"containers":[{{"name":"c"}}]}}}}"#);
            core::Pod::decode(json.as_bytes()).unwrap()
        };
        let plain = pod("");
        let mut asking = plain.clone();
        let requests = [("memory".to_owned(), "1Mi".parse::<coracle_api::quantity::Quantity>().unwrap().to_text())];
        asking.spec.as_mut().unwrap().containers[0].resources =
            Some(core::ResourceRequirements { requests: Some(requests.into()), ..Default::default() });
        let key = MEMORY_TAINT;
        let tolerant = pod(&format!(r#""tolerations":[{{"key":"{key}","operator":"Exists","effect":"NoSchedule"}}],"#));
        let stays = pod(&format!(r#""tolerations":[{{"key":"{key}","operator":"Exists","effect":"NoExecute"}}],"#));
        let of_disk = pod(r#""tolerations":[{"key":"node.kubernetes.io/disk-pressure","operator":"Exists"}],"#);
        let critical = pod(r#""priority":2000000000,"#);
        let all = [&plain, &asking, &tolerant, &stays, &of_disk, &critical];
        let refused = |memory, disk| {
            let pressures = Pressures { memory, disk, pid: false };
            all.map(|pod| refusal(pressures, pod, false).is_some())
        };
        assert_eq!(refused(false, false), [false; 6]);
        assert_eq!(refused(true, false), [true, false, false, true, true, false]);
        assert_eq!(refused(false, true), [true, true, true, true, true, false]);
        assert_eq!(refused(true, true), [true, true, true, true, true, false]);
        let outcome = refusal(Pressures { memory: true, disk: true, pid: false }, &plain, false).unwrap();
        assert_eq!((&*outcome.reason, outcome.is_disruption), ("Evicted", false));
        assert_eq!(refusal(Pressures { memory: true, disk: true, pid: false }, &plain, true), None, "a static pod");
        assert_eq!(outcome.message, "Pod was rejected: The node had condition: [MemoryPressure DiskPressure]. ");
    }
}
