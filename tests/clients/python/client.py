"""The Python client against a cluster: python client.py KUBECONFIG IMAGE.

Creates a Deployment, watches its pods until they are ready, patches it, and deletes it.
"""

import sys

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

TIMEOUT_SECONDS = 60


def ready(pod):
    conditions = pod.status.conditions or []
    return any(c.type == "Ready" and c.status == "True" for c in conditions)


def wait_for(core, selector, satisfied, what):
    """Lists, then watches, until the pods are as wanted."""
    listed = core.list_namespaced_pod("default", label_selector=selector)
    pods = {pod.metadata.name: pod for pod in listed.items}
    if satisfied(pods.values()):
        return
    watcher = watch.Watch()
    for event in watcher.stream(
        core.list_namespaced_pod,
        "default",
        label_selector=selector,
        resource_version=listed.metadata.resource_version,
        timeout_seconds=TIMEOUT_SECONDS,
    ):
        pod = event["object"]
        if event["type"] == "DELETED":
            pods.pop(pod.metadata.name, None)
        else:
            pods[pod.metadata.name] = pod
        if satisfied(pods.values()):
            watcher.stop()
            return
    raise SystemExit(f"waited for {what}, and there is {[(p.metadata.name, p.status.phase) for p in pods.values()]}")


def main(kubeconfig, image):
    config.load_kube_config(kubeconfig)
    core, apps = client.CoreV1Api(), client.AppsV1Api()

    assert client.VersionApi().get_code().git_version.startswith("v1.36")
    assert any(node.status.capacity["cpu"] for node in core.list_node().items)

    labels = {"app": "python"}
    container = client.V1Container(name="main", image=image, image_pull_policy="IfNotPresent")
    deployment = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="python"),
        spec=client.V1DeploymentSpec(
            replicas=2,
            selector=client.V1LabelSelector(match_labels=labels),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=labels),
                spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=0),
            ),
        ),
    )
    created = apps.create_namespaced_deployment("default", deployment)
    assert created.metadata.uid and created.spec.strategy.type == "RollingUpdate"
    wait_for(core, "app=python", lambda pods: sum(map(ready, pods)) == 2, "two ready pods")

    patched = apps.patch_namespaced_deployment("python", "default", {"spec": {"replicas": 3}})
    assert patched.spec.replicas == 3
    wait_for(core, "app=python", lambda pods: sum(map(ready, pods)) == 3, "three ready pods")

    scale = apps.read_namespaced_deployment_scale("python", "default")
    scale.spec.replicas = 1
    # Whatever version the deployment is at: its status goes on changing.
    scale.metadata.resource_version = None
    apps.replace_namespaced_deployment_scale("python", "default", scale)
    wait_for(core, "app=python", lambda pods: len(list(pods)) == 1, "one pod")

    try:
        apps.create_namespaced_deployment("default", deployment)
    except ApiException as refused:
        assert refused.status == 409 and "AlreadyExists" in refused.body
    else:
        raise SystemExit("the same name was taken twice")

    apps.delete_namespaced_deployment("python", "default")
    wait_for(core, "app=python", lambda pods: not list(pods), "no pods")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
