"""A test in Python that has a cluster to itself: own_cluster.py CORACLE.

The lines that `docs/testing.md` shows: start, connect, use. The cluster ends with this process, whatever becomes of it.
"""

import json
import subprocess
import sys

from kubernetes import client, config


class Cluster:
    """A Kubernetes API for the length of a `with`."""

    def __init__(self, program="coracle", *arguments):
        command = [program, "up", "--test", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.kubeconfig = json.loads(self.process.stdout.readline())

    def __enter__(self):
        return config.new_client_from_config_dict(self.kubeconfig)

    def __exit__(self, *_):
        # The end of its stdin is the end of the cluster.
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def main(program):
    with Cluster(program, "--nodes", "2") as one, Cluster(program, "--api-only") as other:
        one, other = client.CoreV1Api(one), client.CoreV1Api(other)
        one.create_namespaced_config_map("default", {"metadata": {"name": "here"}})
        names = [it.metadata.name for it in other.list_config_map_for_all_namespaces().items]
        assert names == [], f"another cluster is another cluster: {names}"
        assert len(one.list_node().items) == 2 and not other.list_node().items


if __name__ == "__main__":
    main(sys.argv[1])
