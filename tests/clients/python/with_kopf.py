"""A kopf operator with a definition of its own, against a cluster: with_kopf.py.

Makes the definition, runs the operator, and takes a `Greeting` through its life: the handlers of its creation, of its
update and of its deletion run, its child is there and goes with it. Reads $KUBECONFIG.
"""

import pathlib

from kopf.testing import KopfRunner
from kubernetes import client, config, watch

from kopf_operator import GROUP, PLURAL, VERSION

TIMEOUT_SECONDS = 60
OPERATOR = pathlib.Path(__file__).with_name("kopf_operator.py")


def definition():
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "required": ["whom"], "properties": {"whom": text}},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    column = {"name": "Said", "type": "string", "jsonPath": ".status.said"}
    version = {
        "name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}}, "additionalPrinterColumns": [column],
    }
    names = {"plural": PLURAL, "singular": "greeting", "kind": "Greeting", "shortNames": ["gr"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def established(crd):
    conditions = (crd.status.conditions if crd.status else None) or []
    return any(c.type == "Established" and c.status == "True" for c in conditions)


def until(list_function, *arguments, name, satisfied, what):
    """Lists, then watches one object until it is as wanted; `None` stands for one that is not there."""
    selector = f"metadata.name={name}"
    listed = list_function(*arguments, field_selector=selector)
    custom = isinstance(listed, dict)
    items = listed["items"] if custom else listed.items
    version = listed["metadata"]["resourceVersion"] if custom else listed.metadata.resource_version
    last = items[0] if items else None
    if satisfied(last):
        return last
    watcher = watch.Watch()
    for event in watcher.stream(
        list_function, *arguments, field_selector=selector, resource_version=version, timeout_seconds=TIMEOUT_SECONDS
    ):
        last = None if event["type"] == "DELETED" else event["object"]
        if satisfied(last):
            watcher.stop()
            return last
    raise SystemExit(f"waited for {what}, and there is {last}")


def main():
    config.load_kube_config()
    definitions, custom, core = client.ApiextensionsV1Api(), client.CustomObjectsApi(), client.CoreV1Api()
    definitions.create_custom_resource_definition(definition())
    until(
        definitions.list_custom_resource_definition, name=f"{PLURAL}.{GROUP}", what="the definition",
        satisfied=lambda crd: crd is not None and established(crd),
    )
    where = (GROUP, VERSION, "default", PLURAL)

    def greeting(satisfied, what):
        return until(custom.list_namespaced_custom_object, *where, name="first", satisfied=satisfied, what=what)

    def said(words):
        return lambda it: it is not None and it.get("status", {}).get("said") == words

    with KopfRunner(["run", "--standalone", "--namespace", "default", str(OPERATOR)], timeout=TIMEOUT_SECONDS) as runner:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}", "kind": "Greeting", "metadata": {"name": "first"},
            "spec": {"whom": "world"},
        }
        custom.create_namespaced_custom_object(*where, body)
        first = greeting(said("Hello, world!"), "the handler of its creation")
        child = core.read_namespaced_config_map("first-words", "default")
        assert child.metadata.owner_references[0].uid == first["metadata"]["uid"]
        assert first["status"]["created"]["uid"] == child.metadata.uid, "what a handler returns is kept"
        assert first["metadata"]["finalizers"], "its end is the operator's to allow"

        custom.patch_namespaced_custom_object(*where, "first", {"spec": {"whom": "moon"}})
        second = greeting(said("Hello, moon!"), "the handler of its update")
        assert second["status"]["before"] == "world" and second["metadata"]["generation"] == 2

        custom.delete_namespaced_custom_object(*where, "first")
        greeting(lambda it: it is None, "its end")
        assert core.read_namespaced_config_map("first-farewell", "default").data["words"] == "Goodbye!"

    assert runner.exit_code == 0 and runner.exception is None, runner.output
    # What it owned goes with it.
    until(
        core.list_namespaced_config_map, "default", name="first-words", what="the end of its child",
        satisfied=lambda it: it is None,
    )


if __name__ == "__main__":
    main()
