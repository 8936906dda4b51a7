"""The Python client's dynamic half: dynamic.py.

Finds kinds by discovery, and writes in every way that the client has: create, replace, the four patches, delete; and
follows it all by a watch. Reads $KUBECONFIG.
"""

import threading

from kubernetes import config, dynamic
from kubernetes.client import ApiClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, UnprocessibleEntityError

NAMESPACE = "default"


def follow(kind, version, seen, stop):
    for event in kind.watch(namespace=NAMESPACE, resource_version=version, label_selector="app=dynamic", timeout=60):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == stop:
            return


def patches(maps):
    """Each says the same by its own means."""
    merge, json, strategic, apply = (
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    )
    patched = maps.patch(name="one", namespace=NAMESPACE, body={"data": {"merge": "1"}}, content_type=merge)
    assert patched.data.merge == "1"
    operation = [{"op": "replace", "path": "/data/merge", "value": "2"}]
    patched = maps.patch(name="one", namespace=NAMESPACE, body=operation, content_type=json)
    assert patched.data.merge == "2"
    patched = maps.patch(name="one", namespace=NAMESPACE, body={"data": {"merge": None}}, content_type=strategic)
    assert patched.data.to_dict() == {"kept": "yes"}

    applied = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": NAMESPACE},
        "data": {"applied": "1"},
    }
    first = maps.server_side_apply(body=applied, name="one", namespace=NAMESPACE, field_manager="one")
    assert first.data.to_dict() == {"kept": "yes", "applied": "1"}
    assert [m.manager for m in first.metadata.managedFields if m.operation == "Apply"] == ["one"]
    applied["data"] = {"applied": "2"}
    try:
        maps.server_side_apply(body=applied, name="one", namespace=NAMESPACE, field_manager="two")
    except ConflictError as refused:
        assert ".data.applied" in refused.body
    else:
        raise SystemExit("a field that another manager owns was taken without force")
    forced = maps.server_side_apply(
        body=applied, name="one", namespace=NAMESPACE, field_manager="two", force_conflicts=True
    )
    assert forced.data.applied == "2"


def main():
    config.load_kube_config()
    client = dynamic.DynamicClient(ApiClient())
    maps = client.resources.get(api_version="v1", kind="ConfigMap")
    assert client.resources.get(api_version="apps/v1", kind="Deployment").namespaced
    assert not client.resources.get(api_version="v1", kind="Namespace").namespaced

    version = maps.get(namespace=NAMESPACE).metadata.resourceVersion
    seen = []
    watching = threading.Thread(target=follow, args=(maps, version, seen, "DELETED"), daemon=True)
    watching.start()

    body = {"metadata": {"name": "one", "labels": {"app": "dynamic"}}, "data": {"kept": "yes"}}
    created = maps.create(body=body, namespace=NAMESPACE)
    assert created.metadata.uid and created.metadata.creationTimestamp
    patches(maps)

    stale = created.to_dict()
    try:
        maps.replace(body=stale, namespace=NAMESPACE)
    except ConflictError:
        pass
    else:
        raise SystemExit("an old version was written over a newer one")
    try:
        maps.create(body={"metadata": {"name": "Not A Name"}}, namespace=NAMESPACE)
    except UnprocessibleEntityError as refused:
        assert '"field":"metadata.name"' in refused.body
    else:
        raise SystemExit("a bad name was taken")

    maps.delete(name="one", namespace=NAMESPACE)
    try:
        maps.get(name="one", namespace=NAMESPACE)
    except NotFoundError:
        pass
    else:
        raise SystemExit("a deleted object is still there")
    watching.join(timeout=60)
    assert seen[0] == ("ADDED", "one") and seen[-1] == ("DELETED", "one"), seen
    assert seen[1:-1] and all(event == ("MODIFIED", "one") for event in seen[1:-1]), seen


if __name__ == "__main__":
    main()
