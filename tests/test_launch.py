"""What is written for each platform, read as the platform reads it: schemas, flags, shells, and nothing out of its quotes."""

import base64
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from launch import container, gke, local, skypilot, slurm, targets, tpu_vm
from launch.request import Request, parse_mesh, parse_time
from scaling import chips, cli
from scaling.config import DataConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer

CONFIG = """
from scaling.config import *
from scaling.ladder import transformer
def study(n: int = 4, batch: int = 4, source: str = "synthetic:order=1,symbols=8,bytes=1e6"):
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    data = DataConfig(source, "bytes")
    return Study("mine", "?", tuple(
        RunConfig(model, tokens=64 * batch, batch=batch, seed=i, data=data, eval=EvalConfig(windows=4)) for i in range(n)
    ))
"""
BUCKET = "gs://my-bucket/kaplan"
IMAGE = "europe-docker.pkg.dev/project/scaling/tpu:1"
ZONE = (("zone", "us-central2-b"),)

# Printable text of every kind that a shell, YAML or Kubernetes could take for something else.
texts = st.text(st.sampled_from("ab01 '\"`$(){}[]<>|&;*?!~#%\\=:,.-+@/éλ" + "語") | st.characters(codec="utf-8"), max_size=30)
texts = texts.filter(str.isprintable)
words = st.from_regex(r"[a-z][a-z0-9_.]{0,12}", fullmatch=True)
names = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
folders = texts.map(lambda text: "/" + text)
buckets = texts.map(lambda text: "gs://my-bucket/" + text.replace("/", ".").lstrip() + "x")
pairs = st.lists(st.tuples(words, texts), max_size=4).map(tuple)


def request(accelerator: str = "cpu", out: str = BUCKET, **fields) -> Request:
    return Request(fields.pop("config", "configs.quickstart"), chips.accelerator(accelerator), out, **fields)


def wanted(request: Request, config: str, part: int) -> list[str]:
    """What the program must be called with, said once more in other words."""
    shard = ["--shard", f"{part}/{request.tasks}"] if request.tasks > 1 else []
    given = [f"{key}={value}" for key, value in request.settings]
    return ["study", "run", config, f"--out={request.out}", *shard, *(["--set", *given] if given else [])]


# --- Kubernetes


def closed(schema):
    """The schema with every object closed to fields that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    if isinstance(out.get("properties"), dict) and "additionalProperties" not in out:
        out["additionalProperties"] = bool(out.get("x-kubernetes-preserve-unknown-fields"))
    return out


@pytest.fixture(scope="session")
def jobset(shared):
    """Says what is wrong with a JobSet by its definition, closed to unknown fields."""
    jsonschema = pytest.importorskip("jsonschema")
    crd = yaml.load((shared / "schemas" / "jobset.x-k8s.io_jobsets.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schema = closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    check = jsonschema.Draft202012Validator(schema)
    return lambda manifest: [f"{'.'.join(map(str, error.path))}: {error.message}" for error in check.iter_errors(manifest)]


GKE = [
    request("v5e:4x4", image=IMAGE, tasks=16, spot=True, data="gs://my-bucket/tokens", options=(("queue", "team"),)),
    request("v5p:4x4x4", image=IMAGE, slices=2, mesh=(("data", 2), ("fsdp", 64)), seconds=3600),
    request("v6e:2x4", image=IMAGE, options=(("priority", "high"), ("service_account", "trainer"), ("restarts", "0"))),
    request("tpu7x:2x2x1", image=IMAGE),
    request("h100:16", image=IMAGE, tasks=2),
    request("cpu", image=IMAGE),
]


@pytest.mark.parametrize("wish", GKE, ids=lambda wish: wish.accelerator.name)
def test_a_jobset_is_what_its_definition_allows_and_no_more(wish, jobset):
    gke.check(wish)
    for text in gke.files(wish).values():
        [manifest] = yaml.safe_load_all(text)
        assert jobset(manifest) == []
        manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["paralelism"] = 1
        assert "paralelism" in " ".join(jobset(manifest))


def test_a_jobset_has_one_job_per_slice_one_pod_per_host_and_all_the_chips():
    for wish in GKE:
        [manifest] = yaml.safe_load_all(next(iter(gke.files(wish).values())))
        [replicated] = manifest["spec"]["replicatedJobs"]
        job = replicated["template"]["spec"]
        assert (replicated["replicas"], job["parallelism"], job["completions"], job["backoffLimit"]) == (
            *(wish.slices, wish.accelerator.hosts, wish.accelerator.hosts, 0),
        )
        limits = job["template"]["spec"]["containers"][0]["resources"]["limits"]
        each = int(limits.get("google.com/tpu", limits.get("nvidia.com/gpu", 0)))
        assert wish.accelerator.chip.kind == "cpu" or each * job["parallelism"] * replicated["replicas"] == wish.chips


def test_evictions_and_saved_runs_restart_for_free_and_everything_else_counts():
    [manifest] = yaml.safe_load_all(gke.files(GKE[1])["study.yaml"])
    policy = manifest["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 5
    assert policy["rules"][0]["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert policy["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    evicted, saved = job["podFailurePolicy"]["rules"]
    assert evicted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert saved["onExitCodes"]["values"] == [42]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # a pod failure policy asks for it


def test_parts_are_jobsets_of_their_own_so_that_nothing_joins_their_slices():
    files = gke.files(GKE[0])
    assert len(files) == 16
    manifests = [next(yaml.safe_load_all(text)) for text in files.values()]
    assert len({manifest["metadata"]["name"] for manifest in manifests}) == 16
    shards = [manifest["spec"]["replicatedJobs"][0]["template"]["spec"] for manifest in manifests]
    commands = [" ".join(shard["template"]["spec"]["containers"][0]["command"]) for shard in shards]
    assert [re.search(r"--shard (\S+)", command)[1] for command in commands] == [f"{i}/16" for i in range(1, 17)]


def expanded(word: str, env: dict[str, str]) -> str:
    """As Kubernetes reads a container's command: $$ is a dollar, $(NAME) a variable where there is one."""
    return re.sub(r"\$\$|\$\(([^)]*)\)", lambda m: "$" if m[0] == "$$" else env.get(m[1], m[0]), word)


@given(out=buckets, data=buckets, given=pairs, name=names)
def test_kubernetes_hands_over_exactly_the_words_of_the_request(out, data, given, name):
    wish = request("h100:16", out, image=IMAGE, settings=given, data=data, name=name)
    [manifest] = yaml.safe_load_all(gke.files(wish)[f"{name}.yaml"])
    [box] = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    env = {"JOB_COMPLETION_INDEX": "1"}
    command = [expanded(word, env) for word in box["command"]]
    plain = wanted(wish, "configs.quickstart", 1)
    joined = ["--distributed", f"{name}-host-0-0.{name}:8482", "--processes", "2", "--process-id", "1"]
    assert command == ["scaling", *plain[:4], *joined, *plain[4:]]
    assert {pair["name"]: expanded(pair["value"], env) for pair in box["env"]}["SCALING_CACHE"] == data


# --- shells


@pytest.fixture(scope="session")
def stubs(tmp_path_factory) -> Path:
    """A folder of programs that note what they were called with, or step aside for what they would call."""
    folder = tmp_path_factory.mktemp("bin")
    note = 'printf "%s\\0" "${SCALING_CACHE-}" "$@" >> "$NOTES/$$"\n'
    programs = {
        "scaling": note,
        "srun": 'while [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n',
        "sudo": 'exec "$@"\n',
        "docker": f'[ "$1" = run ] || exit 0\n{note}',
        "gcloud": note,
        "curl": "echo 0\n",
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    return folder


def ran(script: str, stubs: Path, folder: Path, **env: str) -> list[list[str]]:
    """The calls that a real bash makes of the script: $SCALING_CACHE first, then the arguments."""
    notes = folder / "notes"
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir(parents=True)
    env = {"PATH": f"{stubs}:{os.environ['PATH']}", "NOTES": str(notes), **env}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    return sorted(file.read_bytes().decode().split("\0")[:-1] for file in notes.iterdir())


FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(out=folders, data=folders, given=pairs, part=st.integers(1, 7))
def test_slurm_hands_over_exactly_the_words_of_the_request(out, data, given, part, stubs, tmp_path):
    assume("\\" not in out + data)
    wish = request("cpu", out, data=data, settings=given, tasks=7, options=(("program", str(stubs / "scaling")),))
    script = slurm.files(wish)["job.sh"]
    [call] = ran(script, stubs, tmp_path, SLURM_ARRAY_TASK_ID=str(part), SLURM_ARRAY_JOB_ID="1")
    assert call == [data, *wanted(wish, "configs.quickstart", part)]


@FEW
@given(out=folders, data=folders, given=pairs, tasks=st.integers(1, 3))
def test_this_machine_hands_over_exactly_the_words_of_the_request(out, data, given, tasks, stubs, tmp_path):
    own = (("program", str(stubs / "scaling")), ("workers", "1"))
    wish = request("cpu", out, data=data, settings=given, tasks=tasks, options=own)
    calls = ran(local.files(wish)["run.sh"], stubs, tmp_path)
    for call in calls:
        if tasks > 1:
            assert call[5:7] == ["--workers", "1"]
            del call[5:7]
    assert calls == sorted([data, *wanted(wish, "configs.quickstart", part)] for part in wish.parts) if tasks == 1 else True
    assert sorted(map(tuple, calls)) == sorted((data, *wanted(wish, "configs.quickstart", part)) for part in wish.parts)
