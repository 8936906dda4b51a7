"""A kopf operator: a `Greeting` has a config map with its words, and says in its status what was said."""

import kopf
from kubernetes import client, config

GROUP, VERSION, PLURAL = "samples.coracle.dev", "v1", "greetings"


@kopf.on.startup()
def connect(settings, **_):
    config.load_kube_config()
    settings.posting.enabled = True


def child(spec, name):
    return {"metadata": {"name": f"{name}-words"}, "data": {"words": f"Hello, {spec['whom']}!"}}


@kopf.on.create(GROUP, VERSION, PLURAL)
def created(spec, name, namespace, patch, **_):
    words = child(spec, name)
    kopf.adopt(words)
    made = client.CoreV1Api().create_namespaced_config_map(namespace, words)
    patch.status["said"] = made.data["words"]
    return {"uid": made.metadata.uid}


@kopf.on.update(GROUP, VERSION, PLURAL, field="spec.whom")
def updated(spec, name, namespace, old, new, patch, **_):
    made = client.CoreV1Api().patch_namespaced_config_map(f"{name}-words", namespace, child(spec, name))
    patch.status["said"] = made.data["words"]
    patch.status["before"] = old


@kopf.on.delete(GROUP, VERSION, PLURAL)
def deleted(name, namespace, **_):
    farewell = {"metadata": {"name": f"{name}-farewell"}, "data": {"words": "Goodbye!"}}
    client.CoreV1Api().create_namespaced_config_map(namespace, farewell)
