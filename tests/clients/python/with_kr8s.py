"""kr8s against a cluster: with_kr8s.py.

Makes a Deployment, waits for it by its conditions, scales, labels, annotates and patches it, follows its pods, and deletes
it. Reads $KUBECONFIG.
"""

import kr8s
from kr8s.objects import ConfigMap, Deployment, Pod

TIMEOUT_SECONDS = 60


def deployment(name, replicas):
    labels = {"app": name}
    return Deployment({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "app:v1"}], "terminationGracePeriodSeconds": 0},
            },
        },
    })


def main():
    api = kr8s.api()
    assert api.version()["gitVersion"].startswith("v1.36")
    assert any(resource["kind"] == "Deployment" for resource in api.api_resources())

    web = deployment("kr8s", 2)
    web.create()
    web.wait("condition=Available", timeout=TIMEOUT_SECONDS)
    assert len(list(web.pods())) == 2

    web.scale(3)
    web.wait("jsonpath='{.status.readyReplicas}'=3", timeout=TIMEOUT_SECONDS)
    web.label(tier="front")
    web.annotate({"example.org/note": "seen"})
    web.refresh()
    assert web.labels["tier"] == "front" and web.annotations["example.org/note"] == "seen"
    web.patch([{"op": "replace", "path": "/spec/replicas", "value": 1}], type="json")

    listed = list(kr8s.get("pods", namespace="default", label_selector={"app": "kr8s"}))
    assert listed and all(isinstance(pod, Pod) for pod in listed)
    web.wait("jsonpath='{.status.replicas}'=1", timeout=TIMEOUT_SECONDS)

    settings = ConfigMap({"metadata": {"name": "kr8s", "namespace": "default"}, "data": {"a": "1"}})
    settings.create()
    for event, found in kr8s.watch("configmaps", namespace="default", field_selector={"metadata.name": "kr8s"}):
        assert event == "ADDED" and found.raw["data"] == {"a": "1"}
        break
    settings.delete()
    assert not settings.exists()

    web.delete(propagation_policy="Foreground")
    web.wait("delete", timeout=TIMEOUT_SECONDS)
    assert not list(kr8s.get("pods", namespace="default", label_selector={"app": "kr8s"}))


if __name__ == "__main__":
    main()
