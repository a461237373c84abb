"""Kubernetes, GKE's above all: each part of a study is one JobSet, queued by Kueue where a queue is named.

A JobSet has one Job per slice and one pod per host. A part is a JobSet of its own because GKE joins the slices of one
JobSet into one multi-slice program, and because the parts may then start, fail and be queued each by itself. Buckets
are mounted by GKE's own driver; a first container copies the data to the pod's disk. Evicted
pods (condition DisruptionTarget) and pods that saved and left (exit code 42) restart the JobSet for free; whatever else
fails is counted against `restarts`.
"""

import dataclasses
from pathlib import Path
from typing import Any

from launch import bucket, manifest
from launch.bucket import in_bucket
from launch.request import GATHER, Request, options, study_words, word
from scaling import chips
from scaling.errors import InputError

CLIENT = "kubectl"
QUANTITY = r"\d{1,9}(\.\d{1,3})?(m|[kMGTP]i?)?"  # as Kubernetes writes them: 500m, 64Gi
METRICS = 8431  # where libtpu tells Cloud Monitoring of duty cycle and memory
PORT = 8482  # of the coordinator, where JAX does not find it by itself
GRACE = 300  # seconds to save in; Spot nodes give 30 at most
CONFIG = "/study/config.py"  # where the pod finds the config file
JOB = "host"  # the replicated job's name
USER = 1000  # of the image; TPUs are devices of root's
DAY = 86400


@dataclasses.dataclass(frozen=True)
class Options:
    """What differs from cluster to cluster."""

    namespace: str = "default"
    queue: str = ""  # Kueue's LocalQueue; empty: not queued
    priority: str = ""  # PriorityClass
    service_account: str = ""  # of Kubernetes, with access to the bucket
    restarts: int = 5  # after failures that are nobody's preemption
    cpus: int = 0  # that a pod asks for; 0: 8 on CPUs, elsewhere what the node gives
    memory: str = ""  # likewise, as in 200Gi
    disk: str = ""  # ephemeral storage likewise: what --data copies, and what is on its way to the bucket
    mount_cpus: str = ""  # limits of the container that mounts buckets, GKE's own where empty; 0: none
    mount_memory: str = ""
    mount_disk: str = ""  # a file is kept here whole before it is sent: no checkpoint's file may be larger


def check(request: Request) -> None:
    chosen = options(Options, request, "gke")
    for key in ("namespace", "queue", "priority", "service_account"):
        word(key, getattr(chosen, key), r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
    for key in ("memory", "disk", "mount_cpus", "mount_memory", "mount_disk"):
        word(key, getattr(chosen, key), QUANTITY)
    for key, least in (("restarts", 0), ("cpus", 0)):
        if getattr(chosen, key) < least:
            raise InputError(f"{key}={getattr(chosen, key)}: wanted {least} or more")
    chip = request.accelerator.chip
    if chip.kind != "cpu" and not chip.label:
        known = ", ".join(each.name for each in chips.CHIPS.values() if each.label and each.kind == chip.kind)
        raise InputError(f"{request.accelerator.name}: GKE has {known}; use --on slurm or local")
    if request.slices > 1 and request.accelerator.hosts == 1:
        raise InputError(f"{request.hardware}: GKE joins slices of several hosts alone; use {_several_hosts(request)}")
    if not request.image:
        raise InputError("no image: pods need one with this program, as docs/launch/gke.md builds it; --image NAME")
    for what, path in (("output", request.out), ("data", request.data)):
        if path and not in_bucket(path):
            raise InputError(f"{what} {path}: a pod's own disk is gone with the pod; use gs://bucket/folder")


def _several_hosts(request: Request) -> str:
    """The nearest slice that has several hosts, as it is typed."""
    one = request.accelerator
    full = chips.CHIPS[one.chip.name].host
    if one.chips > full:
        return f"{one.name},host={full}, the same slice in hosts of {full}"
    shapes = ("x".join(map(str, shape)) for shape in chips.slices(one.chip))
    return next(found.name for shape in shapes if (found := chips.accelerator(f"{one.chip.name}:{shape}")).hosts > 1)


def notes(request: Request) -> tuple[str, ...]:
    """The node pool that a slice needs."""
    one = request.accelerator
    if one.chip.kind != "tpu":
        return ()
    nodes = f"{one.hosts} node{'s' if one.hosts > 1 else ''} of {one.machine}"
    placed = f"a workload policy of topology {one.shape}" if one.chip.policy else f"--tpu-topology={one.shape}"
    nodes += " with --spot" if request.spot else ""
    tasks, pools = request.tasks, f"{request.slices} node pools" if request.slices > 1 else "a node pool"
    if one.hosts > 1:
        most = f"; {tasks * request.slices} such pools have all run at once" if tasks > 1 else ""
        who, also = "each task " if tasks > 1 else "", "and" if request.spot else "with"
        return (f"{who}wants {pools} of {nodes} {also} {placed}{most}",)
    if tasks > 1:
        return (f"each task wants {nodes}: a node pool of {tasks} of them has all run at once",)
    return (f"wants {pools} of {nodes}",)


def files(request: Request) -> dict[str, str]:
    """One manifest per part."""
    return {f"{request.part_name(part)}.yaml": _manifest(request, part) for part in request.parts}


def _manifest(request: Request, part: int) -> str:
    documents = [_config_map(request, part), job_set(request, part)]
    return manifest.dump(document for document in documents if document)


def _metadata(request: Request, part: int, chosen: Options) -> dict[str, Any]:
    return {
        "name": request.part_name(part),
        "namespace": chosen.namespace,
        "labels": {"app.kubernetes.io/name": "scaling", "app.kubernetes.io/part-of": request.name},
    }


def _config_map(request: Request, part: int) -> dict[str, Any] | None:
    """The config file, as it was when it was checked."""
    if request.config_file is None:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(request, part, options(Options, request, "gke")),
        "immutable": True,
        "data": {Path(CONFIG).name: request.config_text},
    }


def job_set(request: Request, part: int) -> dict[str, Any]:
    """The JobSet of one part, as jobset.x-k8s.io/v1alpha2 wants it."""
    chosen = options(Options, request, "gke")
    accelerator = request.accelerator
    metadata = _metadata(request, part, chosen)
    if chosen.queue:
        metadata["labels"] |= {"kueue.x-k8s.io/queue-name": chosen.queue}
    if accelerator.chip.kind == "tpu" and accelerator.hosts > 1:  # a slice is one node pool, and one job has it alone
        metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    disturbed = {"type": "DisruptionTarget", "status": "True"}
    job: dict[str, Any] = {
        "completionMode": "Indexed",
        "parallelism": accelerator.hosts,
        "completions": accelerator.hosts,
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onPodConditions": [disturbed]},
                {"action": "FailJob", "onExitCodes": {"containerName": JOB, "operator": "In", "values": [42]}},
            ]
        },
        "template": {
            "metadata": {
                "labels": {"app.kubernetes.io/part-of": request.name},
                **({"annotations": {"gke-gcsfuse/volumes": "true", **_sidecar(chosen)}} if _buckets(request) else {}),
            },
            "spec": _pod(request, part, chosen),
        },
    }
    if request.seconds:
        job["activeDeadlineSeconds"] = request.seconds
    preempted = {
        "name": "preempted",
        "action": "RestartJobSetAndIgnoreMaxRestarts",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    out_of_time = {"name": "outOfTime", "action": "FailJobSet", "onJobFailureReasons": ["DeadlineExceeded"]}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "failurePolicy": {
                "maxRestarts": chosen.restarts,
                "rules": [preempted, *([out_of_time] if request.seconds else [])],
            },
            "ttlSecondsAfterFinished": 7 * DAY,
            "replicatedJobs": [{"name": JOB, "replicas": request.slices, "template": {"spec": job}}],
        },
    }


def _pod(request: Request, part: int, chosen: Options) -> dict[str, Any]:
    accelerator = request.accelerator
    chip = accelerator.chip
    nodes: dict[str, str] = {}
    tolerations: list[dict[str, str]] = []
    limits: dict[str, str] = {}
    cpus = chosen.cpus or (8 if chip.kind == "cpu" else 0)
    asked = {"cpu": str(cpus or ""), "memory": chosen.memory, "ephemeral-storage": chosen.disk}
    requests = {key: value for key, value in asked.items() if value}
    if chip.kind == "tpu":
        nodes = {
            "cloud.google.com/gke-tpu-accelerator": chip.label,
            "cloud.google.com/gke-tpu-topology": accelerator.shape,
        }
        limits = {"google.com/tpu": str(accelerator.per_host)}
        tolerations = [{"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}]
    elif chip.kind == "gpu":
        nodes = {"cloud.google.com/gke-accelerator": chip.label}
        limits = {"nvidia.com/gpu": str(accelerator.per_host)}
        tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    else:
        limits = {"cpu": str(cpus)}
    if request.spot:
        nodes["cloud.google.com/gke-spot"] = "true"
        spot = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
        tolerations.append(spot)
    volumes: list[dict[str, Any]] = [
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        *(_bucket(request, i, name) for i, name in enumerate(_buckets(request))),
    ]
    mounts: list[dict[str, Any]] = [{"name": "memory", "mountPath": "/dev/shm"}]
    seen = [{"name": f"bucket-{i}", "mountPath": f"{bucket.ROOT}/{name}"} for i, name in enumerate(_buckets(request))]
    copies = []
    if request.data:
        volumes.append({"name": "cache", "emptyDir": {}})
        cache = {"name": "cache", "mountPath": bucket.CACHE}
        mounts.append(cache)
        copies.append(
            {
                "name": "data",
                "image": request.image,
                "command": ["cp", "--recursive", _literal(f"{bucket.folder(request.data)}/."), bucket.CACHE],
                "volumeMounts": [*seen, cache],
                "securityContext": _rights(request),
            }
        )
    mounts += seen
    if request.config_file:
        volumes.append({"name": "config", "configMap": {"name": request.part_name(part)}})
        mounts.append({"name": "config", "mountPath": str(Path(CONFIG).parent), "readOnly": True})
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "nodeSelector": nodes,
        "tolerations": tolerations,
        **({"initContainers": copies} if copies else {}),
        "containers": [
            {
                "name": JOB,
                "image": request.image,
                "command": _command(request, part),
                "env": _env(request),
                "resources": {"limits": limits, **({"requests": requests} if requests else {})},
                **({"ports": [{"name": "metrics", "containerPort": METRICS}]} if chip.kind == "tpu" else {}),
                "volumeMounts": mounts,
                "securityContext": _rights(request),
            }
        ],
        "volumes": volumes,
    }
    if request.slices > 1:  # slices talk to each other over the hosts' own network
        pod |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    if chosen.service_account:
        pod["serviceAccountName"] = chosen.service_account
    if chosen.priority:
        pod["priorityClassName"] = chosen.priority
    return pod


def _user(request: Request) -> int:
    return 0 if request.accelerator.chip.kind == "tpu" else USER


def _rights(request: Request) -> dict[str, Any]:
    user = _user(request)
    rights = {"runAsUser": user, "runAsGroup": user, "allowPrivilegeEscalation": False}
    return rights if user == 0 else {**rights, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}


def _buckets(request: Request) -> list[str]:
    """Names of the buckets that the pod sees as folders, the output's first."""
    mounted = ("" if request.direct else request.out, request.data)
    return list(dict.fromkeys(bucket.name(place) for place in mounted if place))


def _bucket(request: Request, i: int, name: str) -> dict[str, Any]:
    attributes = {"bucketName": name, "mountOptions": bucket.as_mount_options(request.hosts, _user(request))}
    if request.slices > 1:  # the driver has no other way to the service account of a pod on its host's network
        attributes["hostNetworkPodKSA"] = "true"
    return {"name": f"bucket-{i}", "csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}}


def _env(request: Request) -> list[dict[str, str]]:
    env = request.variables
    if request.data:
        env["SCALING_CACHE"] = bucket.CACHE
    return [{"name": key, "value": _literal(value)} for key, value in env.items()]


def _sidecar(chosen: Options) -> dict[str, str]:
    """Limits of the container that mounts the buckets."""
    names = {"cpu": chosen.mount_cpus, "memory": chosen.mount_memory, "ephemeral-storage": chosen.mount_disk}
    return {f"gke-gcsfuse/{name}-limit": value for name, value in names.items() if value}


def _command(request: Request, part: int) -> list[str]:
    """The container's command. No shell reads it; Kubernetes itself expands $(NAME), and `$$` is how it reads one $."""
    processes: dict[str, str] = {}
    if request.hosts > 1:
        processes = {"--distributed": "auto"}
        if request.accelerator.chip.kind != "tpu":  # GKE tells TPU pods of one another, other pods are told here
            name = request.part_name(part)
            processes = {
                "--distributed": f"{name}-{JOB}-0-0.{name}:{PORT}",
                "--processes": str(request.hosts),
                "--process-id": _Reference("$(JOB_COMPLETION_INDEX)"),
            }
        processes["--wait"] = str(GATHER)
    config = CONFIG if request.config_file else request.config
    words = study_words(request, "scaling", config, str(part), processes)
    return [str(each) if isinstance(each, _Reference) else _literal(each) for each in words]


class _Reference(str):
    """Text in which Kubernetes is to put a variable's value."""


def _literal(text: str) -> str:
    return text.replace("$", "$$")


def commands(request: Request, folder: Path) -> list[list[str]]:
    return [["kubectl", "apply", f"--filename={folder / name}"] for name in files(request)]


def watch(request: Request) -> str:
    namespace = options(Options, request, "gke").namespace
    return f"kubectl get jobsets --namespace {namespace} --selector app.kubernetes.io/part-of={request.name}"
